/**
 * What the two lanes of a route with `live-first` have in common. A message that waited is older than what went before
 * it, so it must not become the retained one in its place.
 */
import type { DurableQueue } from '../../durability.ts'

/** Topics whose newest retained message went before an older one; above it everything is sent again afterwards. */
const MAX_TOPICS = 10_000

/** Whether the broker has retained another payload, as far as anybody knows. */
export type IsOther = (topic: string, payload: Uint8Array) => boolean

export class LanePair {
  readonly backlog: DurableQueue
  /** Of the routes. */
  readonly key: string
  /** Topic → everything in the backlog up to this is older than what was sent live. */
  readonly #outdatedUpTo = new Map<string, number>()
  /** Topic → payload that the broker has retained, of what went since there is a backlog. */
  readonly #kept = new Map<string, Uint8Array>()
  /** The broker may have kept an older message. Nobody knows what an earlier run has sent. */
  #isUnsure: boolean

  constructor(backlog: DurableQueue, key: string) {
    this.backlog = backlog
    this.key = key
    this.#isUnsure = backlog.depth > 0
  }

  /**
   * A message with RETAIN goes in front of what waits.
   * @param published whether that was in this connection, or before a later part of the backlog perhaps
   */
  sentLive(topic: string, published: 'now' | 'earlier'): void {
    const { depth, lastSeq } = this.backlog
    if (depth === 0) return
    if (published === 'now' && (this.#outdatedUpTo.size < MAX_TOPICS || this.#outdatedUpTo.has(topic)))
      this.#outdatedUpTo.set(topic, lastSeq)
    else this.#isUnsure = true
  }
  /** Whether the broker has a newer message of the topic than this one of the backlog. */
  isOutdated(topic: string, seq: number): boolean {
    return seq <= (this.#outdatedUpTo.get(topic) ?? 0)
  }
  /** A message went with RETAIN. */
  noteRetained(topic: string, payload: Uint8Array): void {
    if (this.#kept.size < MAX_TOPICS || this.#kept.has(topic)) this.#kept.set(topic, payload)
    else this.#isUnsure = true
  }
  /**
   * @returns once the backlog is sent, where it is not known that the broker has the newest of everything: whether it
   * has another payload than this one
   */
  takeRefresh(): IsOther | undefined {
    if (this.backlog.depth > 0 || (this.#outdatedUpTo.size === 0 && this.#kept.size === 0 && !this.#isUnsure))
      return undefined
    const kept = new Map(this.#kept)
    const isDue = this.#isUnsure
    this.#outdatedUpTo.clear()
    this.#kept.clear()
    this.#isUnsure = false
    if (!isDue) return undefined
    return (topic, payload) => {
      const known = kept.get(topic)
      return known === undefined ? kept.size >= MAX_TOPICS : !Buffer.from(known).equals(payload)
    }
  }
}
