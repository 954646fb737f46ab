/**
 * Whether an upstream broker is read from. Its acknowledgements come by the same stream, so whoever stops it says when it
 * goes on without them.
 */
import type { Duplex } from 'node:stream'

/**
 * `line`: what has come is not stored yet. `receivers`: see back-pressure.ts. `answers`: the broker does not read what it
 * is answered.
 */
export type HoldReason = 'line' | 'receivers' | 'answers'

export class Reading {
  readonly #stream: Duplex
  readonly #why = new Set<HoldReason>()

  constructor(stream: Duplex) {
    this.#stream = stream
  }
  /** By what happens here, so that its silence says nothing of the broker. */
  get isHeldHere(): boolean {
    return this.#why.size > (this.#why.has('answers') ? 1 : 0)
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
