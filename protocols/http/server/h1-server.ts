/**
 * The server side of one HTTP/1.1 connection (RFC 9112 §9): requests in order, one exchange at a time, what a client
 * sends ahead waits in the socket. Reads the chain's settings anew for every request, because a configuration change
 * may have replaced them.
 */
import type { Duplex } from 'node:stream'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { guard, doNothing } from '../../../core/defects/guard.ts'
import type { Timer } from '../../../core/os/clock.ts'
import type { Cluster } from '../../../model/cluster.ts'
import { readHttpManager } from '../../codecs.ts'
import { ENDED, type Connection, type Outcome } from '../../connection.ts'
import { Outlet } from '../../outlet.ts'
import type { Context } from '../../context.ts'
import type { Holder } from '../../waiting.ts'
import { RequestOrigin } from '../exchange/request-origin.ts'
import { Exchange } from '../exchange/exchange.ts'
import { findKeptCase } from '../codec/header-case.ts'
import { H1Parser, type ParserSink } from '../codec/h1-parser.ts'
import { deriveRequestHeadLimits } from '../head-limits.ts'
import { RequestHead, type HttpUpstreams } from '../message.ts'
import { normalizeHost, normalizePath } from '../filters/path-normalize.ts'
import { answerBroken } from '../exchange/reply/send.ts'
import { createRuntime, type HttpRuntime } from '../runtime.ts'
import { BodyParts } from './body-parts.ts'
import { H1Answer, type H1AnswerOwner } from './h1-answer.ts'
import { SentAhead } from './h1-sent-ahead.ts'
import { H1Times, type H1Time } from './h1-times.ts'
import { parseUpgrade } from '../filters/upgrade.ts'

/**
 * Serves requests until the connection ends; never rejects. `error`: what the client did wrong, or MESH_CLIENT_GONE in
 * the middle of an exchange.
 */
export function serveHttp1(conn: Connection, ctx: Context, upstreams: HttpUpstreams): Promise<Outcome> {
  return new Promise((resolve) => {
    new H1Server(conn, createRuntime(ctx, upstreams), resolve).begin()
  })
}

class H1Server implements ParserSink, H1AnswerOwner, Holder {
  readonly #conn: Connection
  readonly #rt: HttpRuntime
  readonly #stream: Duplex
  readonly #resolve: (outcome: Outcome) => void
  readonly #client: RequestOrigin
  readonly #parser: H1Parser
  readonly outlet: Outlet
  readonly #answer: H1Answer
  readonly #parts = new BodyParts((bytes) => this.#exchange?.requestData(bytes))
  readonly #ahead: SentAhead
  readonly #times: H1Times
  #exchange: Exchange | undefined
  #started = false
  #requestDone = false
  #feeding = false
  /** The last answer has not left yet; the next request is read when it has. */
  #full = false
  #served = 0
  /** Its time (max_connection_duration) is over. */
  #leaving = false
  #lifetime: Timer | undefined
  #phase: 'open' | 'lingering' | 'taken' | 'closed' = 'open'
  #error: MeshError | undefined

  /** A callback has failed, and the state of the connection is unknown. */
  readonly broken = (error: MeshError): void => {
    this.#stream.destroy()
    this.#gone(error)
  }

  constructor(conn: Connection, rt: HttpRuntime, resolve: (outcome: Outcome) => void) {
    this.#conn = conn
    this.#rt = rt
    this.#stream = conn.stream
    this.#resolve = resolve
    this.#client = new RequestOrigin(conn, rt.ctx)
    const { limits } = rt.ctx
    const http = readHttpManager(conn)
    this.#parser = new H1Parser('request', deriveRequestHeadLimits(http, limits), this)
    this.#parser.keepsNames = findKeptCase(http.headerCase)
    this.#answer = new H1Answer(conn, this)
    this.#ahead = new SentAhead(rt.waiting, this)
    this.outlet = new Outlet(conn.stream, limits.maxBufferBytes, { waiting: rt.waiting, holder: this }, () => {
      this.#onLeft()
    })
    this.#times = new H1Times(rt.deadlines, rt.ctx.clock, limits, this)
  }

