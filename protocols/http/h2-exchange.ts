/** One HTTP/2 stream of a client as an exchange's Downstream. */
import type { Duplex } from 'node:stream'
import http2, { type ServerHttp2Stream } from 'node:http2'
import { MeshError, toMeshError } from '../../agent/core/errors.ts'
import { guarded, nothing } from '../../agent/core/guard.ts'
import type { HttpConnectionManager } from '../../agent/model/listener.ts'
import type { HttpClient } from './client.ts'
import type { Deadline } from './deadlines.ts'
import { Exchange } from './exchange.ts'
import { takenTrailers } from './field-table.ts'
import { isInformational } from './framing.ts'
import { fieldsOf } from './h2-headers.ts'
import { inform, respond, trail } from './h2-out.ts'
import type { HeadLimits } from './h1-head.ts'
import { checkFieldList } from './head-limits.ts'
import { RequestHead, UNKNOWN_LENGTH, type Downstream, type ResponseHead } from './message.ts'
import { methodProblem, parsePseudoTarget } from './h1-target.ts'
import { normalizeHost, normalizePath } from './path-normalize.ts'
import type { HttpRuntime } from './runtime.ts'
import type { Cluster } from '../../agent/model/cluster.ts'
import { READ_AHEAD_BYTES, type Hold, type Holder } from '../waiting.ts'

export type H2ExchangeOptions = {
  readonly rt: HttpRuntime
  readonly client: HttpClient
  readonly http: HttpConnectionManager
  readonly stream: ServerHttp2Stream
  readonly raw: readonly string[]
  readonly limits: HeadLimits
  /** The head was the whole request. */
  readonly ended: boolean
  readonly over: () => void
  /** What all streams of the connection have waiting for the client. */
  readonly connection: { waitingBytes: number; readonly streams: number }
}

const LINGER_MS = 1000
/** A reset within so much is premature (Envoy's premature_reset_min_stream_lifetime_seconds). */
const PREMATURE_MS = 1000
/** Less in one piece is not counted against the memory budget. */
const COUNTED_BYTES = 4 * 1024
/** Bytes of one stream that may be on their way before the application has read them (Envoy's hardened value for edges). */
export const STREAM_WINDOW_BYTES = 64 * 1024
export const CONNECTION_WINDOW_BYTES = 1024 * 1024

export class H2Exchange implements Downstream, Deadline, Holder {
  dueMs = Infinity
  /** Of the request; set before its end. */
  trailers: string[] | undefined
  readonly #o: H2ExchangeOptions
  readonly #exchange: Exchange
  #requestDone = false
  #idleMs: number
  /** Of the whole request (request_timeout). */
  #requestDueMs: number
  #responseTrailers: readonly string[] | undefined
  #over = false
  /** For the client, and of its request while that is not read on. */
  #hold: Hold | undefined
  #outBytes = 0
  #unreadBytes = 0
  #aheadBytes = 0
  #onWritten: (() => void) | undefined
  /** The exchange waits until what is here has left. */
  #tells = false

  /** By the client, soon and before its answer: of one the answer was not wanted; many are an attack. */
  wasReset = false
  #begunMs = 0

  /** Throws MESH_MALFORMED_INPUT. */
  constructor(o: H2ExchangeOptions) {
    this.#o = o
    this.#idleMs = o.http.streamIdleMs ?? o.rt.ctx.limits.idleMs
    this.#requestDueMs = o.http.requestTimeoutMs === undefined ? Infinity : o.rt.ctx.clock.monotonicMs() + o.http.requestTimeoutMs
    checkFieldList(o.raw, o.limits)
    const { pseudo, headers, contentLength, expectContinue, padded } = fieldsOf(o.raw)
    if (padded) throw new MeshError('MESH_MALFORMED_INPUT', 'whitespace around the value of a field (RFC 9113 §8.2.1)')
    const { method = '' } = pseudo
    const target = methodProblem(method) ?? parsePseudoTarget(method, pseudo['authority'], pseudo['path'])
    if (typeof target === 'string') throw new MeshError('MESH_MALFORMED_INPUT', target)
    const authority = method === 'CONNECT' ? target.authority : normalizeHost(target.authority, o.http, o.client.conn.local.port)
    const request = new RequestHead(method, o.client.scheme, authority, normalizePath(target.path, o.http), headers, 'HTTP/2', o.ended ? 0 : contentLength, undefined, expectContinue)
    this.#exchange = new Exchange(o.rt, o.client, o.http, request, this)
  }

