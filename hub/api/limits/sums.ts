/** Numbers that add up, by key; those that are nothing any more take no room. */
export class Sums {
  readonly #byKey = new Map<string, number>()

  of(key: string): number {
    return this.#byKey.get(key) ?? 0
  }
  /** Of all. */
  get total(): number {
    return this.#byKey.values().reduce((sum, n) => sum + n, 0)
  }
  /** @returns the sum of the key now */
  add(key: string, change: number): number {
    const sum = this.of(key) + change
    if (sum === 0) this.#byKey.delete(key)
    else this.#byKey.set(key, sum)
    return sum
  }
}
