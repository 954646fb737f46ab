/**
 * A header block whose end does not come: its bytes count against the memory budget, and it has as much time as a head
 * over HTTP/1.1.
 */
import type { Clock, Timer } from '../../../core/os/clock.ts'
import { guarded, nothing } from '../../../core/defects/guard.ts'
import type { Hold, Holder, Waiting } from '../../waiting.ts'

export class OpenBlock {
  readonly #waiting: Waiting
  readonly #holder: Holder
  readonly #clock: Pick<Clock, 'after'>
  readonly #timeoutMs: number
  readonly #onTimeout: () => void
  #hold: Hold | undefined
  #timer: Timer | undefined

  /** @param onTimeout ends the connection */
  constructor(o: {
    readonly waiting: Waiting
    readonly holder: Holder
    readonly clock: Pick<Clock, 'after'>
    readonly timeoutMs: number
    readonly onTimeout: () => void
  }) {
    this.#waiting = o.waiting
    this.#holder = o.holder
    this.#clock = o.clock
    this.#timeoutMs = o.timeoutMs
    this.#onTimeout = guarded('http2', nothing, o.onTimeout)
  }

  /** @param bytes as SessionOwner.onOpenBlock */
  set(bytes: number): void {
    if (bytes === 0) {
      this.end()
      return
    }
    ;(this.#hold ??= this.#waiting.hold(this.#holder)).set(bytes)
    this.#timer ??= this.#clock.after(this.#timeoutMs, this.#onTimeout)
  }
  end(): void {
    this.#hold?.set(0)
    this.#timer?.cancel()
    this.#timer = undefined
  }
}
