/**
 * Packet ids that this side chose, and what each waits for. Asked several times for each message: a Map would be built
 * anew again and again while ids come and go. An id is taken only when its place in the table is free, so none is ever
 * looked for, and the table stays as small as what is in flight.
 */
export type Awaits = 'puback' | 'pubrec' | 'pubcomp'
const NAMES = [undefined, 'puback', 'pubrec', 'pubcomp'] as const
const CODES = { puback: 1, pubrec: 2, pubcomp: 3 } as const

const LEAST_PLACES = 16
const MAX_ID = 65_535

export class AwaitedIds {
  /** Place of an id: the id modulo the number of places, a power of two. */
  #ids = new Uint16Array(0)
  #codes = new Uint8Array(0)
  #lastId = 0
  size = 0

  /** @returns a packet id that was not in use; the caller takes half of all at most */
  claim(awaits: Awaits): number {
    if (this.size * 2 >= this.#ids.length) this.#grow()
    const mask = this.#ids.length - 1
    let id = this.#lastId
    do id = (id % MAX_ID) + 1
    while (this.#codes[id & mask] !== 0)
    this.#lastId = id
    this.#ids[id & mask] = id
    this.#codes[id & mask] = CODES[awaits]
    this.size++
    return id
  }
  get(id: number): Awaits | undefined {
    const place = id & (this.#ids.length - 1)
    return this.#ids[place] === id ? NAMES[this.#codes[place]!] : undefined
  }
  /** Of an id that is in use. */
  set(id: number, awaits: Awaits): void {
    this.#codes[id & (this.#ids.length - 1)] = CODES[awaits]
  }
  /** @returns false where it does not wait for that */
  release(id: number, awaits: Awaits): boolean {
    const place = id & (this.#ids.length - 1)
    if (this.#ids[place] !== id || this.#codes[place] !== CODES[awaits]) return false
    this.#codes[place] = 0
    this.size--
    return true
  }

  #grow(): void {
    const [ids, codes] = [this.#ids, this.#codes]
    const places = Math.max(LEAST_PLACES, ids.length * 2)
    this.#ids = new Uint16Array(places)
    this.#codes = new Uint8Array(places)
    for (const [at, id] of ids.entries()) {
      const code = codes[at]!
      if (code === 0) continue
      this.#ids[id & (places - 1)] = id
      this.#codes[id & (places - 1)] = code
    }
  }
}
