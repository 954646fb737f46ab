/** A map that keeps the `max` entries used last. For caches whose loss costs time only. */
export class Lru<K, V> {
  readonly #max: number
  readonly #entries = new Map<K, V>()
  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#entries.size
  }
  get(key: K): V | undefined {
    const value = this.#entries.get(key)
    if (value === undefined) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, value)
    return value
  }
  set(key: K, value: V): void {
    this.#entries.delete(key)
    this.#entries.set(key, value)
    if (this.#entries.size > this.#max)
      for (const oldest of this.#entries.keys()) {
        this.#entries.delete(oldest)
        break
      }
  }
  delete(key: K): void {
    this.#entries.delete(key)
  }
}
