/** The client side of one HTTP/2 connection to an endpoint: many calls at once, each a stream (RFC 9113 §5). On node:http2. */
import http2 from 'node:http2'
import type { Duplex } from 'node:stream'
import { MeshError, toMeshError } from '../../agent/core/errors.ts'
import { guarded, nothing } from '../../agent/core/guard.ts'
import { lease, Tally } from '../../agent/core/lease.ts'
import type { Endpoint } from '../../agent/model/cluster.ts'
import type { Deadline } from '../http/deadlines.ts'
import { takenTrailers } from '../http/field-table.ts'
import { fieldsOf } from '../http/h2-headers.ts'
import { OUR_FIELDS, request as requestOn, trail } from '../http/h2-out.ts'
import type { HeadLimits } from '../http/h1-head.ts'
import { checkFieldList, LIST_OVERHEAD, MAX_SENT_BYTES } from '../http/head-limits.ts'
import { UNKNOWN_LENGTH, type CallEvents, type HttpCall, type Sent, type UpstreamRequest } from '../http/message.ts'
import { headerValue } from '../http/header-edit.ts'
import { tolerateStrayPongs } from '../http/stray-pong.ts'
import { isGrpc } from '../router.ts'
import { isOurDoing, refusalOf } from '../tls/client.ts'
import type { Hold, Holder } from '../waiting.ts'
import { keepForGood, nativeHalf } from './malformed-sessions.ts'
import type { HostPool, PooledConnection } from './pool.ts'

/** What is assumed until the endpoint has said how many streams it takes at once (RFC 9113 §6.5.2 recommends no less). */
const ASSUMED_STREAMS = 100
const WINDOW_BYTES = 256 * 1024
/** Less in one piece is not counted against the memory budget. */
const COUNTED_BYTES = 4 * 1024
const TE_TRAILERS = ['te', 'trailers']
const { NGHTTP2_REFUSED_STREAM, NGHTTP2_CANCEL, NGHTTP2_PROTOCOL_ERROR, NGHTTP2_FLAG_END_STREAM } = http2.constants

export class H2Connection implements PooledConnection, Deadline {
  dueMs = Infinity
  readonly pool: HostPool
  readonly limits: HeadLimits
  readonly session: http2.ClientHttp2Session
  readonly #stream: Duplex
  readonly #openedMs: number
  /** Calls under way. */
  readonly #active = new Tally()
  /** Held as long as the connection is; see malformed-sessions.ts. */
  readonly #native: object | undefined
  #served = 0
  #closed = false
  #leaving = false

  readonly broken = (): void => this.destroy()

