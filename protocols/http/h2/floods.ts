/**
 * What costs its sender nothing and us work: streams that are reset as soon as they are opened (CVE-2023-44487) or in a
 * way that makes us reset them (CVE-2025-8671), and frames that are acknowledged or looked at and lead to nothing
 * (CVE-2019-9511 to 9518). Each kind has a budget per connection; a client with reasons for its frames never meets it.
 * Where Envoy has a default for such a budget (Http2ProtocolOptions), it is Envoy's.
 */
import type { Clock } from '../../../core/os/clock.ts'
import type { Http2Event } from './events.ts'

/** Envoy's premature_reset_total_stream_count; from then on most streams must not be of that kind. */
const MIN_STREAMS = 500
/** Of a kind in each period; a client has a reason for a handful. */
const MAX_FRAMES = 200
const PERIOD_MS = 10_000
/** Envoy's max_inbound_priority_frames_per_stream. */
const PRIORITIES_PER_STREAM = 100
/** Envoy's max_inbound_window_update_frames_per_data_frame_sent. */
const WINDOW_UPDATES_PER_DATA_FRAME = 10

export class Floods {
  readonly #clock: Clock
  readonly #found: (kind: Http2Event) => void
  #streams = 0
  #resets = 0
  #priorities = 0
  #windowUpdates = 0
  /** In the period at hand. */
  #settings = 0
  #pings = 0
  #emptyFrames = 0
  /** DATA frames, before the period began. */
  #sentBefore = 0
  #periodMs = 0
  #isOver = false

  /** @param found called once at most */
  constructor(clock: Clock, found: (kind: Http2Event) => void) {
    this.#clock = clock
    this.#found = found
  }

  /** One was opened, or would have been. */
  stream(): void {
    this.#streams++
  }

  /** One of the streams was reset by the client before it could have wanted its answer, or made us reset it. */
  reset(): void {
    if (++this.#resets * 2 > Math.max(MIN_STREAMS, this.#streams)) this.#tell('resets')
  }

  /** @param sentDataFrames on the connection so far */
  frame(kind: Http2Event, sentDataFrames: number): void {
    switch (kind) {
      case 'resets':
        this.reset()
        break
      case 'settings':
        if (this.#inPeriod(sentDataFrames) && ++this.#settings > MAX_FRAMES) this.#tell(kind)
        break
      // Some measure the round trip with a PING for each DATA that comes (grpc-go's estimate of the bandwidth).
      case 'pings':
        if (this.#inPeriod(sentDataFrames) && ++this.#pings > MAX_FRAMES + sentDataFrames - this.#sentBefore)
          this.#tell(kind)
        break
      case 'empty frames':
        if (this.#inPeriod(sentDataFrames) && ++this.#emptyFrames > MAX_FRAMES) this.#tell(kind)
        break
      case 'priorities':
        if (++this.#priorities > PRIORITIES_PER_STREAM * (1 + this.#streams)) this.#tell(kind)
        break
      case 'window updates':
        if (++this.#windowUpdates > this.#mostWindowUpdates(sentDataFrames)) this.#tell(kind)
        break
      // Bounds of their own were met.
      case 'continuations':
      case 'unread answers':
      case 'repeated fields':
        this.#tell(kind)
        break
      default:
        kind satisfies never
    }
  }

  /** Envoy's formula. */
  #mostWindowUpdates(sentDataFrames: number): number {
    return 5 + 2 * (this.#streams + WINDOW_UPDATES_PER_DATA_FRAME * sentDataFrames)
  }

  /** Begins the next one when it is time. @returns true */
  #inPeriod(sentDataFrames: number): boolean {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#periodMs <= PERIOD_MS) return true
    this.#periodMs = nowMs
    this.#sentBefore = sentDataFrames
    this.#settings = 0
    this.#pings = 0
    this.#emptyFrames = 0
    return true
  }
  #tell(kind: Http2Event): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#found(kind)
  }
}
