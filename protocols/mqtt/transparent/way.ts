/** Packets on their way to one stream: gathered while one chunk is worked off, then written at once. */
import type { Duplex } from 'node:stream'
import { Outlet, type OutletOwner } from '../../outlet.ts'

export type WayOptions = OutletOwner & {
  readonly stream: Duplex
  readonly maxBufferBytes: number
  readonly onBytes: (bytes: number) => void
  /** What made it full has left. */
  readonly onRoom: () => void
}

export class Way {
  readonly #o: WayOptions
  readonly #outlet: Outlet
  #parts: Uint8Array[] = []

  constructor(o: WayOptions) {
    this.#o = o
    this.#outlet = new Outlet(o.stream, o.maxBufferBytes, o, o.onRoom)
  }

  add(bytes: Uint8Array): void {
    this.#parts.push(bytes)
  }
  /** @returns whether the peer takes less than is written: `onRoom` tells when that is over */
  flush(): boolean {
    const parts = this.#parts
    if (parts.length === 0) return false
    this.#parts = []
    const { stream, onBytes } = this.#o
    if (stream.destroyed || stream.writableEnded) return false
    const bytes = parts.length === 1 ? parts[0]! : Buffer.concat(parts)
    onBytes(bytes.length)
    stream.write(bytes)
    return this.#outlet.isFull()
  }
}
