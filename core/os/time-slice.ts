import type { Clock } from './clock.ts'

/** Traffic is kept waiting for so long at most. */
const SLICE_MS = 5

/** Long work in slices: `if (pace.due) await pace.rest()` between its steps lets the event loop carry traffic. */
export class Pace {
  readonly #clock: Clock
  #until: number
  #hasRested = false
  constructor(clock: Clock) { this.#clock = clock; this.#until = clock.monotonicMs() + SLICE_MS }

  get due(): boolean { return this.#clock.monotonicMs() >= this.#until }
  /** The work so far took more than one turn. */
  get hasRested(): boolean { return this.#hasRested }
  async rest(): Promise<void> {
    this.#hasRested = true
    await nextTurn()
    this.#until = this.#clock.monotonicMs() + SLICE_MS
  }
}

/** Traffic that waits passes first. */
export function nextTurn(): Promise<void> { return new Promise((resolve) => { setImmediate(resolve) }) }
