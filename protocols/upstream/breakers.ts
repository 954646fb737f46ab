/** What a cluster may have under way at once (envoy.config.cluster.v3.CircuitBreakers, DEFAULT priority). */
import { MeshError } from '../../core/errors.ts'
import { Tallies, Tally } from '../../core/lease.ts'
import type { Breakers, Cluster } from '../../model/cluster.ts'

/** Beyond a limit of requests, an eighth of it: for sources with less than their share, when others have filled it. */
const EXTRA_FACTOR = 1 / 8

export class Load {
  readonly connections: Tally
  readonly pending: Tally
  readonly requests: Tally
  readonly retries: Tally
  /** Requests under way by the source that asked (core/ip-source.ts). */
  readonly requestsBySource = new Tallies<string>()

  /** @param emptied called whenever one of the counts comes back to zero */
  constructor(emptied?: () => void) {
    this.connections = new Tally(emptied)
    this.pending = new Tally(emptied)
    this.requests = new Tally(emptied)
    this.retries = new Tally(emptied)
  }

  get isEmpty(): boolean {
    return this.connections.now + this.pending.now + this.requests.now + this.retries.now === 0
  }

  mayConnect({ maxConnections }: Breakers): boolean {
    return this.connections.now < maxConnections
  }
  /** @returns why a call may not wait for a connection or a name: MESH_UPSTREAM_OVERFLOW */
  refuseToWait({ name, breakers }: Pick<Cluster, 'name' | 'breakers'>, source: string): MeshError | undefined {
    const { now } = this.pending
    const { maxPendingRequests } = breakers
    if (now < maxPendingRequests || this.#mayExceed(now, maxPendingRequests, source)) return undefined
    return new MeshError('MESH_UPSTREAM_OVERFLOW', `${now} requests wait for cluster ${name} (max_pending_requests)`)
  }
  mayRequest({ maxRequests }: Breakers, source: string): boolean {
    return this.requests.now < maxRequests || this.#mayExceed(this.requests.now, maxRequests, source)
  }
  /** One source that asks without end must not turn the others away. Alone, none gets more than the limit. */
  #mayExceed(now: number, max: number, source: string): boolean {
    const { requestsBySource } = this
    return (
      now < Math.floor(max * (1 + EXTRA_FACTOR)) &&
      (requestsBySource.of(source) + 1) * (requestsBySource.size + 1) <= max
    )
  }
  mayRetry({ maxRetries, retryBudget }: Breakers): boolean {
    if (!retryBudget) return this.retries.now < maxRetries
    return this.retries.now < Math.max(retryBudget.minConcurrent, (this.requests.now * retryBudget.percent) / 100)
  }
}
