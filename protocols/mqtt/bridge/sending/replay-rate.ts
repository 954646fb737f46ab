/**
 * How fast what has waited is sent after an outage: a token bucket for messages and one for bytes, so that a fleet that
 * comes back does not bury its broker.
 */
import type { Clock } from '../../../../core/os/clock.ts'

export type Rate = { readonly messagesPerSec?: number | undefined; readonly bytesPerSec?: number | undefined }

export class ReplayRate {
  readonly #clock: Clock
  readonly #messages: Bucket
  readonly #bytes: Bucket

  constructor(clock: Clock, { messagesPerSec, bytesPerSec }: Rate) {
    const nowMs = clock.monotonicMs()
    this.#clock = clock
    this.#messages = new Bucket(messagesPerSec ?? Infinity, nowMs)
    this.#bytes = new Bucket(bytesPerSec ?? Infinity, nowMs)
  }
  /** Milliseconds until a message may go; 0 = now. */
  get waitMs(): number {
    const nowMs = this.#clock.monotonicMs()
    return Math.max(this.#messages.waitMs(nowMs), this.#bytes.waitMs(nowMs))
  }
  noteSent(bytes: number): void {
    this.#messages.take(1)
    this.#bytes.take(bytes)
  }
}

/** Holds what one second brings. A message larger than that goes, too, and is paid for afterwards. */
class Bucket {
  readonly #perSec: number
  #tokens: number
  #atMs: number
  constructor(perSec: number, nowMs: number) {
    this.#perSec = perSec
    this.#tokens = perSec
    this.#atMs = nowMs
  }
  waitMs(nowMs: number): number {
    if (this.#perSec === Infinity) return 0
    this.#tokens = Math.min(this.#perSec, this.#tokens + ((nowMs - this.#atMs) / 1_000) * this.#perSec)
    this.#atMs = nowMs
    return this.#tokens > 0 ? 0 : Math.ceil(((1 - this.#tokens) / this.#perSec) * 1_000)
  }
  take(count: number): void {
    if (this.#perSec !== Infinity) this.#tokens -= count
  }
}