  begin(): void {
    const stream = this.#stream
    const { draining, aborted } = this.#conn
    stream.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose).on('error', doNothing)
    draining.addEventListener('abort', this.#onDraining)
    aborted.addEventListener('abort', this.#onAborted)
    if (aborted.aborted || stream.destroyed) {
      this.#close(undefined)
      return
    }
    const { maxConnectionMs } = readHttpManager(this.#conn)
    if (maxConnectionMs !== undefined) this.#lifetime = this.#rt.ctx.clock.after(maxConnectionMs, this.#onLifetime)
    this.#armIdle()
    if (draining.aborted) this.#onDraining()
    stream.resume()
  }

  /* Bytes in. */

  readonly #onData = guard('http1', this.broken, (chunk: Buffer) => {
    this.#conn.receivedBytes += chunk.length
    this.#rt.waiting.received(chunk.length)
    if (this.#phase !== 'open') return
    if (this.#exchange ? this.#requestDone : this.#parser.idle && this.#isBehind()) {
      this.#hold(chunk)
      return
    }
    this.#feed(chunk)
  })

  /** Loops rather than recurses: many small requests may be answered at once out of one read. */
  #feed(first: Buffer): void {
    let chunk: Buffer | undefined = first
    this.#feeding = true
    while (chunk && this.#phase === 'open') {
      let used: number
      const begins = this.#parser.idle && !this.#exchange
      if (begins) this.#answer.method = 'GET'
      try {
        used = this.#parser.execute(chunk)
      } catch (thrown) {
        this.#malformed(toMeshError(thrown))
        break
      }
      this.#parts.pass()
      if (begins && !this.#exchange) this.#times.head()
      if (this.#exchange && !this.#started) {
        this.#started = true
        this.#exchange.start()
      }
      const rest: Buffer | undefined = used < chunk.length ? chunk.subarray(used) : undefined
      const mustWait: boolean = this.#exchange !== undefined || (rest !== undefined && this.#isBehind())
      if (rest && mustWait) this.#hold(rest)
      chunk = mustWait ? undefined : rest
    }
    this.#feeding = false
  }

  /** No more is read until the exchange at hand is over. */
  #hold(chunk: Buffer): void {
    this.#ahead.add(chunk)
    this.#stream.pause()
  }

