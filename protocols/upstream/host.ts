import { Tally } from '../../core/lease.ts'
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
