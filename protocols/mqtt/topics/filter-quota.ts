/**
 * Bounds the memory of subscriptions, which live as long as their sessions. A filter may have 65,535 characters. In a
 * filter of 64 one-letter levels, each level takes a hundred times the bytes that were received. One session may use a
 * quarter of the room, all sessions of one certificate or address half, or a thirty-second when the process has nearly
 * all the memory that it may have.
 */
import type { Session } from '../session/session.ts'

const SESSIONS_PART = 1 / 4
const SHARES_PART = 1 / 2
const MEMORY_FULL_PART = 1 / 32

export class FilterQuota {
  readonly #maxBytes: number
  readonly #isMemoryFull: () => boolean
  readonly #bySession = new Map<Session, number>()
  readonly #byShare = new Map<string, number>()
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
    const ofShare = (this.#byShare.get(session.share) ?? 0) + more
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
    put(this.#bySession, session, bytes)
    put(this.#byShare, session.share, bytes)
  }
  /** The session is in another share from now on. */
  move(session: Session, from: string): void {
    const bytes = this.#bySession.get(session) ?? 0
    put(this.#byShare, from, -bytes)
    put(this.#byShare, session.share, bytes)
  }
}

function put<K>(map: Map<K, number>, key: K, more: number): void {
  const sum = (map.get(key) ?? 0) + more
  if (sum === 0) map.delete(key)
  else map.set(key, sum)
}
