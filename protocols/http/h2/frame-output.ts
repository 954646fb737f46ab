/**
 * Frames on their way out of one connection. They are gathered until the turn of the event loop ends and then leave in
 * one write: a write for each would cost more than everything else. Small frames of all connections share slabs, one
 * after the other; large payloads are not copied.
 */
import type { Duplex } from 'node:stream'
import { guard } from '../../../core/defects/guard.ts'
import { DEFAULT_MAX_FRAME_BYTES, Flag, FRAME_HEAD_BYTES, FrameType, writeUint32 } from '../codec/h2-frames.ts'
import type { HpackEncoder } from '../codec/hpack/encoder.ts'
import { isMostOfItsMemory, copyToOwnMemory } from '../../../core/runtime/own-memory.ts'

const SLAB_BYTES = 64 * 1024
/** A payload from this size on goes out as it is. */
const COPIED_BYTES = 2 * 1024
/** In one turn; then DATA waits for the next. */
const MAX_GATHERED_BYTES = 128 * 1024

/** Shared by all connections; what was written is not written to again. */
let slab = Buffer.alloc(0)
let slabUsed = 0

export class FrameOutput {
  readonly #socket: Duplex
  readonly #fill: () => boolean
  #parts: Buffer[] = []
  #partsBytes = 0
  /** The part of the slab that is being written: from..to. */
  #slab: Buffer | undefined
  #from = 0
  #to = 0
  #scheduled = false
  #closed = false
  #answerBytes = 0
  /**
   * Nothing leaves before the socket was read from once more. A server of TLS 1.3 that does not take our certificate
   * says so when our side of the handshake is done, and closes (RFC 8446 §4.4.2.4): a write would then end the socket
   * with EPIPE, and nobody would read why.
   */
  #readsFirst: boolean

  /** @param fill called before the turn ends, to add what waits; true = there is more than fits */
  constructor(role: 'server' | 'client', socket: Duplex, fill: () => boolean) {
    this.#socket = socket
    this.#fill = fill
    this.#readsFirst = role === 'client'
  }

