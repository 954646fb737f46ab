/** The times of one HTTP/1.1 connection. One of them runs at a time, as one deadline. */
import type { Clock } from '../../../core/os/clock.ts'
import type { MeshError } from '../../../core/errors.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import type { Limits } from '../../context.ts'
import type { Deadline, Deadlines } from '../../deadlines.ts'

/**
 * After an answer that came before the request's end: how long the rest is read and thrown away, so that the answer is
 * not lost in a reset.
 */
const LINGER_MS = 1000
/** What has not left a moment after its answer was over, waits for a client that does not take it. */
const LEFT_SOON_MS = 100

/** What the time that is over was for. `look`: has the last answer left? */
export type H1Time = 'exchange' | 'head' | 'idle' | 'look' | 'linger'

export class H1Times implements Deadline {
  dueMs = Infinity
  readonly #deadlines: Deadlines
  readonly #clock: Clock
  readonly #limits: Limits
  readonly #owner: { onTimeout(what: H1Time): void; broken(error: MeshError): void }
  #what: H1Time = 'idle'
  /** Of the exchange at hand: between two moves, and for the request's last byte. */
  idleMs: number
  #requestDueMs = Infinity

  constructor(
    deadlines: Deadlines,
    clock: Clock,
    limits: Limits,
    owner: { onTimeout(what: H1Time): void; broken(error: MeshError): void },
  ) {
    this.#deadlines = deadlines
    this.#clock = clock
    this.#limits = limits
    this.#owner = owner
    this.idleMs = limits.idleMs
    deadlines.add(this)
  }

  exchange({ streamIdleMs, requestTimeoutMs }: HttpConnectionManager, startedMs: number): void {
    this.idleMs = streamIdleMs ?? this.#limits.idleMs
    this.#requestDueMs = requestTimeoutMs === undefined ? Infinity : startedMs + requestTimeoutMs
    this.moved(startedMs)
  }
  requestDone(): void {
    this.#requestDueMs = Infinity
  }
  /** Something of the exchange at hand has moved. */
  moved(nowMs = this.#clock.monotonicMs()): void {
    this.#arm('exchange', Math.min(nowMs + this.idleMs, this.#requestDueMs))
  }

  /** The head is one deadline as a whole: a byte now and then does not move it. */
  head(): void {
    this.#arm('head', this.#clock.monotonicMs() + this.#limits.requestHeadMs)
  }
  /** Between two requests. @param mayLeaveSoon the last answer is not known to wait for its client */
  idle({ connectionIdleMs }: HttpConnectionManager, mayLeaveSoon: boolean): void {
    const idleMs = connectionIdleMs ?? this.#limits.idleMs
    const nowMs = this.#clock.monotonicMs()
    if (mayLeaveSoon && idleMs > LEFT_SOON_MS) this.#arm('look', nowMs + LEFT_SOON_MS)
    else this.#arm('idle', nowMs + idleMs)
  }
  linger(): void {
    this.#arm('linger', this.#clock.monotonicMs() + LINGER_MS)
  }
  end(): void {
    this.#deadlines.delete(this)
  }

  onDue(): void {
    this.#owner.onTimeout(this.#what)
  }
  broken(error: MeshError): void {
    this.#owner.broken(error)
  }

  #arm(what: H1Time, dueMs: number): void {
    this.#what = what
    this.#deadlines.arm(this, dueMs)
  }
}
