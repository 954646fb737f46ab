/**
 * Who is not read from is not heard of: Node does not poll a socket that is paused, so a peer that resets the
 * connection meanwhile would be held until something is written to it. So that is done, with nothing: the kernel says
 * of an empty write whether the connection still is (tcp_sendmsg looks at the socket's error before the bytes). One
 * timer for all, and only while somebody is paused.
 */
import net from 'node:net'
import type { Duplex } from 'node:stream'
import type { Clock } from '../core/os/clock.ts'
import { guarded } from '../core/defects/guard.ts'
import { findCarrier } from '../core/os/network.ts'
import { memoize } from '../core/memoize.ts'

const LOOK_MS = 1_000
const NOTHING = Buffer.alloc(0)

export class PausedStreams {
  readonly #clock: Clock
  readonly #paused = new Set<Duplex>()
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
    const end = (): void => {
      stream.destroy()
    }
    stream.on(
      'pause',
      guarded('network', end, () => {
        this.#add(stream)
      }),
    )
    stream.on(
      'resume',
      guarded('network', end, () => {
        this.#paused.delete(stream)
      }),
    )
    stream.on(
      'close',
      guarded('network', end, () => {
        this.#paused.delete(stream)
      }),
    )
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
      // With bytes on their way the kernel is asked anyway; after our own end every write is an error.
      if (!stream.writableEnded && !carrier.writableEnded && !carrier.destroyed && carrier.writableLength === 0)
        carrier.write(NOTHING)
    }
    if (this.#paused.size > 0) this.#lookLater()
  }
}

/** One per context, for what comes in and what goes out. */
export const pausedStreamsOf = memoize((ctx: { readonly clock: Clock }) => new PausedStreams(ctx.clock))
