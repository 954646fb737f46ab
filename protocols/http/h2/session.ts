/**
 * One HTTP/2 connection (RFC 9113), either side: streams, windows, settings and the end. Frames are read and written by
 * the codecs; what a stream's messages mean is its owner's business. Nothing here throws past the connection.
 */
import { MeshError } from '../../../core/errors.ts'
import { guard, doNothing } from '../../../core/defects/guard.ts'
import {
  DEFAULT_WINDOW_BYTES,
  ErrorCode,
  Http2ConnectionError,
  MAX_STREAM_ID,
  createProtocolError,
  Setting,
} from '../codec/h2-frames.ts'
import { FrameReader, type FrameSink } from '../codec/h2-frame-reader.ts'
import type { FieldList } from '../codec/hpack/decoder.ts'
import { CONNECTION_CLOSED, type SessionOptions, type SessionOwner } from './events.ts'
import { Drain } from './drain.ts'
import { sendOwnSettings } from './own-settings.ts'
import { FlowControl } from './flow-control.ts'
import { FrameOutput } from './frame-output.ts'
import { Messages, type MessageSession } from './messages.ts'
import { receiveData } from './stream/check-message.ts'
import { PeerSettings } from './peer-settings.ts'
import { ReceiveWindow } from './stream/receive-window.ts'
import { Sender, type Sending } from './sender.ts'
import { StreamTable } from './stream/table.ts'
import { Http2Stream, type StreamOwner, type StreamSession } from './stream/stream.ts'
import { Touched } from './stream/touched.ts'

/** An encoded block may be longer than the list: Huffman codes have up to 30 bits. */
const BLOCK_SLACK_BYTES = 16 * 1024
/**
 * Of an encoded block that is read at least, so that a list which is too long is refused by itself, and not with its
 * connection.
 */
const MIN_BLOCK_BYTES = 128 * 1024
/** Answers to SETTINGS, PING and what is refused, while the peer reads nothing. */
const MAX_UNREAD_BYTES = 64 * 1024
/** Streams that are over for the peer, whose owners have not read everything: as many again as may be open. */
const MAX_STREAMS_FACTOR = 2

