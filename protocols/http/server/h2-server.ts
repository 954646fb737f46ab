/**
 * The server side of one HTTP/2 connection (RFC 9113): streams in, one exchange each. Framing, flow control and what a
 * message must be are the session's business; routing, retries and answers are the exchange's.
 */
import type { Timer } from '../../../core/os/clock.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { guard, doNothing } from '../../../core/defects/guard.ts'
import { LinkedList, type Place } from '../../../core/runtime/linked-list.ts'
import { readHttpManager } from '../../codecs.ts'
import { ENDED, type Connection, type Outcome } from '../../connection.ts'
import type { Context } from '../../context.ts'
import { isGrpc } from '../../router.ts'
import type { Holder } from '../../waiting.ts'
import { RequestOrigin } from '../exchange/request-origin.ts'
import { ErrorCode } from '../codec/h2-frames.ts'
import type { FieldList } from '../codec/hpack/decoder.ts'
import { findField } from '../codec/h2-message-rules.ts'
import type { Deadline } from '../../deadlines.ts'
import type { HeadLimits } from '../codec/h1-head.ts'
import { toResponseFields } from '../h2/outgoing-fields.ts'
import { LIST_OVERHEAD, deriveRequestHeadLimits } from '../head-limits.ts'
import type { HttpUpstreams } from '../message.ts'
import { answerBroken } from '../exchange/reply/send.ts'
import { createRuntime, type HttpRuntime } from '../runtime.ts'
import type { Http2Event, SessionOwner } from '../h2/events.ts'
import {
  CONNECTION_WINDOW_BYTES,
  H2Exchange,
  STREAM_WINDOW_BYTES,
  UNCOUNTED_STREAMS,
  type ServerConnection,
} from './h2-exchange.ts'
import { RefusedStream } from './h2-refused-stream.ts'
import { Floods } from '../h2/floods.ts'
import { toRequestHead } from './h2-request-head.ts'
import type { SourceTurn, Starter } from './source-turn.ts'
import { Http2Session } from '../h2/session.ts'
import type { Http2Stream } from '../h2/stream/stream.ts'
import { Unfinished } from '../h2/unfinished.ts'
import { UnsentHold } from '../h2/unsent.ts'
import { callWhenSent } from '../h2/when-sent.ts'

/** While memory is tight, and what is here waits for the client. */
const TIGHT_MS = 20
/** RFC 9113 §8.3: method, scheme, authority, path, and protocol with RFC 8441. */
const PSEUDO_FIELDS = 5

/** Serves streams until the connection ends; never rejects. */
export function serveHttp2(conn: Connection, ctx: Context, upstreams: HttpUpstreams): Promise<Outcome> {
  return new Promise((resolve) => {
    new H2Server(conn, createRuntime(ctx, upstreams), resolve).begin()
  })
}

class H2Server implements ServerConnection, SessionOwner, Deadline, Starter {
  dueMs = Infinity
  readonly rt: HttpRuntime
  readonly client: RequestOrigin
  readonly limits: HeadLimits
  waitingBytes = 0
  readonly #conn: Connection
  readonly #resolve: (outcome: Outcome) => void
  readonly #session: Http2Session
  turnPlace: Place<Starter> | undefined
  readonly #open = new LinkedList<H2Exchange>()
  /** Wait for their turn. */
  #later: H2Exchange[] = []
  readonly #floods: Floods
  #served = 0
  readonly #turn: SourceTurn
  readonly #unsent: UnsentHold
  readonly #unfinished: Unfinished
  /** max_connection_duration. */
  #lifetime: Timer | undefined
  #error: MeshError | undefined
  #over = false

