/** A bucket for each of many: so much at once, and as much again in a period. */
import type { Clock } from '../../../core/os/clock.ts'

/** Those that took least recently are forgotten first: their buckets are full again soon. */
const MAX_KEYS = 20_000

type Bucket = { left: number; atMs: number }

export class Buckets {
  readonly #periodMs: number
  readonly #clock: Clock
  /** Least recently used first. */
  readonly #buckets = new Map<string, Bucket>()

  constructor(periodMs: number, clock: Clock) {
    this.#periodMs = periodMs
    this.#clock = clock
  }

  /**
   * One of them.
   * @param perPeriod what the bucket of this key holds
   * @returns whether there was one
   */
  take(key: string, perPeriod: number): boolean {
    const nowMs = this.#clock.monotonicMs()
    const bucket = this.#buckets.get(key) ?? { left: perPeriod, atMs: nowMs }
    bucket.left = Math.min(perPeriod, bucket.left + ((nowMs - bucket.atMs) / this.#periodMs) * perPeriod)
    bucket.atMs = nowMs
    this.#buckets.delete(key)
    this.#buckets.set(key, bucket)
    if (this.#buckets.size > MAX_KEYS) this.#buckets.delete(this.#buckets.keys().next().value!)
    if (bucket.left < 1) return false
    bucket.left--
    return true
  }
}
