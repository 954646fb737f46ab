/** The dynamic table of RFC 7541 §2.3.2 and §4: first in, first out, bounded by what its entries count. */

const FIRST_SLOTS = 32

export class DynamicTable<Entry extends { readonly size: number }> {
  /** A ring; its length is a power of two and grows with the number of entries. */
  #ring = Array.from<Entry | undefined>({ length: FIRST_SLOTS })
  #maxBytes: number
  #bytes = 0
  #count = 0
  /** Ever; the newest entry is the one before. */
  #inserted = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get maxBytes(): number {
    return this.#maxBytes
  }
  get bytes(): number {
    return this.#bytes
  }
  get count(): number {
    return this.#count
  }
  get inserted(): number {
    return this.#inserted
  }

  /** @param age 0 = the newest */
  at(age: number): Entry | undefined {
    return age < this.#count ? this.#ring[(this.#inserted - 1 - age) & (this.#ring.length - 1)] : undefined
  }

  /** RFC 7541 §4.3. */
  setMaxBytes(maxBytes: number): void {
    this.#maxBytes = maxBytes
    this.#evictTo(maxBytes)
  }

  /** RFC 7541 §4.4: an entry above the whole table empties it and is no error. */
  insert(entry: Entry): void {
    this.#evictTo(this.#maxBytes - entry.size)
    if (entry.size > this.#maxBytes) return
    if (this.#count === this.#ring.length) this.#grow()
    this.#ring[this.#inserted & (this.#ring.length - 1)] = entry
    this.#inserted++
    this.#count++
    this.#bytes += entry.size
  }

  /** For who keeps an index of the entries. */
  protected evicted(_entry: Entry): void {
    /* nothing to do here */
  }

  #evictTo(bytes: number): void {
    while (this.#bytes > bytes && this.#count > 0) {
      const slot = (this.#inserted - this.#count) & (this.#ring.length - 1)
      const entry = this.#ring[slot]!
      this.#ring[slot] = undefined
      this.#count--
      this.#bytes -= entry.size
      this.evicted(entry)
    }
  }

  #grow(): void {
    const { length } = this.#ring
    const larger = Array.from<Entry | undefined>({ length: length * 2 })
    for (let n = this.#inserted - this.#count; n < this.#inserted; n++) {
      larger[n & (length * 2 - 1)] = this.#ring[n & (length - 1)]
    }
    this.#ring = larger
  }
}
