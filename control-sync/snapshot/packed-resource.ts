/**
 * The bytes of resources at rest. Those of a mesh are much alike: of a thousand services 2.4 MB are 50 kB compressed,
 * which takes 2 ms, and 1 ms to read again. They are read when a control plane sends them anew, when what they say is
 * first asked for, and to be shown.
 */
import zlib from 'node:zlib'
import { releaseBuffer } from '../../core/runtime/release-buffer.ts'
import type { RawResource } from '../../model/snapshot.ts'

/**
 * What is compressed together. In smaller pieces less is found alike, larger ones take longer for whoever wants one
 * resource.
 */
const BLOCK_BYTES = 256 * 1024
const NO_BYTES = new Uint8Array(0)
/** For less a block costs more than it saves. */
const WORTH_BYTES = 32 * 1024
/** The lowest finds as much here as the others. */
const LEVEL = { params: { [zlib.constants.ZSTD_c_compressionLevel]: 1 } }

/** Its identity stays while its bytes are packed. */
export class PackedResource implements RawResource {
  readonly name: string
  readonly version: string
  #bytes: Uint8Array | Block
  #from = 0
  readonly length: number

  constructor({ name, version, value }: RawResource, bytes: Uint8Array | Block = value) {
    this.name = name
    this.version = version
    this.#bytes = bytes
    this.length = bytes.length
  }
  /** Of what `packed` has said. @param length of the bytes that are packed */
  static fromPacked(
    { name, version }: Pick<RawResource, 'name' | 'version'>,
    packed: Uint8Array,
    length: number,
  ): PackedResource {
    return new PackedResource({ name, version, value: NO_BYTES }, new Block(packed, length))
  }

  get isPacked(): boolean {
    return this.#bytes instanceof Block
  }
  /** Its bytes, compressed (zstd), where they are alone in their block. */
  get packed(): Uint8Array | undefined {
    return this.#bytes instanceof Block && this.#bytes.length === this.length ? this.#bytes.packed : undefined
  }

  /** To keep. */
  get value(): Uint8Array {
    return this.#bytes instanceof Block ? new Uint8Array(this.view) : this.#bytes
  }
  /** Good until others have a turn. */
  get view(): Uint8Array {
    return this.#bytes instanceof Block
      ? this.#bytes.open().subarray(this.#from, this.#from + this.length)
      : this.#bytes
  }

  /** A view of a message would keep all of it in memory. */
  static detach(resource: PackedResource): void {
    const bytes = resource.#bytes
    if (!(bytes instanceof Block) && bytes.byteLength < bytes.buffer.byteLength)
      resource.#bytes = Uint8Array.from(bytes)
  }

  /** Into one block. */
  static pack(resources: readonly PackedResource[]): void {
    const block = Block.of(resources.map((r) => r.view))
    let from = 0
    for (const r of resources) {
      r.#bytes = block
      r.#from = from
      from += r.length
    }
  }
}

/** How many there are, without reading them. */
export function measureBytes(raw: RawResource): number {
  return raw instanceof PackedResource ? raw.length : raw.value.length
}
/** Good until others have a turn. */
export function readBytes(raw: RawResource): Uint8Array {
  return raw instanceof PackedResource ? raw.view : raw.value
}

class Block {
  readonly packed: Uint8Array
  readonly length: number
  /** A reader of one resource often reads the next; the garbage collector may take it. */
  #opened: WeakRef<Uint8Array> | undefined

  constructor(packed: Uint8Array, length: number) {
    this.packed = packed
    this.length = length
  }
  static of(pieces: readonly Uint8Array[]): Block {
    const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
    let at = 0
    for (const piece of pieces) {
      bytes.set(piece, at)
      at += piece.length
    }
    const block = new Block(new Uint8Array(zlib.zstdCompressSync(bytes, LEVEL)), bytes.length)
    // Whoever saves them reads them next.
    block.#keepOpen(bytes)
    return block
  }

  open(): Uint8Array {
    const known = this.#opened?.deref()
    if (known) return known
    // With room for a byte more zlib knows that it is at the end.
    const { buffer, byteOffset } = zlib.zstdDecompressSync(this.packed, {
      chunkSize: Math.max(MIN_CHUNK_BYTES, this.length + 1),
    })
    // Views of a Buffer take four times as long to make.
    const bytes = new Uint8Array(buffer, byteOffset, this.length)
    this.#keepOpen(bytes)
    return bytes
  }
  #keepOpen(bytes: Uint8Array): void {
    this.#opened = new WeakRef(bytes)
    opened.add(this)
  }

  close(): void {
    const bytes = this.#opened?.deref()
    if (bytes) releaseBuffer(bytes)
    this.#opened = undefined
  }
}
/** zlib takes no less. */
const MIN_CHUNK_BYTES = 64

const opened = new Set<Block>()

/** Gives back the memory of what was read; the collector would leave it for long in a process that is idle. */
export function closeBlocks(): void {
  for (const block of opened) block.close()
  opened.clear()
}

/** What has come and is not packed yet. */
export class Unpacked {
  #resources: PackedResource[] = []
  #bytes = 0

  add(resource: RawResource): void {
    if (!(resource instanceof PackedResource) || resource.isPacked) return
    this.#resources.push(resource)
    this.#bytes += resource.length
  }

  /**
   * One block per step, for each that is large one of its own. What is little goes into none, and no view of anything
   * is left.
   * @param isAlive whether it is still in force
   */
  *pack(isAlive: (resource: RawResource) => boolean): Generator<void> {
    if (this.#bytes < WORTH_BYTES) {
      for (const resource of this.#resources) PackedResource.detach(resource)
      return
    }
    const all = this.#resources.filter(isAlive)
    this.#resources = []
    this.#bytes = 0
    const small = all.filter((r) => r.length < WORTH_BYTES)
    for (const large of all) {
      if (large.length < WORTH_BYTES) continue
      PackedResource.pack([large])
      yield
    }
    for (let i = 0; i < small.length;) {
      const together: PackedResource[] = []
      for (let length = 0; i < small.length && (length === 0 || length + small[i]!.length <= BLOCK_BYTES); i++) {
        together.push(small[i]!)
        length += small[i]!.length
      }
      PackedResource.pack(together)
      yield
    }
  }
}
