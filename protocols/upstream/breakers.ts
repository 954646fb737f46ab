/** What a cluster may have under way at once (envoy.config.cluster.v3.CircuitBreakers, DEFAULT priority). */
import { Tally } from '../../core/lease.ts'
import type { Breakers } from '../../model/cluster.ts'

export class Load {
  readonly connections: Tally
  readonly pending: Tally
  readonly requests: Tally
  readonly retries: Tally

  /** @param emptied called whenever one of the counts comes back to zero */
  constructor(emptied?: () => void) {
    this.connections = new Tally(emptied)
    this.pending = new Tally(emptied)
    this.requests = new Tally(emptied)
    this.retries = new Tally(emptied)
  }

  get isEmpty(): boolean { return this.connections.now + this.pending.now + this.requests.now + this.retries.now === 0 }

  mayConnect({ maxConnections }: Breakers): boolean { return this.connections.now < maxConnections }
  mayWait({ maxPendingRequests }: Breakers): boolean { return this.pending.now < maxPendingRequests }
  mayRequest({ maxRequests }: Breakers): boolean { return this.requests.now < maxRequests }
  mayRetry({ maxRetries, retryBudget }: Breakers): boolean {
    if (!retryBudget) return this.retries.now < maxRetries
    return this.retries.now < Math.max(retryBudget.minConcurrent, (this.requests.now * retryBudget.percent) / 100)
  }
}
