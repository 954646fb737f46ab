/**
 * What a peer has begun and not ended: a frame, and a header block. Both count against the memory budget, for each
 * connection may have them; a block has as much time as a head over HTTP/1.1. What was read is told to the garbage
 * watch, too.
 */
import type { Clock, Timer } from '../../../core/os/clock.ts'
import { guard, doNothing } from '../../../core/defects/guard.ts'
import type { Hold, Holder, Waiting } from '../../waiting.ts'

/** Less of a frame is not counted: the next read brings the rest of one that was cut in two. */
const COUNTED_BYTES = 1024

export class Unfinished {
  readonly #waiting: Waiting
  readonly #holder: Holder
  readonly #clock: Pick<Clock, 'after'>
  readonly #blockMs: number
  readonly #onTimeout: () => void
  #hold: Hold | undefined
  /** 0 = no block waits for its end. */
  #blockStreamId = 0
  #timer: Timer | undefined

  /** @param onTimeout ends the connection */
  constructor(o: {
    readonly waiting: Waiting
    readonly holder: Holder
    readonly clock: Pick<Clock, 'after'>
    readonly blockMs: number
    readonly onTimeout: () => void
  }) {
    this.#waiting = o.waiting
    this.#holder = o.holder
    this.#clock = o.clock
    this.#blockMs = o.blockMs
    this.#onTimeout = guard('http2', doNothing, o.onTimeout)
  }

  /** As OnRead. */
  read(receivedBytes: number, unfinishedBytes: number, blockStreamId: number): void {
    this.#waiting.received(receivedBytes)
    if (blockStreamId !== 0 || unfinishedBytes >= COUNTED_BYTES)
      (this.#hold ??= this.#waiting.hold(this.#holder)).set(unfinishedBytes)
    else this.#hold?.set(0)
    if (blockStreamId !== this.#blockStreamId) this.#waitForBlock(blockStreamId)
  }

  #waitForBlock(streamId: number): void {
    this.#blockStreamId = streamId
    this.#timer?.cancel()
    this.#timer = streamId === 0 ? undefined : this.#clock.after(this.#blockMs, this.#onTimeout)
  }

  end(): void {
    this.#hold?.set(0)
    this.#waitForBlock(0)
  }
}
