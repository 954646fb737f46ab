/**
 * Gives back what only a burst needed: thousands of devices that come at once leave as much garbage as they take, and
 * V8 would keep it until the heap grows. A collection takes half a second with 10,000 devices, so it waits for a time in
 * which hardly anybody wants something, and until it is worth it.
 */
export const LOOK_MS = 5_000
/** Of that time, by what others wanted. */
const MOST_BUSY = 0.05
const WORTH_BYTES = 8 * 1024 * 1024
/** Of what the last collection left. */
const WORTH_SHARE = 1 / 4

export type QuietGcOptions = {
  /** Of the time since the last call, 0 to 1. */
  readonly busyShare: () => number
  /** Of the heap, used or not. */
  readonly committedBytes: () => number
  readonly collect: () => void
}

export class QuietGc {
  readonly #o: QuietGcOptions
  /** After the last collection. */
  #leftBytes = 0

  constructor(options: QuietGcOptions) {
    this.#o = options
  }

  /** Every LOOK_MS. */
  look(): void {
    const { busyShare, committedBytes, collect } = this.#o
    const worthBytes = this.#leftBytes + Math.max(WORTH_BYTES, this.#leftBytes * WORTH_SHARE)
    if (busyShare() > MOST_BUSY || committedBytes() < worthBytes) return
    collect()
    this.#leftBytes = committedBytes()
  }
}