  constructor(pool: HostPool, stream: Duplex) {
    this.pool = pool
    this.limits = pool.limits
    this.#stream = stream
    this.#openedMs = pool.nowMs()
    this.session = http2.connect('http://endpoint', {
      ...OUR_FIELDS, createConnection: () => stream, maxHeaderListPairs: this.limits.maxHeaderCount + 1, maxSendHeaderBlockLength: MAX_SENT_BYTES,
      settings: { enablePush: false, initialWindowSize: WINDOW_BYTES, maxHeaderListSize: this.limits.maxHeaderBytes + LIST_OVERHEAD * this.limits.maxHeaderCount },
    })
    tolerateStrayPongs(this.session, pool.clock)
    this.#native = nativeHalf(this.session)
    this.session.on('error', guarded('upstream', nothing, (err: NodeJS.ErrnoException) => { if (err.code === 'ERR_HTTP2_ERROR') this.malformed() }))
    // There is no half-close in HTTP/2, and node:http2 does not notice the end of a socket that permits it.
    stream.once('end', guarded('upstream', this.broken, () => this.destroy()))
    this.session.on('goaway', guarded('upstream', this.broken, () => { this.#leaving = true; if (this.#active.now === 0) this.destroy() }))
    this.session.on('close', guarded('upstream', this.broken, () => this.#gone()))
  }

  get room(): number {
    if (this.#closed || this.#leaving || this.session.closed || this.session.destroyed) return 0
    if (this.pool.isSpent(this.#served, this.#openedMs)) return 0
    return Math.max(0, Math.min(this.session.remoteSettings?.maxConcurrentStreams ?? ASSUMED_STREAMS, ASSUMED_STREAMS) - this.#active.now)
  }

  /** Why the endpoint has ended the connection, where it said so. */
  get refusal(): MeshError | undefined { return refusalOf(this.#stream) }

  start(events: CallEvents, ofCall: Disposable): void {
    this.#served++
    this.dueMs = Infinity
    events.onCall(new H2Call(this, events, this.#served > 1, ofCall, lease(this.#active)))
  }
  /** The endpoint sent what HTTP/2 does not permit. */
  malformed(): void { if (this.#native) keepForGood(this.#native, this.pool.host.endpoint) }
  drain(): void {
    this.#leaving = true
    if (this.#active.now === 0) this.destroy()
  }
  destroy(): void { this.session.destroy(); this.#gone() }
  onDue(): void { if (this.#active.now === 0) this.destroy() }

  callOver(): void {
    if (this.#active.now === 0 && (this.#leaving || this.room === 0)) this.destroy()
    else if (!this.#closed) this.pool.release(this)
  }

  #gone(): void {
    if (this.#closed) return
    this.#closed = true
    this.pool.closed(this)
  }
}

class H2Call implements HttpCall, Holder {
  readonly #connection: H2Connection
  readonly #reused: boolean
  readonly #ofCall: Disposable
  readonly #onConnection: Disposable
  #events: CallEvents | undefined
  #stream: http2.ClientHttp2Stream | undefined
  #sent: Sent = 'nothing'
  #trailers: string[] | undefined
  #ended = false
  #gotBytes = false
  #fault: MeshError | undefined
  #over = false
  /** Of the request, for the endpoint. */
  #hold: Hold | undefined
  /** Of the answer, while that is not read on. */
  #unread: Hold | undefined
  #onWritten: (() => void) | undefined

  constructor(connection: H2Connection, events: CallEvents, reused: boolean, ofCall: Disposable, onConnection: Disposable) {
    this.#connection = connection
    this.#events = events
    this.#reused = reused
    this.#ofCall = ofCall
    this.#onConnection = onConnection
  }
  get endpoint(): Endpoint { return this.#connection.pool.host.endpoint }

  sendHead(request: UpstreamRequest, end: boolean): void {
    const { headers, bodyLength, upgrade } = request
    if (upgrade !== undefined) { this.#failLater(new MeshError('MESH_UNSUPPORTED', `an upgrade to ${upgrade.slice(0, 64)} cannot be carried over HTTP/2`)); return }
    // gRPC over HTTP/2 asks for it, to find proxies that drop trailers.
    const more = isGrpc(headerValue(headers, 'content-type')) ? TE_TRAILERS : []
    try {
      this.#stream = requestOn(this.#connection.session, request, more, { end, trailers: bodyLength === UNKNOWN_LENGTH || request.maybeTrailers })
    } catch (err) {
      this.#failLater(new MeshError('MESH_UPSTREAM_REFUSED_STREAM', `the connection takes no more streams: ${err instanceof Error ? err.message : String(err)}`, { cause: err }))
      return
    }
    this.#sent = end ? 'all' : 'part'
    this.#listen(this.#stream)
  }
  sendData(chunk: Buffer): void {
    const stream = this.#stream
    if (!stream || stream.destroyed) return
    if (stream.writableLength + chunk.length < COUNTED_BYTES) { stream.write(chunk); return }
    stream.write(chunk, this.#onWritten ??= guarded('upstream', this.#broken, () => { this.#hold!.set(stream.destroyed ? 0 : stream.writableLength) }));
    (this.#hold ??= this.#connection.pool.waiting.hold(this)).set(stream.writableLength)
  }
  sendEnd(trailers: readonly string[] | undefined): void {
    const stream = this.#stream
    if (!stream) return
    stream.once('wantTrailers', guarded('upstream', this.#broken, () => { trail(stream, trailers) }))
    stream.end()
    this.#sent = 'all'
  }
  flush(): boolean { return !this.#stream?.writableNeedDrain }
  pauseResponse(): void {
    this.#stream?.pause()
    // As much may still come as the window permits.
    if (this.#stream && !this.#stream.destroyed) (this.#unread ??= this.#connection.pool.waiting.hold(this)).set(WINDOW_BYTES)
  }
  resumeResponse(): void {
    this.#unread?.set(0)
    this.#stream?.resume()
  }
  cancel(): void {
    if (!this.#events) return
    this.#events = undefined
    // While the request is not complete, close(code) would end it first: half a request would look whole.
    if (this.#sent === 'all') this.#stream?.close(NGHTTP2_CANCEL)
    else this.#stream?.destroy(new MeshError('MESH_CLIENT_GONE', 'the request was given up'))
    this.#finish()
  }

  #listen(stream: http2.ClientHttp2Stream): void {
    const broken = this.#broken
    stream.on('headers', guarded('upstream', broken, (_headers: unknown, _flags: unknown, raw: unknown) => {
      const { pseudo, headers } = fieldsOf(raw as string[])
      this.#events?.onCallInformational({ status: Number(pseudo['status']), headers, contentLength: UNKNOWN_LENGTH })
    }))
    stream.on('response', guarded('upstream', broken, (_headers: unknown, flags: number, raw: unknown) => {
      this.#gotBytes = true
      if (this.#tooLarge(raw as string[])) return
      const { pseudo, headers, contentLength } = fieldsOf(raw as string[])
      const status = Number(pseudo['status'])
      this.#connection.pool.answered(status)
      this.#events?.onCallHead({ status, headers, contentLength, maybeTrailers: true }, (flags & NGHTTP2_FLAG_END_STREAM) !== 0)
      this.#events?.onCallPause()
    }))
    stream.on('trailers', guarded('upstream', broken, (_headers: unknown, _flags: unknown, raw: unknown) => { this.#trailers = takenTrailers(raw as string[]) }))
    const { waiting } = this.#connection.pool
    stream.on('data', guarded('upstream', broken, (chunk: Buffer) => {
      waiting.received(chunk.length)
      this.#events?.onCallData(chunk)
      this.#events?.onCallPause()
    }))
    stream.on('end', guarded('upstream', broken, () => { this.#ended = true }))
    stream.on('drain', guarded('upstream', broken, () => this.#events?.onCallDrained()))
    stream.on('error', nothing)
    stream.on('close', guarded('upstream', broken, () => this.#closed(stream.rstCode)))
  }

  /** A defect in one of the callbacks: the stream is over, and the exchange hears of it if it can still hear. */
  readonly #broken = (error: MeshError): void => {
    const events = this.#events
    this.#events = undefined
    this.#stream?.destroy()
    this.#finish()
    events?.onCallFailed(error, this.#sent, false)
  }

  #tooLarge(raw: readonly string[]): boolean {
    try { checkFieldList(raw, this.#connection.limits); return false } catch (thrown) {
      this.#fault = new MeshError('MESH_UPSTREAM_PROTOCOL', `the endpoint's response: ${toMeshError(thrown).message}`)
      this.#stream?.close(NGHTTP2_CANCEL)
      return true
    }
  }

  /* What of a request waits for the endpoint (Holder). */

  get client(): string { return this.#events?.source ?? '' }
  giveUp(error: MeshError): void {
    const events = this.#events
    this.#events = undefined
    this.#stream?.destroy(error)
    this.#finish()
    events?.onCallFailed(error, this.#sent, false)
  }

  #closed(code: number | undefined): void {
    this.#hold?.set(0)
    if (code === NGHTTP2_PROTOCOL_ERROR) this.#connection.malformed()
    const events = this.#events
    this.#events = undefined
    const complete = this.#gotBytes && this.#ended && (code === undefined || code === 0)
    if (events && !complete && code !== NGHTTP2_REFUSED_STREAM && !isOurDoing(this.#connection.refusal)) this.#connection.pool.failed()
    this.#finish()
    if (!events) return
    if (this.#fault) events.onCallFailed(this.#fault, this.#sent, false)
    else if (complete) events.onCallEnd(this.#trailers)
    else if (code === NGHTTP2_REFUSED_STREAM) events.onCallFailed(new MeshError('MESH_UPSTREAM_REFUSED_STREAM', 'the endpoint refused the stream'), this.#sent, this.#reused)
    else events.onCallFailed(this.#connection.refusal ?? new MeshError('MESH_UPSTREAM_RESET', `the endpoint reset the stream (error code ${code ?? 0})`), this.#sent, this.#reused && !this.#gotBytes)
  }
  /** The exchange is in the middle of onCall: it hears of it afterwards. */
  #failLater(error: MeshError): void {
    queueMicrotask(guarded('upstream', nothing, () => {
      const events = this.#events
      this.#events = undefined
      this.#finish()
      events?.onCallFailed(error, 'nothing', this.#reused)
    }))
  }
  #finish(): void {
    if (this.#over) return
    this.#over = true
    this.#unread?.set(0)
    this.#onConnection[Symbol.dispose]()
    this.#ofCall[Symbol.dispose]()
    this.#connection.callOver()
  }
}
