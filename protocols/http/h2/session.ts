/**
 * One HTTP/2 connection (RFC 9113), either side: streams, windows, settings and the end. Frames are read and written by
 * the codecs; what a stream's messages mean is its owner's business. Nothing here throws past the connection.
 */
import { MeshError } from '../../../core/errors.ts'
import { guarded, nothing } from '../../../core/defects/guard.ts'
import {
  DEFAULT_WINDOW_BYTES,
  ErrorCode,
  Http2ConnectionError,
  MAX_STREAM_ID,
  MAX_WINDOW_BYTES,
  PREFACE,
  Setting,
} from '../codec/h2-frames.ts'
import { FrameReader, type FrameSink } from '../codec/h2-frame-reader.ts'
import { responseProblem } from '../codec/h2-message-rules.ts'
import { HpackDecoder, HpackError, RepeatedFieldsError } from '../codec/hpack/decoder.ts'
import { CONNECTION_CLOSED, type SessionOptions, type SessionOwner } from './events.ts'
import { Drain } from './drain.ts'
import { FrameOutput } from './frame-output.ts'
import { checkLength, checkRequest, checkResponse, checkTrailers } from './stream/check-message.ts'
import { PeerSettings } from './peer-settings.ts'
import { ReceiveWindow } from './stream/receive-window.ts'
import { Sender, type Sending } from './sender.ts'
import { StreamIds } from './stream/ids.ts'
import { Http2Stream, tellHead, tellInformational, type StreamOwner, type StreamSession } from './stream/stream.ts'
import { Touched } from './stream/touched.ts'

const HEADER_TABLE_BYTES = 4096
/** An encoded block may be longer than the list: Huffman codes have up to 30 bits. */
const BLOCK_SLACK_BYTES = 16 * 1024
/**
 * Of an encoded block that is read at least, so that a list which is too long is refused by itself, and not with its
 * connection.
 */
