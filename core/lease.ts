/**
 * What is in use, counted. A count goes up only by taking a lease and down only by giving that lease back, which counts once however often it is done: so no
 * path can forget which count it raised, and none can lower it for another.
 */
let raise: (tally: Tally, by: 1 | -1) => void

export class Tally {
  #now = 0
  readonly #emptied: (() => void) | undefined

  static { raise = (tally, by) => { if ((tally.#now += by) === 0) tally.#emptied?.() } }

  /** @param emptied called when the last lease has been given back */
  constructor(emptied?: () => void) { this.#emptied = emptied }
  get now(): number { return this.#now }
}

export class Lease implements Disposable {
  #one: Tally | undefined
  #other: Tally | undefined

  constructor(one: Tally, other: Tally | undefined) {
    this.#one = one
    this.#other = other
    raise(one, 1)
    if (other) raise(other, 1)
  }
  [Symbol.dispose](): void {
    const one = this.#one
    const other = this.#other
    if (!one) return
    this.#one = undefined
    this.#other = undefined
    raise(one, -1)
    if (other) raise(other, -1)
  }
}

/** @returns to be disposed of when what is counted is over */
export function lease(one: Tally, other?: Tally): Lease { return new Lease(one, other) }

/** One count for each of many keys that strangers choose, e.g. source addresses: a key nobody holds is forgotten. */
export class Tallies<K> {
  readonly #by = new Map<K, Tally>()

  of(key: K): number { return this.#by.get(key)?.now ?? 0 }
  get size(): number { return this.#by.size }
  lease(key: K): Lease {
    const known = this.#by.get(key)
    if (known) return new Lease(known, undefined)
    const made = new Tally(() => { this.#by.delete(key) })
    this.#by.set(key, made)
    return new Lease(made, undefined)
  }
}
