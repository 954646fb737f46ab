/**
 * Bounds the memory of subscriptions, which live as long as their sessions. A filter may have 65,535 characters. In a
 * filter of 64 one-letter levels, each level takes a hundred times the bytes that were received. One session may use a
 * quarter of the room, all sessions of one certificate or address half, or a thirty-second when the process has nearly
 * all the memory that it may have.
 */
import { Lingering } from './lingering.ts'
import type { Session } from '../session/session.ts'

const SESSIONS_PART = 1 / 4
const SHARES_PART = 1 / 2
const MEMORY_FULL_PART = 1 / 32

export class FilterQuota {
  readonly #maxBytes: number
  readonly #isMemoryFull: () => boolean
  readonly #bySession = new WeakMap<Session, number>()
  readonly #byShare = new Sums()
  #bytes = 0

  constructor(maxBytes: number, isMemoryFull: () => boolean) {
    this.#maxBytes = maxBytes
    this.#isMemoryFull = isMemoryFull
  }

  get bytes(): number {
    return this.#bytes
  }

  /** @param more what one SUBSCRIBE adds so far, the filter in question included */
  has(session: Session, more: number): boolean {
    const max = this.#maxBytes
    const ofShare = this.#byShare.get(session.share) + more
    return (
      this.#bytes + more <= max &&
      (this.#bySession.get(session) ?? 0) + more <= max * SESSIONS_PART &&
      ofShare <= max * SHARES_PART &&
      (ofShare <= max * MEMORY_FULL_PART || !this.#isMemoryFull())
    )
  }

  /** @param bytes negative: it is gone */
  change(session: Session, bytes: number): void {
    this.#bytes += bytes
    this.#bySession.set(session, (this.#bySession.get(session) ?? 0) + bytes)
    this.#byShare.add(session.share, bytes)
  }
  /** The session is in another share from now on. */
  move(session: Session, from: string): void {
    const bytes = this.#bySession.get(session) ?? 0
    this.#byShare.add(from, -bytes)
    this.#byShare.add(session.share, bytes)
  }
}

class Sums {
  readonly #sums = new Map<string, number>()
  readonly #zeros = new Lingering()

  get(key: string): number {
    return this.#sums.get(key) ?? 0
  }
  add(key: string, more: number): void {
    const before = this.#sums.get(key)
    const sum = (before ?? 0) + more
    this.#sums.set(key, sum)
    if (before === 0 && sum !== 0) this.#zeros.delete(key)
    if (sum !== 0 || before === 0) return
    const last = this.#zeros.add(key)
    if (last !== undefined) this.#sums.delete(last)
  }
}
