/** Ends a connection whose client says nothing for one and a half times its Keep Alive [MQTT-3.1.2-22]. */
import type { Clock, Timer } from '../../../core/os/clock.ts'
import { MeshError } from '../../../core/errors.ts'

export type KeepAliveOptions = {
  readonly clock: Clock
  /** 0 = off. */
  readonly keepAliveSec: number
  /** While nothing is read, silence says nothing. */
  readonly reading: { readonly isHeld: boolean }
  /** Told when it is over. */
  readonly client: { close(err: MeshError): void }
}

export class KeepAlive {
  readonly #clock: Clock
  readonly #reading: KeepAliveOptions['reading']
  readonly #client: KeepAliveOptions['client']
  readonly #maxSilenceMs: number
  #heardMs: number
  #timer: Timer | undefined

  constructor({ clock, keepAliveSec, reading, client }: KeepAliveOptions) {
    this.#clock = clock
    this.#reading = reading
    this.#client = client
    this.#maxSilenceMs = keepAliveSec * 1500
    this.#heardMs = clock.monotonicMs()
    if (this.#maxSilenceMs > 0) this.#watch(this.#maxSilenceMs)
  }

  noteHeard(): void {
    this.#heardMs = this.#clock.monotonicMs()
  }
  stop(): void {
    this.#timer?.cancel()
  }

  #watch(afterMs: number): void {
    this.#timer = this.#clock.after(afterMs, () => {
      const silentMs = this.#reading.isHeld ? 0 : this.#clock.monotonicMs() - this.#heardMs
      const leftMs = this.#maxSilenceMs - silentMs
      if (leftMs > 0) this.#watch(leftMs)
      else this.#client.close(new MeshError('MESH_MQTT_KEEP_ALIVE', `nothing was heard for ${this.#maxSilenceMs} ms`))
    })
  }
}
