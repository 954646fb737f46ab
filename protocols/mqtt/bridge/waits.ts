/**
 * How long a session waits before it connects again: decorrelated jitter, so that a fleet which lost its broker at one
 * moment does not come back at one moment.
 */
import type { Random } from '../../../core/os/clock.ts'

/** Only a connection that lived so long was a good one: a broker that kicks after CONNACK is not asked at once again. */
export const STABLE_MS = 60_000

export class Waits {
  readonly #random: Random
  #lastMs = 0

  constructor(random: Random) {
    this.#random = random
  }
  /** @param connectedMs how long the connection lived that has ended; 0 when there was none */
  next(connectedMs: number, { minMs, maxMs }: { readonly minMs: number; readonly maxMs: number }): number {
    if (connectedMs >= STABLE_MS) this.#lastMs = 0
    const mostMs = Math.max(this.#lastMs, minMs) * 3
    this.#lastMs = Math.min(maxMs, minMs + this.#random.float() * (mostMs - minMs))
    return this.#lastMs
  }
}
