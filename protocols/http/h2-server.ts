/**
 * The server side of one HTTP/2 connection (RFC 9113) on node:http2: streams in, one exchange each. Framing, flow control and the bounds
 * on frames are nghttp2's; routing, retries and answers are the exchange's.
 */
import http2 from 'node:http2'
import { MeshError, toMeshError } from '../../agent/core/errors.ts'
import { guarded, nothing } from '../../agent/core/guard.ts'
import type { Timer } from '../../agent/core/clock.ts'
import { httpOf } from '../codecs.ts'
import { ENDED, type Connection, type Outcome } from '../connection.ts'
import type { Context } from '../context.ts'
import { HttpClient } from './client.ts'
import type { Deadline } from './deadlines.ts'
import { CONNECTION_WINDOW_BYTES, H2Exchange, STREAM_WINDOW_BYTES } from './h2-exchange.ts'
import { logBroken } from './exchange-record.ts'
import type { HeadLimits } from './h1-head.ts'
import { Floods, type FloodKind } from './h2-floods.ts'
import { OUR_FIELDS, respond } from './h2-out.ts'
import { LIST_OVERHEAD, MAX_SENT_BYTES, requestHeadLimits } from './head-limits.ts'
import { errorAnswer } from './reply.ts'
import type { HttpUpstreams } from './message.ts'
import { isGrpc } from '../router.ts'
import { tolerateStrayPongs } from './stray-pong.ts'
import { runtimeOf, type HttpRuntime } from './runtime.ts'

/** Requests of one read that are begun before others get their turn. */
const STARTS_PER_TURN = 16
/** While memory is tight, and what is here waits for the client. */
const TIGHT_MS = 20
/** RFC 9113 §8.3: method, scheme, authority, path, and protocol with RFC 8441. */
const PSEUDO_FIELDS = 5

/** Serves streams until the connection ends; never rejects. */
export function serveHttp2(conn: Connection, ctx: Context, upstreams: HttpUpstreams): Promise<Outcome> {
  return new Promise((resolve) => { new H2Server(conn, runtimeOf(ctx, upstreams), resolve).begin() })
}

class H2Server implements Deadline {
  dueMs = Infinity
  readonly #conn: Connection
  readonly #rt: HttpRuntime
  readonly #resolve: (outcome: Outcome) => void
  readonly #client: HttpClient
  readonly #limits: HeadLimits
  readonly #open = new Set<H2Exchange>()
  readonly #session: http2.ServerHttp2Session
  #served = 0
  readonly #floods: Floods
  #turnMs = -Infinity
  #begun = 0
  readonly #later: { readonly exchange: H2Exchange; readonly stream: http2.ServerHttp2Stream }[] = []
  /** Of all streams, for the client. */
  waitingBytes = 0
  /** max_connection_duration. */
  #lifetime: Timer | undefined
  #error: MeshError | undefined
  #over = false

