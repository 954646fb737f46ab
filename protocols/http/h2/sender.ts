/** Which stream sends when: a frame of each in turn, as far as the windows and the socket permit (RFC 9113 §5.2). */
import { DEFAULT_MAX_FRAME_BYTES, DEFAULT_WINDOW_BYTES } from '../codec/h2-frames.ts'
import { HpackEncoder } from '../codec/hpack/encoder.ts'
import { LinkedList } from '../../../core/runtime/linked-list.ts'
import type { FrameOutput } from './frame-output.ts'
import { tellWritten, type Http2Stream } from './stream/stream.ts'

/** What the session does about it. */
export interface Sending {
  /** The first head of a client's stream leaves: the stream gets its id. */
  onFirstHead(stream: Http2Stream): void
  /** Our side of the stream has ended. */
  onLocalEnd(stream: Http2Stream): void
}

export class Sender {
  readonly encoder = new HpackEncoder()
  readonly #output: FrameOutput
  readonly #session: Sending
  /** Have something to send, and their own window lets them. */
  readonly #streams = new LinkedList<Http2Stream>()
  /** The peer's window for the whole connection. */
  windowBytes = DEFAULT_WINDOW_BYTES
  /** DATA frames so far: a WINDOW_UPDATE may answer each. */
  dataFrames = 0

  constructor(output: FrameOutput, session: Sending) {
    this.#output = output
    this.#session = session
  }

  add(stream: Http2Stream): void {
    this.#queue(stream)
    this.#output.schedule()
  }
  delete(stream: Http2Stream): void {
    this.#streams.delete(stream.turn)
    stream.turn = undefined
  }
  #queue(stream: Http2Stream): void {
    stream.turn ??= this.#streams.add(stream)
  }
  clear(): void {
    for (const stream of this.#streams) this.delete(stream)
  }
  /** The connection's window has grown, or the socket has room. */
  resume(): void {
    if (this.#streams.size > 0) this.#output.schedule()
  }

  /** Until the socket has enough. @returns there is more */
  fill(): boolean {
    while (this.#streams.size > 0 && !this.#output.isFull) {
      let progress = false
      // Those that have more go behind the others: one round of those that are here now.
      for (let left = this.#streams.size; left > 0 && !this.#output.isFull; left--) {
        const stream = this.#streams.shift()
        if (!stream) break
        stream.turn = undefined
        if (this.#sendSome(stream)) progress = true
      }
      if (!progress) {
        this.#hold()
        return false
      }
    }
    this.#hold()
    return this.#streams.size > 0
  }

  /** They wait for the socket, or for the connection's window. */
  #hold(): void {
    if (this.#streams.size > 0) for (const stream of this.#streams) stream.hold()
  }

  /** Field lists, and one frame of DATA. @returns something went out */
  #sendSome(stream: Http2Stream): boolean {
    let progress = false
    for (let item = stream.outgoing; item !== undefined; item = stream.outgoing) {
      if (Buffer.isBuffer(item)) {
        if (this.#sendData(stream, item)) progress = true
        if (!Buffer.isBuffer(stream.outgoing)) continue
        // Behind the others.
        if (this.#canSend(stream, stream.outgoing)) this.#queue(stream)
        else stream.hold()
        break
      }
      progress = true
      this.#sendFields(stream, item)
    }
    if (progress && !stream.isClosed) tellWritten(stream)
    return progress
  }
  /** Its own window lets it: it waits for its turn, or for the connection's window. */
  #canSend(stream: Http2Stream, chunk: Buffer): boolean {
    return stream.sendWindowBytes > 0 || chunk.length === 0
  }

  #sendFields(stream: Http2Stream, fields: readonly string[]): void {
    const { isLast } = stream
    stream.sent(fields)
    if (stream.id === 0) this.#session.onFirstHead(stream)
    this.#output.headers(stream.id, fields, isLast, this.encoder)
    if (isLast) this.#session.onLocalEnd(stream)
  }

  #sendData(stream: Http2Stream, chunk: Buffer): boolean {
    // An empty frame needs no window, not even one that is above 0 (RFC 9113 §6.9.1).
    const bytes =
      chunk.length === 0 ? 0 : Math.min(chunk.length, DEFAULT_MAX_FRAME_BYTES, stream.sendWindowBytes, this.windowBytes)
    if (bytes <= 0 && chunk.length > 0) return false
    const ends = stream.isLast && bytes === chunk.length
    stream.sendWindowBytes -= bytes
    this.windowBytes -= bytes
    this.dataFrames++
    this.#output.data(stream.id, bytes === chunk.length ? chunk : chunk.subarray(0, bytes), ends)
    stream.sent(chunk, bytes === chunk.length ? undefined : chunk.subarray(bytes))
    if (ends) this.#session.onLocalEnd(stream)
    return true
  }
}
