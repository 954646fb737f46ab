/** One HTTP/2 stream of a client as an exchange's Downstream. */
import type { Duplex } from 'node:stream'
import type { Timer } from '../../../core/os/clock.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import type { Place } from '../../../core/runtime/linked-list.ts'
import type { Cluster } from '../../../model/cluster.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import { READ_AHEAD_BYTES, type Hold, type Holder } from '../../waiting.ts'
import type { RequestOrigin } from '../exchange/request-origin.ts'
import { ErrorCode } from '../codec/h2-frames.ts'
import type { Deadline } from '../../deadlines.ts'
import { Exchange } from '../exchange/exchange.ts'
import type { FieldList } from '../codec/hpack/decoder.ts'
import { takeTrailers } from '../codec/field-table.ts'
import { isInformational } from '../codec/framing.ts'
import type { HeadLimits } from '../codec/h1-head.ts'
import { toInformationalFields, toResponseFields, toTrailerFields } from '../h2/outgoing-fields.ts'
import { checkFieldList } from '../head-limits.ts'
import type { Downstream, RequestHead, ResponseHead } from '../message.ts'
import type { HttpRuntime } from '../runtime.ts'
import { CONNECTION_CLOSED } from '../h2/events.ts'
import type { Http2Stream, StreamOwner } from '../h2/stream/stream.ts'
import { TunnelStream } from '../h2/tunnel-stream.ts'
import { BodyParts } from './body-parts.ts'
import { createSecondAnswer } from './second-answer.ts'

/** What all streams of a connection share. */
export interface ServerConnection {
  readonly rt: HttpRuntime
  readonly client: RequestOrigin
  readonly limits: HeadLimits
  /** Under way. */
  readonly streams: number
  /** Of all that are not over for the client. */
  readonly openStreams: number
  /** What all of them have waiting for the client. */
  waitingBytes: number
  /** Something of a stream is on its way to the socket. */
  written(): void
  exchangeOver(exchange: H2Exchange): void
  /** A stream that waited for its turn. */
  resetBeforeBegin(): void
}

const LINGER_MS = 1000
/** A reset within so much is premature (Envoy's premature_reset_min_stream_lifetime_seconds). */
const PREMATURE_MS = 1000
/** Less of one stream is not counted against the memory budget. */
const COUNTED_BYTES = 4 * 1024
/**
 * So many open streams of a connection are ordinary. What a stream beyond them costs by itself, measured, counts as if
 * it were bytes that wait.
 */
export const UNCOUNTED_STREAMS = 4
export const STREAM_BYTES = 6 * 1024
/** Bytes of one stream that may come before the endpoint has taken them (Envoy's hardened value for edges). */
export const STREAM_WINDOW_BYTES = 64 * 1024
export const CONNECTION_WINDOW_BYTES = 1024 * 1024

export class H2Exchange implements Downstream, Deadline, Holder, StreamOwner {
  dueMs = Infinity
  deadlineAt = -1
  /** Among those of its connection. Set by H2Server. */
  place: Place<H2Exchange> | undefined
  readonly #connection: ServerConnection
  readonly #stream: Http2Stream
  readonly #exchange: Exchange
  #begunMs = -1
  #requestDone = false
  #isAnswered = false
  /** A tunnel has the stream. */
  #isTaken = false
  #idleMs: number
  /** Of the whole request (request_timeout). */
  #requestDueMs: number
  #over = false
  /** For the client, and of its request while that is not read on. */
  #hold: Hold | undefined
  #outBytes = 0
  #unreadBytes = 0
  #aheadBytes = 0
  /** Of the stream itself. */
  #ownBytes = 0
  /** The exchange waits until what is here has left. */
  #tells = false
  #linger: Timer | undefined
  /** Made when the first comes. */
  #parts: BodyParts | undefined

  /** By the client, soon and before its answer: of one the answer was not wanted; many are an attack. */
  wasReset = false

  /** The stream is paused until `begin`. */
  constructor(connection: ServerConnection, stream: Http2Stream, request: RequestHead, http: HttpConnectionManager) {
    const { rt } = connection
    this.#connection = connection
    this.#stream = stream
    const { requestTimeoutMs, streamIdleMs } = http
    this.#idleMs = streamIdleMs ?? rt.ctx.limits.idleMs
    this.#requestDueMs = requestTimeoutMs === undefined ? Infinity : rt.ctx.clock.monotonicMs() + requestTimeoutMs
    this.#exchange = new Exchange(rt, connection.client, http, request, this)
    stream.owner = this
    stream.pause()
    if (connection.openStreams <= UNCOUNTED_STREAMS) return
    this.#ownBytes = STREAM_BYTES
    this.#recount()
  }

  /** The stream is over: there is nobody to serve any more. */
  get isGone(): boolean {
    return this.#stream.isClosed
  }