export class Http2Session implements FrameSink, Sending, StreamSession, MessageSession {
  readonly #o: SessionOptions
  readonly #owner: SessionOwner
  readonly #isServer: boolean
  readonly #reader: FrameReader
  readonly #output: FrameOutput
  readonly #sender: Sender
  readonly #messages: Messages
  readonly #streams: StreamTable
  readonly #touched = new Touched()
  readonly #flow: FlowControl
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
    this.#streams = new StreamTable(this.#isServer)
    this.#peer = new PeerSettings(this.#isServer)
    this.#messages = new Messages(o, owner, this, this.#streams, this.#touched)
    this.#reader = new FrameReader(this, {
      expectPreface: this.#isServer,
      maxBlockBytes: Math.max(MIN_BLOCK_BYTES, 2 * o.maxHeaderListBytes + BLOCK_SLACK_BYTES),
      onRead: o.onRead,
    })
    this.#output = new FrameOutput(o.role, o.socket, () => this.#sender.fill())
    this.#sender = new Sender(this.#output, this)
    const windowBytes = Math.max(o.connectionWindowBytes, DEFAULT_WINDOW_BYTES)
    this.#flow = new FlowControl(this.#output, this.#sender, this.#streams, windowBytes)
  }

  /** SETTINGS go out, and what comes is read. */
  begin(): void {
    const { socket } = this.#o
    sendOwnSettings(this.#output, this.#o)
    const { defect } = this
    const onData = guard('http2', defect, (chunk: Buffer) => {
      this.#read(chunk)
    })
    const onDrain = guard('http2', defect, () => {
      this.#output.drained()
      this.#sender.resume()
    })
    // There is no half-close in HTTP/2.
    const onEnd = guard('http2', defect, () => {
      this.#endedByPeer()
    })
    socket.on('data', onData).on('drain', onDrain).on('error', doNothing).once('end', onEnd).once('close', onEnd)
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
    return this.#streams.count
  }
  /** One side has said that no more streams are opened. */
  get isClosing(): boolean {
    return this.#goawaySent || this.#goawayReceived
  }
  /** A client may open one more. */
  get canOpen(): boolean {
    return (
      !this.isClosing && !this.isClosed && this.#streams.ids.nextId + 2 * this.#streams.unnumberedCount <= MAX_STREAM_ID
    )
  }

  /** Client: a stream for one request; its head goes out next. Only while canOpen. */
  open(owner: StreamOwner, method: string): Http2Stream {
    const stream = new Http2Stream(this, 0, this.#peer.streamWindowBytes, this.#newWindow())
    stream.owner = owner
    stream.isHead = method === 'HEAD'
    this.#streams.addUnnumbered(stream)
    return stream
  }

  /** GOAWAY; the streams that are open come to their end. */
  close(): void {
    if (this.#goawaySent || this.isClosed) return
    this.#drain?.over()
    this.#goawaySent = true
    this.#streams.ids.goawayId = this.#streams.ids.lastPeerId
    this.#output.goaway(this.#streams.ids.lastPeerId, ErrorCode.NO_ERROR)
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
      guard('http2', this.defect, () => {
        this.close()
      }),
    )
  }
  /** GOAWAY with a reason, and the end of everything. A defect of our own is not what the peer broke. */
  destroy(code: number, error?: MeshError): void {
    if (!this.isClosed) this.#output.goaway(this.#streams.ids.lastPeerId, code)
    this.#end(error, code === ErrorCode.INTERNAL_ERROR ? undefined : error?.message)
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
      this.#streams.ids.reset(stream.id)
    }
    this.#remove(stream, code, problem)
  }
  maybeClose(stream: Http2Stream): void {
    if (!stream.localEnded || !stream.remoteEnded || stream.isClosed || stream.hasUnread) return
    this.#remove(stream, stream.pendingCode)
  }

  #credit(bytes: number): void {
    if (!this.isClosed) this.#flow.credit(bytes)
  }

  #remove(stream: Http2Stream, code: number, problem?: string): void {
    if (stream.isClosed) return
    this.#sender.delete(stream)
    this.#streams.delete(stream)
    const { unreadBytes } = stream
    if (unreadBytes > 0) this.#credit(unreadBytes)
    stream.close(code, problem)
    if (this.isClosed) this.#tellClose()
    else this.#endIfIdle()
  }
  #endIfIdle(): void {
    if (this.isClosing && !this.isClosed && this.streamCount === 0) this.#end()
  }

  /** A client's owners may still take answers that have come in full. */
  #endedByPeer(): void {
    if (this.isClosed) return
    this.#stop()
    for (const stream of this.#streams.unnumbered) this.#remove(stream, CONNECTION_CLOSED)
    for (const stream of this.#streams.numbered)
      if (this.#isUnreadAnswer(stream)) this.#sendsNoMore(stream, CONNECTION_CLOSED)
      else this.#remove(stream, CONNECTION_CLOSED)
    this.#tellClose()
  }
  /** Everything is over. @param problem what the peer broke */
  #end(error?: MeshError, problem?: string): void {
    this.#error ??= error
    if (!this.isClosed) this.#stop()
    for (const stream of this.#streams.unnumbered) this.#remove(stream, CONNECTION_CLOSED, problem)
    for (const stream of this.#streams.numbered) this.#remove(stream, CONNECTION_CLOSED, problem)
    this.#tellClose()
  }
  #stop(): void {
    this.isClosed = true
    this.#drain?.over()
    this.#reader.stop()
    this.#output.close()
    const { socket } = this.#o
    if (!socket.destroyed && !socket.writableEnded) socket.end()
    this.#sender.clear()
  }
  /** All of it is here, and its owner has not read it yet. A request is of no use any more. */
  #isUnreadAnswer(stream: Http2Stream): boolean {
    return !this.#isServer && !stream.isClosed && stream.remoteEnded && stream.hasUnread
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
  readonly #closed = guard('http2', doNothing, () => {
    this.#owner.onSessionClose(this.#error)
  })

  /* Sending. */

  onFirstHead(stream: Http2Stream): void {
    this.#streams.number(stream)
  }
  onLocalEnd(stream: Http2Stream): void {
    this.#streams.localEnd(stream)
    if (stream.resetAfterSent === undefined) {
      this.maybeClose(stream)
      return
    }
    this.#output.reset(stream.id, stream.resetAfterSent)
    this.#streams.ids.reset(stream.id)
    this.#remove(stream, stream.resetAfterSent)
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
    this.#flow.receive(bytes)
    const stream = this.#streams.known(streamId)
    if (stream === undefined) {
      this.#credit(bytes)
      return
    }
    const wrong = receiveData(stream, chunk.length, paddingBytes, end)
    if (wrong !== undefined) {
      this.#credit(bytes)
      this.streamError(stream, wrong.code, wrong.problem)
      return
    }
    if (paddingBytes > 0) this.consumed(stream, paddingBytes)
    if (chunk.length > 0) {
      this.#touched.add(stream)
      stream.take(chunk)
    }
    if (end) this.remoteEnd(stream)
  }

  remoteEnd(stream: Http2Stream, trailers?: FieldList): void {
    if (stream.isClosed) return
    this.#streams.remoteEnd(stream)
    stream.takeEnd(trailers)
    this.maybeClose(stream)
  }

  onHeaders(streamId: number, block: Buffer, end: boolean, dependsOn: number | undefined): void {
    this.#messages.read(streamId, block, end, dependsOn)
  }

  openedByPeer(streamId: number): Http2Stream | undefined {
    const { ids } = this.#streams
    if (streamId > ids.goawayId) return undefined
    ids.opened(streamId)
    const { maxConcurrentStreams } = this.#o
    if (
      this.#streams.openCount >= maxConcurrentStreams ||
      this.#streams.count >= MAX_STREAMS_FACTOR * maxConcurrentStreams
    ) {
      this.#output.reset(streamId, ErrorCode.REFUSED_STREAM)
      ids.reset(streamId)
      this.#owner.onCostlyFrame('resets')
      return undefined
    }
    const stream = new Http2Stream(this, streamId, this.#peer.streamWindowBytes, this.#newWindow())
    stream.hasHead = true
    this.#streams.add(stream)
    return stream
  }
  #newWindow(): ReceiveWindow {
    return new ReceiveWindow(this.#o.streamWindowBytes, this.#settingsAcked ? 0 : DEFAULT_WINDOW_BYTES)
  }

  onPriority(streamId: number, dependsOn: number): void {
    this.#owner.onCostlyFrame('priorities')
    if (dependsOn === streamId) this.onStreamError(streamId, ErrorCode.PROTOCOL_ERROR)
  }
  onStreamError(streamId: number, code: number): void {
    const stream = this.#streams.get(streamId)
    if (stream !== undefined) this.streamError(stream, code, 'a frame that may not be')
    else if (this.#streams.ids.isIdle(streamId)) throw new Http2ConnectionError(code, 'a frame that may not be')
  }
  onReset(streamId: number, code: number): void {
    if (this.#streams.ids.isIdle(streamId)) throw createProtocolError('RST_STREAM of a stream that was never opened')
    const stream = this.#streams.get(streamId)
    if (stream === undefined) return
    if (this.#isUnreadAnswer(stream)) this.#sendsNoMore(stream, code)
    else this.#remove(stream, code)
  }

  onSettings(settings: readonly (readonly [id: number, value: number])[]): void {
    this.#owner.onCostlyFrame('settings')
    // Nothing is sent between the values of a frame (RFC 9113 §6.5.3): what counts for the windows is where they end.
    let byBytes = 0
    for (const [id, value] of settings) {
      if (id === Setting.HEADER_TABLE_SIZE) this.#sender.encoder.setMaxTableBytes(value)
      else byBytes += this.#peer.set(id, value)
    }
    this.#flow.moveStreams(byBytes)
    this.#output.settingsAck()
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
    this.#output.pingAck(payload)
  }

  onGoaway(lastStreamId: number, code: number): void {
    this.#goawayReceived = true
    for (const stream of this.#streams.unnumbered) this.#remove(stream, ErrorCode.REFUSED_STREAM)
    if (!this.#isServer)
      for (const stream of this.#streams.numbered)
        if (stream.id > lastStreamId) this.#remove(stream, ErrorCode.REFUSED_STREAM)
    this.#owner.onGoaway(code)
    this.#endIfIdle()
  }

  onWindowUpdate(streamId: number, bytes: number): void {
    this.#owner.onCostlyFrame('window updates')
    if (streamId === 0) {
      this.#flow.widenConnection(bytes)
      return
    }
    const stream = this.#streams.get(streamId)
    if (stream === undefined) {
      if (this.#streams.ids.isIdle(streamId))
        throw createProtocolError('WINDOW_UPDATE of a stream that was never opened')
      return
    }
    if (!this.#flow.widenStream(stream, bytes))
      this.streamError(stream, ErrorCode.FLOW_CONTROL_ERROR, 'a window above the largest')
  }

  onEmptyFrame(): void {
    this.#owner.onCostlyFrame('empty frames')
  }
  onEndlessBlock(): void {
    this.#owner.onCostlyFrame('continuations')
  }

  streamError(stream: Http2Stream, code: number, problem: string): void {
    this.#owner.onCostlyFrame('resets')
    this.resetStream(stream, code, problem)
  }
}