  get unsentBytes(): number {
    return this.#gatheredBytes + this.#socket.writableLength
  }
  get #gatheredBytes(): number {
    return this.#partsBytes + (this.#to - this.#from)
  }
  get isFull(): boolean {
    return this.#socket.writableNeedDrain || this.#gatheredBytes >= MAX_GATHERED_BYTES
  }
  /** Of frames that answer the peer's, since the socket is full: they do not wait for room. */
  get unreadAnswerBytes(): number {
    return this.#answerBytes
  }

  bytes(payload: Buffer): void {
    this.#copy(payload)
  }

  /** One DATA frame; `chunk` is at most DEFAULT_MAX_FRAME_BYTES long and not written to afterwards. */
  data(streamId: number, chunk: Buffer, end: boolean): void {
    this.#frame(chunk.length, FrameType.DATA, end ? Flag.END_STREAM : 0, streamId, FRAME_HEAD_BYTES)
    if (chunk.length < COPIED_BYTES) {
      if (chunk.length > 0) this.#copy(chunk)
    } else this.#append(chunk)
  }

  /** HEADERS, and CONTINUATION where the block is long. */
  headers(streamId: number, fields: readonly string[], end: boolean, encoder: HpackEncoder): void {
    const bound = encoder.bound(fields)
    if (bound > DEFAULT_MAX_FRAME_BYTES) {
      this.#longHeaders(streamId, fields, end, encoder)
      return
    }
    const at = this.#reserve(FRAME_HEAD_BYTES + bound)
    const behind = encoder.encode(fields, slab, at + FRAME_HEAD_BYTES)
    writeHead(
      at,
      behind - at - FRAME_HEAD_BYTES,
      FrameType.HEADERS,
      Flag.END_HEADERS | (end ? Flag.END_STREAM : 0),
      streamId,
    )
    this.#taken(behind)
  }
  #longHeaders(streamId: number, fields: readonly string[], end: boolean, encoder: HpackEncoder): void {
    const block = Buffer.allocUnsafe(encoder.bound(fields))
    const bytes = encoder.encode(fields, block, 0)
    for (let at = 0; at === 0 || at < bytes; at += DEFAULT_MAX_FRAME_BYTES) {
      const to = Math.min(bytes, at + DEFAULT_MAX_FRAME_BYTES)
      const flags = (at === 0 && end ? Flag.END_STREAM : 0) | (to === bytes ? Flag.END_HEADERS : 0)
      this.#frame(to - at, at === 0 ? FrameType.HEADERS : FrameType.CONTINUATION, flags, streamId, FRAME_HEAD_BYTES)
      this.#append(block.subarray(at, to))
    }
  }

  reset(streamId: number, code: number): void {
    this.#answered(FRAME_HEAD_BYTES + 4)
    this.#word(FrameType.RST_STREAM, streamId, code)
  }
  windowUpdate(streamId: number, bytes: number): void {
    this.#word(FrameType.WINDOW_UPDATE, streamId, bytes)
  }

  settings(settings: readonly (readonly [id: number, value: number])[]): void {
    let at = this.#frame(settings.length * 6, FrameType.SETTINGS, 0, 0, FRAME_HEAD_BYTES + settings.length * 6)
    for (const [id, value] of settings) {
      slab[at] = id >>> 8
      slab[at + 1] = id
      at = writeUint32(slab, at + 2, value)
    }
    this.#taken(at)
  }
  settingsAck(): void {
    this.#answered(FRAME_HEAD_BYTES)
    this.#frame(0, FrameType.SETTINGS, Flag.ACK, 0, FRAME_HEAD_BYTES)
  }
  ping(payload: Buffer): void {
    this.#frame(payload.length, FrameType.PING, 0, 0, FRAME_HEAD_BYTES)
    this.#copy(payload)
  }
  pingAck(payload: Buffer): void {
    this.#answered(FRAME_HEAD_BYTES + payload.length)
    this.#frame(payload.length, FrameType.PING, Flag.ACK, 0, FRAME_HEAD_BYTES)
    this.#copy(payload)
  }
  goaway(lastStreamId: number, code: number): void {
    const at = this.#frame(8, FrameType.GOAWAY, 0, 0, FRAME_HEAD_BYTES + 8)
    this.#taken(writeUint32(slab, writeUint32(slab, at, lastStreamId), code))
  }

  /** Writes the gathered frames to the socket now. */
  flush(): void {
    if (this.#closed) return
    this.#closePart()
    const parts = this.#parts
    if (parts.length === 0) return
    this.#parts = []
    this.#partsBytes = 0
    const socket = this.#socket
    if (socket.destroyed || socket.writableEnded) return
    // What waits behind something waits long, perhaps: it must not keep a slab of everybody's, or a chunk that was
    // read.
    if (socket.writableLength > 0)
      parts.forEach((part, i) => {
        if (!isMostOfItsMemory(part)) parts[i] = copyToOwnMemory(part)
      })
    if (parts.length === 1) {
      socket.write(parts[0]!)
      return
    }
    socket.cork()
    for (const part of parts) socket.write(part)
    socket.uncork()
  }
  /** The socket has room again. */
  drained(): void {
    this.#answerBytes = 0
  }
  /** Ends: flush, and nothing after it. */
  close(): void {
    this.flush()
    this.#closed = true
    this.#parts = []
  }

  #answered(bytes: number): void {
    if (this.#socket.writableNeedDrain) this.#answerBytes += bytes
  }
  #word(type: number, streamId: number, word: number): void {
    const at = this.#frame(4, type, 0, streamId, FRAME_HEAD_BYTES + 4)
    this.#taken(writeUint32(slab, at, word))
  }
  /**
   * The head of a frame.
   * @param reserved bytes, head included, that stand together
   * @returns the offset behind the head
   */
  #frame(payloadBytes: number, type: number, flags: number, streamId: number, reserved: number): number {
    const at = this.#reserve(reserved)
    const behind = writeHead(at, payloadBytes, type, flags, streamId)
    this.#taken(behind)
    return behind
  }
  #copy(bytes: Buffer): void {
    const at = this.#reserve(bytes.length)
    bytes.copy(slab, at)
    this.#taken(at + bytes.length)
  }

  /** Room in the slab, right behind what this connection wrote last if that is still its end. @returns its offset */
  #reserve(bytes: number): number {
    this.schedule()
    if (slabUsed + bytes > slab.length) {
      slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, bytes))
      slabUsed = 0
    }
    if (this.#slab !== slab || this.#to !== slabUsed) {
      this.#closePart()
      this.#slab = slab
      this.#from = slabUsed
      this.#to = slabUsed
    }
    return slabUsed
  }
  #taken(end: number): void {
    this.#to = end
    slabUsed = end
  }
  #append(payload: Buffer): void {
    this.#closePart()
    this.#parts.push(payload)
    this.#partsBytes += payload.length
  }
  #closePart(): void {
    if (this.#slab === undefined) return
    if (this.#to > this.#from) {
      this.#parts.push(this.#slab.subarray(this.#from, this.#to))
      this.#partsBytes += this.#to - this.#from
    }
    this.#slab = undefined
    this.#from = 0
    this.#to = 0
  }

  /** The turn's end will come to `fill`. */
  schedule(): void {
    if (this.#scheduled || this.#closed) return
    this.#scheduled = true
    if (waiting.push(this) === 1) setImmediate(flushAll)
  }
  turn(): void {
    this.#scheduled = false
    if (this.#closed) return
    if (this.#readsFirst) {
      // The next turn of the event loop reads before it comes here.
      this.#readsFirst = false
      this.schedule()
      return
    }
    const more = this.#fill()
    this.flush()
    // A full socket says `drain`.
    if (more && !this.isFull) this.schedule()
  }
  /** Only its own connection suffers. */
  fail(error: Error): void {
    this.#socket.destroy(error)
  }
}

/** Those with something to send when the turn ends. */
let waiting: FrameOutput[] = []
const turn = guard(
  'http2',
  (error, output: FrameOutput) => {
    output.fail(error)
  },
  (output: FrameOutput) => {
    output.turn()
  },
)
const flushAll = guard(
  'http2',
  () => {
    /* `turn` guards each */
  },
  () => {
    const now = waiting
    waiting = []
    for (const output of now) turn(output)
  },
)

/** The head of a frame into the slab (RFC 9113 §4.1). @returns the offset behind it */
function writeHead(at: number, payloadBytes: number, type: number, flags: number, streamId: number): number {
  slab[at] = payloadBytes >>> 16
  slab[at + 1] = payloadBytes >>> 8
  slab[at + 2] = payloadBytes
  slab[at + 3] = type
  slab[at + 4] = flags
  return writeUint32(slab, at + 5, streamId)
}
