/** How often one source may ask: a bucket for each. */
import type { Clock } from '../../../core/os/clock.ts'
import { MeshError } from '../../../core/errors.ts'
import { deriveSource } from '../../../core/ip-source.ts'
import type { Metrics } from '../../../core/metrics.ts'

export type RateLimits = {
  /** Requests a minute of one address (IPv6: of one /64). */
  readonly requestsPerMinute: number
}

/** Those that asked least recently are forgotten first; their buckets are full again soon. */
const MAX_SOURCES = 20_000
const MINUTE_MS = 60_000

type Bucket = { left: number; atMs: number }

export class RateLimit {
  readonly #limits: RateLimits
  readonly #clock: Clock
  /** Least recently used first. */
  readonly #buckets = new Map<string, Bucket>()
  readonly #refused

  constructor(limits: RateLimits, { clock, metrics }: { readonly clock: Clock; readonly metrics: Metrics }) {
    this.#limits = limits
    this.#clock = clock
    this.#refused = metrics.counter(
      'mesh_hub_api_limited_total',
      'Requests to the API of the hub that came too often from one address.',
    )
  }

  /** Throws MESH_CONTROL_SLOW_DOWN. */
  take(address: string): void {
    const { requestsPerMinute } = this.#limits
    const source = deriveSource(address)
    const nowMs = this.#clock.monotonicMs()
    const bucket = this.#buckets.get(source) ?? { left: requestsPerMinute, atMs: nowMs }
    const refill = ((nowMs - bucket.atMs) / MINUTE_MS) * requestsPerMinute
    bucket.left = Math.min(requestsPerMinute, bucket.left + refill)
    bucket.atMs = nowMs
    this.#buckets.delete(source)
    this.#buckets.set(source, bucket)
    if (this.#buckets.size > MAX_SOURCES) this.#buckets.delete(this.#buckets.keys().next().value!)
    if (bucket.left < 1) {
      this.#refused.cell({}).value++
      throw new MeshError(
        'MESH_CONTROL_SLOW_DOWN',
        `more than ${requestsPerMinute} requests a minute from ${address} (api.requestsPerMinute)`,
      )
    }
    bucket.left--
  }
}
