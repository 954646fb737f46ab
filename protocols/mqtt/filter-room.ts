/**
 * What subscriptions take in memory, which lasts as long as their sessions: filters may be 65,535 characters long, and of one with 64 levels of a letter each
 * every level costs a hundred times what was received. One session has a quarter of the room, all of one certificate or address have half.
 */
import type { Session } from './session.ts'

/** Of an entry, and of a level of the tree (measured: 13.7 MB for a thousand filters of 63 levels). */
const ENTRY_BYTES = 400
const LEVEL_BYTES = 200
const SESSIONS_PART = 1 / 4
const SHARES_PART = 1 / 2

export function costOf(filter: string): number { return ENTRY_BYTES + filter.length + levelsCost(filter, 0) }

/** @param free so many levels are within what an entry takes */
export function levelsCost(path: string, free: number): number {
  let levels = 1
  for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) levels++
  return Math.max(0, levels - free) * LEVEL_BYTES
}

export class FilterRoom {
  readonly #maxBytes: number
  readonly #bySession = new Map<Session, number>()
  readonly #byShare = new Map<string, number>()
  #bytes = 0

  constructor(maxBytes: number) { this.#maxBytes = maxBytes }

  get bytes(): number { return this.#bytes }

  /** @param more what one SUBSCRIBE adds so far, the filter in question included */
  has(session: Session, more: number): boolean {
    const max = this.#maxBytes
    return this.#bytes + more <= max && (this.#bySession.get(session) ?? 0) + more <= max * SESSIONS_PART && (this.#byShare.get(session.share) ?? 0) + more <= max * SHARES_PART
  }

  /** @param bytes negative: it is gone */
  change(session: Session, bytes: number): void {
    this.#bytes += bytes
    put(this.#bySession, session, bytes)
    put(this.#byShare, session.share, bytes)
  }
  /** The session is in another share from now on. */
  moved(session: Session, from: string): void {
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