  constructor(conn: Connection, rt: HttpRuntime, resolve: (outcome: Outcome) => void) {
    this.#conn = conn
    this.rt = rt
    this.#resolve = resolve
    this.client = new RequestOrigin(conn, rt.ctx)
    const { limits, clock } = rt.ctx
    this.#turn = rt.turns.join(this.client.source, this)
    this.#floods = new Floods(clock, (kind) => {
      this.#calm(kind)
    })
    const holder: Holder = {
      client: this.client.directIp,
      giveUp: (error) => {
        this.#giveUp(error)
      },
    }
    this.#unsent = new UnsentHold(conn.stream, rt.waiting, holder)
    this.#unfinished = new Unfinished({
      waiting: rt.waiting,
      holder,
      clock,
      blockMs: limits.requestHeadMs,
      onTimeout: () => {
        this.#endless()
      },
    })
    this.limits = deriveRequestHeadLimits(readHttpManager(conn), limits)
    const maxHeaderCount = this.limits.maxHeaderCount + PSEUDO_FIELDS
    this.#session = new Http2Session(
      {
        role: 'server',
        socket: conn.stream,
        extendedConnect: false,
        clock,
        maxConcurrentStreams: limits.maxHttp2Streams,
        maxHeaderCount,
        maxHeaderListBytes: this.limits.maxHeaderBytes + LIST_OVERHEAD * maxHeaderCount,
        streamWindowBytes: STREAM_WINDOW_BYTES,
        connectionWindowBytes: CONNECTION_WINDOW_BYTES,
        onRead: (received, unfinished, blockStreamId) => {
          this.#unfinished.read(received, unfinished, blockStreamId)
        },
      },
      this,
    )
  }

  begin(): void {
    const { rt } = this
    const { maxConnectionMs } = readHttpManager(this.#conn)
    rt.deadlines.add(this)
    this.#conn.draining.addEventListener('abort', this.#onDraining)
    this.#conn.aborted.addEventListener('abort', this.#onAborted)
    this.#session.begin()
    this.#conn.stream.resume()
    if (maxConnectionMs !== undefined) this.#lifetime = rt.ctx.clock.after(maxConnectionMs, this.#onDraining)
    this.#armIdle()
    if (this.#conn.aborted.aborted) this.#onAborted()
    else if (this.#conn.draining.aborted) this.#onDraining()
  }

  /* SessionOwner. */

  onStream(stream: Http2Stream, { fields, oversized }: FieldList, end: boolean): void {
    this.#floods.stream()
    this.dueMs = Infinity
    const http = readHttpManager(this.#conn)
    // GOAWAY names this stream as the last one that is worked on (RFC 9113 §6.8).
    if (++this.#served >= (http.maxRequestsPerConnection ?? Infinity)) this.#session.close()
    try {
      if (oversized) throw new MeshError('MESH_HEADERS_TOO_LARGE', 'the fields are longer, or more, than permitted')
      const bodyLength = end ? 0 : stream.expectedBytes
      const request = toRequestHead(fields, bodyLength, { client: this.client, http, limits: this.limits })
      this.#begin(new H2Exchange(this, stream, request, http))
    } catch (thrown) {
      this.#refuse(stream, fields, toMeshError(thrown))
    }
  }
  onMalformed(stream: Http2Stream, fields: readonly string[], problem: string): void {
    this.#floods.stream()
    if (!stream.isClosed) this.#refuse(stream, fields, new MeshError('MESH_MALFORMED_INPUT', problem))
  }
  onCostlyFrame(what: Http2Event): void {
    this.#floods.frame(what, this.#session.sentDataFrames)
  }
  onGoaway(): void {
    /* The session ends when its streams have. */
  }
  onSessionClose(error: MeshError | undefined): void {
    if (!this.#conn.aborted.aborted) this.#error ??= error
    this.#end()
  }

  /** The client is told why (RFC 9113 §7), and what was under way ends. */
  #calm(kind: Http2Event): void {
    const error = new MeshError('MESH_HTTP2_FLOOD', `the client sends ${kind} only to make work`)
    this.rt.metrics.floods[kind].value++
    this.rt.metrics.failed(error.code)
    this.#later = []
    this.#session.destroy(ErrorCode.ENHANCE_YOUR_CALM, error)
  }

  /** A head that is not complete in time. */
  #endless(): void {
    const { metrics, ctx } = this.rt
    metrics.limits.requestHeadMs.value++
    const error = new MeshError(
      'MESH_REQUEST_TIMEOUT',
      `a header block was not complete within ${ctx.limits.requestHeadMs} ms`,
    )
    metrics.failed(error.code)
    this.#session.destroy(ErrorCode.ENHANCE_YOUR_CALM, error)
  }

  /* Requests. */

  /** Now, where its source may begin one more in this turn; else in its order, unless it was reset by then. */
  #begin(exchange: H2Exchange): void {
    if (this.#later.length === 0 && !this.#mustWait && this.#turn.take()) {
      this.#beginNow(exchange)
      return
    }
    exchange.waitForTurn()
    if (this.#later.push(exchange) === 1) this.#waitForTurn()
  }
  #beginNow(exchange: H2Exchange): void {
    exchange.place = this.#open.add(exchange)
    begin(exchange)
  }
  /** Memory is tight, and the client does not take what it has asked for already. */
  get #mustWait(): boolean {
    return this.waitingBytes >= this.rt.ctx.limits.maxBufferBytes && this.rt.waiting.isTight
  }
  #waitForTurn(): void {
    if (this.#mustWait) this.rt.ctx.clock.after(TIGHT_MS, this.#onLater)
    else this.#turn.wait(this)
  }
  readonly #broken = (): void => {
    this.#session.destroy(ErrorCode.INTERNAL_ERROR)
    this.#conn.stream.destroy()
  }
  readonly #onLater = guard('http2', this.#broken, (): void => {
    if (this.#later.length > 0) this.#waitForTurn()
  })

  beginNext(): boolean {
    if (this.#mustWait) {
      this.#waitForTurn()
      return false
    }
    let next = this.#later.shift()
    // Not what was reset meanwhile.
    while (next?.isGone) next = this.#later.shift()
    if (next) this.#beginNow(next)
    if (this.#later.length > 0) return true
    if (this.#open.size === 0) this.#armIdle()
    return false
  }

  /** What cannot be served as a request: a person gets a status to look at (RFC 9113 §8.1.1). */
  #refuse(stream: Http2Stream, fields: readonly string[], error: MeshError): void {
    const { metrics } = this.rt
    metrics.refusedMessages.value++
    if (error.code === 'MESH_HEADERS_TOO_LARGE') metrics.limits.headerBytes.value++
    const { head, body } = answerBroken(this.#conn, 'HTTP/2', error, this.rt, isGrpc(findField(fields, 'content-type')))
    if (this.openStreams > UNCOUNTED_STREAMS) stream.owner = new RefusedStream(this, stream)
    const isWithBody = body !== undefined && findField(fields, ':method') !== 'HEAD'
    stream.sendHead(toResponseFields(head), !isWithBody)
    if (isWithBody) {
      stream.sendData(body)
      stream.sendEnd()
    }
    if (!stream.remoteEnded) stream.resetWhenSent(ErrorCode.NO_ERROR)
    if (this.#open.size === 0) this.#armIdle()
  }

  /* ServerConnection. */

  get streams(): number {
    return this.#open.size
  }
  get openStreams(): number {
    return this.#session.streamCount
  }
  exchangeOver(exchange: H2Exchange): void {
    if (exchange.wasReset) this.#floods.reset()
    this.#open.delete(exchange.place)
    if (this.#open.size === 0) this.#armIdle()
  }
  resetBeforeBegin(): void {
    this.#floods.reset()
  }
  written(): void {
    this.#unsent.made(this.#session)
  }

  /* The end. */

  #armIdle(): void {
    if (this.#over) return
    const { ctx, deadlines } = this.rt
    deadlines.arm(this, ctx.clock.monotonicMs() + (readHttpManager(this.#conn).connectionIdleMs ?? ctx.limits.idleMs))
  }
  /** GOAWAY, and when the client does not take what is left of its answers the end all the same. */
  onDue(): void {
    if (this.#session.isClosing) {
      this.#session.destroy(ErrorCode.NO_ERROR)
      return
    }
    this.#session.close()
    this.#armIdle()
  }
  broken(): void {
    this.#broken()
  }
  #giveUp(error: MeshError): void {
    this.#session.destroy(ErrorCode.ENHANCE_YOUR_CALM, error)
    this.#conn.stream.destroy()
  }
  readonly #onDraining = guard('http2', this.#broken, () => {
    this.#session.drain()
  })
  readonly #onAborted = guard('http2', this.#broken, () => {
    const { reason } = this.#conn.aborted
    if (reason instanceof MeshError) for (const exchange of this.#open) gone(exchange, reason)
    this.#session.destroy(ErrorCode.NO_ERROR)
    this.#conn.stream.destroy()
  })

  #end(): void {
    if (this.#over) return
    this.#over = true
    this.#later = []
    this.#turn.leave(this)
    this.#lifetime?.cancel()
    this.#unsent.end()
    this.#unfinished.end()
    this.rt.deadlines.delete(this)
    this.#conn.draining.removeEventListener('abort', this.#onDraining)
    this.#conn.aborted.removeEventListener('abort', this.#onAborted)
    this.#resolveWhenSent()
  }
  /** A listener of the error destroys the stream, so GOAWAY is written before. */
  #resolveWhenSent(): void {
    const error = this.#error
    if (error === undefined) this.#resolve(ENDED)
    else
      callWhenSent(this.#conn.stream, this.rt.ctx.clock, 'http2', () => {
        this.#resolve({ error })
      })
  }
}

/** A defect ends its stream and no other. */
const end = (_error: MeshError, exchange: H2Exchange): void => {
  exchange.broken()
}
const begin = guard('http2', end, (exchange: H2Exchange) => {
  exchange.begin()
})
const gone = guard('http2', doNothing, (exchange: H2Exchange, why: MeshError) => {
  exchange.gone(why)
})
