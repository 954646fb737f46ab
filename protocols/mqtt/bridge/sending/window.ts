/**
 * How many messages are in flight: as many as the way needs to be full, and no more, so that what is urgent does not
 * wait behind what is not. It doubles with each round trip that does not take longer for it, up to what the peer allows.
 */
import type { Clock } from '../../../../core/os/clock.ts'

const FIRST = 64
/** A round trip that takes so much longer than the shortest one stood in a queue. */
const QUEUED = 2
const QUEUED_MS = 20
const CROWDED = 8
const CROWDED_MS = 200
/** The way may change; then the shortest round trip does, too. */
const REMEMBERED_MS = 60_000

export class Window {
  readonly #clock: Clock
  readonly #most: number
  #size: number
  #probe: { readonly packetId: number; readonly sentMs: number; isFull: boolean } | undefined
  #shortestMs = Infinity
  #shortestAtMs = 0

  /** @param most what the peer allows */
  constructor(clock: Clock, most: number) {
    this.#clock = clock
    this.#most = most
    this.#size = Math.min(FIRST, most)
  }
  get size(): number {
    return this.#size
  }
  /** A message that is acknowledged is on its way; one at a time is watched. */
  noteSent(packetId: number, inFlight: number): void {
    this.#probe ??= { packetId, sentMs: this.#clock.monotonicMs(), isFull: false }
    if (inFlight >= this.#size) this.#probe.isFull = true
  }
  noteAcknowledged(packetId: number): void {
    const probe = this.#probe
    if (probe?.packetId !== packetId) return
    this.#probe = undefined
    const nowMs = this.#clock.monotonicMs()
    const tookMs = nowMs - probe.sentMs
    if (tookMs <= this.#shortestMs || nowMs - this.#shortestAtMs > REMEMBERED_MS) {
      this.#shortestMs = tookMs
      this.#shortestAtMs = nowMs
    }
    if (tookMs > this.#shortestMs * CROWDED + CROWDED_MS)
      this.#size = Math.max(Math.min(FIRST, this.#most), this.#size >> 1)
    else if (probe.isFull && tookMs <= this.#shortestMs * QUEUED + QUEUED_MS)
      this.#size = Math.min(this.#most, this.#size * 2)
  }
}
