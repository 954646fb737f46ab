/**
 * Memory that packets are written into: slabs that all connections share, each in regions of its own. A slab is written
 * anew when nobody has a region of it any more, and every socket has taken what it was given; else it is left to the
 * garbage collector. New slabs for each turn would fill the heap with what only a full collection frees.
 */
export const SLAB_BYTES = 32 * 1024

type Slab = {
  readonly buf: Buffer
  at: number
  /** Regions that were not given back. */
  users: number
  /** A stream may have some of its bytes for longer. */
  isLost: boolean
}
/** Of a slab; `at`: so far it is written. */
export type Region = { readonly slab: Slab; readonly buf: Buffer; at: number; end: number }

export class Slabs {
  readonly #maxFreeBytes: number
  #current: Slab = { buf: Buffer.alloc(0), at: 0, users: 0, isLost: true }
  /** Held weakly, so that a full collection takes them: after a burst nobody needs as many. */
  #free = new WeakRef<Slab[]>([])
  /** Of slabs that were begun; for whoever sets it back. */
  takenBytes = 0

  constructor(maxFreeBytes: number) {
    this.#maxFreeBytes = maxFreeBytes
  }

  /** @param wanted bytes; much of it comes in one piece, because each piece more makes a write dearer */
  takeRegion(least: number, wanted: number): Region {
    const together = wanted > SLAB_BYTES / 2 ? wanted : wanted / 2
    if (this.#current.buf.length - this.#current.at < Math.max(least, together)) {
      if (least > SLAB_BYTES) return takeWhole(least)
      this.#begin()
    }
    const slab = this.#current
    const { buf, at } = slab
    slab.users++
    slab.at = Math.min(buf.length, at + Math.max(least, wanted))
    return { slab, buf, at, end: slab.at }
  }
  #begin(): void {
    this.takenBytes += SLAB_BYTES
    const last = this.#current
    this.#current = this.#free.deref()?.pop() ?? {
      buf: Buffer.allocUnsafeSlow(SLAB_BYTES),
      at: 0,
      users: 0,
      isLost: false,
    }
    this.#rest(last)
  }

  /** @param isTaken nobody has what was written in it: it was copied, or never left */
  release({ slab }: Region, isTaken: boolean): void {
    slab.users--
    if (!isTaken) slab.isLost = true
    this.#rest(slab)
  }
  /** From its beginning again, when it can be. */
  #rest(slab: Slab): void {
    if (slab.users > 0 || slab.isLost) return
    slab.at = 0
    if (slab === this.#current) return
    let free = this.#free.deref()
    if (!free) this.#free = new WeakRef((free = []))
    if (free.length * SLAB_BYTES < this.#maxFreeBytes) free.push(slab)
  }
}

function takeWhole(bytes: number): Region {
  const buf = Buffer.allocUnsafeSlow(bytes)
  return { slab: { buf, at: bytes, users: 1, isLost: true }, buf, at: 0, end: bytes }
}
/** @returns whether it has room for so many bytes more, which it gets where nobody has what is behind it */
export function hasRoom(region: Region, bytes: number): boolean {
  const { slab, buf, at, end } = region
  if (end - at >= bytes) return true
  if (end !== slab.at || buf.length - at < bytes) return false
  region.end = slab.at = at + bytes
  return true
}
/** What was not written is for others, where nobody has what is behind it. */
export function releaseRest({ slab, at, end }: Region): void {
  if (end === slab.at) slab.at = at
}
