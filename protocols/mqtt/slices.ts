/**
 * How long one connection may take packets before others have their turn: a chunk holds thousands of them, and each may
 * ask for a search through all filters. The connections of one turn of the event loop share what is given, and each has
 * a little. Longer slices cost less: what goes to a receiver in a turn leaves with one write.
 */
import { doNothing, guard } from '../../core/defects/guard.ts'

const TURN_MS = 10
const LEAST_MS = 2

export class Slices {
  #usedMs = 0
  #isScheduled = false
  readonly #atEndOfTurn: (call: () => void) => void

  constructor(atEndOfTurn: (call: () => void) => void = setImmediate) {
    this.#atEndOfTurn = atEndOfTurn
  }

  /** Of a connection that begins now. */
  get sliceMs(): number {
    return Math.max(LEAST_MS, TURN_MS - this.#usedMs)
  }
  note(ms: number): void {
    this.#usedMs += ms
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#atEndOfTurn(
      guard('mqtt', doNothing, () => {
        this.#isScheduled = false
        this.#usedMs = 0
      }),
    )
  }
}
