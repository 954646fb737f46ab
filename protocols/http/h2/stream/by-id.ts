/**
 * The streams of a session by their ids: an open-addressed table that is changed in place. A Map would keep garbage
 * (core/runtime/linked-list.ts). Ids of one side go up by two, so that those at hand mostly stand where they belong; a peer that
 * chooses others makes a look pass the streams that it has open, at the worst.
 */
import type { Http2Stream } from './stream.ts'

const LEAST_PLACES = 16

export class StreamsById {
  /** A power of two, at most half of them taken. */
  #places: (Http2Stream | undefined)[] = createPlaces(LEAST_PLACES)
  #size = 0

  get size(): number {
    return this.#size
  }

  get(id: number): Http2Stream | undefined {
    return this.#places[this.#find(id)]
  }

  /** Of an id that is not here. */
  add(stream: Http2Stream): void {
    if ((this.#size + 1) * 2 > this.#places.length) this.#grow()
    this.#places[this.#find(stream.id)] = stream
    this.#size++
  }

  /** @returns whether it was here */
  delete(id: number): boolean {
    const places = this.#places
    let free = this.#find(id)
    if (places[free] === undefined) return false
    this.#size--
    // Who stands further on because this place was taken moves up: a look ends at the first free place.
    for (let at = this.#after(free); places[at] !== undefined; at = this.#after(at)) {
      const home = this.#homeOf(places[at]!.id)
      if (this.#stepsTo(home, at) < this.#stepsTo(free, at)) continue
      places[free] = places[at]
      free = at
    }
    places[free] = undefined
    return true
  }

  /** In the order of their ids; later changes do not show. */
  list(): Http2Stream[] {
    return this.#places.filter((stream) => stream !== undefined).sort((a, b) => a.id - b.id)
  }

  /** @returns where it is, or would be */
  #find(id: number): number {
    let at = this.#homeOf(id)
    for (let there = this.#places[at]; there !== undefined && there.id !== id; there = this.#places[at])
      at = this.#after(at)
    return at
  }
  #homeOf(id: number): number {
    return (id >>> 1) & (this.#places.length - 1)
  }
  #after(at: number): number {
    return (at + 1) & (this.#places.length - 1)
  }
  #stepsTo(from: number, at: number): number {
    return (at - from) & (this.#places.length - 1)
  }

  #grow(): void {
    const before = this.#places
    this.#places = createPlaces(before.length * 2)
    for (const stream of before) if (stream !== undefined) this.#places[this.#find(stream.id)] = stream
  }
}

function createPlaces(count: number): undefined[] {
  return Array.from<undefined>({ length: count }).fill(undefined)
}
