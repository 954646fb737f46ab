/**
 * What an HTTP/2 endpoint is asked, out of a connection's bytes: heads are decoded, so that Huffman codes and indexes
 * hide nothing.
 */
import { FrameReader, type FrameSink } from '../../../protocols/http/codec/h2-frame-reader.ts'
import { HpackDecoder } from '../../../protocols/http/codec/hpack/decoder.ts'

/** A head, trailers, or a piece of a body. */
export type Piece = {
  readonly stream: number
  readonly kind: 'head' | 'trailers' | 'data'
  readonly fields: readonly string[]
  readonly text: string
}

const MAX_BYTES = 1024 * 1024

export class H2Reader implements FrameSink {
  readonly #reader = new FrameReader(this, { expectPreface: true, maxBlockBytes: MAX_BYTES })
  readonly #decoder = new HpackDecoder({ maxTableBytes: 4096, maxListBytes: MAX_BYTES, maxFields: 10_000 })
  #pieces: Piece[] = []
  #lastStream = 0

  /** Throws when the bytes are no HTTP/2. */
  read(bytes: Buffer): Piece[] {
    this.#pieces = []
    this.#reader.read(bytes)
    return this.#pieces
  }

  onHeaders(stream: number, block: Buffer): void {
    const { fields } = this.#decoder.decode(block, 0, block.length)
    const kind = stream > this.#lastStream ? 'head' : 'trailers'
    this.#lastStream = Math.max(this.#lastStream, stream)
    this.#pieces.push({ stream, kind, fields, text: fields.join('\n') })
  }
  onData(stream: number, chunk: Buffer): void {
    this.#pieces.push({ stream, kind: 'data', fields: [], text: chunk.toString('latin1') })
  }
  onPriority(): void {
    /* says nothing */
  }
  onReset(): void {
    /* says nothing */
  }
  onSettings(): void {
    /* says nothing */
  }
  onSettingsAck(): void {
    /* says nothing */
  }
  onPing(): void {
    /* says nothing */
  }
  onGoaway(): void {
    /* says nothing */
  }
  onWindowUpdate(): void {
    /* says nothing */
  }
  onStreamError(): void {
    throw new Error('no frame of HTTP/2')
  }
  onEmptyFrame(): void {
    /* says nothing */
  }
  onEndlessBlock(): void {
    /* `read` throws */
  }
}
