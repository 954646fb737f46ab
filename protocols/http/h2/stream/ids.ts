/**
 * What is known of streams that are not at hand (RFC 9113 §5.1, §5.1.1): which were never opened, and about which of
 * those that are over frames may still be on their way. Memory is bounded: of what is too old nothing is known, and
 * nothing held against the peer.
 */
import { MAX_STREAM_ID } from '../../codec/h2-frames.ts'

/** Streams that we have reset. */
const MAX_REMEMBERED_RESETS = 1024

/**
 * ignored: nobody's fault. closed: its peer had ended or reset it. never opened: passed over when a higher one began.
 */
export type StreamFate = 'idle' | 'ignored' | 'closed' | 'never opened'

export class StreamIds {
  readonly #isServer: boolean
  /** The last that the peer has opened; a server opens none. */
  lastPeerId = 0
  /** Ids above it are not worked on: GOAWAY was sent. */
  goawayId = MAX_STREAM_ID
  /** A client's. */
  nextId = 1
  readonly #resets = new Set<number>()
  #forgottenId = 0
  /** The ids that were passed over last: from..to. */
  #gapFrom = 0
  #gapTo = 0

  constructor(isServer: boolean) {
    this.#isServer = isServer
  }

  /** A stream of the peer. */
  opened(id: number): void {
    if (id > this.lastPeerId + 2) {
      this.#gapFrom = this.lastPeerId + 1
      this.#gapTo = id - 1
    }
    this.lastPeerId = id
  }
  /** By us: what the peer sends until it hears of it is ignored. */
  reset(id: number): void {
    this.#resets.add(id)
    if (this.#resets.size <= MAX_REMEMBERED_RESETS) return
    const [oldest] = this.#resets
    this.#resets.delete(oldest!)
    this.#forgottenId = Math.max(this.#forgottenId, oldest!)
  }

  isIdle(id: number): boolean {
    // Pushes are not permitted.
    if ((id & 1) === 0) return true
    return this.#isServer ? id > this.lastPeerId && id <= this.goawayId : id >= this.nextId
  }
  /** Of a stream that is not at hand. */
  fateOf(id: number): StreamFate {
    if (this.isIdle(id)) return 'idle'
    if (this.#resets.has(id) || id <= this.#forgottenId || id > this.goawayId) return 'ignored'
    return id >= this.#gapFrom && id <= this.#gapTo ? 'never opened' : 'closed'
  }
}
