/**
 * One HTTP/2 connection (RFC 9113), either side: streams, windows, settings and the end. Frames are read and written by the codecs; what a stream's messages mean is
 * its owner's business. Nothing here throws past the connection.
 */
import { MeshError } from '../../../agent/core/errors.ts'
import { guarded, nothing } from '../../../agent/core/guard.ts'
import {
  DEFAULT_WINDOW_BYTES, ErrorCode, Http2ConnectionError, LARGEST_MAX_FRAME_BYTES, MAX_STREAM_ID, MAX_WINDOW_BYTES, PREFACE, Setting,
} from '../codec/h2-frames.ts'
import { FrameReader, type FrameSink } from '../codec/h2-frame-reader.ts'
import { declaredLength, requestProblem, responseProblem, trailersProblem } from '../codec/h2-message-rules.ts'
import { HpackDecoder, HpackError } from '../codec/hpack-decoder.ts'
import { CONNECTION_CLOSED, type SessionOptions, type SessionOwner, type StreamOwner } from './events.ts'
import { FrameOutput } from './frame-output.ts'
import { ReceiveWindow } from './receive-window.ts'
import { Sender, type Sending } from './sender.ts'
import { Http2Stream, tellHead, tellInformational, tellPause, type StreamSession } from './stream.ts'

const HEADER_TABLE_BYTES = 4096
/** An encoded block may be longer than the list: Huffman codes have up to 30 bits. */
const BLOCK_SLACK_BYTES = 16 * 1024
/** Of an encoded block that is read at least, so that a list which is too long is refused by itself, and not with its connection. */
const MIN_BLOCK_BYTES = 128 * 1024
/** Streams that we have reset, whose frames may still be on their way; about older ones nothing is known. */
const MAX_REMEMBERED_RESETS = 1024
/** Answers to SETTINGS and PING that the peer does not read. */
const MAX_UNREAD_BYTES = 256 * 1024
/** 1xx before one final answer. */
const MAX_INFORMATIONAL = 32

export class Http2Session implements FrameSink, Sending, StreamSession {
  readonly #o: SessionOptions
  readonly #owner: SessionOwner
  readonly #isServer: boolean
  readonly #reader: FrameReader
  readonly #output: FrameOutput
  readonly #sender: Sender
  readonly #decoder: HpackDecoder
  /** By id; a stream is here until its owner has been told everything. */
  readonly #streams = new Map<number, Http2Stream>()
  /** A client's, whose heads have not left. */
  readonly #unnumbered = new Set<Http2Stream>()
  #touched: Http2Stream[] = []
  /** Peer's streams of which one side at least is open. */
  #openCount = 0
  #lastPeerId = 0
  #nextId = 1
  readonly #resets = new Set<number>()
  #forgottenId = 0
  /** Ids above it are not worked on: GOAWAY was sent. */
  #goawayId = MAX_STREAM_ID
  readonly #window: ReceiveWindow
  #peerStreamWindowBytes = DEFAULT_WINDOW_BYTES
  /** SETTINGS_MAX_CONCURRENT_STREAMS of the peer; undefined = it has not said. */
  peerMaxStreams: number | undefined
  #goawaySent = false
  #goawayReceived = false
  isClosed = false

  constructor(o: SessionOptions, owner: SessionOwner) {
    this.#o = o
    this.#owner = owner
    this.#isServer = o.role === 'server'
    this.#decoder = new HpackDecoder({ maxTableBytes: HEADER_TABLE_BYTES, maxListBytes: o.maxHeaderListBytes, maxFields: o.maxHeaderCount })
    this.#reader = new FrameReader(this, { expectPreface: this.#isServer, maxBlockBytes: Math.max(MIN_BLOCK_BYTES, 2 * o.maxHeaderListBytes + BLOCK_SLACK_BYTES) })
    this.#output = new FrameOutput(o.socket, () => this.#sender.fill())
    this.#sender = new Sender(this.#output, this)
    this.#window = new ReceiveWindow(Math.max(o.connectionWindowBytes, DEFAULT_WINDOW_BYTES))
  }

