/** When to renew: at half the certificate's life, by time that has passed rather than by the clock, which may jump. */
import { jitterMs, type Clock, type Random } from '../../core/os/clock.ts'
import type { Identity } from '../../model/identity.ts'
import type { TimeFloor } from './time-floor.ts'

/** Istio: SECRET_GRACE_PERIOD_RATIO 0.5, jitter 0.01; a little more spread for fleets that boot together. */
const RENEW_AT = { fraction: 0.5, spread: 0.05 }
/** A certificate without a life to speak of must not make us ask in a loop. */
const MIN_RENEWAL_MS = 1_000
/** istiod and the hub date a certificate back by so much. */
const BACKDATED_MS = 120_000
/** A certificate that was just made and seems older than this is the clock's fault. */
const MAX_BACKDATED_MS = 300_000
/** What the clock alone says of a certificate that is new is believed so often. */
const NEW_MS = 300_000

export class Renewal {
  readonly #clock: Clock
  readonly #random: Random
  readonly #floor: TimeFloor
  #for: Identity | undefined
  #sinceMs = 0
  #afterMs = 0
  /** The life of which half may pass: not what was over when the certificate came. */
  #usableMs = 0
  #fresh: 'new' | 'from-disk' = 'from-disk'

  constructor(p: { readonly clock: Clock; readonly random: Random; readonly floor: TimeFloor }) {
    this.#clock = p.clock
    this.#random = p.random
    this.#floor = p.floor
  }

  /** Monotonic milliseconds. */
  get dueAtMs(): number {
    return this.#sinceMs + this.#afterMs
  }

  /** The CA has just made it: its age is known without any clock. */
  received(identity: Identity): void {
    this.#begin(identity, 'new')
  }

  /** 0 or less = renew now. */
  leftMs(identity: Identity): number {
    if (this.#for !== identity) this.#begin(identity, 'from-disk')
    const passedMs = this.#clock.monotonicMs() - this.#sinceMs
    const leftMs = this.#afterMs - passedMs
    if (leftMs <= 0) return leftMs
    // A machine that slept does not notice by time that passed; a clock that is years ahead must not start a storm.
    const byClock =
      this.#floor.nowMs() >= identity.notAfterMs - this.#usableMs * (1 - RENEW_AT.fraction - RENEW_AT.spread)
    return byClock && (this.#fresh === 'from-disk' || passedMs >= NEW_MS) ? 0 : leftMs
  }

  #begin(identity: Identity, fresh: 'new' | 'from-disk'): void {
    const lifeMs = identity.notAfterMs - identity.notBeforeMs
    const ageMs = Math.max(0, this.#floor.nowMs() - identity.notBeforeMs)
    this.#for = identity
    this.#fresh = fresh
    this.#sinceMs = this.#clock.monotonicMs()
    // Of one from disk nobody knows how old it was when it came; a very short one is then renewed at each start.
    this.#usableMs = fresh === 'new' ? lifeMs - backdatedMs(lifeMs, ageMs) : lifeMs
    this.#afterMs = Math.max(
      MIN_RENEWAL_MS,
      jitterMs(this.#usableMs, RENEW_AT, this.#random) - (fresh === 'new' ? 0 : Math.min(ageMs, lifeMs)),
    )
  }
}

/**
 * How much of its life was over when it was made. Half of a minute's life would otherwise have passed before it began.
 */
function backdatedMs(lifeMs: number, ageMs: number): number {
  const usual = lifeMs > BACKDATED_MS ? BACKDATED_MS : 0
  // A clock that is behind makes it seem younger than it is.
  return ageMs < lifeMs && ageMs <= MAX_BACKDATED_MS ? Math.max(ageMs, usual) : usual
}
