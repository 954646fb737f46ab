/** How often one source may ask: a bucket for each. */
import type { Clock } from '../../../core/os/clock.ts'
import { MeshError } from '../../../core/errors.ts'
import { deriveSource } from '../../../core/ip-source.ts'
import type { Metrics } from '../../../core/metrics.ts'
import { Buckets } from '../limits/buckets.ts'

export type RateLimits = {
  /** Requests a minute of one address (IPv6: of one /64). */
  readonly requestsPerMinute: number
  /** Where that is set. */
  readonly setting: string
}

const MINUTE_MS = 60_000

export class RateLimit {
  readonly #limits: RateLimits
  readonly #buckets: Buckets
  readonly #refused

  constructor(limits: RateLimits, { clock, metrics }: { readonly clock: Clock; readonly metrics: Metrics }) {
    this.#limits = limits
    this.#buckets = new Buckets(MINUTE_MS, clock)
    this.#refused = metrics.counter(
      'mesh_hub_api_limited_total',
      'Requests to the API or the console of the hub that came too often from one address.',
    )
  }

  /** Throws MESH_CONTROL_SLOW_DOWN. */
  take(address: string): void {
    const { requestsPerMinute, setting } = this.#limits
    if (this.#buckets.take(deriveSource(address), requestsPerMinute)) return
    this.#refused.cell({}).value++
    throw new MeshError(
      'MESH_CONTROL_SLOW_DOWN',
      `more than ${requestsPerMinute} requests a minute from ${address} (${setting})`,
    )
  }
}