  /** SETTINGS go out, and what comes is read. */
  begin(): void {
    const { socket, maxConcurrentStreams, streamWindowBytes, connectionWindowBytes, maxHeaderListBytes, extendedConnect } = this.#o
    if (!this.#isServer) this.#output.bytes(PREFACE)
    const settings: [number, number][] = [[Setting.INITIAL_WINDOW_SIZE, streamWindowBytes], [Setting.MAX_HEADER_LIST_SIZE, maxHeaderListBytes]]
    if (this.#isServer) settings.push([Setting.MAX_CONCURRENT_STREAMS, maxConcurrentStreams])
    else settings.push([Setting.ENABLE_PUSH, 0])
    if (this.#isServer && extendedConnect) settings.push([Setting.ENABLE_CONNECT_PROTOCOL, 1])
    this.#output.settings(settings)
    if (connectionWindowBytes > DEFAULT_WINDOW_BYTES) this.#output.windowUpdate(0, connectionWindowBytes - DEFAULT_WINDOW_BYTES)
    const broken = (error: MeshError): void => { this.#end(error) }
    socket.on('data', guarded('http2', broken, (chunk: Buffer) => { this.#read(chunk) }))
    socket.on('drain', guarded('http2', broken, () => { this.#sender.resume() }))
    socket.on('error', nothing)
    // There is no half-close in HTTP/2.
    socket.once('end', guarded('http2', broken, () => { this.#end(undefined) }))
    socket.once('close', guarded('http2', broken, () => { this.#end(undefined) }))
  }

  /** Made, and not taken by the socket. */
  get unsentBytes(): number { return this.#output.unsentBytes }
  get sentDataFrames(): number { return this.#sender.dataFrames }
  /** Streams whose owners are still told something. */
  get streamCount(): number { return this.#streams.size + this.#unnumbered.size }
  /** One side has said that no more streams are opened. */
  get isClosing(): boolean { return this.#goawaySent || this.#goawayReceived }
  /** A client may open one more. */
  get canOpen(): boolean { return !this.isClosing && !this.isClosed && this.#nextId <= MAX_STREAM_ID }

  /** Client: a stream for one request; its head goes out next. Only while canOpen. */
  open(owner: StreamOwner, isHead: boolean): Http2Stream {
    const stream = new Http2Stream(this, 0, this.#peerStreamWindowBytes, this.#o.streamWindowBytes)
    stream.owner = owner
    stream.isHead = isHead
    this.#unnumbered.add(stream)
    return stream
  }

  /** GOAWAY; the streams that are open come to their end. */
  close(): void {
    if (this.#goawaySent || this.isClosed) return
    this.#goawaySent = true
    this.#goawayId = this.#lastPeerId
    this.#output.goaway(this.#lastPeerId, ErrorCode.NO_ERROR)
    this.#endIfIdle()
  }
  /** GOAWAY with a reason, and the end of everything. */
  destroy(code: number, error?: MeshError): void {
    if (this.isClosed) return
    this.#output.goaway(this.#lastPeerId, code)
    this.#end(error)
  }

  /* StreamSession. */

  wantsToSend(stream: Http2Stream): void { this.#sender.add(stream) }
  consumed(stream: Http2Stream, bytes: number): void {
    this.#credit(bytes)
    if (stream.isClosed || stream.remoteEnded) return
    const given = stream.window.take(bytes)
    if (given > 0) this.#output.windowUpdate(stream.id, given)
  }
  resetStream(stream: Http2Stream, code: number, problem?: string): void {
    if (stream.id !== 0 && !(stream.localEnded && stream.remoteEnded)) {
      this.#output.reset(stream.id, code)
      this.#remember(stream.id)
    }
    this.#remove(stream, code, problem)
  }
  maybeClose(stream: Http2Stream): void {
    if (!stream.localEnded || !stream.remoteEnded || stream.isClosed || stream.hasUnread) return
    this.#remove(stream, stream.pendingCode, undefined)
  }

  #credit(bytes: number): void {
    const given = this.#window.take(bytes)
    if (given > 0) this.#output.windowUpdate(0, given)
  }

  #remember(id: number): void {
    this.#resets.add(id)
    if (this.#resets.size <= MAX_REMEMBERED_RESETS) return
    const [oldest] = this.#resets
    this.#resets.delete(oldest!)
    this.#forgottenId = Math.max(this.#forgottenId, oldest!)
  }

  #remove(stream: Http2Stream, code: number, problem: string | undefined): void {
    if (stream.isClosed) return
    this.#sender.delete(stream)
    if (stream.id === 0) this.#unnumbered.delete(stream)
    else if (this.#streams.delete(stream.id) && !(stream.localEnded && stream.remoteEnded)) this.#openCount--
    const { unreadBytes } = stream
    if (unreadBytes > 0) this.#credit(unreadBytes)
    stream.close(code, problem)
    this.#endIfIdle()
  }
  #endIfIdle(): void { if (this.isClosing && !this.isClosed && this.streamCount === 0) this.#end(undefined) }

  /** Everything is over. */
  #end(error: MeshError | undefined): void {
    if (this.isClosed) return
    this.isClosed = true
    this.#reader.stop()
    this.#output.close()
    const { socket } = this.#o
    if (!socket.destroyed && !socket.writableEnded) socket.end()
    for (const stream of [...this.#streams.values(), ...this.#unnumbered]) stream.close(CONNECTION_CLOSED, undefined)
    this.#streams.clear()
    this.#unnumbered.clear()
    this.#sender.clear()
    this.#owner.onSessionClose(error)
  }

  /* Sending. */

  onFirstHead(stream: Http2Stream): void {
    stream.id = this.#nextId
    this.#nextId += 2
    this.#unnumbered.delete(stream)
    this.#streams.set(stream.id, stream)
    this.#openCount++
  }
  onLocalEnd(stream: Http2Stream): void {
    stream.localEnded = true
    if (stream.remoteEnded) this.#openCount--
    if (stream.resetAfterSent === undefined) { this.maybeClose(stream); return }
    this.#output.reset(stream.id, stream.resetAfterSent)
    this.#remember(stream.id)
    this.#remove(stream, stream.resetAfterSent, undefined)
  }

  /* Receiving. */

  #read(chunk: Buffer): void {
    try { this.#reader.read(chunk) } catch (thrown) { this.#fail(thrown) }
    const touched = this.#touched
    if (touched.length === 0) return
    this.#touched = []
    for (const stream of touched) if (!stream.isClosed) tellPause(stream)
  }
  /** The peer broke the connection; a defect of our own goes to the guard. */
  #fail(thrown: unknown): void {
    if (!(thrown instanceof Http2ConnectionError)) throw thrown
    if (thrown.code === ErrorCode.ENHANCE_YOUR_CALM) this.#owner.onCostlyFrame('continuations')
    this.destroy(thrown.code, new MeshError('MESH_MALFORMED_INPUT', `the HTTP/2 connection broke: ${thrown.message}`))
  }

  onData(streamId: number, chunk: Buffer, end: boolean, paddingBytes: number): void {
    const bytes = chunk.length + paddingBytes
    if (!this.#window.receive(bytes)) throw flowBroken('more DATA than the window of the connection')
    const stream = this.#known(streamId)
    if (stream === undefined) { this.#credit(bytes); return }
    if (stream.remoteEnded || !this.#expectsData(stream)) {
      this.#credit(bytes)
      this.#streamError(stream, stream.remoteEnded ? ErrorCode.STREAM_CLOSED : ErrorCode.PROTOCOL_ERROR, 'DATA where none may come')
      return
    }
    stream.receivedBytes += chunk.length
    if (!stream.window.receive(bytes)) { this.#dataError(stream, bytes, ErrorCode.FLOW_CONTROL_ERROR, 'more DATA than the window of the stream'); return }
    const { expectedBytes, receivedBytes } = stream
    if (expectedBytes >= 0 && (receivedBytes > expectedBytes || (end && receivedBytes < expectedBytes))) { this.#dataError(stream, bytes, ErrorCode.PROTOCOL_ERROR, 'not as much DATA as content-length says'); return }
    if (paddingBytes > 0) this.consumed(stream, paddingBytes)
    if (chunk.length > 0) { this.#touched.push(stream); stream.take(chunk) }
    if (end) this.#remoteEnd(stream, undefined, false)
  }
  /** A client's stream gets a head first. */
  #expectsData(stream: Http2Stream): boolean { return this.#isServer || stream.hasHead }
  #dataError(stream: Http2Stream, bytes: number, code: number, problem: string): void {
    this.#credit(bytes)
    this.#streamError(stream, code, problem)
  }

  #remoteEnd(stream: Http2Stream, trailers: string[] | undefined, oversized: boolean): void {
    if (stream.isClosed) return
    if (stream.localEnded) this.#openCount--
    stream.takeEnd(trailers, oversized)
    this.maybeClose(stream)
  }

  onHeaders(streamId: number, block: Buffer, end: boolean, dependsOn: number | undefined): void {
    const { fields, oversized, problem } = this.#decode(block)
    if (this.#isServer && (streamId & 1) === 0) throw broken('a client\'s stream has an odd number')
    const isNew = this.#isServer && streamId > this.#lastPeerId
    const stream = isNew ? this.#opened(streamId) : this.#known(streamId)
    if (stream === undefined) return
    if (dependsOn === streamId) { this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, 'a stream that depends on itself'); return }
    if (isNew) this.#request(stream, fields, end, oversized, problem)
    else if (stream.remoteEnded) this.#streamError(stream, ErrorCode.STREAM_CLOSED, 'HEADERS after the end of the stream')
    else if (this.#isServer || stream.hasHead) this.#trailers(stream, fields, end, oversized, problem)
    else this.#response(stream, fields, end, oversized, problem)
  }
  #decode(block: Buffer): ReturnType<HpackDecoder['decode']> {
    try { return this.#decoder.decode(block, 0, block.length) } catch (thrown) {
      if (thrown instanceof HpackError) throw new Http2ConnectionError(ErrorCode.COMPRESSION_ERROR, thrown.message)
      throw thrown
    }
  }

  /** Undefined: not worked on. */
  #opened(streamId: number): Http2Stream | undefined {
    if (streamId > this.#goawayId) return undefined
    this.#lastPeerId = streamId
    if (this.#openCount >= this.#o.maxConcurrentStreams) {
      this.#output.reset(streamId, ErrorCode.REFUSED_STREAM)
      this.#remember(streamId)
      this.#owner.onCostlyFrame('resets')
      return undefined
    }
    const stream = new Http2Stream(this, streamId, this.#peerStreamWindowBytes, this.#o.streamWindowBytes)
    this.#streams.set(streamId, stream)
    this.#openCount++
    return stream
  }

  #request(stream: Http2Stream, fields: string[], end: boolean, oversized: boolean, problem: string | undefined): void {
    stream.expectedBytes = declaredLength(fields)
    const malformed = problem ?? (oversized ? undefined : requestProblem(fields, this.#o.extendedConnect)) ?? lengthProblem(stream.expectedBytes, end)
    if (malformed !== undefined) { this.#malformed(stream, fields, end, malformed); return }
    stream.isHead = fields[fields.indexOf(':method') + 1] === 'HEAD'
    if (end) stream.remoteEnded = true
    this.#owner.onStream(stream, fields, end, oversized)
  }
  #malformed(stream: Http2Stream, fields: string[], end: boolean, problem: string): void {
    if (end) stream.remoteEnded = true
    this.#owner.onCostlyFrame('resets')
    this.#owner.onMalformed(stream, fields, problem)
    stream.resetWhenSent(ErrorCode.PROTOCOL_ERROR)
  }

  #response(stream: Http2Stream, fields: string[], end: boolean, oversized: boolean, problem: string | undefined): void {
    const malformed = problem ?? responseProblem(fields)
    if (malformed !== undefined) { this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, malformed); return }
    const status = Number(fields[1])
    if (status < 200) { this.#informational(stream, fields, end, status); return }
    stream.hasHead = true
    if (!stream.isHead && status !== 304) {
      stream.expectedBytes = declaredLength(fields)
      const wrong = lengthProblem(stream.expectedBytes, end)
      if (wrong !== undefined) { this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, wrong); return }
    }
    this.#touched.push(stream)
    tellHead(stream, fields, end, oversized)
    if (end) this.#remoteEnd(stream, undefined, false)
  }
  #informational(stream: Http2Stream, fields: string[], end: boolean, status: number): void {
    if (end || status === 101 || ++stream.informationalCount > MAX_INFORMATIONAL) { this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, '1xx where none may come'); return }
    tellInformational(stream, fields)
  }

  #trailers(stream: Http2Stream, fields: string[], end: boolean, oversized: boolean, problem: string | undefined): void {
    const { expectedBytes, receivedBytes } = stream
    const short = expectedBytes >= 0 && receivedBytes !== expectedBytes ? 'not as much DATA as content-length says' : undefined
    const malformed = problem ?? (end ? trailersProblem(fields) : 'a second head') ?? short
    if (malformed !== undefined) { this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, malformed); return }
    this.#touched.push(stream)
    this.#remoteEnd(stream, fields, oversized)
  }

  onPriority(streamId: number, dependsOn: number): void {
    this.#owner.onCostlyFrame('priorities')
    if (dependsOn === streamId) this.onStreamError(streamId, ErrorCode.PROTOCOL_ERROR)
  }
  onStreamError(streamId: number, code: number): void {
    const stream = this.#streams.get(streamId)
    if (stream !== undefined) this.#streamError(stream, code, 'a frame that may not be')
    else if (this.#isIdle(streamId)) throw new Http2ConnectionError(code, 'a frame that may not be')
  }
  onReset(streamId: number, code: number): void {
    if (this.#isIdle(streamId)) throw broken('RST_STREAM of a stream that was never opened')
    const stream = this.#streams.get(streamId)
    if (stream === undefined) return
    if (this.#isServer || !stream.remoteEnded || !stream.hasUnread) { this.#remove(stream, code, undefined); return }
    // All of the answer is here, and its owner has not read it yet (RFC 9113 §8.1).
    stream.dropOutgoing()
    this.#sender.delete(stream)
    stream.pendingCode = code
    if (!stream.localEnded) this.onLocalEnd(stream)
  }

  onSettings(settings: readonly (readonly [id: number, value: number])[]): void {
    this.#owner.onCostlyFrame('settings')
    for (const [id, value] of settings) this.#setting(id, value)
    this.#checkUnread()
    this.#output.settingsAck()
  }
  #setting(id: number, value: number): void {
    switch (id) {
      case Setting.HEADER_TABLE_SIZE: this.#sender.encoder.setMaxTableBytes(value); break
      case Setting.ENABLE_PUSH: if (value > 1 || (value === 1 && !this.#isServer)) throw broken('SETTINGS_ENABLE_PUSH'); break
      case Setting.MAX_CONCURRENT_STREAMS: this.peerMaxStreams = value; break
      case Setting.INITIAL_WINDOW_SIZE: this.#setPeerWindow(value); break
      case Setting.MAX_FRAME_SIZE:
        if (value < 16_384 || value > LARGEST_MAX_FRAME_BYTES) throw broken('SETTINGS_MAX_FRAME_SIZE')
        // Larger ones would keep other streams waiting.
        break
      case Setting.ENABLE_CONNECT_PROTOCOL: if (value > 1) throw broken('SETTINGS_ENABLE_CONNECT_PROTOCOL'); break
      default: // RFC 9113 §6.5.2: unknown ones are ignored.
    }
  }
  #setPeerWindow(bytes: number): void {
    if (bytes > MAX_WINDOW_BYTES) throw flowBroken('SETTINGS_INITIAL_WINDOW_SIZE')
    const by = bytes - this.#peerStreamWindowBytes
    this.#peerStreamWindowBytes = bytes
    for (const stream of [...this.#streams.values(), ...this.#unnumbered]) {
      stream.sendWindowBytes += by
      if (stream.sendWindowBytes > MAX_WINDOW_BYTES) throw flowBroken('a window above the largest')
      if (stream.hasOutgoing) this.wantsToSend(stream)
    }
  }
  onSettingsAck(): void { /* What we ask for is kept to from the beginning. */ }

  onPing(payload: Buffer, ack: boolean): void {
    // An answer to nothing is no error (RFC 9113 §6.7).
    this.#owner.onCostlyFrame('pings')
    if (ack) return
    this.#checkUnread()
    this.#output.ping(payload, true)
  }
  #checkUnread(): void { if (this.#output.unsentBytes > MAX_UNREAD_BYTES) this.#owner.onCostlyFrame('unread answers') }

  onGoaway(lastStreamId: number, code: number): void {
    this.#goawayReceived = true
    for (const stream of this.#unnumbered) this.#remove(stream, ErrorCode.REFUSED_STREAM, undefined)
    if (!this.#isServer) for (const stream of this.#streams.values()) if (stream.id > lastStreamId) this.#remove(stream, ErrorCode.REFUSED_STREAM, undefined)
    this.#owner.onGoaway(code)
    this.#endIfIdle()
  }

  onWindowUpdate(streamId: number, bytes: number): void {
    this.#owner.onCostlyFrame('window updates')
    if (streamId === 0) {
      this.#sender.windowBytes += bytes
      if (this.#sender.windowBytes > MAX_WINDOW_BYTES) throw flowBroken('a window above the largest')
      this.#sender.resume()
      return
    }
    const stream = this.#streams.get(streamId)
    if (stream === undefined) {
      if (this.#isIdle(streamId)) throw broken('WINDOW_UPDATE of a stream that was never opened')
      return
    }
    stream.sendWindowBytes += bytes
    if (stream.sendWindowBytes > MAX_WINDOW_BYTES) this.#streamError(stream, ErrorCode.FLOW_CONTROL_ERROR, 'a window above the largest')
    else if (stream.hasOutgoing) this.wantsToSend(stream)
  }

  onEmptyFrame(): void { this.#owner.onCostlyFrame('empty frames') }

  #streamError(stream: Http2Stream, code: number, problem: string): void {
    this.#owner.onCostlyFrame('resets')
    this.resetStream(stream, code, problem)
  }

  #isIdle(streamId: number): boolean {
    if ((streamId & 1) === 0) return true
    return this.#isServer ? streamId > this.#lastPeerId && streamId <= this.#goawayId : streamId >= this.#nextId
  }
  /** Undefined: frames that were on their way when the stream was reset, or to one that is not worked on. Throws for what may never come. */
  #known(streamId: number): Http2Stream | undefined {
    const stream = this.#streams.get(streamId)
    if (stream !== undefined) return stream
    if (this.#isIdle(streamId)) throw broken('a frame of a stream that was never opened')
    if (this.#resets.has(streamId) || streamId <= this.#forgottenId || streamId > this.#goawayId) return undefined
    throw new Http2ConnectionError(ErrorCode.STREAM_CLOSED, 'a frame of a stream that is closed')
  }
}

function broken(message: string): Http2ConnectionError { return new Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, message) }
function flowBroken(message: string): Http2ConnectionError { return new Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, message) }

function lengthProblem(declared: number, end: boolean): string | undefined {
  if (Number.isNaN(declared)) return 'content-length is no number, or several'
  return end && declared > 0 ? 'content-length, and no body' : undefined
}
