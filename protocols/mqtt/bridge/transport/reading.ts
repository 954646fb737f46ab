/**
 * Whether an upstream broker is read from. Its acknowledgements come by the same stream, so whoever stops it says when it
 * goes on without them.
 */
import type { Duplex } from 'node:stream'

/** `line`: what has come is not stored yet. `receivers`: see back-pressure.ts. */
export type HoldReason = 'line' | 'receivers'

export class Reading {
  readonly #stream: Duplex
  readonly #why = new Set<HoldReason>()

  constructor(stream: Duplex) {
    this.#stream = stream
  }
  get isHeld(): boolean {
    return this.#why.size > 0
  }
  hold(why: HoldReason): void {
    this.#why.add(why)
    this.#stream.pause()
  }
  /** @returns whether it was held for that */
  release(why: HoldReason): boolean {
    if (!this.#why.delete(why)) return false
    if (this.#why.size === 0) this.#stream.resume()
    return true
  }
}
