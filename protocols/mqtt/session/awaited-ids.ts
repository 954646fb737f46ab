/**
 * Packet ids of messages towards one client, and what each waits for. Asked several times for each message: a Map would
 * be built anew again and again while ids come and go, and keep garbage (core/runtime/linked-list.ts). An open-addressed
 * table that is changed in place; ids come in order, so that nearly all stand where they belong, and it stays as small as
 * what is in flight.
 */
export type Awaits = 'puback' | 'pubrec' | 'release' | 'pubcomp'
const NAMES = [undefined, 'puback', 'pubrec', 'release', 'pubcomp'] as const
const CODES = { puback: 1, pubrec: 2, release: 3, pubcomp: 4 } as const

const LEAST_PLACES = 16
const MAX_ID = 65_535

export class AwaitedIds {
  /** Place of an id: the id modulo the number of places, a power of two, or the next that was free. */
  #ids = new Uint16Array(0)
  /** 0: the place is free. */
  #codes = new Uint8Array(0)
  /** Of messages that have a number of their own. */
  #seqs: number[] = []
  /** That do not stand where they belong. */
  #displaced = 0
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
    this.#put(id, CODES[awaits])
    return id
  }
  /** Of an id that is not in use. @param seq its message's number */
  add(id: number, seq: number, awaits: Awaits): void {
    if (this.size * 2 >= this.#ids.length) this.#grow()
    this.#seqs[this.#put(id, CODES[awaits])] = seq
  }
  has(id: number): boolean {
    return this.#placeOf(id) >= 0
  }
  get(id: number): Awaits | undefined {
    const at = this.#placeOf(id)
    return at < 0 ? undefined : NAMES[this.#codes[at]!]
  }
  /** As it was added; of an id that is in use. */
  seqOf(id: number): number {
    return this.#seqs[this.#placeOf(id)]!
  }
  /** Of an id that is in use. */
  set(id: number, awaits: Awaits): void {
    this.#codes[this.#placeOf(id)] = CODES[awaits]
  }
  /** @returns false where it does not wait for that */
  release(id: number, awaits: Awaits): boolean {
    const at = this.#placeOf(id)
    if (at < 0 || this.#codes[at] !== CODES[awaits]) return false
    this.size--
    this.#codes[at] = 0
    if (this.#displaced > 0) this.#close(at)
    return true
  }
  /** None is in use. */
  clear(): void {
    this.#ids = new Uint16Array(0)
    this.#codes = new Uint8Array(0)
    this.#seqs = []
    this.size = this.#displaced = 0
  }

  /** @returns -1 where it is not in use */
  #placeOf(id: number): number {
    const mask = this.#ids.length - 1
    for (let at = id & mask; mask >= 0 && this.#codes[at] !== 0; at = (at + 1) & mask) {
      if (this.#ids[at] === id) return at
      if (this.#displaced === 0) return -1
    }
    return -1
  }
  #put(id: number, code: number): number {
    const mask = this.#ids.length - 1
    const home = id & mask
    let at = home
    while (this.#codes[at] !== 0) at = (at + 1) & mask
    if (at !== home) this.#displaced++
    this.#ids[at] = id
    this.#codes[at] = code
    this.size++
    return at
  }
  /** Who stands further on because this place was taken moves up: a look ends at the first free place. */
  #close(gap: number): void {
    const mask = this.#ids.length - 1
    let free = gap
    if ((this.#ids[free]! & mask) !== free) this.#displaced--
    for (let at = (free + 1) & mask; this.#codes[at] !== 0; at = (at + 1) & mask) {
      const home = this.#ids[at]! & mask
      if (((at - home) & mask) < ((at - free) & mask)) continue
      this.#ids[free] = this.#ids[at]!
      this.#codes[free] = this.#codes[at]!
      this.#seqs[free] = this.#seqs[at]!
      this.#codes[at] = 0
      if (home === free) this.#displaced--
      free = at
    }
  }

  #grow(): void {
    const [ids, codes, seqs] = [this.#ids, this.#codes, this.#seqs]
    const places = Math.max(LEAST_PLACES, ids.length * 2)
    this.#ids = new Uint16Array(places)
    this.#codes = new Uint8Array(places)
    this.#seqs = seqs.length > 0 ? Array.from<number>({ length: places }).fill(0) : []
    this.size = this.#displaced = 0
    for (let at = 0; at < ids.length; at++) {
      if (codes[at] === 0) continue
      const place = this.#put(ids[at]!, codes[at]!)
      if (seqs.length > 0) this.#seqs[place] = seqs[at]!
    }
  }
}
