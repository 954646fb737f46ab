/**
 * Does a certificate count at a time (RFC 5280 §4.1.2.5)? This is the one place that compares its dates. Which time that
 * is, the system's or a later one that signatures prove, is the caller's to say, and so is grace after the end.
 */

export type Expiring = { readonly notAfterMs: number }
export type Dated = Expiring & { readonly notBeforeMs: number }

/**
 * `leftMs`: for how long it still counts, grace included. `expiredMs`: how long ago it ended; in grace it counts all the
 * same.
 */
export type Expiry =
  | { readonly state: 'valid'; readonly leftMs: number }
  | { readonly state: 'grace'; readonly leftMs: number; readonly expiredMs: number }
  | { readonly state: 'expired'; readonly expiredMs: number }
export type Validity = Expiry | { readonly state: 'not-yet'; readonly inMs: number }

/** By its end alone: where the clock may be behind, a certificate that is not valid yet is no fault of its own. */
export function checkExpiry({ notAfterMs }: Expiring, nowMs: number, graceMs = 0): Expiry {
  // At its last instant it is over, as OpenSSL has it. A date that is none counts as over.
  if (nowMs < notAfterMs) return { state: 'valid', leftMs: notAfterMs + graceMs - nowMs }
  const expiredMs = nowMs - notAfterMs
  return nowMs < notAfterMs + graceMs
    ? { state: 'grace', leftMs: graceMs - expiredMs, expiredMs }
    : { state: 'expired', expiredMs }
}

/** By both its dates. */
export function checkValidity(dates: Dated, nowMs: number, graceMs = 0): Validity {
  return nowMs < dates.notBeforeMs
    ? { state: 'not-yet', inMs: dates.notBeforeMs - nowMs }
    : checkExpiry(dates, nowMs, graceMs)
}

export function isExpired(dates: Expiring, nowMs: number): boolean {
  return checkExpiry(dates, nowMs).state === 'expired'
}
