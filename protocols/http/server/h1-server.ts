/**
 * The server side of one HTTP/1.1 connection (RFC 9112 §9): requests in order, one exchange at a time, what a client
 * sends ahead waits in the socket. Reads the chain's settings anew for every request, because a configuration change
 * may have replaced them.
 */
import type { Duplex } from 'node:stream'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { guarded, nothing } from '../../../core/defects/guard.ts'
import type { Timer } from '../../../core/os/clock.ts'
import type { Cluster } from '../../../model/cluster.ts'
import { httpOf } from '../../codecs.ts'
import { ENDED, type Connection, type Outcome } from '../../connection.ts'
import { Outlet } from '../../outlet.ts'
import type { Context } from '../../context.ts'
import { READ_AHEAD_BYTES, type Hold, type Holder } from '../../waiting.ts'
import { RequestOrigin } from '../exchange/request-origin.ts'
import type { Deadline } from '../../deadlines.ts'
import { Exchange } from '../exchange/exchange.ts'
import { CHUNKED, isBodiless, isInformational, responseFraming, UNTIL_CLOSE } from '../codec/framing.ts'
import { H1Parser, type ParserSink } from '../codec/h1-parser.ts'
import { Gather, responseHeadText } from '../codec/h1-write.ts'
import { logBroken } from '../exchange/record.ts'
import { httpDate } from '../exchange/outgoing.ts'
import { requestHeadLimits } from '../head-limits.ts'
import { RequestHead, type Downstream, type HttpUpstreams, type ResponseHead } from '../message.ts'
import { normalizeHost, normalizePath } from '../filters/path-normalize.ts'
import { errorAnswer } from '../exchange/reply.ts'
import { runtimeOf, type HttpRuntime } from '../runtime.ts'
import { wantedUpgrade } from '../filters/upgrade.ts'

/**
 * After an answer that came before the request's end: how long the rest is read and thrown away, so that the answer is
 * not lost in a reset.
 */
const LINGER_MS = 1000
/** Less than this, sent ahead, is not counted against the memory budget. */
const COUNTED_HELD_BYTES = 4 * 1024
/** What has not left a moment after its answer was over, waits for a client that does not take it. */
const LEFT_SOON_MS = 100
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'

/**
 * Serves requests until the connection ends; never rejects. `error`: what the client did wrong, or MESH_CLIENT_GONE in
 * the middle of an exchange.
 */
export function serveHttp1(conn: Connection, ctx: Context, upstreams: HttpUpstreams): Promise<Outcome> {
  return new Promise((resolve) => {
    new H1Server(conn, runtimeOf(ctx, upstreams), resolve).begin()
  })
}

class H1Server implements ParserSink, Downstream, Deadline, Holder {
  dueMs = Infinity
  readonly #conn: Connection
  readonly #rt: HttpRuntime
  readonly #stream: Duplex
  readonly #resolve: (outcome: Outcome) => void
  readonly #client: RequestOrigin
  readonly #parser: H1Parser
  readonly #out: Gather
  readonly #outlet: Outlet
  #exchange: Exchange | undefined
  #started = false
  #requestDone = false
  /** What came after the request at hand. */
  #unread: Buffer | undefined
  /** Counts it against the memory budget. */
  #unreadHold: Hold | undefined
  #feeding = false
  /** The last answer has not left yet; the next request is read when it has. */
  #full = false
  /** Whether it has is looked at when the deadline at hand comes. */
  #looksSoon = false
  /** All of the answer was said. */
  #answered = false
  #keepAlive = true
  #served = 0
  /** Its time (max_connection_duration) is over. */
  #leaving = false
  #lifetime: Timer | undefined
  #version: 'HTTP/1.0' | 'HTTP/1.1' = 'HTTP/1.1'
  #method = 'GET'
  /** The answer at hand ends with its head, whatever an endpoint sends after it. */
  #bodiless = false
  #idleMs: number
  #requestDueMs = Infinity
  #phase: 'open' | 'lingering' | 'taken' | 'closed' = 'open'
  #error: MeshError | undefined

