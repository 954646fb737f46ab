/**
 * A control plane that has just restarted, or another one behind the same name, may answer with less than there is. The first cluster push
 * of a stream that would take away most clusters is held back for a while, so that traffic does not stop for a mistake that mends itself.
 */
import type { Clock, Timer } from '../agent/core/clock.ts'
import type { Log } from '../agent/core/log.ts'

/** A mesh this small changes as a whole now and then. */
const MIN_CLUSTERS = 10
const MOST = 0.5

export class Shrink implements Disposable {
  readonly #clock: Clock
  readonly #log: Log
  readonly #holdMs: number
  readonly #release: (removed: readonly string[]) => void
  #first = true
  #held: readonly string[] = []
  #timer: Timer | undefined

  constructor(p: { clock: Clock; log: Log; shrinkHoldMs: number; release: (removed: readonly string[]) => void }) {
    this.#clock = p.clock
    this.#log = p.log
    this.#holdMs = p.shrinkHoldMs
    this.#release = p.release
  }

  newStream(): void { this.#first = true; this.#drop() }

  /** @returns what may be removed now; the rest follows through `release` unless the stream ends before. */
  filter(removed: readonly string[], known: number): readonly string[] {
    const first = this.#first
    this.#first = false
    if (!first || this.#holdMs === 0 || known < MIN_CLUSTERS || removed.length < known * MOST) return removed
    this.#held = removed
    this.#timer = this.#clock.after(this.#holdMs, () => { const due = this.#held; this.#drop(); this.#release(due) })
    this.#log.warn({ evt: 'control.shrink', removed: removed.length, known, holdMs: this.#holdMs }, 'the first push of a new stream takes away most clusters: held back')
    return []
  }
  [Symbol.dispose](): void { this.#drop() }

  #drop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#held = []
  }
}
