/**
 * What the two lanes of a route with `live-first` have in common. A message that waited is older than what went before
 * it, so it must not become the retained one in its place.
 */
import type { DurableQueue } from '../../durability.ts'

/** Topics whose newest retained message went before an older one; above it everything is sent again afterwards. */
const MAX_TOPICS = 10_000

export class LanePair {
  readonly backlog: DurableQueue
  /** Of the routes. */
  readonly key: string
  /** Topic → everything in the backlog up to this is older than what was sent live. */
  readonly #outdatedUpTo = new Map<string, number>()
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
  /** @returns whether the backlog is sent, and what is retained is to be sent anew */
  takeRefresh(): boolean {
    if (this.backlog.depth > 0) return false
    this.#outdatedUpTo.clear()
    const isDue = this.#isUnsure
    this.#isUnsure = false
    return isDue
  }
}