  /** A defect in one of the callbacks: nobody can say in which state the connection is. */
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
    this.#parser = new H1Parser('request', requestHeadLimits(httpOf(conn), limits), this)
    this.#out = new Gather(conn.stream)
    this.#outlet = new Outlet(conn.stream, limits.maxBufferBytes, { waiting: rt.waiting, holder: this }, () => {
      this.#onLeft()
    })
    this.#idleMs = limits.idleMs
  }

  begin(): void {
    const stream = this.#stream
    const { draining, aborted } = this.#conn
    this.#rt.deadlines.add(this)
    stream.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose).on('error', this.#onError)
    draining.addEventListener('abort', this.#onDraining)
    aborted.addEventListener('abort', this.#onAborted)
    if (aborted.aborted || stream.destroyed) {
      this.#close(undefined)
      return
    }
    const { maxConnectionMs } = httpOf(this.#conn)
    if (maxConnectionMs !== undefined)
      this.#lifetime = this.#rt.ctx.clock.after(
        maxConnectionMs,
        guarded('http1', this.broken, () => {
          this.#leaving = true
          this.#rest()
        }),
      )
    this.#armIdle()
    if (draining.aborted) this.#onDraining()
    stream.resume()
  }

  /* Bytes in. */

  readonly #onData = guarded('http1', this.broken, (chunk: Buffer) => {
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
      if (begins) this.#method = 'GET'
      try {
        used = this.#parser.execute(chunk)
      } catch (thrown) {
        this.#malformed(toMeshError(thrown))
        break
      }
      if (begins && !this.#exchange) this.#armHead()
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
    this.#unread = this.#unread ? Buffer.concat([this.#unread, chunk]) : chunk
    if (this.#unread.length >= COUNTED_HELD_BYTES)
      (this.#unreadHold ??= this.#rt.waiting.hold(this)).set(this.#unread.length + READ_AHEAD_BYTES)
    this.#stream.pause()
  }

  #takeHeld(): Buffer | undefined {
    const held = this.#unread
    this.#unread = undefined
    this.#unreadHold?.set(0)
    return held
  }

  onHead(): void {
    const { method, authority, headers, bodyLength, minor, expectContinue, keepAlive } = this.#parser
    this.#method = method
    const upgrade = wantedUpgrade(this.#parser.upgrade)
    // Who switches reads what follows in the new protocol, who declines as a body, or as a request of its own: nobody
    // can tell what an endpoint does.
    if (upgrade !== undefined && bodyLength !== 0)
      throw new MeshError('MESH_MALFORMED_INPUT', 'an upgrade request with a body (RFC 9110 §7.8)')
    const http = httpOf(this.#conn)
    const path = normalizePath(this.#parser.path, http)
    const host = method === 'CONNECT' ? authority : normalizeHost(authority, http, this.#conn.local.port)
    this.#version = minor === 1 ? 'HTTP/1.1' : 'HTTP/1.0'
    // When the switch does not come about, what follows may be in either protocol. Envoy closes, too.
    this.#keepAlive =
      keepAlive &&
      upgrade === undefined &&
      !this.#leaving &&
      ++this.#served < (http.maxRequestsPerConnection ?? Infinity)
    this.#requestDone = false
    this.#started = false
    this.#answered = false
    this.#idleMs = http.streamIdleMs ?? this.#rt.ctx.limits.idleMs
    this.#requestDueMs =
      http.requestTimeoutMs === undefined ? Infinity : this.#rt.ctx.clock.monotonicMs() + http.requestTimeoutMs
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
        version: this.#version,
        bodyLength,
        upgrade,
        expectContinue: expectContinue && minor === 1,
      }),
      this,
    )
    this.#touch(this.#exchange.record.startedMs)
  }
  onInformational(): void {
    /* requests have none */
  }
  onBody(chunk: Buffer): void {
    this.#touch()
    this.#exchange?.requestData(chunk)
  }
  onMessageEnd(trailers: string[] | undefined): void {
    this.#requestDone = true
    this.#requestDueMs = Infinity
    this.#exchange?.requestEnd(trailers)
  }

  readonly #onEnd = guarded('http1', this.broken, () => {
    if (this.#phase === 'lingering') this.#lingered()
    if (this.#phase !== 'open') return
    if (this.#exchange) this.#gone()
    else if (this.#parser.inHead)
      this.#close(new MeshError('MESH_CLIENT_GONE', 'the client closed in the middle of a request head'))
    else if (!this.#isBehind()) this.#close(undefined)
  })
  readonly #onClose = guarded('http1', this.broken, () => {
    if (this.#exchange && this.#phase === 'open') this.#gone()
    else if (this.#phase !== 'taken') this.#close(this.#error)
  })
  readonly #onError = nothing
  readonly #onLeft = (): void => {
    if (!this.#full) {
      this.#exchange?.downstreamDrained()
      return
    }
    this.#full = false
    if (this.#phase === 'open') this.#next()
  }

  /** Nobody is left to answer. */
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

  /** Not HTTP any more: whatever follows cannot be told apart from the body of something else. */
  #malformed(error: MeshError): void {
    this.#rt.metrics.refusedMessages.value++
    if (error.code === 'MESH_HEADERS_TOO_LARGE') this.#rt.metrics.limits.headerBytes.value++
    this.#error = error
    this.#keepAlive = false
    this.#parser.stop()
    if (this.#exchange) {
      this.#exchange.abort(error)
      return
    }
    this.#answer(error)
  }

  /** An answer without an exchange: there is no request to speak of. */
  #answer(error: MeshError): void {
    const { head, body } = errorAnswer(error, false)
    head.headers.push('date', httpDate(this.#rt.ctx.clock.wallMs()))
    logBroken(this.#conn, httpOf(this.#conn), this.#version, error, this.#rt)
    this.#rt.metrics.ended(this.#conn.listener.direction, head.status)
    this.#rt.metrics.failed(error.code)
    this.#keepAlive = false
    this.sendHead(head, body === undefined)
    if (body) this.sendData(body)
    this.sendEnd(undefined)
    this.flush()
    this.#error = error
    this.#linger()
  }

  /* The exchange's answer (Downstream). */

  sendContinue(): void {
    if (this.#phase === 'open') {
      this.#out.text(CONTINUE)
      this.flush()
    }
  }

  sendInformational(head: ResponseHead): void {
    if (this.#phase !== 'open' || this.#version !== 'HTTP/1.1' || !isInformational(head.status)) return
    this.#out.text(responseHeadText(head.status, head.headers, ''))
    // It is worth something before the answer only (RFC 8297).
    this.flush()
  }

  sendHead(head: ResponseHead, end: boolean): void {
    if (this.#phase !== 'open') return
    if (this.#conn.draining.aborted || this.#leaving) this.#keepAlive = false
    // An answer that begins before the request's end closes the connection (Envoy: the same): nobody knows how much is
    // still to come.
    if (!this.#requestDone) this.#keepAlive = false
    const { status } = head
    let framing = responseFraming(status, head.contentLength, this.#method, this.#version, end)
    if (framing === UNTIL_CLOSE) {
      framing = ''
      this.#keepAlive = false
    }
    this.#out.chunked = framing === CHUNKED
    this.#bodiless = isBodiless(status, this.#method)
    this.#out.text(
      responseHeadText(status, head.headers, this.#keepAlive ? framing : `${framing}connection: close\r\n`),
    )
  }

  sendData(chunk: Buffer): void {
    if (this.#phase === 'open' && !this.#bodiless) this.#out.body(chunk)
  }
  sendEnd(trailers: readonly string[] | undefined): void {
    this.#out.end(trailers)
    this.#answered = true
  }

  flush(): boolean {
    if (this.#phase !== 'open' || this.#out.empty) return true
    this.#conn.sentBytes += this.#out.flush()
    // After the last of it comes `finished`, with a deadline of its own.
    if (!this.#answered) this.#touch()
    return !this.#outlet.isFull()
  }

  pauseRequest(): void {
    if (!this.#requestDone) this.#stream.pause()
  }
  resumeRequest(): void {
    if (!this.#requestDone && this.#phase === 'open' && this.#stream.isPaused()) this.#stream.resume()
  }
  setIdleMs(ms: number): void {
    this.#idleMs = ms
    this.#touch()
  }

  takeOver(head: ResponseHead): { stream: Duplex; rest: Buffer | undefined } {
    const { upgrade } = this.#parser
    this.#out.text(
      `${responseHeadText(head.status, head.headers, head.status === 101 && upgrade !== undefined ? `connection: upgrade\r\nupgrade: ${upgrade}\r\n` : '')}`,
    )
    this.#conn.sentBytes += this.#out.flush()
    const rest = this.#takeHeld()
    this.#phase = 'taken'
    this.#parser.stop()
    this.#rt.deadlines.delete(this)
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
    if (error) {
      this.#close(error)
      return
    }
    if (!this.#requestDone || !this.#keepAlive || this.#conn.draining.aborted) {
      this.#linger()
      return
    }
    this.#parser.begin()
    this.#next()
  }

  /**
   * Who does not take answers is not asked for more questions: each small one may have a large answer. Asked only when
   * there is a question, for what goes out by TLS leaves a turn later.
   */
  #isBehind(): boolean {
    return (this.#full ||= !this.#outlet.isEmpty && this.#outlet.whenLeft())
  }

  /** The next request. */
  #next(): void {
    if (this.#unread && this.#isBehind()) {
      this.#armIdle()
      return
    }
    const held = this.#takeHeld()
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

  #touch(nowMs = this.#rt.ctx.clock.monotonicMs()): void {
    if (this.#phase !== 'open' || !this.#exchange) return
    this.#looksSoon = false
    this.#rt.deadlines.arm(this, Math.min(nowMs + this.#idleMs, this.#requestDueMs))
  }
  #armIdle(): void {
    const idleMs = httpOf(this.#conn).connectionIdleMs ?? this.#rt.ctx.limits.idleMs
    this.#looksSoon = !this.#full && !this.#outlet.isEmpty && idleMs > LEFT_SOON_MS
    this.#rt.deadlines.arm(this, this.#rt.ctx.clock.monotonicMs() + (this.#looksSoon ? LEFT_SOON_MS : idleMs))
  }
  /** The head is one deadline as a whole: a byte now and then does not move it. */
  #armHead(): void {
    this.#looksSoon = false
    this.#rt.deadlines.arm(this, this.#rt.ctx.clock.monotonicMs() + this.#rt.ctx.limits.requestHeadMs)
  }

  onDue(): void {
    const { limits } = this.#rt.metrics
    if (this.#phase === 'lingering') {
      this.#close(this.#error)
      return
    }
    if (this.#looksSoon) {
      this.#isBehind()
      this.#armIdle()
      return
    }
    if (this.#exchange) {
      limits.idleMs.value++
      this.#keepAlive = false
      this.#exchange.abort(
        this.#requestDone
          ? new MeshError('MESH_IDLE_TIMEOUT', `nothing moved for ${this.#idleMs} ms`)
          : new MeshError('MESH_REQUEST_TIMEOUT', "the request's body did not come in time"),
      )
    } else if (this.#parser.inHead) {
      limits.requestHeadMs.value++
      this.#answer(
        new MeshError(
          'MESH_REQUEST_TIMEOUT',
          `the request's head was not complete within ${this.#rt.ctx.limits.requestHeadMs} ms`,
        ),
      )
    } else this.#close(undefined)
  }

  readonly #onDraining = guarded('http1', this.broken, () => this.#rest())
  /** No further request: between two it ends now, else after the one at hand. */
  #rest(): void {
    if (this.#phase === 'open' && !this.#exchange && !this.#parser.inHead) this.#linger()
  }
  readonly #onAborted = guarded('http1', this.broken, () => {
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
    return this.#outlet.isEmpty ? undefined : this.#exchange?.calling
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
    this.#takeHeld()
    this.#stream.end()
    this.#rt.deadlines.arm(this, this.#rt.ctx.clock.monotonicMs() + LINGER_MS)
    if (this.#stream.readableEnded) this.#lingered()
    else this.#stream.resume()
  }

  /** The client's side has ended; ours may still have bytes to send. */
  #lingered(): void {
    if (this.#stream.writableFinished) this.#close(this.#error)
    else
      this.#stream.once(
        'finish',
        guarded('http1', this.broken, () => this.#close(this.#error)),
      )
  }

  #close(error: MeshError | undefined): void {
    if (this.#phase === 'closed') return
    this.#end(error)
    this.#stream.destroy()
  }

  #end(error: MeshError | undefined): void {
    this.#phase = 'closed'
    this.#takeHeld()
    this.#lifetime?.cancel()
    const { draining, aborted } = this.#conn
    this.#rt.deadlines.delete(this)
    this.#stream.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose)
    draining.removeEventListener('abort', this.#onDraining)
    aborted.removeEventListener('abort', this.#onAborted)
    this.#resolve(error ? { error } : ENDED)
  }
}
