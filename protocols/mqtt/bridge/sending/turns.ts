/**
 * Which lane sends next: one with the highest priority, and now and then one of the others, so that nothing waits for
 * ever. Lanes of one priority have turns; live traffic has three messages for one of its backlog.
 */
import type { Traffic } from '../lanes.ts'

export type Turn = { readonly priority: number; readonly traffic: Traffic }

/** Messages in one turn. */
const TURN: Readonly<Record<Traffic, number>> = { all: 16, live: 12, backlog: 4 }
/** After so many messages of the highest priority others have a turn, and send one for eight of them. */
const OTHERS_AFTER = 64
const FOR_ONE_OF_OTHERS = 8

export class Turns {
  readonly #lastTurns = new Map<Turn, number>()
  #turns = 0
  #current: Turn | undefined
  #left = 0
  /** Messages of the highest priority that the others have not been given their turn for. */
  #owed = 0
  /** What a message of a lane adds to that. */
  readonly #costs = new Map<Turn, number>()
  #isOthersTurn = false

  /** @param ready lanes that have something to send */
  next<L extends Turn>(ready: readonly L[]): L | undefined {
    const [first] = ready
    if (first === undefined || ready.length === 1) return this.#give(first, 0)
    const highest = Math.max(...ready.map(({ priority }) => priority))
    const others = ready.filter(({ priority }) => priority < highest)
    this.#isOthersTurn = others.length > 0 && this.#owed >= (this.#isOthersTurn ? FOR_ONE_OF_OTHERS : OTHERS_AFTER)
    const may = this.#isOthersTurn ? others : ready.filter(({ priority }) => priority === highest)
    const current = this.#left > 0 ? may.find((lane) => lane === this.#current) : undefined
    const chosen = current ?? may.reduce((one, other) => (this.#findLast(other) < this.#findLast(one) ? other : one))
    return this.#give(chosen, others.length === 0 ? 0 : this.#isOthersTurn ? -FOR_ONE_OF_OTHERS : 1)
  }
  /** How many it may send in this turn. */
  get left(): number {
    return this.#left
  }
  sent(lane: Turn): void {
    this.#owed = Math.max(0, Math.min(OTHERS_AFTER, this.#owed + (this.#costs.get(lane) ?? 0)))
    if (lane === this.#current) this.#left--
  }

  #findLast(lane: Turn): number {
    return this.#lastTurns.get(lane) ?? 0
  }
  #give<L extends Turn>(lane: L | undefined, cost: number): L | undefined {
    if (lane) this.#costs.set(lane, cost)
    if (lane && (lane !== this.#current || this.#left <= 0)) {
      this.#current = lane
      this.#left = TURN[lane.traffic]
      this.#lastTurns.set(lane, ++this.#turns)
    }
    return lane
  }
}
