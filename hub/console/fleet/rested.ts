/**
 * What many pages ask for and takes a while to read: read again at most once a second and only while somebody looks,
 * and not before twenty times as long as the reading took.
 */
import type { Clock } from '../../../core/os/clock.ts'

const MIN_AGE_MS = 1_000
const REST_FACTOR = 20

export class Rested<T> {
  readonly #clock: Clock
  readonly #take: () => Promise<T>
  #value: T | undefined
  #goodUntilMs = 0
  #reading: Promise<T> | undefined

  constructor(clock: Clock, take: () => Promise<T>) {
    this.#clock = clock
    this.#take = take
  }

  /** The same until it was read again. */
  async read(): Promise<T> {
    if (this.#value !== undefined && this.#clock.monotonicMs() < this.#goodUntilMs) return this.#value
    this.#reading ??= this.#readAnew().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }
  /** Something was just changed here: the next who asks must see it. */
  forget(): void {
    this.#goodUntilMs = 0
  }

  async #readAnew(): Promise<T> {
    const cpuMs = this.#clock.threadCpuMs()
    this.#goodUntilMs = this.#clock.monotonicMs() + MIN_AGE_MS
    this.#value = await this.#take()
    const tookMs = this.#clock.threadCpuMs() - cpuMs
    if (this.#goodUntilMs > 0)
      this.#goodUntilMs = this.#clock.monotonicMs() + Math.max(MIN_AGE_MS, tookMs * REST_FACTOR)
    return this.#value
  }
}
