/**
 * What is in use, counted. A count goes up only by taking a lease and down only by giving that lease back, which counts
 * once however often it is done: so no path can forget which count it raised, and none can lower it for another.
 */
let raise: (tally: Tally, by: 1 | -1) => void

export class Tally {
  #now = 0
  readonly #emptied: (() => void) | undefined

  static {
    raise = (tally, by) => {
      if ((tally.#now += by) === 0) tally.#emptied?.()
    }
  }

  /** @param emptied called when the last lease has been given back */
  constructor(emptied?: () => void) {
    this.#emptied = emptied
  }
  get now(): number {
    return this.#now
  }
}

export class Lease implements Disposable {
  #one: Tally | undefined
  #other: Tally | undefined
  #third: Tally | undefined

  constructor(one: Tally, other: Tally | undefined, third: Tally | undefined) {
    this.#one = one
    this.#other = other
    this.#third = third
    raise(one, 1)
    if (other) raise(other, 1)
    if (third) raise(third, 1)
  }
  [Symbol.dispose](): void {
    const one = this.#one
    const other = this.#other
    const third = this.#third
    if (!one) return
    this.#one = undefined
    this.#other = undefined
    this.#third = undefined
    raise(one, -1)
    if (other) raise(other, -1)
    if (third) raise(third, -1)
  }
}

/** @returns to be disposed of when what is counted is over */
export function takeLease(one: Tally, other?: Tally, third?: Tally): Lease {
  return new Lease(one, other, third)
}

/** One count for each of many keys that strangers choose, e.g. source addresses: a key nobody holds is forgotten. */
export class Tallies<K extends string> {
  readonly #by = new Map<K, Tally>()
  /** Stays until the next one: a source that has one request at a time would be made and forgotten for each. */
  #lastEmptied: K | undefined

  of(key: K): number {
    return this.#by.get(key)?.now ?? 0
  }
  get size(): number {
    const kept = this.#lastEmptied
    return this.#by.size - (kept !== undefined && this.of(kept) === 0 ? 1 : 0)
  }
  lease(key: K): Lease {
    return takeLease(this.tally(key))
  }
  /** For a lease that is taken at once: a tally that nobody has a lease of is not forgotten. */
  tally(key: K): Tally {
    const known = this.#by.get(key)
    if (known) return known
    const made = new Tally(() => this.#left(key))
    this.#by.set(key, made)
    return made
  }

  #left(key: K): void {
    const before = this.#lastEmptied
    if (before === key) return
    if (before !== undefined && this.of(before) === 0) this.#by.delete(before)
    this.#lastEmptied = key
  }
}
