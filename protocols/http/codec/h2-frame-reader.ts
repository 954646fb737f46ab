/**
 * Frames of HTTP/2 out of the bytes of a connection (RFC 9113 §4, §6), whatever pieces they come in. What a frame means
 * for streams and windows is the session's business; here is what a frame must be by itself: its size, its stream, its
 * padding, and a header block that nothing interrupts.
 */
import { copyToOwnMemory } from '../../../core/runtime/own-memory.ts'
import {
  DEFAULT_MAX_FRAME_BYTES,
  ErrorCode,
  Flag,
  FRAME_HEAD_BYTES,
  FrameType,
  Http2ConnectionError,
  PREFACE,
  createProtocolError,
  readUint31,
  readUint32,
} from './h2-frames.ts'

/**
 * What was read, in order. Buffers are parts of what was given to `read`, or of a copy; they are not written to again.
 */
export interface FrameSink {
  /**
   * A piece of a DATA frame. @param chunk may be empty @param end nothing follows on the stream
   * @param paddingBytes count for flow control beside the chunk
   */
  onData(streamId: number, chunk: Buffer, end: boolean, paddingBytes: number): void
  /**
   * A whole header block.
   * @param dependsOn of the deprecated priority; undefined = none was said. `bytes` are read before this returns.
   */
  onHeaders(streamId: number, block: Buffer, end: boolean, dependsOn: number | undefined): void
  onPriority(streamId: number, dependsOn: number): void
  onReset(streamId: number, code: number): void
  /** Values as they came; the session checks them. */
  onSettings(settings: readonly (readonly [id: number, value: number])[]): void
  onSettingsAck(): void
  onPing(payload: Buffer, ack: boolean): void
  onGoaway(lastStreamId: number, code: number): void
  onWindowUpdate(streamId: number, bytes: number): void
  /** A frame that breaks only its stream (RFC 9113 §5.4.2). */
  onStreamError(streamId: number, code: number): void
  /** A frame without content that ends nothing, or of an unknown type. */
  onEmptyFrame(): void
  /** CONTINUATION without an end; the connection breaks. */
  onEndlessBlock(): void
}

/** Of one header block at least; where more bytes are permitted, as many as a sender needs that fills its frames. */
const MIN_CONTINUATIONS = 32
/** Of one SETTINGS frame; there are some ten settings. */
const MAX_SETTINGS = 64

/** Memory for the rest of a frame grows with what has come: a head that promises much costs its sender little. */
const MIN_PARTIAL_BYTES = 256

export type FrameReaderOptions = {
  readonly expectPreface: boolean
  /** Of an encoded header block. */
  readonly maxBlockBytes: number
  readonly onRead?: OnRead | undefined
}
/**
 * After each piece that was read.
 * @param unfinishedBytes memory that a frame and a header block hold whose rest has not come
 * @param blockStreamId whose header block waits for its end; 0 = none does
 */
export type OnRead = (receivedBytes: number, unfinishedBytes: number, blockStreamId: number) => void

type Block = {
  readonly streamId: number
  readonly end: boolean
  readonly dependsOn: number | undefined
  readonly parts: Buffer[]
  bytes: number
}

export class FrameReader {
  readonly #sink: FrameSink
  readonly #maxBlockBytes: number
  readonly #maxContinuations: number
  #prefaceLeft: number
  #isFirst = true
  /** The DATA frame whose payload is passed on as it comes. */
  #dataLeft = 0
  #dataStream = 0
  #dataEnds = false
  /** Begin of a frame that is not complete. */
  #partial = EMPTY
  #partialBytes = 0
  /** Of what must be there before it is looked at: the frame's head, or all of it. */
  #neededBytes = 0
  #block: Block | undefined
  #stopped = false
  readonly #onRead: OnRead | undefined

  constructor(sink: FrameSink, o: FrameReaderOptions) {
    this.#sink = sink
    this.#onRead = o.onRead
    this.#maxBlockBytes = o.maxBlockBytes
    this.#maxContinuations = Math.max(MIN_CONTINUATIONS, Math.ceil(o.maxBlockBytes / DEFAULT_MAX_FRAME_BYTES))
    this.#prefaceLeft = o.expectPreface ? PREFACE.length : 0
  }