  /** Others of its source come first; its body comes as far as the windows permit. */
  waitForTurn(): void {
    if (this.#exchange.request.bodyLength !== 0) this.pauseRequest()
  }
  begin(): void {
    const { rt } = this.#connection
    const stream = this.#stream
    rt.deadlines.add(this)
    this.#begunMs = rt.ctx.clock.monotonicMs()
    // The head was the whole request.
    const isWhole = stream.remoteEnded && !stream.hasUnread
    this.#touch()
    this.#exchange.start()
    // A tunnel reads it once it is open; until then flow control holds what comes ahead, also the client's end.
    if (this.#exchange.request.method === 'CONNECT') {
      if (!this.#isTaken && !this.#over) this.pauseRequest()
      return
    }
    if (isWhole) this.#end(undefined)
    this.resumeRequest()
  }
  /** What had come meanwhile is told now, and no pause behind it. */
  #resume(): void {
    this.#stream.resume()
    this.#parts?.pass()
  }
  /** A defect in one of the callbacks: `onStreamClose` tells the exchange. */
  broken(): void {
    this.#stream.reset(ErrorCode.INTERNAL_ERROR)
  }
  /** Whatever is under way ends. */
  gone(why: MeshError): void {
    if (this.#over) return
    try {
      this.#exchange.abort(why)
    } finally {
      this.#close()
    }
  }

  onDue(): void {
    this.#connection.rt.metrics.limits.idleMs.value++
    // All of the answer is here, and the client does not take it (Envoy's stream_flush_timeout).
    if (this.#over) {
      this.#stream.reset(ErrorCode.INTERNAL_ERROR)
      return
    }
    this.#exchange.abort(
      this.#requestDone
        ? new MeshError('MESH_IDLE_TIMEOUT', `nothing moved for ${this.#idleMs} ms`)
        : new MeshError('MESH_REQUEST_TIMEOUT', "the request's body did not come in time"),
    )
  }

  #touch(): void {
    const { deadlines, ctx } = this.#connection.rt
    if (!this.#over) deadlines.arm(this, Math.min(ctx.clock.monotonicMs() + this.#idleMs, this.#requestDueMs))
  }

  /* StreamOwner. */

  onInformational(): void {
    /* only of answers */
  }
  onHead(): void {
    /* only of answers */
  }
  onData(chunk: Buffer): void {
    this.#touch()
    this.#parts ??= new BodyParts((bytes) => this.#exchange.requestData(bytes))
    this.#parts.add(chunk)
  }
  onEnd(trailers: FieldList | undefined): void {
    this.#parts?.pass()
    if (trailers === undefined) {
      this.#end(undefined)
      return
    }
    try {
      if (trailers.oversized) throw new MeshError('MESH_HEADERS_TOO_LARGE', 'the trailers are longer than permitted')
      checkFieldList(trailers.fields, this.#connection.limits)
    } catch (thrown) {
      this.#exchange.abort(toMeshError(thrown))
      return
    }
    this.#end(takeTrailers(trailers.fields))
  }
  onPause(): void {
    this.#parts?.pass()
  }
  onWritten(): void {
    const { queuedBytes } = this.#stream
    this.#count(queuedBytes)
    this.#connection.written()
    if (this.#over) this.#armFlush()
    else if (this.#tells && queuedBytes === 0) this.#drained()
  }
  onStreamClose(code: number, problem: string | undefined): void {
    const { rt } = this.#connection
    this.#linger?.cancel()
    this.#unreadBytes = 0
    this.#ownBytes = 0
    this.#count(0)
    this.#hold?.set(0)
    rt.deadlines.delete(this)
    if (this.#over) return
    // Both sides have not ended: 0 is a reset with NO_ERROR, which costs as much work as any other.
    const isReset = code !== CONNECTION_CLOSED
    if (this.#begunMs < 0) {
      if (isReset && problem === undefined) this.#connection.resetBeforeBegin()
      return
    }
    if (problem !== undefined) {
      rt.metrics.refusedMessages.value++
      this.gone(new MeshError('MESH_MALFORMED_INPUT', problem))
      return
    }
    if (isReset) this.#noteReset()
    const why = isReset ? ` (error code ${code})` : ''
    this.gone(new MeshError('MESH_CLIENT_GONE', `the client gave the stream up${why}`))
  }
  #noteReset(): void {
    this.wasReset = this.#connection.rt.ctx.clock.monotonicMs() - this.#begunMs < PREMATURE_MS
  }

  #end(trailers: readonly string[] | undefined): void {
    if (this.#requestDone) return
    this.#requestDone = true
    this.#requestDueMs = Infinity
    this.#touch()
    this.#exchange.requestEnd(trailers)
  }

  /* Downstream. */

  sendContinue(): void {
    this.#stream.sendInformational(toInformationalFields(100, []))
  }
  sendInformational({ status, headers }: ResponseHead): void {
    if (isInformational(status)) this.#stream.sendInformational(toInformationalFields(status, headers))
  }
  sendHead(head: ResponseHead, end: boolean): void {
    if (this.#isAnswered) throw createSecondAnswer()
    this.#isAnswered = true
    this.#stream.sendHead(toResponseFields(head), end)
  }
  sendData(chunk: Buffer): void {
    const stream = this.#stream
    if (stream.isClosed || stream.isEnded) return
    stream.sendData(chunk)
    this.#connection.client.conn.sentBytes += chunk.length
    const { queuedBytes } = stream
    if (queuedBytes >= COUNTED_BYTES) this.#count(queuedBytes)
  }
  sendEnd(trailers: readonly string[] | undefined): void {
    this.#stream.sendEnd(toTrailerFields(trailers))
  }
  flush(): boolean {
    this.#touch()
    // Together its streams have what one connection may have: of each no more than the piece that is here.
    const { waitingBytes, rt } = this.#connection
    const isShareFull = this.#outBytes > 0 && waitingBytes >= rt.ctx.limits.maxBufferBytes
    if (!isShareFull && !this.#stream.mustWait) return true
    this.#tells = true
    this.#aheadBytes = READ_AHEAD_BYTES
    this.#recount()
    return false
  }
  pauseRequest(): void {
    this.#stream.pause()
    // As much may still come as the windows permit.
    const shareBytes = Math.ceil(CONNECTION_WINDOW_BYTES / Math.max(1, this.#connection.streams))
    this.#unreadBytes = Math.min(STREAM_WINDOW_BYTES, shareBytes)
    this.#recount()
  }
  resumeRequest(): void {
    if (this.#unreadBytes > 0) {
      this.#unreadBytes = 0
      this.#recount()
    }
    this.#resume()
  }
  setIdleMs(ms: number): void {
    this.#idleMs = ms
    this.#touch()
  }
  takeOver(head: ResponseHead): { stream: Duplex; rest: Buffer | undefined } {
    const stream = this.#stream
    this.#isTaken = true
    this.#unreadBytes = 0
    this.#recount()
    stream.sendHead(toResponseFields(head))
    this.#connection.rt.deadlines.delete(this)
    const ended = stream.remoteEnded && !stream.hasUnread
    return {
      stream: new TunnelStream(stream, {
        isEnded: ended,
        describeReset: (code) =>
          new MeshError('MESH_CLIENT_GONE', `the client gave the stream up (error code ${code})`),
        onReset: () => {
          this.#noteReset()
        },
      }),
      rest: undefined,
    }
  }
  finished(error: MeshError | undefined): void {
    const stream = this.#stream
    this.#close()
    if (stream.isClosed) return
    // Half an answer must not look whole.
    if (error) {
      stream.reset(ErrorCode.INTERNAL_ERROR)
      return
    }
    // What still comes is thrown away.
    stream.resume()
    if (stream.remoteEnded || stream.isClosed) return
    // The answer came before the request's end (RFC 9113 §8.1): a reset at once could overtake it.
    this.#linger = this.#connection.rt.ctx.clock.after(LINGER_MS, () => {
      stream.resetWhenSent(ErrorCode.NO_ERROR)
    })
  }

  #close(): void {
    if (this.#over) return
    this.#over = true
    if (this.#aheadBytes > 0) {
      this.#aheadBytes = 0
      this.#recount()
    }
    this.#connection.exchangeOver(this)
    // The answer is complete here, and perhaps not yet at the client: `onStreamClose` tells of that.
    if (this.#stream.isClosed) this.#connection.rt.deadlines.delete(this)
    else this.#armFlush()
  }
  #armFlush(): void {
    const { deadlines, ctx } = this.#connection.rt
    deadlines.arm(this, ctx.clock.monotonicMs() + this.#idleMs)
  }

  /* What waits here (Holder). */

  get client(): string {
    return this.#connection.client.directIp
  }
  get cluster(): Cluster | undefined {
    return this.#outBytes > 0 ? this.#exchange.calling : undefined
  }
  giveUp(error: MeshError): void {
    if (this.#begunMs < 0) this.#over = true
    else this.#exchange.abort(error)
    this.#stream.reset(ErrorCode.INTERNAL_ERROR)
  }

  #drained(): void {
    this.#tells = false
    if (this.#aheadBytes > 0) {
      this.#aheadBytes = 0
      this.#recount()
    }
    this.#exchange.downstreamDrained()
  }
  #count(outBytes: number): void {
    if (outBytes === this.#outBytes) return
    this.#connection.waitingBytes += outBytes - this.#outBytes
    this.#outBytes = outBytes
    this.#recount()
  }
  #recount(): void {
    this.#hold ??= this.#connection.rt.waiting.hold(this)
    this.#hold.set(this.#ownBytes + this.#outBytes + this.#unreadBytes + this.#aheadBytes)
  }
}
