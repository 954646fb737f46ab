/**
 * Gives memory back that only a burst needed. Reading a configuration, at the start or from a large push, leaves some
 * ten megabytes of garbage that V8 would keep until the heap grows, which on an idle device is never.
 */

/** Nothing has changed for so long: the burst is over, and what came of it is on disk. */
const QUIET_MS = 1_500
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
  readonly nowMs: () => number
  /** Once, and for nobody's sake who has ended. */
  readonly after: (ms: number, fn: () => void) => void
}

export class IdleGc {
  readonly #o: IdleGcOptions
  #changedMs: number
  #isLooking = false
  #waitMs = QUIET_MS / 2
  /** After the last collection. */
  #committedBytes = 0

  constructor(options: IdleGcOptions) {
    this.#o = options
    this.#changedMs = options.nowMs()
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
    const { nowMs, isIdle, committedBytes, collect } = this.#o
    const leftMs = this.#changedMs + QUIET_MS - nowMs()
    if (leftMs > 0) {
      this.#lookLater(leftMs)
      return
    }
    if (!isIdle()) {
      this.#lookLater(this.#waitMs)
      this.#waitMs = Math.min(this.#waitMs * 2, MAX_WAIT_MS)
      return
    }
    if (committedBytes() - this.#committedBytes < WORTH_BYTES) return
    collect()
    this.#committedBytes = committedBytes()
  }
}
