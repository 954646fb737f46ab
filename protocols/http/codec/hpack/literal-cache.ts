/**
 * What was decoded from the same bytes before. Most literals repeat: on each new connection, and where a peer does not
 * index. One cache serves the process, direct-mapped and bounded. No literal with a secret goes through it, as the time
 * that a look-up takes tells whether somebody else has sent the same.
 */

/** Encoded, length included. */
const MAX_LITERAL_BYTES = 128

type Kept<Decoded> = {
  readonly hash: number
  readonly owner: object
  readonly bytes: Uint8Array
  readonly decoded: Decoded
}

export class LiteralCache<Decoded> {
  readonly #slots: (Kept<Decoded> | undefined)[]
  /** Hashes by slot: a literal is kept when it is seen again, as many never are. */
  readonly #seen: Int32Array

  /** @param slots a power of two */
  constructor(slots: number) {
    this.#slots = Array.from({ length: slots })
    this.#seen = new Int32Array(slots)
  }

  /** @param seed of the owner. @returns for the other methods; 0 = too long to be kept */
  hash(seed: number, bytes: Uint8Array, start: number, end: number): number {
    if (end - start > MAX_LITERAL_BYTES) return 0
    let hash = seed
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193)
    hash ^= hash >>> 15
    return hash === 0 ? 1 : hash
  }

  /** @param owner what the meaning depends on beyond the bytes */
  find(hash: number, owner: object, bytes: Uint8Array, start: number): Decoded | undefined {
    const kept = this.#slots[hash & (this.#slots.length - 1)]
    if (kept === undefined || kept.hash !== hash || kept.owner !== owner) return undefined
    return isAt(kept.bytes, bytes, start) ? kept.decoded : undefined
  }

  /** Whether to keep it. */
  isSecondSight(hash: number): boolean {
    const slot = hash & (this.#seen.length - 1)
    if (this.#seen[slot] === hash) return true
    this.#seen[slot] = hash
    return false
  }

  /** @param bytes a copy */
  keep(hash: number, owner: object, bytes: Uint8Array, decoded: Decoded): void {
    this.#slots[hash & (this.#slots.length - 1)] = { hash, owner, bytes, decoded }
  }
}

/** A literal begins with its length: when all of `wanted` is there, the literal ends where `wanted` does. */
function isAt(wanted: Uint8Array, bytes: Uint8Array, start: number): boolean {
  for (let i = 0; i < wanted.length; i++) if (wanted[i] !== bytes[start + i]) return false
  return true
}
