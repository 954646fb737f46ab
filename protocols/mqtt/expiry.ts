/**
 * Ages and expiry by the wall clock, which is the only one that outlives the process. A device without a real-time clock starts in 1970 and is set later;
 * nothing that was kept may seem half a century older for that.
 */
import type { StoredMessage } from './durability.ts'

/** A clock that shows less was never set: 1970, 2000, the default of a clock chip. */
const SET_FROM_MS = Date.UTC(2020, 0, 1)

/** Whether the clock was set, or lost its time, between the two, so that nobody knows how long it was. */
function isAcrossSetting(oneMs: number, otherMs: number): boolean { return (oneMs < SET_FROM_MS) !== (otherMs < SET_FROM_MS) }

/** Milliseconds that went by, never less than 0; 0 where nobody knows. */
export function elapsedMs(sinceMs: number, nowMs: number): number { return isAcrossSetting(sinceMs, nowMs) ? 0 : Math.max(0, nowMs - sinceMs) }

/** Milliseconds until the message expires (MQTT 5.0 §3.3.2.3.3), ≤ 0 when it has; Infinity = never, or nobody knows how long it has waited. */
export function leftMs({ expiresAtMs }: StoredMessage, nowMs: number): number {
  return expiresAtMs === undefined || isAcrossSetting(expiresAtMs, nowMs) ? Infinity : expiresAtMs - nowMs
}

/** What PUBLISH carries of it. */
export function expirySecOf(left: number): number | undefined { return left === Infinity ? undefined : Math.min(Math.ceil(left / 1000), 0xffff_ffff) }