const MIN_BLOCK_BYTES = 128 * 1024
/** Answers to SETTINGS, PING and what is refused, while the peer reads nothing. */
const MAX_UNREAD_BYTES = 64 * 1024
/** 1xx before one final answer. */
const MAX_INFORMATIONAL = 32
/** Streams that are over for the peer, whose owners have not read everything: as many again as may be open. */
const MAX_STREAMS_FACTOR = 2

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
  readonly #touched = new Touched()
  /** Peer's streams of which one side at least is open. */
  #openCount = 0
  readonly #ids: StreamIds
  readonly #window: ReceiveWindow
  readonly #peer: PeerSettings
  #settingsAcked = false
  #drain: Drain | undefined
  #goawaySent = false
  #goawayReceived = false
  isClosed = false
  /** onSessionClose was told. */
  #isTold = false
  #error: MeshError | undefined

  constructor(o: SessionOptions, owner: SessionOwner) {
    this.#o = o
    this.#owner = owner
    this.#isServer = o.role === 'server'
    this.#ids = new StreamIds(this.#isServer)
    this.#peer = new PeerSettings(this.#isServer)
    this.#decoder = new HpackDecoder({
      maxTableBytes: HEADER_TABLE_BYTES,
      maxListBytes: o.maxHeaderListBytes,
      maxFields: o.maxHeaderCount,
    })
    this.#reader = new FrameReader(this, {
      expectPreface: this.#isServer,
      maxBlockBytes: Math.max(MIN_BLOCK_BYTES, 2 * o.maxHeaderListBytes + BLOCK_SLACK_BYTES),
      onRead: o.onRead,
    })
    this.#output = new FrameOutput(o.socket, () => this.#sender.fill())
    this.#sender = new Sender(this.#output, this)
    this.#window = new ReceiveWindow(Math.max(o.connectionWindowBytes, DEFAULT_WINDOW_BYTES))
  }

  /** SETTINGS go out, and what comes is read. */
  begin(): void {
    const {
      socket,
      maxConcurrentStreams,
      streamWindowBytes,
      connectionWindowBytes,
      maxHeaderListBytes,
      extendedConnect,
    } = this.#o
    if (!this.#isServer) this.#output.bytes(PREFACE)
    const settings: [number, number][] = [
      [Setting.INITIAL_WINDOW_SIZE, streamWindowBytes],
      [Setting.MAX_HEADER_LIST_SIZE, maxHeaderListBytes],
    ]
    settings.push(this.#isServer ? [Setting.MAX_CONCURRENT_STREAMS, maxConcurrentStreams] : [Setting.ENABLE_PUSH, 0])
    if (this.#isServer && extendedConnect) settings.push([Setting.ENABLE_CONNECT_PROTOCOL, 1])
    this.#output.settings(settings)
    if (connectionWindowBytes > DEFAULT_WINDOW_BYTES)
      this.#output.windowUpdate(0, connectionWindowBytes - DEFAULT_WINDOW_BYTES)
    const { defect } = this
    socket.on(
      'data',
      guarded('http2', defect, (chunk: Buffer) => {
        this.#read(chunk)
      }),
    )
    socket.on(
      'drain',
      guarded('http2', defect, () => {
        this.#output.drained()
        this.#sender.resume()
      }),
    )
    socket.on('error', nothing)
    // There is no half-close in HTTP/2.
    socket.once(
      'end',
      guarded('http2', defect, () => {
        this.#end(undefined, true)
      }),
    )
    socket.once(
      'close',
      guarded('http2', defect, () => {
        this.#end(undefined, true)
      }),
    )
  }
  /** Of this connection: it ends, and no other. */
  readonly defect = (error: MeshError): void => {
    this.destroy(ErrorCode.INTERNAL_ERROR, error)
  }

  /** Made, and not taken by the socket. */
  get unsentBytes(): number {
    return this.#output.unsentBytes
  }
  /** SETTINGS_MAX_CONCURRENT_STREAMS of the peer; undefined = it has not said. */
  get peerMaxStreams(): number | undefined {
    return this.#peer.maxStreams
  }
  /** The server permits CONNECT with :protocol (RFC 8441 §3). */
  get peerExtendedConnect(): boolean {
    return this.#peer.extendedConnect
  }
  get sentDataFrames(): number {
    return this.#sender.dataFrames
  }
  /** Streams whose owners are still told something. */
  get streamCount(): number {
    return this.#streams.size + this.#unnumbered.size
  }
  /** One side has said that no more streams are opened. */
  get isClosing(): boolean {
    return this.#goawaySent || this.#goawayReceived
  }
  /** A client may open one more. */
  get canOpen(): boolean {
    return !this.isClosing && !this.isClosed && this.#ids.nextId + 2 * this.#unnumbered.size <= MAX_STREAM_ID
  }

  /** Client: a stream for one request; its head goes out next. Only while canOpen. */
  open(owner: StreamOwner, isHead: boolean): Http2Stream {
    const stream = new Http2Stream(this, 0, this.#peer.streamWindowBytes, this.#newWindow())
    stream.owner = owner
    stream.isHead = isHead
    this.#unnumbered.add(stream)
    return stream
  }

  /** GOAWAY; the streams that are open come to their end. */
  close(): void {
    if (this.#goawaySent || this.isClosed) return
    this.#drain?.over()
    this.#goawaySent = true
    this.#ids.goawayId = this.#ids.lastPeerId
    this.#output.goaway(this.#ids.lastPeerId, ErrorCode.NO_ERROR)
    this.#endIfIdle()
  }
  /**
   * As close, but a server serves the requests that are on their way, too (RFC 9113 §6.8): the GOAWAY of close goes out
   * when the client has answered a PING behind a first one, or has had time to. Without a clock there is one step.
   */
  drain(): void {
    const { clock } = this.#o
    if (!this.#isServer || clock === undefined) {
      this.close()
      return
    }
    if (this.#goawaySent || this.isClosed) return
    this.#drain ??= new Drain(
      this.#output,
      clock,
      guarded('http2', this.defect, () => {
        this.close()
      }),
    )
  }
  /** GOAWAY with a reason, and the end of everything. A defect of our own is not what the peer broke. */
  destroy(code: number, error?: MeshError): void {
    if (!this.isClosed) this.#output.goaway(this.#ids.lastPeerId, code)
    this.#end(error, false, code === ErrorCode.INTERNAL_ERROR ? undefined : error?.message)
  }

  /* StreamSession. */

  wantsToSend(stream: Http2Stream): void {
    this.#sender.add(stream)
  }
  consumed(stream: Http2Stream, bytes: number): void {
    this.#credit(bytes)
    if (stream.isClosed || stream.remoteEnded) return
    const given = stream.window.take(bytes)
    if (given > 0) this.#output.windowUpdate(stream.id, given)
  }
  resetStream(stream: Http2Stream, code: number, problem?: string): void {
    if (stream.id !== 0 && !(stream.localEnded && stream.remoteEnded)) {
      this.#output.reset(stream.id, code)
      this.#ids.reset(stream.id)
    }
    this.#remove(stream, code, problem)
  }
  maybeClose(stream: Http2Stream): void {
    if (!stream.localEnded || !stream.remoteEnded || stream.isClosed || stream.hasUnread) return
    this.#remove(stream, stream.pendingCode, undefined)
  }

  #credit(bytes: number): void {
    if (this.isClosed) return
    const given = this.#window.take(bytes)
    if (given > 0) this.#output.windowUpdate(0, given)
  }

  #remove(stream: Http2Stream, code: number, problem: string | undefined): void {
    if (stream.isClosed) return
    this.#sender.delete(stream)
    if (stream.id === 0) this.#unnumbered.delete(stream)
    else if (this.#streams.delete(stream.id) && !(stream.localEnded && stream.remoteEnded)) this.#openCount--
    const { unreadBytes } = stream
    if (unreadBytes > 0) this.#credit(unreadBytes)
    stream.close(code, problem)
    if (this.isClosed) this.#tellClose()
    else this.#endIfIdle()
  }
  #endIfIdle(): void {
    if (this.isClosing && !this.isClosed && this.streamCount === 0) this.#end(undefined, false)
  }

  /**
   * Everything is over.
   * @param keepsUnread a client's owners may still take answers that have come in full
   * @param problem what the peer broke
   */
  #end(error: MeshError | undefined, keepsUnread: boolean, problem?: string): void {
    this.#error ??= error
    if (!this.isClosed) {
      this.isClosed = true
      this.#drain?.over()
      this.#reader.stop()
      this.#output.close()
      const { socket } = this.#o
      if (!socket.destroyed && !socket.writableEnded) socket.end()
      this.#sender.clear()
    } else if (keepsUnread) return
    for (const stream of this.#unnumbered) this.#remove(stream, CONNECTION_CLOSED, problem)
    for (const stream of this.#streams.values()) {
      if (keepsUnread && !this.#isServer && stream.remoteEnded && stream.hasUnread)
        this.#sendsNoMore(stream, CONNECTION_CLOSED)
      else this.#remove(stream, CONNECTION_CLOSED, problem)
    }
    this.#tellClose()
  }
  /** What has come is still told, and then the end. @param code where our side had not said everything */
  #sendsNoMore(stream: Http2Stream, code: number): void {
    stream.dropOutgoing()
    this.#sender.delete(stream)
    stream.resetAfterSent = undefined
    if (stream.localEnded) return
    stream.pendingCode = code
    this.onLocalEnd(stream)
  }
  #tellClose(): void {
    if (this.#isTold || this.streamCount > 0) return
    this.#isTold = true
    this.#closed()
  }
  readonly #closed = guarded('http2', nothing, () => {
    this.#owner.onSessionClose(this.#error)
  })

  /* Sending. */

  onFirstHead(stream: Http2Stream): void {
    stream.id = this.#ids.nextId
    this.#ids.nextId += 2
    this.#unnumbered.delete(stream)
    this.#streams.set(stream.id, stream)
    this.#openCount++
  }
  onLocalEnd(stream: Http2Stream): void {
    stream.localEnded = true
    if (stream.remoteEnded) this.#openCount--
    if (stream.resetAfterSent === undefined) {
      this.maybeClose(stream)
      return
    }
    this.#output.reset(stream.id, stream.resetAfterSent)
    this.#ids.reset(stream.id)
    this.#remove(stream, stream.resetAfterSent, undefined)
  }

  /* Receiving. */

  #read(chunk: Buffer): void {
    try {
      this.#reader.read(chunk)
    } catch (thrown) {
      this.#fail(thrown)
    }
    if (this.#output.unreadAnswerBytes > MAX_UNREAD_BYTES && !this.isClosed) this.#owner.onCostlyFrame('unread answers')
    this.#touched.pause()
  }
  /** The peer broke the connection; a defect of our own goes to the guard. */
  #fail(thrown: unknown): void {
    if (!(thrown instanceof Http2ConnectionError)) throw thrown
    this.destroy(thrown.code, new MeshError('MESH_MALFORMED_INPUT', `the HTTP/2 connection broke: ${thrown.message}`))
  }

  onData(streamId: number, chunk: Buffer, end: boolean, paddingBytes: number): void {
    const bytes = chunk.length + paddingBytes
    if (!this.#window.receive(bytes)) throw flowBroken('more DATA than the window of the connection')
    const stream = this.#known(streamId)
    if (stream === undefined) {
      this.#credit(bytes)
      return
    }
    if (stream.remoteEnded || !this.#expectsData(stream)) {
      this.#credit(bytes)
      this.#streamError(
        stream,
        stream.remoteEnded ? ErrorCode.STREAM_CLOSED : ErrorCode.PROTOCOL_ERROR,
        'DATA where none may come',
      )
      return
    }
    stream.receivedBytes += chunk.length
    if (!stream.window.receive(bytes)) {
      this.#dataError(stream, bytes, ErrorCode.FLOW_CONTROL_ERROR, 'more DATA than the window of the stream')
      return
    }
    const wrong = checkLength(stream, end)
    if (wrong !== undefined) {
      this.#dataError(stream, bytes, ErrorCode.PROTOCOL_ERROR, wrong)
      return
    }
    if (paddingBytes > 0) this.consumed(stream, paddingBytes)
    if (chunk.length > 0) {
      this.#touched.add(stream)
      stream.take(chunk)
    }
    if (end) this.#remoteEnd(stream, undefined, false)
  }
  /** A client's stream gets a head first. */
  #expectsData(stream: Http2Stream): boolean {
    return this.#isServer || stream.hasHead
  }
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
    if (this.#isServer && (streamId & 1) === 0) throw broken("a client's stream has an odd number")
    const isNew = this.#isServer && streamId > this.#ids.lastPeerId
    const stream = isNew ? this.#opened(streamId) : this.#known(streamId)
    if (stream === undefined) return
    if (dependsOn === streamId) {
      this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, 'a stream that depends on itself')
      return
    }
    if (isNew) this.#request(stream, fields, end, oversized, problem)
    else if (stream.remoteEnded)
      this.#streamError(stream, ErrorCode.STREAM_CLOSED, 'HEADERS after the end of the stream')
    else if (this.#isServer || stream.hasHead) this.#trailers(stream, fields, end, oversized, problem)
    else this.#response(stream, fields, end, oversized, problem)
  }
  #decode(block: Buffer): ReturnType<HpackDecoder['decode']> {
    try {
      return this.#decoder.decode(block, 0, block.length)
    } catch (thrown) {
      if (thrown instanceof RepeatedFieldsError) {
        this.#owner.onCostlyFrame('repeated fields')
        throw new Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, thrown.message)
      }
      if (thrown instanceof HpackError) throw new Http2ConnectionError(ErrorCode.COMPRESSION_ERROR, thrown.message)
      throw thrown
    }
  }

  /** Undefined: not worked on. */
  #opened(streamId: number): Http2Stream | undefined {
    if (streamId > this.#ids.goawayId) return undefined
    this.#ids.opened(streamId)
    const { maxConcurrentStreams } = this.#o
    if (this.#openCount >= maxConcurrentStreams || this.#streams.size >= MAX_STREAMS_FACTOR * maxConcurrentStreams) {
      this.#output.reset(streamId, ErrorCode.REFUSED_STREAM)
      this.#ids.reset(streamId)
      this.#owner.onCostlyFrame('resets')
      return undefined
    }
    const stream = new Http2Stream(this, streamId, this.#peer.streamWindowBytes, this.#newWindow())
    this.#streams.set(streamId, stream)
    this.#openCount++
    return stream
  }
  #newWindow(): ReceiveWindow {
    return new ReceiveWindow(this.#o.streamWindowBytes, this.#settingsAcked ? 0 : DEFAULT_WINDOW_BYTES)
  }

  #request(stream: Http2Stream, fields: string[], end: boolean, oversized: boolean, problem: string | undefined): void {
    const malformed =
      problem ?? checkRequest(stream, fields, { end, oversized, extendedConnect: this.#o.extendedConnect })
    if (malformed !== undefined) {
      this.#malformed(stream, fields, end, malformed)
      return
    }
    if (end) stream.remoteEnded = true
    this.#tellStream(stream, fields, end, oversized)
  }
  readonly #tellStream = guarded(
    'http2',
    endOf,
    (stream: Http2Stream, fields: string[], end: boolean, oversized: boolean) => {
      this.#owner.onStream(stream, fields, end, oversized)
    },
  )
  #malformed(stream: Http2Stream, fields: string[], end: boolean, problem: string): void {
    if (end) stream.remoteEnded = true
    this.#owner.onCostlyFrame('resets')
    this.#tellMalformed(stream, fields, problem)
    stream.resetWhenSent(ErrorCode.PROTOCOL_ERROR)
  }
  readonly #tellMalformed = guarded('http2', endOf, (stream: Http2Stream, fields: string[], problem: string) => {
    this.#owner.onMalformed(stream, fields, problem)
  })

  #response(
    stream: Http2Stream,
    fields: string[],
    end: boolean,
    oversized: boolean,
    problem: string | undefined,
  ): void {
    const malformed = problem ?? responseProblem(fields)
    if (malformed !== undefined) {
      this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, malformed)
      return
    }
    const status = Number(fields[1])
    if (status < 200) {
      this.#informational(stream, fields, end || oversized || status === 101)
      return
    }
    const wrong = checkResponse(stream, fields, status, end)
    if (wrong !== undefined) {
      this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, wrong)
      return
    }
    this.#touched.add(stream)
    tellHead(stream, fields, end, oversized)
    if (end) this.#remoteEnd(stream, undefined, false)
  }
  #informational(stream: Http2Stream, fields: string[], isWrong: boolean): void {
    if (isWrong || ++stream.informationalCount > MAX_INFORMATIONAL) {
      this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, '1xx where none may come')
      return
    }
    tellInformational(stream, fields)
  }

  #trailers(
    stream: Http2Stream,
    fields: string[],
    end: boolean,
    oversized: boolean,
    problem: string | undefined,
  ): void {
    const malformed = problem ?? checkTrailers(stream, fields, end)
    if (malformed !== undefined) {
      this.#streamError(stream, ErrorCode.PROTOCOL_ERROR, malformed)
      return
    }
    this.#touched.add(stream)
    this.#remoteEnd(stream, fields, oversized)
  }

  onPriority(streamId: number, dependsOn: number): void {
    this.#owner.onCostlyFrame('priorities')
    if (dependsOn === streamId) this.onStreamError(streamId, ErrorCode.PROTOCOL_ERROR)
  }
  onStreamError(streamId: number, code: number): void {
    const stream = this.#streams.get(streamId)
    if (stream !== undefined) this.#streamError(stream, code, 'a frame that may not be')
    else if (this.#ids.isIdle(streamId)) throw new Http2ConnectionError(code, 'a frame that may not be')
  }
  onReset(streamId: number, code: number): void {
    if (this.#ids.isIdle(streamId)) throw broken('RST_STREAM of a stream that was never opened')
    const stream = this.#streams.get(streamId)
    if (stream === undefined) return
    // All of the answer is here, and its owner has not read it yet. A request is of no use any more.
    if (!this.#isServer && stream.remoteEnded && stream.hasUnread) this.#sendsNoMore(stream, code)
    else this.#remove(stream, code, undefined)
  }

  onSettings(settings: readonly (readonly [id: number, value: number])[]): void {
    this.#owner.onCostlyFrame('settings')
    // Nothing is sent between the values of a frame (RFC 9113 §6.5.3): what counts for the windows is where they end.
    let byBytes = 0
    for (const [id, value] of settings) {
      if (id === Setting.HEADER_TABLE_SIZE) this.#sender.encoder.setMaxTableBytes(value)
      else byBytes += this.#peer.set(id, value)
    }
    this.#movePeerWindows(byBytes)
    this.#output.settingsAck()
  }
  #movePeerWindows(by: number): void {
    if (by === 0) return
    for (const stream of [...this.#streams.values(), ...this.#unnumbered]) {
      stream.sendWindowBytes += by
      if (stream.sendWindowBytes > MAX_WINDOW_BYTES) throw flowBroken('a window above the largest')
      if (stream.hasOutgoing) this.wantsToSend(stream)
    }
  }
  onSettingsAck(): void {
    this.#settingsAcked = true
  }

  onPing(payload: Buffer, ack: boolean): void {
    if (ack && this.#drain?.isAnswer(payload) === true) {
      this.close()
      return
    }
    // An answer to nothing is no error (RFC 9113 §6.7).
    this.#owner.onCostlyFrame('pings')
    if (ack) return
    this.#output.ping(payload, true)
  }

  onGoaway(lastStreamId: number, code: number): void {
    this.#goawayReceived = true
    for (const stream of this.#unnumbered) this.#remove(stream, ErrorCode.REFUSED_STREAM, undefined)
    if (!this.#isServer)
      for (const stream of this.#streams.values())
        if (stream.id > lastStreamId) this.#remove(stream, ErrorCode.REFUSED_STREAM, undefined)
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
      if (this.#ids.isIdle(streamId)) throw broken('WINDOW_UPDATE of a stream that was never opened')
      return
    }
    stream.sendWindowBytes += bytes
    if (stream.sendWindowBytes > MAX_WINDOW_BYTES)
      this.#streamError(stream, ErrorCode.FLOW_CONTROL_ERROR, 'a window above the largest')
    else if (stream.hasOutgoing) this.wantsToSend(stream)
  }

  onEmptyFrame(): void {
    this.#owner.onCostlyFrame('empty frames')
  }
  onOpenBlock(bytes: number): void {
    this.#owner.onOpenBlock(bytes)
  }
  onEndlessBlock(): void {
    this.#owner.onCostlyFrame('continuations')
  }

  #streamError(stream: Http2Stream, code: number, problem: string): void {
    this.#owner.onCostlyFrame('resets')
    this.resetStream(stream, code, problem)
  }

  /**
   * Undefined: frames that were on their way when the stream was reset, or to one that is not worked on. Throws for
   * what may never come.
   */
  #known(streamId: number): Http2Stream | undefined {
    const stream = this.#streams.get(streamId)
    if (stream !== undefined) return stream
    const fate = this.#ids.fateOf(streamId)
    if (fate === 'closed') throw new Http2ConnectionError(ErrorCode.STREAM_CLOSED, 'a frame of a stream that is closed')
    if (fate !== 'ignored') throw broken('a frame of a stream that was never opened')
    return undefined
  }
}

function broken(message: string): Http2ConnectionError {
  return new Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, message)
}
function flowBroken(message: string): Http2ConnectionError {
  return new Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, message)
}
/** What the owner of the session throws about a stream ends that stream. */
function endOf(_error: MeshError, stream: Http2Stream): void {
  stream.reset(ErrorCode.INTERNAL_ERROR)
}
