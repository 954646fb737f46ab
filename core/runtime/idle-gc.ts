/**
 * Gives memory back that only a burst needed. Reading a configuration, at the start or from a large push, leaves some
 * ten megabytes of garbage that V8 would keep until the heap grows, which on an idle device is never.
 */

/** Nothing has changed for so long: the burst is over, and what came of it is on disk. */
const QUIET_MS = 1_500
/**
 * What the start has left, up to 60 MiB of RSS, goes after so long whoever is connected, once: a device with a client
 * for ever would keep it for ever.
 */
const START_MS = 5_000
/** From look to look at somebody who stays connected the wait doubles: a device with a client for ever should sleep. */
const MAX_WAIT_MS = 60_000
/** A collection costs 40 to 80 ms of CPU; for less than this it is not worth it. */
const WORTH_BYTES = 4 * 1024 * 1024

export type IdleGcOptions = {
  /** Whether nobody would have to wait. */
  readonly isIdle: () => boolean
  /** Of the heap, used or not. */
  readonly committedBytes: () => number
  readonly collect: () => void
  /** What is free already goes back to the system: a millisecond. */
  readonly trim: () => void
  readonly nowMs: () => number
  /** Once, and for nobody's sake who has ended. */
  readonly after: (ms: number, fn: () => void) => void
}

export class IdleGc {
  readonly #o: IdleGcOptions
  readonly #startedMs: number
  #changedMs: number
  #isLooking = false
  #waitMs = QUIET_MS / 2
  /** After the last collection. */
  #committedBytes = 0

  constructor(options: IdleGcOptions) {
    this.#o = options
    this.#startedMs = options.nowMs()
    this.#changedMs = this.#startedMs
  }

  /** At once, whoever waits. */
  collect(): void {
    this.#o.collect()
    this.#committedBytes = this.#o.committedBytes()
  }

  /** The configuration is another. */
  changed(): void {
    this.#changedMs = this.#o.nowMs()
    this.#waitMs = QUIET_MS / 2
    this.#lookLater(QUIET_MS)
  }

  #lookLater(ms: number): void {
    if (this.#isLooking) return
    this.#isLooking = true
    this.#o.after(ms, () => {
      this.#isLooking = false
      this.#look()
    })
  }

  #look(): void {
    const { nowMs, isIdle, committedBytes } = this.#o
    const leftMs = this.#changedMs + QUIET_MS - nowMs()
    if (leftMs > 0) {
      this.#lookLater(leftMs)
      return
    }
    const untilStartMs = this.#committedBytes === 0 ? this.#startedMs + START_MS - nowMs() : Infinity
    if (!isIdle() && untilStartMs > 0) {
      this.#lookLater(Math.min(this.#waitMs, untilStartMs))
      this.#waitMs = Math.min(this.#waitMs * 2, MAX_WAIT_MS)
      return
    }
    if (committedBytes() - this.#committedBytes < WORTH_BYTES) {
      this.#o.trim()
      return
    }
    this.collect()
  }
}
