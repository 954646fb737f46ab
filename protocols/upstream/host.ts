import { Tally } from '../../core/lease.ts'
import type { Address } from '../../core/os/network.ts'
import type { Endpoint } from '../../model/cluster.ts'
import { createHealth, type HostHealth } from './outlier.ts'
import type { CallEvents, CallOptions, PendingCall } from '../http/message.ts'

export type Weighed = { readonly host: Host; readonly weight: number }

/**
 * Undefined only for an empty list. `attempt`: how many hosts were drawn for the request before this one and are not to
 * be taken; hash balancers then take another one by the same hash.
 */
export type Picker = (hash: bigint | undefined, attempt?: number) => Host | undefined

/** The connections to a host that speak one protocol, as its cluster uses them (pool.ts). */
export interface HostConnections {
  start(events: CallEvents, options: Pick<CallOptions, 'source' | 'fresh'>): PendingCall | undefined
  drain(): void
  moveWaiting(): void
  destroy(): void
}

/** One endpoint of a cluster with what is known of it now. Lives as long as its address stands in the cluster. */
export class Host {
  endpoint: Endpoint
  readonly key: string
  readonly health: HostHealth = createHealth()
  /** Requests and streams under way; what least-request compares. */
  readonly active = new Tally()
  readonly connections = new Tally()
  priority = 0
  /** By what is spoken and, with auto_sni, to whom; made when first needed. */
  readonly pools = new Map<string, HostConnections>()

  /** Since when it may serve, monotonic: what its warm-up counts from (slow_start_config). */
  sinceMs: number

  constructor(endpoint: Endpoint, sinceMs = 0) {
    this.endpoint = endpoint
    this.sinceMs = sinceMs
    this.key = formatHostKey(endpoint)
  }
  get weight(): number {
    return this.endpoint.weight
  }
}

export function formatHostKey({ address, port }: Pick<Endpoint, 'address' | 'port'>): string {
  return `${address}:${port}`
}

/** Original destinations remembered per cluster; beyond, those without a connection are forgotten. */
const MAX_ORIGINAL_HOSTS = 1024

/** Hosts that nobody configured: where clients were going. */
export class OriginalHosts {
  readonly #byKey = new Map<string, Host>()

  get all(): Iterable<Host> {
    return this.#byKey.values()
  }
  hostAt({ host: address, port }: Address): Host {
    const key = formatHostKey({ address, port })
    const known = this.#byKey.get(key)
    if (known) return known
    if (this.#byKey.size >= MAX_ORIGINAL_HOSTS)
      for (const [k, h] of this.#byKey)
        if (h.connections.now === 0) {
          this.#byKey.delete(k)
          break
        }
    const made = new Host({ address, port, weight: 1, health: 'healthy', transportLabels: {}, workload: undefined })
    this.#byKey.set(key, made)
    return made
  }
}
