/**
 * Documents of issuers on their way, of which parts wait for the rest: each has a bound, they have one together, and
 * they count in the memory budget. Whoever has sent most goes first; it is asked again after its pause.
 */
import { MeshError } from '../../core/errors.ts'
import { MemoryBudget } from '../../core/runtime/memory-budget.ts'

/** Of all documents on their way; four of the largest. */
export const MAX_ARRIVING_BYTES = 1024 * 1024

/** One document. */
export type Arrival = {
  /** Aborted with a MeshError: its bytes are not to be kept. */
  readonly signal: AbortSignal
  /** So much of it is there. */
  set(bytes: number): void
}
type Arriving = { bytes: number; readonly end: AbortController }

export class Arrivals {
  readonly #budget: MemoryBudget
  readonly #all = new Set<Arriving>()
  #bytes = 0

  constructor(budget: MemoryBudget | undefined) {
    this.#budget = budget ?? new MemoryBudget({ maxBytes: Infinity })
    this.#budget.onOver(
      (isEnough) => {
        while (!isEnough() && this.#giveUpMost(BUDGET)) this.#budget.countGivenUp('connection')
      },
      () => this.#bytes,
    )
  }

  /** Its bytes count until it is settled. */
  async follow(fetch: (arrival: Arrival) => Promise<string>): Promise<string> {
    const one: Arriving = { bytes: 0, end: new AbortController() }
    this.#all.add(one)
    try {
      return await fetch({ signal: one.end.signal, set: (bytes) => this.#set(one, bytes) })
    } finally {
      this.#all.delete(one)
      this.#change(one, 0)
    }
  }

  #set(one: Arriving, bytes: number): void {
    if (!this.#all.has(one) || one.end.signal.aborted) return
    this.#change(one, bytes)
    while (this.#bytes > MAX_ARRIVING_BYTES && this.#giveUpMost(TOGETHER));
  }
  #change(one: Arriving, bytes: number): void {
    const by = bytes - one.bytes
    one.bytes = bytes
    this.#bytes += by
    if (by > 0) this.#budget.take(by)
    else if (by < 0) this.#budget.give(-by)
  }
  /** @returns false: there is none */
  #giveUpMost(why: string): boolean {
    let most: Arriving | undefined
    for (const one of this.#all) if (one.bytes > (most?.bytes ?? 0)) most = one
    if (!most) return false
    this.#change(most, 0)
    most.end.abort(new MeshError('MESH_JWKS_UNAVAILABLE', why))
    return true
  }
}
const BUDGET = 'the memory budget is used up (limits.maxQueuedMemoryBytes)'
const TOGETHER = `documents of issuers on their way are larger than ${MAX_ARRIVING_BYTES} bytes together`
