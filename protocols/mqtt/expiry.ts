/**
 * Ages and expiry use the wall clock because no other clock survives a restart. A device without a real-time clock
 * starts in 1970 and gets the time later. A stored message must not look half a century old because of that.
 */
import type { Clock } from '../../core/os/clock.ts'
import { memoize } from '../../core/memoize.ts'
import type { StoredMessage } from './durability.ts'

/** A clock that shows less was never set: 1970, 2000, the default of a clock chip. */
const SET_FROM_MS = Date.UTC(2020, 0, 1)

/** Whether the clock was set, or lost its time, between the two, so that nobody knows how long it was. */
function isAcrossSetting(oneMs: number, otherMs: number): boolean {
  return oneMs < SET_FROM_MS !== otherMs < SET_FROM_MS
}

/** Milliseconds that went by, never less than 0; 0 where nobody knows. */
export function computeElapsedMs(sinceMs: number, nowMs: number): number {
  return isAcrossSetting(sinceMs, nowMs) ? 0 : Math.max(0, nowMs - sinceMs)
}

/**
 * Milliseconds until the message expires (MQTT 5.0 §3.3.2.3.3), ≤ 0 when it has, and never more than it was given;
 * Infinity = never, or nobody knows how long it has waited.
 */
export function computeLeftMs(
  { expiresAtMs, expirySec }: Pick<StoredMessage, 'expiresAtMs' | 'expirySec'>,
  nowMs: number,
): number {
  if (expiresAtMs === undefined || isAcrossSetting(expiresAtMs, nowMs)) return Infinity
  return Math.min(expiresAtMs - nowMs, expirySec === undefined ? Infinity : expirySec * 1000)
}

/** When a message that comes now expires, and how long it was given. */
export function computeExpiry(
  messageExpirySec: number | undefined,
  nowMs: number,
): Pick<StoredMessage, 'expiresAtMs' | 'expirySec'> {
  return messageExpirySec === undefined
    ? NO_EXPIRY
    : { expiresAtMs: nowMs + messageExpirySec * 1000, expirySec: messageExpirySec }
}
const NO_EXPIRY = { expiresAtMs: undefined, expirySec: undefined }

/**
 * Wall time that does not go back: when the clock is set back, messages go on to expire at the pace of the time that
 * goes by.
 */
class MessageClock {
  readonly #clock: Clock
  #lastMs: number
  #atMs: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#lastMs = clock.wallMs()
    this.#atMs = clock.monotonicMs()
  }
  nowMs(): number {
    const atMs = this.#clock.monotonicMs()
    const [wallMs, wouldBeMs] = [this.#clock.wallMs(), this.#lastMs + atMs - this.#atMs]
    // A clock that lost its time, or was never set, is what it is: nothing is counted across that.
    this.#lastMs = isAcrossSetting(wallMs, wouldBeMs) ? wallMs : Math.max(wallMs, wouldBeMs)
    this.#atMs = atMs
    return this.#lastMs
  }
}
const messageClockOf = memoize((clock: Clock) => new MessageClock(clock))
/** What expiry of messages is counted by, everywhere in the process. */
export function readMessageMs(clock: Clock): number {
  return messageClockOf(clock).nowMs()
}

/** What PUBLISH carries of it. */
export function toExpirySec(left: number): number | undefined {
  return left === Infinity ? undefined : Math.min(Math.ceil(left / 1000), 0xffff_ffff)
}
