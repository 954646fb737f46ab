import type { Clock } from './clock.ts'

/** Traffic is kept waiting for so long at most. */
const SLICE_MS = 5

/** Long work in slices: `if (slice.due) await slice.yield()` between its steps lets the event loop carry traffic. */
export class TimeSlice {
  readonly #clock: Clock
  #until: number
  #hasYielded = false
  constructor(clock: Clock) {
    this.#clock = clock
    this.#until = clock.monotonicMs() + SLICE_MS
  }

  get due(): boolean {
    return this.#clock.monotonicMs() >= this.#until
  }
  /** The work so far took more than one turn. */
  get hasYielded(): boolean {
    return this.#hasYielded
  }
  async yield(): Promise<void> {
    this.#hasYielded = true
    await waitForNextTurn()
    this.#until = this.#clock.monotonicMs() + SLICE_MS
  }
}

/** Traffic that waits passes first. */
export function waitForNextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
