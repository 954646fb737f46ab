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
  renew(): void
  moveWaiting(): void
  destroy(): void
}

/** What its own answers say of a host that is asked whether it is well. */
export type ActiveHealth = {
  /** It gets nothing (Envoy's FAILED_ACTIVE_HC). */
  hasFailed: boolean
  /** For what healthy ones cannot take (DEGRADED_ACTIVE_HC). */
  isDegraded: boolean
  /** It was not asked yet, and does not count (PENDING_ACTIVE_HC). */
  isPending: boolean
  /** It wanted to get nothing at once, and does not count (EXCLUDED_VIA_IMMEDIATE_HC_FAIL). */
  isExcluded: boolean
}

/** One endpoint of a cluster with what is known of it now. Lives as long as its address stands in the cluster. */
export class Host {
  endpoint: Endpoint
  readonly key: string
  readonly health: HostHealth = createHealth()
  /** Undefined: nobody asks it. */
  check: ActiveHealth | undefined = undefined
  /** Discovery does not name it any more, and it stays while it is well (PENDING_DYNAMIC_REMOVAL). */
  isLeaving = false
  /** Requests and streams under way; what least-request compares. */
  readonly active = new Tally()
  readonly connections = new Tally()
  priority = 0
  /** Region, zone and sub-zone. */
  locality = ''
  /** By what is spoken and, with auto_sni, to whom; made when first needed. */
  readonly pools = new Map<string, HostConnections>()

  /** As it has said over HTTP/2 last; undefined: it has not. */
  maxStreams: number | undefined = undefined

  /** Since when it may serve, monotonic: what its warm-up counts from (slow_start_config). */
  sinceMs: number
  /** It is not well, or was not yet. */
  isCold = true

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
