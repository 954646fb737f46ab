/**
 * Whose requests begin in which turn of the event loop. What one source may begin in a turn is shared by its
 * connections, one request each in rotation: a source with many connections takes no more of a turn than one with few,
 * so that others are read and answered in between.
 */
import { guard } from '../../../core/defects/guard.ts'
import { LinkedList, type Place } from '../../../core/runtime/linked-list.ts'

/** Of one connection alone. */
const STARTS_PER_CONNECTION = 16
/** Of all connections of one source. */
const STARTS_PER_SOURCE = 64

/** A connection with requests. */
export interface Starter {
  /** Among those that wait. Set by SourceTurn. */
  turnPlace?: Place<Starter> | undefined
  /** Begins a request that waits. @returns true when more of them wait for a turn */
  beginNext(): boolean
  /** Ends the connection after a defect. */
  broken(): void
}

export class SourceTurns {
  readonly #bySource = new Map<string, SourceTurn>()

  /** The connection is open, until it leaves. */
  join(source: string, starter: Starter): SourceTurn {
    let turn = this.#bySource.get(source)
    if (!turn) {
      turn = new SourceTurn(() => this.#bySource.delete(source))
      this.#bySource.set(source, turn)
    }
    turn.join(starter)
    return turn
  }
  get sources(): number {
    return this.#bySource.size
  }
}

export class SourceTurn {
  readonly #onEmpty: () => void
  readonly #starters = new Set<Starter>()
  /** In the order of their turns. */
  readonly #waiting = new LinkedList<Starter>()
  /** Requests begun in this turn. */
  #begun = 0
  #isScheduled = false

  /** @param onEmpty the last connection has left */
  constructor(onEmpty: () => void) {
    this.#onEmpty = onEmpty
  }

  join(starter: Starter): void {
    this.#starters.add(starter)
  }
  leave(starter: Starter): void {
    this.#waiting.delete(starter.turnPlace)
    starter.turnPlace = undefined
    if (this.#starters.delete(starter) && this.#starters.size === 0) this.#onEmpty()
  }

  /** @returns true when a request may begin now, and counts it */
  take(): boolean {
    if (this.#waiting.size > 0 || this.#begun >= this.#maxStarts) return false
    this.#begun++
    this.#schedule()
    return true
  }
  /** The connection has requests that wait. */
  wait(starter: Starter): void {
    starter.turnPlace ??= this.#waiting.add(starter)
    this.#schedule()
  }

  get #maxStarts(): number {
    return Math.min(STARTS_PER_SOURCE, STARTS_PER_CONNECTION * this.#starters.size)
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(this.#onTurn)
  }
  readonly #onTurn = guard(
    'http2',
    () => {
      for (const starter of this.#waiting) starter.broken()
    },
    () => {
      this.#isScheduled = false
      this.#begun = 0
      while (this.#begun < this.#maxStarts) {
        const starter = this.#waiting.shift()
        if (!starter) break
        starter.turnPlace = undefined
        this.#begun++
        // At the end, which this loop comes to.
        if (starter.beginNext()) starter.turnPlace ??= this.#waiting.add(starter)
      }
      if (this.#waiting.size > 0) this.#schedule()
    },
  )
}
