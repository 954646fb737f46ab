/**
 * What subscriptions take in memory, which lasts as long as their sessions: filters may be 65,535 characters long, and
 * of one with 64 levels of a letter each every level costs a hundred times what was received. One session has a quarter
 * of the room, all of one certificate or address have half.
 */
import type { Session } from '../session/session.ts'

const SESSIONS_PART = 1 / 4
const SHARES_PART = 1 / 2

export class FilterQuota {
  readonly #maxBytes: number
  readonly #bySession = new Map<Session, number>()
  readonly #byShare = new Map<string, number>()
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** @param more what one SUBSCRIBE adds so far, the filter in question included */
  has(session: Session, more: number): boolean {
    const max = this.#maxBytes
    return (
      this.#bytes + more <= max &&
      (this.#bySession.get(session) ?? 0) + more <= max * SESSIONS_PART &&
      (this.#byShare.get(session.share) ?? 0) + more <= max * SHARES_PART
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
