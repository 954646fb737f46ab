/**
 * Node does not poll a paused socket, so it does not notice when the peer resets the connection, until something is
 * written. Therefore empty writes are made: the kernel reports the socket's error before it looks at the bytes
 * (tcp_sendmsg). There is one timer for all sockets, and only while one of them is paused.
 */
import net from 'node:net'
import type { Duplex } from 'node:stream'
import type { Clock } from '../core/os/clock.ts'
import { EmitterListeners } from '../core/defects/shared-listeners.ts'
import { findCarrier } from '../core/os/network.ts'
import { memoize } from '../core/memoize.ts'

const LOOK_MS = 1_000
const NOTHING = Buffer.alloc(0)

export class PausedStreams {
  readonly #clock: Clock
  readonly #paused = new Set<Duplex>()
  /** They keep nothing on a socket (docs/performance.md, shapes of sockets). */
  readonly #listeners = new EmitterListeners<Duplex>('network', (stream) => stream.destroy(), {
    pause: (stream) => this.#add(stream),
    resume: (stream) => this.#paused.delete(stream),
    close: (stream) => this.#paused.delete(stream),
  })
  #looks = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#paused.size
  }

  /** From now on until it is closed. */
  watch(stream: Duplex): void {
    if (!(findCarrier(stream) instanceof net.Socket)) return
    this.#listeners.listen(stream)
    if (stream.isPaused()) this.#add(stream)
  }

  #add(stream: Duplex): void {
    this.#paused.add(stream)
    if (!this.#looks) this.#lookLater()
  }

  #lookLater(): void {
    this.#looks = true
    this.#clock.after(LOOK_MS, () => {
      this.#look()
    })
  }

  #look(): void {
    this.#looks = false
    for (const stream of this.#paused) {
      const carrier = findCarrier(stream)
      // Pending bytes make the kernel report it anyway, and after our own end every write is an error.
      if (!stream.writableEnded && !carrier.writableEnded && !carrier.destroyed && carrier.writableLength === 0)
        carrier.write(NOTHING)
    }
    if (this.#paused.size > 0) this.#lookLater()
  }
}

/** One per context, for what comes in and what goes out. */
export const getPausedStreams = memoize((ctx: { readonly clock: Clock }) => new PausedStreams(ctx.clock))
