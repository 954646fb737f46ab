/**
 * One stream of an HTTP/2 session (RFC 9113 §5.1), for its owner: what it sends waits here for the windows and the
 * socket, what it does not want to read yet waits here too. After onStreamClose every call is ignored.
 */
import { guard } from '../../../../core/defects/guard.ts'
import type { MeshError } from '../../../../core/errors.ts'
import type { Place } from '../../../../core/runtime/linked-list.ts'
import { ErrorCode } from '../../codec/h2-frames.ts'
import type { FieldList } from '../../codec/hpack/decoder.ts'
import { readMethod } from '../../codec/h2-message-rules.ts'
import { HoldingBlock } from '../../holding-block.ts'
import type { ReceiveWindow } from './receive-window.ts'

export interface StreamOwner {
  /** Client: 1xx. */
  onInformational(fields: string[]): void
  /** Client: the answer's final head. @param end onEnd follows at once */
  onHead(head: FieldList, end: boolean): void
  onData(chunk: Buffer): void
  /**
   * The peer has ended its side; not told of a request that was only a head. A stream that is paused goes on to exist
   * until it is read or reset, also when all of the answer was sent.
   */
  onEnd(trailers: FieldList | undefined): void
  /** The bytes at hand are all told: time to flush. */
  onPause(): void
  /** Something of queuedBytes has left. */
  onWritten(): void
  /**
   * Once, last.
   * @param code of RST_STREAM, whoever sent it; 0 = both sides have ended, or NO_ERROR; CONNECTION_CLOSED
   * @param problem what the peer's message or frame broke
   */
  onStreamClose(code: number, problem: string | undefined): void
}

/** What the stream needs of its session. */
export interface StreamSession {
  /** Something waits to be sent. */
  wantsToSend(stream: Http2Stream): void
  /** Bytes of DATA were taken by the owner. */
  consumed(stream: Http2Stream, bytes: number): void
  /** RST_STREAM, and the stream is over. */
  resetStream(stream: Http2Stream, code: number): void
  /** Both sides have ended, perhaps. */
  maybeClose(stream: Http2Stream): void
}

/** In the order in which it is sent: DATA, or a field list. */
type Outgoing = Buffer | readonly string[]
/** From here on the owner is asked to wait. */
const MAX_QUEUED_BYTES = 64 * 1024
/** Items that are kept although they were sent, before the array gets shorter. */
const MAX_SENT_ITEMS = 64
/** What a field costs while it waits. */
const FIELD_BYTES = 64

export class Http2Stream {
  /** 0 = a client's, whose head has not left: ids go up in the order of the heads (RFC 9113 §5.1.1). */
  id: number
  readonly #session: StreamSession
  owner: StreamOwner | undefined
  /** The peer's window for this stream; may be below 0 (RFC 9113 §6.9.2). */
  sendWindowBytes: number
  /** Ours. */
  readonly window: ReceiveWindow
  /** Of the content-length that the peer has said; -1 = none. */
  expectedBytes = -1
  receivedBytes = 0
  /** The final head has come; a server's stream begins with it. */
  hasHead = false
  informationalCount = 0
  remoteEnded = false
  localEnded = false
  isClosed = false
  /** Among those that want to send. Set by Sender. */
  turn: Place<Http2Stream> | undefined
  /** Among those whose heads have not left. Set by StreamTable. */
  unnumbered: Place<Http2Stream> | undefined
  /** Bytes have come since onPause. */
  isTouched = false
  /** As onStreamClose has it. */
  resetCode = 0
  /** Code for onStreamClose when the peer resets a stream that it has already ended. */
  pendingCode = 0
  /** To be said when everything has been sent. */
  resetAfterSent: number | undefined
  /** A final head was sent or waits to be. */
  headSent = false
  /** The request's method is HEAD: its answer has no body, whatever it says. */
  isHead = false
  /** Client: CONNECT, whose answer opens a tunnel. */
  isConnect = false
  #outgoing: Outgoing[] = []
  #next = 0
  #queuedBytes = 0
  #endQueued = false
  /** What waits has waited for more than one turn. */
  #held: HoldingBlock | undefined
  #paused = false
  readonly #inbox: Buffer[] = []
  #inboxBlock: HoldingBlock | undefined
  #inboxEnd: { readonly trailers: FieldList | undefined } | undefined

