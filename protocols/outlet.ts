/**
 * How much waits in a stream for a peer that takes it slowly, up to limits.maxBufferBytes; then whoever writes reads no
 * more until all of it has left. What is more than a little counts against the memory budget meanwhile.
 */
import type { Duplex } from 'node:stream'
import { guard, doNothing } from '../core/defects/guard.ts'
import { READ_AHEAD_BYTES, type Hold, type Holder, type Waiting } from './waiting.ts'

const NOTHING = Buffer.alloc(0)
/** Less is not counted: nearly all of it leaves in the same turn. */
const COUNTED_BYTES = 16 * 1024

/** Whose memory it is that waits. */
export type OutletOwner = { readonly waiting: Waiting; readonly holder: Holder }

export class Outlet {
  readonly #stream: Duplex
  readonly #maxBytes: number
  readonly #countedBytes: number
  readonly #owner: OutletOwner
  readonly #onLeft: () => void
  #hold: Hold | undefined
  /** The end of what waits will be told, or it is known already that it is to be. */
  #watches = false
  #tells = false

  /** @param left called once after each `isFull()` that was true, and after each `whenLeft()` */
  constructor(stream: Duplex, maxBytes: number, owner: OutletOwner, left: () => void) {
    this.#stream = stream
    this.#owner = owner
    this.#maxBytes = maxBytes
    this.#countedBytes = Math.min(COUNTED_BYTES, maxBytes)
    this.#onLeft = guard(
      'network',
      () => {
        stream.destroy()
      },
      () => {
        this.#watches = false
        const waits = stream.writableLength
        if (waits > 0 && (this.#tells || waits >= this.#countedBytes) && this.#watch()) return
        this.#hold?.set(0)
        if (!this.#tells) return
        this.#tells = false
        left()
      },
    )
  }

  /** Nothing waits. */
  get isEmpty(): boolean {
    return this.#stream.writableLength === 0
  }

  isFull(): boolean {
    if (this.#tells) return true
    const waits = this.#stream.writableLength
    if (waits < this.#countedBytes) return false
    if (waits >= this.#maxBytes) return this.whenLeft()
    this.#watch()
    return false
  }

  /** Tells when all that is there now has left. @returns false when nothing can be told, for the stream is over */
  whenLeft(): boolean {
    if (this.#tells) return true
    this.#tells = true
    return (this.#tells = this.#watch())
  }

  #watch(): boolean {
    const stream = this.#stream
    if (stream.destroyed || stream.writableEnded) return false
    // A caller that waits for the callback stops reading until then.
    this.#count(stream.writableLength + (this.#tells ? READ_AHEAD_BYTES : 0))
    if (this.#watches) return true
    this.#watches = true
    // Below the stream's own mark there is no `drain`; but a write of nothing is done when those before it are.
    if (stream.writableNeedDrain) stream.once('drain', this.#onLeft)
    else stream.write(NOTHING, this.#onLeft)
    return true
  }
  #count(bytes: number): void {
    if (!this.#hold) {
      const hold = this.#owner.waiting.hold(this.#owner.holder)
      this.#hold = hold
      this.#stream.once(
        'close',
        guard('network', doNothing, () => {
          hold.set(0)
        }),
      )
    }
    this.#hold.set(bytes)
  }
}
