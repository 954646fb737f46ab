/**
 * Deadlines of many connections with one timer. Moving a deadline is an assignment; the timer looks at all of them when
 * the earliest known one may be due. Requests then cost no timer of their own.
 */
import type { Clock, Timer } from '../core/os/clock.ts'
import type { MeshError } from '../core/errors.ts'
import { guard } from '../core/defects/guard.ts'

export interface Deadline {
  /** Monotonic milliseconds; Infinity = none. Set by Deadlines; its owner may set it to Infinity. */
  dueMs: number
  /** Where it is among the others. Set by Deadlines. */
  deadlineAt?: number
  /** Called once per arming, with dueMs set back to Infinity. */
  onDue(): void
  /** Ends what the deadline belongs to: onDue has thrown. */
  broken?(error: MeshError): void
}

/** Looks at all entries come no closer together than this, so deadlines are met up to so much late. */
const MIN_STEP_MS = 5

export class Deadlines {
  readonly #clock: Clock
  /** In no order. No Set: core/runtime/linked-list.ts. */
  readonly #entries: Deadline[] = []
  #timer: Timer | undefined
  #nextMs = Infinity

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(entry: Deadline): void {
    if (this.#has(entry)) return
    entry.deadlineAt = this.#entries.push(entry) - 1
  }

  /** After it `onDue` is not called any more. */
  delete(entry: Deadline): void {
    entry.dueMs = Infinity
    if (!this.#has(entry)) return
    const last = this.#entries.pop()!
    if (last !== entry) {
      last.deadlineAt = entry.deadlineAt!
      this.#entries[last.deadlineAt] = last
    }
    if (this.#entries.length === 0) this.#stop()
  }
  #has(entry: Deadline): boolean {
    return entry.deadlineAt !== undefined && this.#entries[entry.deadlineAt] === entry
  }

  /** @param dueMs Infinity switches it off */
  arm(entry: Deadline, dueMs: number): void {
    entry.dueMs = dueMs
    if (dueMs < this.#nextMs) this.#schedule(dueMs)
  }

  #schedule(dueMs: number): void {
    this.#timer?.cancel()
    this.#nextMs = dueMs
    this.#timer = this.#clock.after(Math.max(1, Math.ceil(dueMs - this.#clock.monotonicMs())), () => this.#look())
  }

  #look(): void {
    const now = this.#clock.monotonicMs()
    const due: Deadline[] = []
    let next = Infinity
    for (const entry of this.#entries) {
      if (entry.dueMs <= now) {
        due.push(entry)
        entry.dueMs = Infinity
      } else if (entry.dueMs < next) next = entry.dueMs
    }
    this.#timer = undefined
    this.#nextMs = Infinity
    if (next < Infinity) this.#schedule(Math.max(next, now + MIN_STEP_MS))
    for (const entry of due) if (this.#has(entry)) tell(entry)
  }

  #stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#nextMs = Infinity
  }
}

const tell = guard(
  'timer',
  (error, entry) => entry.broken?.(error),
  (entry: Deadline) => entry.onDue(),
)