  constructor(session: StreamSession, id: number, sendWindowBytes: number, window: ReceiveWindow) {
    this.#session = session
    this.id = id
    this.sendWindowBytes = sendWindowBytes
    this.window = window
  }

  /** Bytes that wait here for the windows or for the socket. */
  get queuedBytes(): number {
    return this.#queuedBytes
  }
  /** onWritten tells when to go on. */
  get mustWait(): boolean {
    return this.#queuedBytes > MAX_QUEUED_BYTES
  }
  get hasOutgoing(): boolean {
    return this.#next < this.#outgoing.length
  }
  /** All of it was said, though it may wait here. */
  get isEnded(): boolean {
    return this.#endQueued
  }

  /* Sending, by the owner. It leaves when the turn of the event loop ends. */

  /** A request's or answer's head. @param end nothing follows */
  sendHead(fields: readonly string[], end = false): void {
    if (this.isClosed || this.#endQueued || this.headSent) return
    this.headSent = true
    if (this.id === 0) this.isConnect = readMethod(fields) === 'CONNECT'
    this.#endQueued = end
    this.#queue(fields, fieldsBytes(fields))
  }
  /** 1xx. */
  sendInformational(fields: readonly string[]): void {
    if (!this.isClosed && !this.headSent) this.#queue(fields, fieldsBytes(fields))
  }
  /** @param chunk not written to afterwards */
  sendData(chunk: Buffer): void {
    if (!this.isClosed && !this.#endQueued && chunk.length > 0) this.#queue(chunk, chunk.length)
  }
  /** The last thing that was said ends the stream, or the trailers do. */
  sendEnd(trailers?: readonly string[]): void {
    if (this.isClosed || this.#endQueued) return
    this.#endQueued = true
    if (trailers !== undefined && trailers.length > 0) this.#queue(trailers, fieldsBytes(trailers))
    else if (this.hasOutgoing) this.#session.wantsToSend(this)
    else this.#queue(EMPTY, 0)
  }
  #queue(item: Outgoing, bytes: number): void {
    if (this.#held !== undefined && Buffer.isBuffer(item)) this.#held.add(this.#outgoing, item)
    else this.#outgoing.push(item)
    this.#queuedBytes += bytes
    this.#session.wantsToSend(this)
  }
  reset(code: number): void {
    if (!this.isClosed) this.#session.resetStream(this, code)
  }
  /** After what waits to be sent, which ends our side. */
  resetWhenSent(code: number): void {
    if (!this.hasOutgoing) {
      this.reset(code)
      return
    }
    this.resetAfterSent = code
    this.sendEnd()
  }

  /* Receiving, by the owner. */

  pause(): void {
    this.#paused = true
  }
  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    // The owner may pause or reset while it is told.
    while (!this.#paused && this.#inbox.length > 0) {
      const chunk = this.#inbox.shift()!
      if (this.#inbox.length === 0) this.#inboxBlock = undefined
      tellData(this, chunk)
      this.#session.consumed(this, chunk.length)
    }
    if (this.#paused || !this.#inboxEnd) return
    const { trailers } = this.#inboxEnd
    this.#inboxEnd = undefined
    tellEnd(this, trailers)
    this.#session.maybeClose(this)
  }
  /** Bytes that have come and were not taken. */
  get unreadBytes(): number {
    return this.#inbox.reduce((sum, chunk) => sum + chunk.length, 0)
  }

  /* By the session. */

  take(chunk: Buffer): void {
    if (this.#mustKeep) {
      ;(this.#inboxBlock ??= new HoldingBlock()).add(this.#inbox, chunk)
      return
    }
    tellData(this, chunk)
    this.#session.consumed(this, chunk.length)
  }
  takeEnd(trailers: FieldList | undefined): void {
    this.remoteEnded = true
    if (this.#mustKeep) {
      this.#inboxEnd = { trailers }
      return
    }
    tellEnd(this, trailers)
  }
  /** The events before it have not been delivered either. */
  get #mustKeep(): boolean {
    return this.#paused || this.#inbox.length > 0
  }

  /** The next thing to send. */
  get outgoing(): Outgoing | undefined {
    return this.#outgoing[this.#next]
  }
  /** It ends our side. */
  get isLast(): boolean {
    return this.#endQueued && this.#next === this.#outgoing.length - 1
  }
  /** All of it, or the begin of a chunk. @param rest what is left of the chunk */
  sent(item: Outgoing, rest?: Buffer): void {
    if (rest !== undefined) {
      this.#queuedBytes -= item.length - rest.length
      this.#outgoing[this.#next] = rest
      return
    }
    this.#queuedBytes -= Buffer.isBuffer(item) ? item.length : fieldsBytes(item)
    this.#outgoing[this.#next] = EMPTY
    if (++this.#next === this.#outgoing.length) this.#held = undefined
    else if (this.#next < MAX_SENT_ITEMS) return
    this.#outgoing.splice(0, this.#next)
    this.#next = 0
  }
  /** The outgoing bytes wait for longer than a turn. */
  hold(): void {
    if (this.#held !== undefined || !this.hasOutgoing) return
    const held = new HoldingBlock()
    const outgoing: Outgoing[] = []
    for (const item of this.#outgoing.slice(this.#next))
      if (Buffer.isBuffer(item)) held.add(outgoing, item)
      else outgoing.push(item)
    this.#held = held
    this.#outgoing = outgoing
    this.#next = 0
  }
  /** The peer takes nothing more; what it has sent is still told. */
  dropOutgoing(): void {
    this.#outgoing = []
    this.#next = 0
    this.#queuedBytes = 0
    this.#held = undefined
    this.#endQueued = true
  }
  /** Something has come that the owner does not know of. */
  get hasUnread(): boolean {
    return this.#inboxEnd !== undefined || this.#inbox.length > 0
  }

  /** By the session, when it no longer has the stream. */
  close(code: number, problem: string | undefined): void {
    if (this.isClosed) return
    this.isClosed = true
    this.resetCode = code
    this.dropOutgoing()
    this.#inbox.length = 0
    this.#inboxBlock = undefined
    this.#inboxEnd = undefined
    tellClose(this, code, problem)
  }
}

const EMPTY = Buffer.alloc(0)
function fieldsBytes(fields: readonly string[]): number {
  return (fields.length / 2) * FIELD_BYTES
}

/** What an owner throws ends its stream and nothing else. */
const end = (_error: MeshError, stream: Http2Stream): void => {
  stream.reset(ErrorCode.INTERNAL_ERROR)
}
const tellData = guard('http2', end, (stream: Http2Stream, chunk: Buffer) => {
  stream.owner?.onData(chunk)
})
const tellEnd = guard('http2', end, (stream: Http2Stream, trailers: FieldList | undefined) => {
  stream.owner?.onEnd(trailers)
})
const tellClose = guard('http2', end, (stream: Http2Stream, code: number, problem: string | undefined) => {
  stream.owner?.onStreamClose(code, problem)
})
export const tellHead = guard('http2', end, (stream: Http2Stream, head: FieldList, ended: boolean) => {
  stream.owner?.onHead(head, ended)
})
export const tellInformational = guard('http2', end, (stream: Http2Stream, fields: string[]) => {
  stream.owner?.onInformational(fields)
})
export const tellPause = guard('http2', end, (stream: Http2Stream) => {
  stream.owner?.onPause()
})
export const tellWritten = guard('http2', end, (stream: Http2Stream) => {
  stream.owner?.onWritten()
})
