/**
 * Entries in the order in which they came, for what comes and goes with every message. A Set or Map of V8's would keep
 * garbage: it is built anew whenever deleted entries have filled it, and each table that was given up refers to the one
 * that followed. Once one of them was taken for old, all that follow live until a full collection, with whatever was in
 * them at their end (docs/performance.md).
 */
export class LinkedList<T> {
  #first: Place<T> | undefined
  #last: Place<T> | undefined
  #size = 0

  get size(): number {
    return this.#size
  }

  /** At the end. */
  add(value: T): Place<T> {
    const last = this.#last
    const place = new Place(value, last)
    if (last) last.next = place
    else this.#first = place
    this.#last = place
    this.#size++
    return place
  }

  /** Once for a place of this list; later calls do nothing. A place refers to nothing then: see above. */
  delete(place: Place<T> | undefined): void {
    if (place?.value === undefined) return
    const { next, previous } = place
    place.value = undefined
    place.next = undefined
    place.previous = undefined
    if (previous) previous.next = next
    else this.#first = next
    if (next) next.previous = previous
    else this.#last = previous
    this.#size--
  }

  /** @returns the first, which is not in the list any more */
  shift(): T | undefined {
    const first = this.#first
    const value = first?.value
    this.delete(first)
    return value
  }

  /** Those that are here now; one that is deleted meanwhile is left out. */
  *[Symbol.iterator](): Generator<T, void> {
    const places: Place<T>[] = []
    for (let place = this.#first; place; place = place.next) places.push(place)
    for (const place of places) if (place.value !== undefined) yield place.value
  }
}

/** Of an entry in a list. Its fields are the list's. */
export class Place<T> {
  value: T | undefined
  next: Place<T> | undefined
  previous: Place<T> | undefined

  constructor(value: T, previous: Place<T> | undefined) {
    this.value = value
    this.previous = previous
  }
}