  begin(): void {
    const { stream, rt, ended } = this.#o
    rt.deadlines.add(this)
    this.#begunMs = rt.ctx.clock.monotonicMs()
    stream.on('drain', guarded('http2', this.broken, () => { this.#drained() }))
    stream.on('close', guarded('http2', this.broken, () => { this.#closed() }))
    this.#touch()
    this.#exchange.start()
    // A tunnel reads it once it is open; until then flow control holds what the client sends ahead, the end of its side among it.
    if (this.#exchange.request.method === 'CONNECT') return
    if (ended) { this.#end(); stream.resume(); return }
    stream.on('data', guarded('http2', this.broken, (chunk: Buffer) => { rt.waiting.received(chunk.length); this.#touch(); this.#exchange.requestData(chunk) }))
    stream.on('end', guarded('http2', this.broken, () => this.#end()))
  }
  /** A defect in one of the callbacks: `close` tells the exchange. */
  readonly broken = (error: MeshError): void => { this.#o.stream.destroy(error) }
  /** The stream or the whole connection is no more. @param why default: the client wanted that */
  gone(why?: MeshError): void {
    if (this.#over) return
    if (why === undefined && this.#o.stream.rstCode !== 0) this.wasReset = this.#o.rt.ctx.clock.monotonicMs() - this.#begunMs < PREMATURE_MS
    try {
      this.#exchange.abort(why ?? new MeshError('MESH_CLIENT_GONE', `the client gave the stream up${this.#o.stream.rstCode ? ` (error code ${this.#o.stream.rstCode})` : ''}`))
    } finally { this.#close() }
  }

  onDue(): void {
    this.#o.rt.metrics.limits.idleMs.value++
    // All of the answer is here, and the client does not take it (Envoy's stream_flush_timeout).
    if (this.#over) { this.#o.stream.destroy(new MeshError('MESH_IDLE_TIMEOUT', `the client took nothing of its answer for ${this.#idleMs} ms`)); return }
    this.#exchange.abort(this.#requestDone ? new MeshError('MESH_IDLE_TIMEOUT', `nothing moved for ${this.#idleMs} ms`) : new MeshError('MESH_REQUEST_TIMEOUT', 'the request\'s body did not come in time'))
  }

  /** The end of the request follows. @param raw as node:http2 gives it */
  takeTrailers(raw: readonly string[]): void {
    try { checkFieldList(raw, this.#o.limits) } catch (thrown) { this.#exchange.abort(toMeshError(thrown)); return }
    this.trailers = takenTrailers(raw)
  }

  #end(): void {
    if (this.#requestDone) return
    this.#requestDone = true
    this.#requestDueMs = Infinity
    this.#touch()
    this.#exchange.requestEnd(this.trailers)
  }
  #touch(): void {
    const { deadlines, ctx } = this.#o.rt
    if (!this.#over) deadlines.arm(this, Math.min(ctx.clock.monotonicMs() + this.#idleMs, this.#requestDueMs))
  }
  get #writable(): boolean { const { stream } = this.#o; return !stream.destroyed && !stream.closed }

  /* Downstream. */

  sendContinue(): void { inform(this.#o.stream, 100, []) }
  sendInformational(head: ResponseHead): void { if (isInformational(head.status)) inform(this.#o.stream, head.status, head.headers) }
  sendHead(head: ResponseHead, end: boolean): void {
    // Of what has a length, only an HTTP/2 endpoint can have some: the last frame of every other answer need not wait for them.
    const trailers = !end && (head.contentLength === UNKNOWN_LENGTH || head.maybeTrailers === true)
    if (trailers) this.#o.stream.once('wantTrailers', guarded('http2', this.broken, () => { trail(this.#o.stream, this.#responseTrailers) }))
    respond(this.#o.stream, head, { end, trailers })
  }
  sendData(chunk: Buffer): void {
    // node:http2 has ended an answer that has no body by its status or method (205, too).
    if (!this.#writable || this.#o.stream.writableEnded) return
    const { stream } = this.#o
    this.#o.client.conn.sentBytes += chunk.length
    if (stream.writableLength + chunk.length < COUNTED_BYTES) { stream.write(chunk); return }
    stream.write(chunk, this.#onWritten ??= guarded('http2', this.broken, () => { this.#written() }))
    this.#count(stream.writableLength)
  }
  sendEnd(trailers: readonly string[] | undefined): void {
    this.#responseTrailers = trailers
    if (this.#writable) this.#o.stream.end()
  }
  flush(): boolean {
    this.#touch()
    if (this.#o.stream.writableNeedDrain) { this.#pausesEndpoint(); return false }
    // Together its streams have what one connection may have: of each no more than the piece that is here.
    if (this.#outBytes === 0 || this.#o.connection.waitingBytes < this.#o.rt.ctx.limits.maxBufferBytes) return true
    this.#tells = true
    this.#pausesEndpoint()
    return false
  }
  pauseRequest(): void {
    this.#o.stream.pause()
    // As much may still come as the windows permit.
    this.#unreadBytes = Math.min(STREAM_WINDOW_BYTES, Math.ceil(CONNECTION_WINDOW_BYTES / Math.max(1, this.#o.connection.streams)))
    this.#recount()
  }
  resumeRequest(): void {
    this.#o.stream.resume()
    if (this.#unreadBytes > 0) { this.#unreadBytes = 0; this.#recount() }
  }
  setIdleMs(ms: number): void { this.#idleMs = ms; this.#touch() }
  takeOver(head: ResponseHead): { stream: Duplex; rest: Buffer | undefined } {
    const { stream, rt } = this.#o
    respond(stream, head, { end: false, trailers: false })
    rt.deadlines.delete(this)
    stream.removeAllListeners('data').removeAllListeners('end').removeAllListeners('drain')
    return { stream, rest: undefined }
  }
  finished(error: MeshError | undefined): void {
    const { stream } = this.#o
    this.#close()
    if (stream.destroyed) return
    // Not close(code): node:http2 would end the stream first, and half an answer would look whole.
    if (error) stream.destroy(error)
    else if (!this.#requestDone) this.#linger(stream)
  }

  /** The answer came before the request's end (RFC 9113 §8.1): a reset at once could overtake it. */
  #linger(stream: ServerHttp2Stream): void {
    const timer = this.#o.rt.ctx.clock.after(LINGER_MS, () => stream.close(http2.constants.NGHTTP2_NO_ERROR))
    stream.once('close', guarded('http2', nothing, () => timer.cancel()))
    stream.resume()
  }

  #close(): void {
    if (this.#over) return
    this.#over = true
    if (this.#aheadBytes > 0) { this.#aheadBytes = 0; this.#recount() }
    this.#o.over()
    // The answer is complete here, and not yet at the client: `close` tells of that.
    if (this.#o.stream.destroyed) this.#o.rt.deadlines.delete(this)
    else this.#armFlush()
  }
  #armFlush(): void { this.#o.rt.deadlines.arm(this, this.#o.rt.ctx.clock.monotonicMs() + this.#idleMs) }

  /* What waits here (Holder). */

  get client(): string { return this.#o.client.directIp }
  get cluster(): Cluster | undefined { return this.#outBytes > 0 ? this.#exchange.calling : undefined }
  giveUp(error: MeshError): void {
    this.#exchange.abort(error)
    this.#o.stream.destroy(error)
  }

  #written(): void {
    const { stream } = this.#o
    const waits = stream.destroyed ? 0 : stream.writableLength
    this.#count(waits)
    if (this.#over) { if (!stream.destroyed) this.#armFlush(); return }
    if (!this.#tells || waits > 0) return
    this.#drained()
  }
  #pausesEndpoint(): void {
    this.#aheadBytes = READ_AHEAD_BYTES
    this.#recount()
  }
  #drained(): void {
    this.#tells = false
    if (this.#aheadBytes > 0) { this.#aheadBytes = 0; this.#recount() }
    this.#exchange.downstreamDrained()
  }
  #count(outBytes: number): void {
    if (outBytes === this.#outBytes) return
    this.#o.connection.waitingBytes += outBytes - this.#outBytes
    this.#outBytes = outBytes
    this.#recount()
  }
  #recount(): void { (this.#hold ??= this.#o.rt.waiting.hold(this)).set(this.#outBytes + this.#unreadBytes + this.#aheadBytes) }
  #closed(): void {
    this.#unreadBytes = 0
    this.#count(0)
    this.#hold?.set(0)
    this.#o.rt.deadlines.delete(this)
    this.gone()
  }
}