  /** Throws Http2ConnectionError. */
  read(chunk: Buffer): void {
    let at = this.#prefaceLeft > 0 ? this.#readPreface(chunk) : 0
    while (at < chunk.length && !this.#stopped) {
      if (this.#dataLeft > 0) at = this.#readData(chunk, at)
      else if (this.#partialBytes > 0) at = this.#readPartial(chunk, at)
      else at = this.#readFrame(chunk, at)
    }
    if (this.#stopped) return
    const block = this.#block
    this.#onRead?.(chunk.length, this.#partial.length + (block?.bytes ?? 0), block?.streamId ?? 0)
  }

  /** Nothing more is told, not even of the chunk that is being read. */
  stop(): void {
    this.#stopped = true
  }

  #readPreface(chunk: Buffer): number {
    const from = PREFACE.length - this.#prefaceLeft
    const bytes = Math.min(this.#prefaceLeft, chunk.length)
    if (PREFACE.compare(chunk, 0, bytes, from, from + bytes) !== 0)
      throw createProtocolError('the connection does not begin with the preface of HTTP/2')
    this.#prefaceLeft -= bytes
    return bytes
  }

  #readData(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#dataLeft)
    this.#dataLeft -= end - at
    this.#sink.onData(this.#dataStream, chunk.subarray(at, end), this.#dataEnds && this.#dataLeft === 0, 0)
    return end
  }

  #readFrame(chunk: Buffer, at: number): number {
    if (chunk.length - at < FRAME_HEAD_BYTES) return this.#keep(chunk, at, FRAME_HEAD_BYTES)
    const bytes = this.#payloadBytes(chunk, at)
    if (chunk[at + 3] === FrameType.DATA && (chunk[at + 4]! & Flag.PADDED) === 0)
      return this.#beginData(chunk, at, bytes)
    const end = at + FRAME_HEAD_BYTES + bytes
    if (end > chunk.length) return this.#keep(chunk, at, FRAME_HEAD_BYTES + bytes)
    this.#take(chunk, at, end)
    return end
  }

  #payloadBytes(head: Buffer, at: number): number {
    const bytes = (head[at]! << 16) | (head[at + 1]! << 8) | head[at + 2]!
    if (bytes > DEFAULT_MAX_FRAME_BYTES)
      throw new Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, `a frame of ${bytes} bytes`)
    return bytes
  }

  #beginData(head: Buffer, at: number, bytes: number): number {
    const streamId = readUint31(head, at + 5)
    this.#checkOrder(FrameType.DATA, 0, streamId)
    requireStream(streamId, 'DATA')
    this.#dataStream = streamId
    this.#dataEnds = (head[at + 4]! & Flag.END_STREAM) !== 0
    this.#dataLeft = bytes
    if (bytes === 0) {
      if (!this.#dataEnds) this.#sink.onEmptyFrame()
      this.#sink.onData(streamId, EMPTY, this.#dataEnds, 0)
    }
    return at + FRAME_HEAD_BYTES
  }

  /** @param needed bytes from `at` on */
  #keep(chunk: Buffer, at: number, needed: number): number {
    const bytes = chunk.length - at
    this.#neededBytes = needed
    this.#partial = ownBuffer(Math.min(needed, Math.max(MIN_PARTIAL_BYTES, bytes)))
    this.#partialBytes = chunk.copy(this.#partial, 0, at)
    return chunk.length
  }

  #readPartial(chunk: Buffer, at: number): number {
    const bytes = Math.min(chunk.length - at, this.#neededBytes - this.#partialBytes)
    this.#growPartial(this.#partialBytes + bytes)
    chunk.copy(this.#partial, this.#partialBytes, at, at + bytes)
    this.#partialBytes += bytes
    if (this.#partialBytes === this.#neededBytes) this.#completed(this.#partial.subarray(0, this.#neededBytes))
    return at + bytes
  }
  #growPartial(bytes: number): void {
    if (bytes <= this.#partial.length) return
    const larger = ownBuffer(Math.min(this.#neededBytes, Math.max(bytes, 2 * this.#partial.length)))
    this.#partial.copy(larger, 0, 0, this.#partialBytes)
    this.#partial = larger
  }
  /** The head of a frame, or all of it. */
  #completed(partial: Buffer): void {
    this.#partial = EMPTY
    this.#partialBytes = 0
    const bytes = this.#payloadBytes(partial, 0)
    if (partial.length === FRAME_HEAD_BYTES + bytes) {
      this.#readFrame(partial, 0)
      return
    }
    if (partial[3] === FrameType.DATA && (partial[4]! & Flag.PADDED) === 0) {
      this.#beginData(partial, 0, bytes)
      return
    }
    this.#keep(partial, 0, FRAME_HEAD_BYTES + bytes)
  }

  /** A complete frame other than unpadded DATA. */
  #take(chunk: Buffer, at: number, end: number): void {
    const type = chunk[at + 3]!
    const flags = chunk[at + 4]!
    const streamId = readUint31(chunk, at + 5)
    this.#checkOrder(type, flags, streamId)
    const payload = chunk.subarray(at + FRAME_HEAD_BYTES, end)
    switch (type) {
      case FrameType.DATA:
        this.#paddedData(streamId, flags, payload)
        break
      case FrameType.HEADERS:
        this.#headers(streamId, flags, payload)
        break
      case FrameType.CONTINUATION:
        this.#continuation(flags, payload)
        break
      case FrameType.PRIORITY:
        this.#priority(streamId, payload)
        break
      case FrameType.RST_STREAM:
        this.#reset(streamId, payload)
        break
      case FrameType.SETTINGS:
        this.#settings(streamId, flags, payload)
        break
      case FrameType.PUSH_PROMISE:
        throw createProtocolError('a push, which was not permitted')
      case FrameType.PING:
        this.#ping(streamId, flags, payload)
        break
      case FrameType.GOAWAY:
        this.#goaway(streamId, payload)
        break
      case FrameType.WINDOW_UPDATE:
        this.#windowUpdate(streamId, payload)
        break
      // RFC 9113 §4.1: unknown ones are ignored.
      default:
        this.#sink.onEmptyFrame()
    }
  }

  /** RFC 9113 §3.4: SETTINGS come first; §6.10: nothing comes between the frames of a header block. */
  #checkOrder(type: number, flags: number, streamId: number): void {
    if (this.#isFirst) {
      if (type !== FrameType.SETTINGS || (flags & Flag.ACK) !== 0)
        throw createProtocolError('the first frame is not SETTINGS')
      this.#isFirst = false
    }
    const block = this.#block
    if (
      block === undefined
        ? type === FrameType.CONTINUATION
        : type !== FrameType.CONTINUATION || streamId !== block.streamId
    )
      throw createProtocolError('a header block is interrupted or was never begun')
  }

  #paddedData(streamId: number, flags: number, payload: Buffer): void {
    requireStream(streamId, 'DATA')
    const content = withoutPadding(payload, flags, 0)
    const end = (flags & Flag.END_STREAM) !== 0
    if (content.length === 0 && !end) this.#sink.onEmptyFrame()
    this.#sink.onData(streamId, content, end, payload.length - content.length)
  }

  #headers(streamId: number, flags: number, payload: Buffer): void {
    requireStream(streamId, 'HEADERS')
    const hasPriority = (flags & Flag.PRIORITY) !== 0
    const content = withoutPadding(payload, flags, hasPriority ? 5 : 0)
    const dependsOn = hasPriority ? readUint31(payload, (flags & Flag.PADDED) === 0 ? 0 : 1) : undefined
    const end = (flags & Flag.END_STREAM) !== 0
    if ((flags & Flag.END_HEADERS) !== 0) {
      this.#sink.onHeaders(streamId, content, end, dependsOn)
      return
    }
    this.#block = { streamId, end, dependsOn, parts: [copyToOwnMemory(content)], bytes: content.length }
  }

  #continuation(flags: number, payload: Buffer): void {
    const block = this.#block!
    block.bytes += payload.length
    if (block.bytes > this.#maxBlockBytes || block.parts.length > this.#maxContinuations) {
      this.#sink.onEndlessBlock()
      throw new Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, 'a header block without an end')
    }
    block.parts.push(copyToOwnMemory(payload))
    if ((flags & Flag.END_HEADERS) === 0) return
    this.#block = undefined
    this.#sink.onHeaders(block.streamId, Buffer.concat(block.parts, block.bytes), block.end, block.dependsOn)
  }

  #priority(streamId: number, payload: Buffer): void {
    requireStream(streamId, 'PRIORITY')
    if (payload.length === 5) this.#sink.onPriority(streamId, readUint31(payload, 0))
    else this.#sink.onStreamError(streamId, ErrorCode.FRAME_SIZE_ERROR)
  }

  #reset(streamId: number, payload: Buffer): void {
    requireStream(streamId, 'RST_STREAM')
    requireSize(payload.length === 4, 'RST_STREAM')
    this.#sink.onReset(streamId, readUint32(payload, 0))
  }

  #settings(streamId: number, flags: number, payload: Buffer): void {
    requireConnection(streamId, 'SETTINGS')
    if ((flags & Flag.ACK) !== 0) {
      requireSize(payload.length === 0, 'SETTINGS')
      this.#sink.onSettingsAck()
      return
    }
    requireSize(payload.length % 6 === 0, 'SETTINGS')
    if (payload.length > 6 * MAX_SETTINGS)
      throw new Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, `more than ${MAX_SETTINGS} settings in one frame`)
    const settings: [number, number][] = []
    for (let at = 0; at < payload.length; at += 6)
      settings.push([(payload[at]! << 8) | payload[at + 1]!, readUint32(payload, at + 2)])
    this.#sink.onSettings(settings)
  }

  #ping(streamId: number, flags: number, payload: Buffer): void {
    requireConnection(streamId, 'PING')
    requireSize(payload.length === 8, 'PING')
    this.#sink.onPing(payload, (flags & Flag.ACK) !== 0)
  }

  #goaway(streamId: number, payload: Buffer): void {
    requireConnection(streamId, 'GOAWAY')
    requireSize(payload.length >= 8, 'GOAWAY')
    this.#sink.onGoaway(readUint31(payload, 0), readUint32(payload, 4))
  }

  #windowUpdate(streamId: number, payload: Buffer): void {
    requireSize(payload.length === 4, 'WINDOW_UPDATE')
    const bytes = readUint31(payload, 0)
    if (bytes > 0) {
      this.#sink.onWindowUpdate(streamId, bytes)
      return
    }
    if (streamId === 0) throw createProtocolError('a WINDOW_UPDATE of nothing')
    this.#sink.onStreamError(streamId, ErrorCode.PROTOCOL_ERROR)
  }
}

const EMPTY: Buffer = Buffer.alloc(0)

/** Not a part of what others use too: it may wait for as long as the peer likes, and would keep all of that. */
function ownBuffer(bytes: number): Buffer {
  return Buffer.allocUnsafeSlow(bytes)
}

/** @param skip bytes of the frame's own fields behind the length of the padding */
function withoutPadding(payload: Buffer, flags: number, skip: number): Buffer {
  const isPadded = (flags & Flag.PADDED) !== 0
  const from = skip + (isPadded ? 1 : 0)
  requireSize(payload.length >= from, 'DATA or HEADERS')
  const end = payload.length - (isPadded ? payload[0]! : 0)
  if (end < from) throw createProtocolError('more padding than payload')
  return payload.subarray(from, end)
}

function requireStream(streamId: number, frame: string): void {
  if (streamId === 0) throw createProtocolError(`${frame} for the connection`)
}
function requireConnection(streamId: number, frame: string): void {
  if (streamId !== 0) throw createProtocolError(`${frame} for a stream`)
}
function requireSize(fits: boolean, frame: string): void {
  if (!fits) throw new Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, `${frame} of a wrong size`)
}
