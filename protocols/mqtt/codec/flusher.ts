/**
 * When outboxes are written: those that got something in a turn of the event loop at its end. Messages of somebody whose
 * packets are taken in slices (slices.ts) gather over several turns: a write costs a receiver more than a message.
 */
import { guard, doNothing, reportDefect } from '../../../core/defects/guard.ts'
import { Slabs } from './slabs.ts'

/** For so many turns, and so many bytes of all outboxes together. */
const MAX_GATHERED_TURNS = 8
const MOST_GATHERED_BYTES = 16 * 1024 * 1024

/**
 * Not a microtask: the check phase comes after every socket that was readable in this turn and after all commits that
 * were reported in it.
 */
function atEndOfTurn(flush: () => void): void {
  setImmediate(guard('mqtt', doNothing, flush))
}

/** An outbox. */
type Gathering = {
  readonly mayGather: boolean
  flush(): void
  destroy(): void
}

/**
 * Gathers the outboxes that got something in this turn and flushes them at its end; shared by all connections of a
 * broker.
 */
export class Flusher {
  #dirty: Gathering[] = []
  #spare: Gathering[] = []
  #scheduled = false
  readonly slabs: Slabs
  #gatheredTurns = 0
  #isInterrupted = false
  readonly #schedule: (flush: () => void) => void
  readonly #maxGatheredBytes: number

  /**
   * @param schedule when what was gathered goes; default: at the end of the turn
   * @param maxGatheredBytes with more nothing waits for another turn; at most MOST_GATHERED_BYTES
   */
  constructor(schedule: (flush: () => void) => void = atEndOfTurn, maxGatheredBytes = MOST_GATHERED_BYTES) {
    this.#schedule = schedule
    this.#maxGatheredBytes = Math.min(maxGatheredBytes, MOST_GATHERED_BYTES)
    this.slabs = new Slabs(this.#maxGatheredBytes)
  }

  add(outbox: Gathering): void {
    this.#dirty.push(outbox)
    this.#scheduleOnce()
  }
  #scheduleOnce(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#schedule(() => this.#endTurn())
  }
  /** Somebody's packets are taken further in the next turn. */
  noteInterrupted(): void {
    this.#isInterrupted = true
  }
  #endTurn(): void {
    this.#scheduled = false
    const mayGather = this.#isInterrupted && this.slabs.takenBytes < this.#maxGatheredBytes
    this.#isInterrupted = false
    if (mayGather && ++this.#gatheredTurns < MAX_GATHERED_TURNS) this.#flush((outbox) => !outbox.mayGather)
    else this.flush()
  }
  /** All of them. */
  flush(): void {
    this.#gatheredTurns = 0
    this.slabs.takenBytes = 0
    this.#flush(() => true)
  }
  #flush(isDue: (outbox: Gathering) => boolean): void {
    const dirty = this.#dirty
    this.#dirty = this.#spare
    for (const outbox of dirty) {
      if (!isDue(outbox)) {
        this.#dirty.push(outbox)
        this.#scheduleOnce()
        continue
      }
      // An error belongs to one connection; the others are still flushed.
      try {
        outbox.flush()
      } catch (thrown) {
        reportDefect('mqtt', thrown)
        outbox.destroy()
      }
    }
    dirty.length = 0
    this.#spare = dirty
  }
}
