/** Ends a connection whose client says nothing for one and a half times its Keep Alive [MQTT-3.1.2-22]. */
import type { Clock, Timer } from '../../../core/os/clock.ts'

export type KeepAliveOptions = {
  readonly clock: Clock
  /** 0 = off. */
  readonly keepAliveSec: number
  /** Nothing is read at the moment, so silence says nothing. */
  readonly isPaused: () => boolean
  readonly onSilence: (silentMs: number) => void
}

export class KeepAlive {
  readonly #o: KeepAliveOptions
  readonly #maxSilenceMs: number
  #heardMs: number
  #timer: Timer | undefined

  constructor(options: KeepAliveOptions) {
    this.#o = options
    this.#maxSilenceMs = options.keepAliveSec * 1500
    this.#heardMs = options.clock.monotonicMs()
    if (this.#maxSilenceMs > 0) this.#watch(this.#maxSilenceMs)
  }

  noteHeard(): void {
    this.#heardMs = this.#o.clock.monotonicMs()
  }
  stop(): void {
    this.#timer?.cancel()
  }

  #watch(afterMs: number): void {
    const { clock, isPaused, onSilence } = this.#o
    this.#timer = clock.after(afterMs, () => {
      const leftMs = isPaused() ? this.#maxSilenceMs : this.#heardMs + this.#maxSilenceMs - clock.monotonicMs()
      if (leftMs > 0) this.#watch(leftMs)
      else onSilence(this.#maxSilenceMs)
    })
  }
}
