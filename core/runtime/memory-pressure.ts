/**
 * How much of what the process may have it really has. Each bound of what waits, is kept or is connected leaves room for
 * what is usual of the others, and all of them together, with garbage and what is counted nowhere, do not fit: so near
 * the end the bounds come closer (`roomBytes`).
 */

/** Of the memory that the process may have: beyond it memory is given back sooner … */
const PRESSED_SHARE = 5 / 8
/** … and nothing more comes. The rest is for files, and for what comes until the next measure. */
const FULL_SHARE = 11 / 16
/** To ask the system takes a tenth of a millisecond. */
const MEASURE_EVERY_MS = 250
const PRESSED_MEASURE_EVERY_MS = 20

export type PressureParts = {
  readonly limitBytes: number
  /** Resident pages that are no file's; 0 where that is not known. */
  readonly readOwnBytes: () => number
  readonly nowMs: () => number
}

export class MemoryPressure {
  readonly #p: PressureParts
  #measuredMs = -Infinity
  get limitBytes(): number {
    return this.#p.limitBytes
  }
  /** When it was last measured; 0: not known. */
  ownBytes = 0

  constructor(parts: PressureParts) {
    this.#p = parts
  }

  /** @returns false when the last time was just now, or where it is not known */
  measure(): boolean {
    const nowMs = this.#p.nowMs()
    if (nowMs - this.#measuredMs < (this.isPressed ? PRESSED_MEASURE_EVERY_MS : MEASURE_EVERY_MS)) return false
    this.#measuredMs = nowMs
    this.ownBytes = this.#p.readOwnBytes()
    return this.ownBytes > 0
  }
  get isPressed(): boolean {
    return this.ownBytes > this.#p.limitBytes * PRESSED_SHARE
  }
  /** What may come. Negative: so much should go. */
  get roomBytes(): number {
    const mostBytes = this.#p.limitBytes * FULL_SHARE
    // What is over may be so since a while.
    if (this.ownBytes >= mostBytes) this.measure()
    return mostBytes - this.ownBytes
  }
}