  constructor(conn: Connection, rt: HttpRuntime, resolve: (outcome: Outcome) => void) {
    this.#conn = conn
    this.#rt = rt
    this.#resolve = resolve
    this.#client = new HttpClient(conn, rt.ctx)
    const { limits } = rt.ctx
    this.#floods = new Floods(rt.ctx.clock, (kind) => { this.#calm(kind) })
    this.#limits = requestHeadLimits(httpOf(conn), limits)
    const { maxHeaderBytes, maxHeaderCount } = this.#limits
    this.#session = http2.performServerHandshake(conn.stream, {
      ...OUR_FIELDS,
      maxHeaderListPairs: maxHeaderCount + PSEUDO_FIELDS + 1, maxSendHeaderBlockLength: MAX_SENT_BYTES, maxSessionInvalidFrames: 100, maxSessionRejectedStreams: 100,
      settings: { maxConcurrentStreams: limits.maxHttp2Streams, maxHeaderListSize: maxHeaderBytes + LIST_OVERHEAD * (maxHeaderCount + PSEUDO_FIELDS), initialWindowSize: STREAM_WINDOW_BYTES, enablePush: false },
    })
  }

  /** The client is told why (RFC 9113 §7), and what was under way ends. */
  #calm(kind: FloodKind): void {
    const error = new MeshError('MESH_HTTP2_FLOOD', `the client sends ${kind} only to make work`)
    this.#rt.metrics.floods[kind].value++
    this.#rt.metrics.failed(error.code)
    this.#error ??= error
    this.#later.length = 0
    this.#session.destroy(error, http2.constants.NGHTTP2_ENHANCE_YOUR_CALM)
  }

  begin(): void {
    const session = this.#session
    this.#rt.deadlines.add(this)
    this.#floods.watch(session)
    tolerateStrayPongs(session, this.#rt.ctx.clock)
    session.on('stream', guarded('http2', (error, stream) => { stream.destroy(error) }, (stream: http2.ServerHttp2Stream, _headers: unknown, flags: number, raw: unknown) => this.#stream(stream, flags, raw as string[])))
    session.on('error', guarded('http2', this.broken, (err: Error) => { this.#error ??= this.#conn.aborted.aborted ? undefined : new MeshError('MESH_MALFORMED_INPUT', `the HTTP/2 connection broke: ${err.message}`, { cause: err }) }))
    const ended = guarded('http2', this.broken, () => this.#end())
    session.on('close', ended)
    // There is no half-close in HTTP/2, and node:http2 does not notice the end of a socket that permits it.
    this.#conn.stream.once('end', this.#onAborted).once('close', ended)
    this.#conn.draining.addEventListener('abort', this.#onDraining)
    this.#conn.aborted.addEventListener('abort', this.#onAborted)
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES)
    const { maxConnectionMs } = httpOf(this.#conn)
    if (maxConnectionMs !== undefined) this.#lifetime = this.#rt.ctx.clock.after(maxConnectionMs, this.#onDraining)
    this.#armIdle()
    if (this.#conn.aborted.aborted) this.#onAborted()
    else if (this.#conn.draining.aborted) this.#onDraining()
  }

  #stream(stream: http2.ServerHttp2Stream, flags: number, raw: readonly string[]): void {
    stream.on('error', nothing)
    this.dueMs = Infinity
    const most = httpOf(this.#conn).maxRequestsPerConnection
    // GOAWAY names this stream as the last one that is worked on (RFC 9113 §6.8).
    this.#floods.stream()
    if (most !== undefined && ++this.#served >= most && !this.#session.closed) this.#session.close()
    let exchange: H2Exchange
    try {
      exchange = new H2Exchange({ rt: this.#rt, client: this.#client, http: httpOf(this.#conn), stream, raw, limits: this.#limits, ended: (flags & http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0, over: () => this.#closed(exchange), connection: this })
    } catch (thrown) {
      this.#refuse(stream, raw, toMeshError(thrown))
      return
    }
    stream.on('trailers', guarded('http2', exchange.broken, (_headers: unknown, _flags: unknown, trailers: unknown) => { exchange.takeTrailers(trailers as string[]) }))
    this.#begin(exchange, stream)
  }

  /** So many of one read at once; the others when everybody else has had a turn, and not at all if they were reset by then. */
  #begin(exchange: H2Exchange, stream: http2.ServerHttp2Stream): void {
    const nowMs = this.#rt.ctx.clock.monotonicMs()
    if (nowMs - this.#turnMs >= 1) { this.#turnMs = nowMs; this.#begun = 0 }
    if (this.#later.length === 0 && !this.#mustWait && this.#begun++ < STARTS_PER_TURN) { this.#open.add(exchange); exchange.begin(); return }
    if (this.#later.push({ exchange, stream }) === 1) this.#afterOthers()
  }
  /** Memory is tight, and the client does not take what it has asked for already. */
  get #mustWait(): boolean { return this.waitingBytes >= this.#rt.ctx.limits.maxBufferBytes && this.#rt.waiting.isTight }
  #afterOthers(): void {
    if (this.#mustWait) this.#rt.ctx.clock.after(TIGHT_MS, guarded('http2', this.broken, this.#beginLater))
    else setImmediate(guarded('http2', this.broken, this.#beginLater))
  }
  readonly #beginLater = (): void => {
    if (this.#over) { this.#later.length = 0; return }
    if (this.#mustWait) { this.#afterOthers(); return }
    for (const { exchange, stream } of this.#later.splice(0, STARTS_PER_TURN)) {
      if (stream.destroyed || stream.closed) { this.#floods.reset(); continue }
      this.#open.add(exchange)
      exchange.begin()
    }
    if (this.#later.length > 0) this.#afterOthers()
    else if (this.#open.size === 0) this.#armIdle()
  }

  /** What cannot be read as a request is a stream error (RFC 9113 §8.1.1), and a person gets a status to look at. */
  #refuse(stream: http2.ServerHttp2Stream, raw: readonly string[], error: MeshError): void {
    const { metrics } = this.#rt
    metrics.refusedMessages.value++
    if (error.code === 'MESH_HEADERS_TOO_LARGE') metrics.limits.headerBytes.value++
    const at = raw.indexOf('content-type')
    const { head, body } = errorAnswer(error, at >= 0 && at % 2 === 0 && isGrpc(raw[at + 1]))
    metrics.ended(this.#conn.listener.direction, head.status)
    metrics.failed(error.code)
    logBroken(this.#conn, httpOf(this.#conn), 'HTTP/2', error, this.#rt)
    if (respond(stream, head, { end: body === undefined, trailers: false }) && body) stream.end(body)
    if (this.#open.size === 0) this.#armIdle()
  }

  get streams(): number { return this.#open.size }
  #closed(exchange: H2Exchange): void {
    if (exchange.wasReset) this.#floods.reset()
    this.#open.delete(exchange)
    if (this.#open.size === 0) this.#armIdle()
  }
  #armIdle(): void {
    if (this.#over) return
    const { ctx } = this.#rt
    this.#rt.deadlines.arm(this, ctx.clock.monotonicMs() + (httpOf(this.#conn).connectionIdleMs ?? ctx.limits.idleMs))
  }
  /** GOAWAY, then the streams that are open come to their end. */
  onDue(): void { this.#session.close() }
  readonly broken = (): void => { this.#conn.stream.destroy(); this.#session.destroy() }
  readonly #onDraining = guarded('http2', this.broken, () => { if (!this.#session.closed) this.#session.close() })
  readonly #onAborted = guarded('http2', this.broken, () => {
    const { reason } = this.#conn.aborted
    if (reason instanceof MeshError) for (const exchange of this.#open) gone(exchange, reason)
    this.#session.destroy()
    this.#conn.stream.destroy()
  })

  #end(): void {
    if (this.#over) return
    this.#over = true
    this.#lifetime?.cancel()
    this.#rt.deadlines.delete(this)
    for (const exchange of this.#open) gone(exchange)
    this.#conn.draining.removeEventListener('abort', this.#onDraining)
    this.#conn.aborted.removeEventListener('abort', this.#onAborted)
    this.#resolve(this.#error ? { error: this.#error } : ENDED)
  }
}

/** One that fails keeps no other from hearing it. */
const gone = guarded('http2', nothing, (exchange: H2Exchange, why?: MeshError) => exchange.gone(why))
