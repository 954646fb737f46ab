/**
 * Frames that cost the sender nothing and the receiver work: streams that are reset as soon as they are opened (CVE-2023-44487), SETTINGS and PING, which must be
 * acknowledged (CVE-2019-9512, 9515). nghttp2 bounds what is queued for an answer and CONTINUATION; here is what a connection may do in all.
 */
import type { Http2Session } from 'node:http2'
import type { Clock } from '../../agent/core/clock.ts'
import { guarded } from '../../agent/core/guard.ts'

export type FloodKind = 'resets' | 'settings' | 'pings'

/** Envoy's premature_reset_total_stream_count; from then on most streams must not be of that kind. */
const MIN_STREAMS = 500
/** Of each of SETTINGS and PING; a client has a reason for a handful. */
const MAX_FRAMES = 200
const PERIOD_MS = 10_000

export class Floods {
  readonly #clock: Clock
  readonly #found: (kind: FloodKind) => void
  #streams = 0
  #resets = 0
  readonly #frames = { settings: 0, pings: 0 }
  #periodMs = 0
  #isOver = false

  /** @param found called once at most */
  constructor(clock: Clock, found: (kind: FloodKind) => void) {
    this.#clock = clock
    this.#found = found
  }

  watch(session: Http2Session): void {
    const end = (): void => { session.destroy() }
    session.on('remoteSettings', guarded('http2', end, () => { this.frame('settings') }))
    session.on('ping', guarded('http2', end, () => { this.frame('pings') }))
  }

  stream(): void { this.#streams++ }
  /** One of the streams was reset by the client before it could have wanted its answer. */
  reset(): void { if (++this.#resets * 2 > MIN_STREAMS && this.#streams >= MIN_STREAMS && this.#resets * 2 > this.#streams) this.#tell('resets') }

  frame(kind: 'settings' | 'pings'): void {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#periodMs > PERIOD_MS) {
      this.#periodMs = nowMs
      this.#frames.settings = 0
      this.#frames.pings = 0
    }
    if (++this.#frames[kind] > MAX_FRAMES) this.#tell(kind)
  }
  #tell(kind: FloodKind): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#found(kind)
  }
}
