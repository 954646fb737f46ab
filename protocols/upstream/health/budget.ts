/**
 * How many hosts are asked at once, of all clusters. Whoever comes when all turns are taken waits for one, so that the
 * start of a node with a thousand endpoints is no burst. Turns go round by cluster: one whose thousand endpoints do not
 * answer keeps no other from being asked.
 */
import { takeLease, Tally } from '../../../core/lease.ts'

/** Its counter: mesh_upstream_health_checks_deferred_total. */
export const MAX_CHECKS_AT_ONCE = 32

type Go = (turn: Disposable) => void

export class CheckBudget {
  readonly #running = new Tally()
  /** By cluster, in the order of their turns. */
  readonly #waiting = new Map<object, Set<Go>>()
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
   * Calls `go` of a cluster with a turn that is to be given back, at once or when it is due.
   * @returns to be disposed of by who does not want it any more
   */
  take(cluster: object, go: Go): Disposable {
    if (this.#running.now < this.#max) go(this.#lease())
    else {
      const others = this.#waiting.get(cluster)
      if (others) others.add(go)
      else this.#waiting.set(cluster, new Set([go]))
      this.#deferred()
    }
    const place = new DisposableStack()
    place.defer(() => {
      const others = this.#waiting.get(cluster)
      if (others?.delete(go) && others.size === 0) this.#waiting.delete(cluster)
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
    while (this.#running.now < this.#max) {
      const go = this.#takeNext()
      if (!go) return
      go(this.#lease())
    }
  }
  /** Its cluster is the last one then. */
  #takeNext(): Go | undefined {
    const [first] = this.#waiting
    if (!first) return undefined
    const [cluster, all] = first
    const [go] = all
    this.#waiting.delete(cluster)
    all.delete(go!)
    if (all.size > 0) this.#waiting.set(cluster, all)
    return go
  }
}
