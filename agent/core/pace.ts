import type { Clock } from './clock.ts'

/** Traffic is kept waiting for so long at most. */
const SLICE_MS = 8

/** Long work in slices: `if (pace.due) await pace.rest()` between its steps lets the event loop carry traffic. */
export class Pace {
  readonly #clock: Clock
  #until: number
  constructor(clock: Clock) { this.#clock = clock; this.#until = clock.monotonicMs() + SLICE_MS }

  get due(): boolean { return this.#clock.monotonicMs() >= this.#until }
  async rest(): Promise<void> {
    await nextTurn()
    this.#until = this.#clock.monotonicMs() + SLICE_MS
  }
}

/** Traffic that waits passes first. */
export function nextTurn(): Promise<void> { return new Promise((resolve) => { setImmediate(resolve) }) }