  onHead(): void {
    const { method, authority, headers, bodyLength, minor, expectContinue, keepAlive } = this.#parser
    this.#answer.method = method
    const upgrade = parseUpgrade(this.#parser.upgrade)
    // An endpoint that switches reads what follows in the new protocol; one that declines reads it as a body, or as
    // another request. Which of them it does is not known yet.
    if (upgrade !== undefined && bodyLength !== 0)
      throw new MeshError('MESH_MALFORMED_INPUT', 'an upgrade request with a body (RFC 9110 §7.8)')
    const http = readHttpManager(this.#conn)
    const path = normalizePath(this.#parser.path, http)
    const host = method === 'CONNECT' ? authority : normalizeHost(authority, http, this.#conn.local.port)
    const version = minor === 1 ? 'HTTP/1.1' : 'HTTP/1.0'
    // If the endpoint does not switch, what follows may be in either protocol. Envoy closes, too.
    const mayServeMore =
      keepAlive &&
      upgrade === undefined &&
      !this.#leaving &&
      ++this.#served < (http.maxRequestsPerConnection ?? Infinity)
    this.#requestDone = false
    this.#started = false
    this.#answer.begin(version, this.#parser.upgrade, mayServeMore)
    this.#exchange = new Exchange(
      this.#rt,
      this.#client,
      http,
      new RequestHead({
        method,
        scheme: this.#client.scheme,
        authority: host,
        path,
        headers,
        version,
        bodyLength,
        upgrade,
        expectContinue: expectContinue && minor === 1,
        names: this.#parser.names,
        target: this.#parser.path,
      }),
      this.#answer,
    )
    this.#times.exchange(http, this.#exchange.record.startedMs)
  }
  onInformational(): void {
    /* requests have none */
  }
  onBody(chunk: Buffer): void {
    this.touch()
    this.#parts.add(chunk)
  }
  onMessageEnd(trailers: string[] | undefined): void {
    this.#parts.pass()
    this.#requestDone = true
    this.#times.requestDone()
    this.#exchange?.requestEnd(trailers)
  }

  readonly #onEnd = guard('http1', this.broken, () => {
    if (this.#phase === 'lingering') this.#lingered()
    if (this.#phase !== 'open') return
    if (this.#exchange) this.#gone()
    else if (this.#parser.inHead)
      this.#close(new MeshError('MESH_CLIENT_GONE', 'the client closed in the middle of a request head'))
    else if (!this.#isBehind()) this.#close(undefined)
  })
  readonly #onClose = guard('http1', this.broken, () => {
    if (this.#exchange && this.#phase === 'open') this.#gone()
    else if (this.#phase !== 'taken') this.#close(this.#error)
  })
  readonly #onLeft = (): void => {
    if (!this.#full) {
      this.#exchange?.downstreamDrained()
      return
    }
    this.#full = false
    if (this.#phase === 'open') this.#next()
  }

  /** The client is gone: its exchange ends, and so does the connection. */
  #gone(error = new MeshError('MESH_CLIENT_GONE', 'the client closed before the answer was complete')): void {
    if (this.#phase === 'closed') return
    const exchange = this.#exchange
    this.#phase = 'closed'
    this.#exchange = undefined
    try {
      exchange?.abort(error)
    } finally {
      this.#phase = 'open'
      this.#close(error)
    }
  }

  /** These bytes are no HTTP, so nobody knows where the next request begins. */
  #malformed(error: MeshError): void {
    this.#rt.metrics.refusedMessages.value++
    if (error.code === 'MESH_HEADERS_TOO_LARGE') this.#rt.metrics.limits.headerBytes.value++
    this.#error = error
    this.#answer.keepAlive = false
    this.#parser.stop()
    if (this.#exchange) {
      this.#exchange.abort(error)
      return
    }
    this.#answerMalformed(error)
  }

  /** Answers what was no request, and therefore has no exchange. */
  #answerMalformed(error: MeshError): void {
    const answer = this.#answer
    const { head, body } = answerBroken(this.#conn, answer.version, error, this.#rt)
    answer.keepAlive = false
    answer.sendHead(head, body === undefined)
    if (body) answer.sendData(body)
    answer.sendEnd(undefined)
    answer.flush()
    this.#error = error
    this.#linger()
  }

  /* For the answer (H1AnswerOwner). */

  get isOpen(): boolean {
    return this.#phase === 'open'
  }
  get isRequestDone(): boolean {
    return this.#requestDone
  }
  get isLeaving(): boolean {
    return this.#leaving || this.#conn.draining.aborted
  }
  touch(): void {
    if (this.#phase === 'open' && this.#exchange) this.#times.moved()
  }
  setIdleMs(ms: number): void {
    this.#times.idleMs = ms
    this.touch()
  }

  handOver(): { stream: Duplex; rest: Buffer | undefined } {
    const rest = this.#ahead.take()
    this.#phase = 'taken'
    this.#parser.stop()
    this.#times.end()
    this.#stream.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose)
    return { stream: this.#stream, rest }
  }

  finished(error: MeshError | undefined): void {
    this.#exchange = undefined
    if (this.#phase === 'closed') return
    if (this.#phase === 'taken') {
      this.#phase = 'open'
      this.#end(error)
      return
    }
    if (error) this.#close(error)
    else if (!this.#requestDone || !this.#answer.keepAlive || this.#conn.draining.aborted) this.#linger()
    else {
      this.#parser.begin()
      this.#next()
    }
  }

  /**
   * A client that does not read its answers gets no further request served: a small request may have a large answer.
   * Looked at only when a request waits, because what goes out by TLS leaves one turn later.
   */
  #isBehind(): boolean {
    return (this.#full ||= !this.outlet.isEmpty && this.outlet.whenLeft())
  }

  /** The next request. */
  #next(): void {
    if (!this.#ahead.isEmpty && this.#isBehind()) {
      this.#armIdle()
      return
    }
    const held = this.#ahead.take()
    if (!held && this.#stream.readableEnded) {
      this.#close(undefined)
      return
    }
    if (held) {
      if (this.#feeding) throw new MeshError('MESH_INTERNAL', 'bytes held while they are read')
      this.#stream.resume()
      this.#feed(held)
      return
    }
    this.#armIdle()
    if (this.#stream.isPaused()) this.#stream.resume()
  }

  /* Time. */

  #armIdle(): void {
    this.#times.idle(readHttpManager(this.#conn), !this.#full && !this.outlet.isEmpty)
  }

  onTimeout(what: H1Time): void {
    const { limits } = this.#rt.metrics
    if (what === 'linger') this.#close(this.#error)
    else if (what === 'look') {
      this.#isBehind()
      this.#armIdle()
    } else if (this.#exchange) {
      limits.idleMs.value++
      this.#answer.keepAlive = false
      this.#exchange.abort(
        this.#requestDone
          ? new MeshError('MESH_IDLE_TIMEOUT', `nothing moved for ${this.#times.idleMs} ms`)
          : new MeshError('MESH_REQUEST_TIMEOUT', "the request's body did not come in time"),
      )
    } else if (this.#parser.inHead) {
      limits.requestHeadMs.value++
      this.#answerMalformed(
        new MeshError(
          'MESH_REQUEST_TIMEOUT',
          `the request's head was not complete within ${this.#rt.ctx.limits.requestHeadMs} ms`,
        ),
      )
    } else this.#close(undefined)
  }

  readonly #onLifetime = guard('http1', this.broken, () => {
    this.#leaving = true
    this.#rest()
  })
  readonly #onDraining = guard('http1', this.broken, () => this.#rest())
  /** Serves no further request: ends now between two requests, else after the current one. */
  #rest(): void {
    if (this.#phase === 'open' && !this.#exchange && !this.#parser.inHead) this.#linger()
  }
  readonly #onAborted = guard('http1', this.broken, () => {
    const { reason } = this.#conn.aborted
    this.#breakOff(
      reason instanceof MeshError ? reason : new MeshError('MESH_DRAINING', 'the connection was ended by the agent'),
    )
  })
  #breakOff(error: MeshError): void {
    if (this.#exchange) {
      const exchange = this.#exchange
      this.#stream.destroy()
      exchange.abort(error)
    }
    this.#close(this.#error)
  }

  /* What waits here (Holder). */

  get client(): string {
    return this.#conn.remote.host
  }
  get cluster(): Cluster | undefined {
    return this.outlet.isEmpty ? undefined : this.#exchange?.calling
  }
  giveUp(error: MeshError): void {
    this.#error ??= error
    this.#breakOff(error)
  }

  /* The end. */

  /** Our side ends; what still comes is thrown away until the client's side ends too, or LINGER_MS. */
  #linger(): void {
    if (this.#phase !== 'open') return
    this.#phase = 'lingering'
    this.#ahead.take()
    this.#stream.end()
    this.#times.linger()
    if (this.#stream.readableEnded) this.#lingered()
    else this.#stream.resume()
  }

  /** The client's side has ended; ours may still have bytes to send. */
  #lingered(): void {
    const over = guard('http1', this.broken, () => this.#close(this.#error))
    if (this.#stream.writableFinished) over()
    else this.#stream.once('finish', over)
  }

  #close(error: MeshError | undefined): void {
    if (this.#phase === 'closed') return
    this.#end(error)
    this.#stream.destroy()
  }

  #end(error: MeshError | undefined): void {
    this.#phase = 'closed'
    this.#ahead.take()
    this.#lifetime?.cancel()
    const { draining, aborted } = this.#conn
    this.#times.end()
    this.#stream.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose)
    draining.removeEventListener('abort', this.#onDraining)
    aborted.removeEventListener('abort', this.#onAborted)
    this.#resolve(error ? { error } : ENDED)
  }
}
