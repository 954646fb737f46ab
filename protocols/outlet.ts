/** How much waits in a stream for a peer that takes it slowly, up to limits.maxBufferBytes; then whoever writes reads no more until all of it has left. */
import type { Duplex } from 'node:stream'
import { guarded } from '../agent/core/guard.ts'

const NOTHING = Buffer.alloc(0)

export class Outlet {
  readonly #stream: Duplex
  readonly #maxBytes: number
  readonly #left: () => void
  #waits = false

  /** @param left called once after each `isFull()` that was true, and after each `whenLeft()` */
  constructor(stream: Duplex, maxBytes: number, left: () => void) {
    this.#stream = stream
    // Into an HTTP/2 stream nothing cannot be written (its queue tells of no empty piece), so that it has to tell by itself.
    this.#maxBytes = 'rstCode' in stream ? Math.max(maxBytes, stream.writableHighWaterMark) : maxBytes
    this.#left = guarded('network', () => { stream.destroy() }, () => {
      this.#waits = false
      left()
    })
  }

  /** Nothing waits. */
  get isEmpty(): boolean { return this.#stream.writableLength === 0 }

  isFull(): boolean {
    if (this.#waits) return true
    if (this.#stream.writableLength < this.#maxBytes) return false
    return this.whenLeft()
  }

  /** Tells when all that is there now has left. @returns false when nothing can be told, for the stream is over */
  whenLeft(): boolean {
    const stream = this.#stream
    if (this.#waits) return true
    if (stream.destroyed || stream.writableEnded) return false
    this.#waits = true
    // Below the stream's own mark there is no `drain`; but a write of nothing is done when those before it are.
    if (stream.writableNeedDrain) stream.once('drain', this.#left)
    else stream.write(NOTHING, this.#left)
    return true
  }
}
