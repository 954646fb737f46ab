/**
 * Keys that are taken out of large maps only after MOST_LINGERING others. A Map of V8's keeps the place of a deleted key
 * in its chain until so many are deleted that the map is built anew: among 10,000 keys, one that comes and goes again and
 * again takes 50 µs each time (Node 26.10), of a client that sends 17 bytes for it.
 */
export const MOST_LINGERING = 64
/** Larger ones pay for themselves, and would be held uncounted. */
const MAX_CHARS = 256

export class Lingering {
  readonly #keys = new Set<string>()

  get size(): number {
    return this.#keys.size
  }
  /** The key means nothing from now on. @returns the one to be taken out */
  add(key: string): string | undefined {
    if (key.length > MAX_CHARS) return key
    this.#keys.add(key)
    if (this.#keys.size <= MOST_LINGERING) return undefined
    const [oldest] = this.#keys
    this.#keys.delete(oldest!)
    return oldest
  }
  /** It means something again. */
  delete(key: string): void {
    this.#keys.delete(key)
  }
}
