/**
 * How many hosts are asked at once, of all clusters. Whoever comes when all turns are taken waits for one, so that the
 * start of a node with a thousand endpoints is no burst.
 */
import { takeLease, Tally } from '../../../core/lease.ts'

/** Its counter: mesh_upstream_health_checks_deferred_total. */
export const MAX_CHECKS_AT_ONCE = 32

export class CheckBudget {
  readonly #running = new Tally()
  readonly #waiting = new Set<(turn: Disposable) => void>()
  readonly #max: number
  readonly #deferred: () => void

  /** @param deferred called for each that has to wait */
  constructor(deferred: () => void, max = MAX_CHECKS_AT_ONCE) {
    this.#deferred = deferred
    this.#max = max
  }

  get running(): number {
    return this.#running.now
  }

  /**
   * Calls `go` with a turn that is to be given back, at once or when it is due.
   * @returns to be disposed of by who does not want it any more
   */
  take(go: (turn: Disposable) => void): Disposable {
    if (this.#running.now < this.#max) go(this.#lease())
    else {
      this.#waiting.add(go)
      this.#deferred()
    }
    const place = new DisposableStack()
    place.defer(() => {
      this.#waiting.delete(go)
    })
    return place
  }

  #lease(): Disposable {
    const turn = takeLease(this.#running)
    return {
      [Symbol.dispose]: () => {
        turn[Symbol.dispose]()
        this.#next()
      },
    }
  }
  #next(): void {
    for (const go of this.#waiting) {
      if (this.#running.now >= this.#max) return
      this.#waiting.delete(go)
      go(this.#lease())
    }
  }
}
