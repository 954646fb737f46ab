/**
 * How long one connection may take packets before others have their turn: a chunk holds thousands of them, and each may
 * ask for a search through all filters. The connections of one turn of the event loop share what is given, and each has
 * a little. Longer slices cost less: what goes to a receiver in a turn leaves with one write.
 */
import { doNothing, guard } from '../../core/defects/guard.ts'
import type { Clock } from '../../core/os/clock.ts'

const TURN_MS = 10
const LEAST_MS = 2
/** What took less is not looked at closely. */
const SHORT_MS = 0.5

export class Slices {
  readonly #clock: Pick<Clock, 'monotonicMs' | 'threadCpuMs'>
  #usedMs = 0
  #isScheduled = false
  readonly #atEndOfTurn: (call: () => void) => void

  constructor(
    clock: Pick<Clock, 'monotonicMs' | 'threadCpuMs'>,
    atEndOfTurn: (call: () => void) => void = setImmediate,
  ) {
    this.#clock = clock
    this.#atEndOfTurn = atEndOfTurn
  }

  /** Of a connection that begins now. */
  begin(): Slice {
    return new Slice(this.#clock, Math.max(LEAST_MS, TURN_MS - this.#usedMs))
  }
  end({ tookMs }: Slice): void {
    if (tookMs === 0) return
    this.#usedMs += tookMs
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#atEndOfTurn(
      guard('mqtt', doNothing, () => {
        this.#isScheduled = false
        this.#usedMs = 0
      }),
    )
  }
}

/** Work is counted, not time: while another process has the core, nothing is taken from anybody here. */
export class Slice {
  readonly #clock: Pick<Clock, 'monotonicMs' | 'threadCpuMs'>
  readonly #maxMs: number
  readonly #fromMs: number
  /** The thread's work when the slice had taken `#workedMs`; undefined: it is short so far. */
  #cpuFromMs: number | undefined
  #workedMs = 0
  tookMs = 0

  constructor(clock: Pick<Clock, 'monotonicMs' | 'threadCpuMs'>, maxMs: number) {
    this.#clock = clock
    this.#maxMs = maxMs
    this.#fromMs = clock.monotonicMs()
  }

  /** To be asked now and then. */
  isOver(): boolean {
    const ms = this.#clock.monotonicMs() - this.#fromMs
    this.tookMs = ms
    if (ms < SHORT_MS) return false
    if (this.#cpuFromMs === undefined) {
      this.#cpuFromMs = this.#clock.threadCpuMs()
      this.#workedMs = Math.min(ms, this.#maxMs)
    } else if (ms >= this.#maxMs) this.tookMs = this.#workedMs + this.#clock.threadCpuMs() - this.#cpuFromMs
    return this.tookMs >= this.#maxMs
  }
}
