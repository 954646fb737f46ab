/**
 * The server side of tunnels (HBONE): one HTTP/2 connection of a peer of the mesh, each stream of which is a CONNECT.
 * Framing and flow control are the session's business, where a tunnel may lead and what is spoken inside the host's.
 */
import { MeshError, type ErrorCode as MeshErrorCode } from '../../../core/errors.ts'
import { doNothing, guard } from '../../../core/defects/guard.ts'
import { memoize } from '../../../core/memoize.ts'
import type { Cell, Metrics } from '../../../core/metrics.ts'
import type { ServeTunnel, TunnelHost } from '../../codecs.ts'
import { ENDED, type Connection, type Outcome } from '../../connection.ts'
import type { Context } from '../../context.ts'
import { Deadlines, type Deadline } from '../../deadlines.ts'
import { getWaiting, type Hold, type Holder, type Waiting } from '../../waiting.ts'
import { UNKNOWN_LENGTH } from '../codec/framing.ts'
import { ErrorCode } from '../codec/h2-frames.ts'
import { findField } from '../codec/h2-message-rules.ts'
import type { FieldList } from '../codec/hpack/decoder.ts'
import type { Http2Event, SessionOwner } from '../h2/events.ts'
import { Floods } from '../h2/floods.ts'
import { Http2Session } from '../h2/session.ts'
import type { Http2Stream } from '../h2/stream/stream.ts'
import { toResponseFields } from '../h2/outgoing-fields.ts'
import { TunnelStream } from '../h2/tunnel-stream.ts'
import { Unfinished } from '../h2/unfinished.ts'
import { UnsentHold } from '../h2/unsent.ts'
import { callWhenSent } from '../h2/when-sent.ts'
import { LIST_OVERHEAD } from '../head-limits.ts'
import { findFloodCell } from '../http-metrics.ts'

/** Of one tunnel, as much may come before what is behind it takes it. A slow one does not stop the others. */
const WINDOW_BYTES = 128 * 1024
const ANSWERS = ['200', '400', '401', '431', '503'] as const
type Answer = (typeof ANSWERS)[number]
type Tunnels = { readonly [answer in Answer]: Cell }

/** Serves tunnels until the connection ends; never rejects. */
export function serveHbone(conn: Connection, ctx: Context, host: TunnelHost): Promise<Outcome> {
  return new Promise((resolve) => {
    new HboneServer(conn, ctx, host, resolve).begin()
  })
}

const countTunnels = memoize((metrics: Metrics): Tunnels =>
  metrics
    .counter('mesh_hbone_tunnels_total', 'CONNECTs of peers of the mesh (HBONE), by their answer.', ['answer'])
    .cells(ANSWERS),
)
const getDeadlines = memoize((ctx: Context) => new Deadlines(ctx.clock))

class HboneServer implements SessionOwner, Deadline, Holder {
  dueMs = Infinity
  readonly #conn: Connection
  readonly #ctx: Context
  readonly #host: TunnelHost
  readonly #resolve: (outcome: Outcome) => void
  readonly #waiting: Waiting
  readonly #tunnels: Tunnels
  readonly #session: Http2Session
  readonly #floods: Floods
  readonly #unsent: UnsentHold
  readonly #unfinished: Unfinished
  #error: MeshError | undefined
  #isOver = false

  constructor(conn: Connection, ctx: Context, host: TunnelHost, resolve: (outcome: Outcome) => void) {
    this.#conn = conn
    this.#ctx = ctx
    this.#host = host
    this.#resolve = resolve
    this.#waiting = getWaiting(ctx)
    this.#tunnels = countTunnels(ctx.metrics)
    const { clock, limits } = ctx
    this.#floods = new Floods(clock, (kind) => {
      this.#calm(kind)
    })
    this.#unsent = new UnsentHold(conn.stream, this.#waiting, this)
    this.#unfinished = new Unfinished({
      waiting: this.#waiting,
      holder: this,
      clock,
      blockMs: limits.requestHeadMs,
      onTimeout: () => {
        const error = new MeshError('MESH_REQUEST_TIMEOUT', 'a header block was not complete (limits.requestHeadMs)')
        this.#session.destroy(ErrorCode.ENHANCE_YOUR_CALM, error)
      },
    })
    this.#session = new Http2Session(
      {
        role: 'server',
        socket: conn.stream,
        extendedConnect: false,
        clock,
        maxConcurrentStreams: limits.maxHttp2Streams,
        maxHeaderCount: limits.maxHeaderCount,
        maxHeaderListBytes: limits.maxHeaderBytes + LIST_OVERHEAD * limits.maxHeaderCount,
        streamWindowBytes: WINDOW_BYTES,
        connectionWindowBytes: limits.maxHttp2Streams * WINDOW_BYTES,
        onRead: (received, unfinished, blockStreamId) => {
          this.#unfinished.read(received, unfinished, blockStreamId)
        },
      },
      this,
    )
  }

  begin(): void {
    const { draining, aborted, stream } = this.#conn
    getDeadlines(this.#ctx).add(this)
    draining.addEventListener('abort', this.#onDraining)
    aborted.addEventListener('abort', this.#onAborted)
    this.#session.begin()
    stream.resume()
    this.#armIdle()
    if (aborted.aborted) this.#onAborted()
    else if (draining.aborted) this.#onDraining()
  }

  /* SessionOwner. */

  onStream(stream: Http2Stream, { fields, oversized }: FieldList, end: boolean): void {
    this.#floods.stream()
    this.#armIdle()
    if (oversized) this.#refuse(stream, 431)
    // As ztunnel: who does not want a tunnel is in the wrong place.
    else if (findField(fields, ':method') !== 'CONNECT') this.#refuse(stream, 400)
    else {
      const answer = this.#host.open(findField(fields, ':authority') ?? '')
      if (typeof answer === 'number') this.#refuse(stream, answer)
      else this.#open(stream, end, answer)
    }
  }
  onMalformed(stream: Http2Stream): void {
    this.#floods.stream()
    if (!stream.isClosed) this.#refuse(stream, 400)
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

  /* Tunnels. */

  /** The peer is told that it is open when what is behind it begins to read or write; until then it may be refused. */
  #open(stream: Http2Stream, isEnded: boolean, serve: ServeTunnel): void {
    stream.pause()
    let isAnswered = false
    const holder = { client: this.client, giveUp: () => stream.reset(ErrorCode.INTERNAL_ERROR) }
    let hold: Hold | undefined
    const tunnel = new TunnelStream(stream, {
      isEnded,
      describeReset: (code) => new MeshError('MESH_CLIENT_GONE', `the peer gave the tunnel up (error code ${code})`),
      onReset: () => {
        if (!isAnswered) this.#floods.reset()
      },
      onUse: () => {
        isAnswered = true
        this.#tunnels[200].value++
        stream.sendHead(toResponseFields({ status: 200, headers: [], contentLength: UNKNOWN_LENGTH }))
        this.#unsent.made(this.#session)
      },
      onWritten: () => {
        this.#unsent.made(this.#session)
      },
      onPaused: (isPaused) => {
        if (isPaused) (hold ??= this.#waiting.hold(holder)).set(WINDOW_BYTES)
        else hold?.set(0)
      },
      onClosed: () => {
        this.#armIdle()
      },
    })
    tunnel.on('error', doNothing)
    serve(tunnel, (error) => {
      if (isAnswered || stream.isClosed) return
      isAnswered = true
      tunnel.release()
      stream.owner = undefined
      this.#refuse(stream, STATUS[error?.code ?? 'MESH_CLIENT_GONE'] ?? 503)
    })
  }

  #refuse(stream: Http2Stream, status: number): void {
    const text = String(status)
    this.#tunnels[isAnswer(text) ? text : '503'].value++
    stream.sendHead(toResponseFields({ status, headers: [], contentLength: 0 }))
    stream.sendEnd()
    stream.resume()
    if (!stream.remoteEnded) stream.resetWhenSent(ErrorCode.NO_ERROR)
  }

  /* The end. */

  #armIdle(): void {
    const { clock, limits } = this.#ctx
    if (!this.#isOver) getDeadlines(this.#ctx).arm(this, clock.monotonicMs() + limits.idleMs)
  }
  onDue(): void {
    const { isClosing, streamCount } = this.#session
    // Each tunnel has an idle time of its own, which is that of what is spoken inside.
    if (streamCount === 0 && isClosing) this.#session.destroy(ErrorCode.NO_ERROR)
    else if (streamCount === 0) this.#session.close()
    this.#armIdle()
  }
  #calm(kind: Http2Event): void {
    findFloodCell(this.#ctx.metrics, kind).value++
    const error = new MeshError('MESH_HTTP2_FLOOD', `the peer sends ${kind} only to make work`)
    this.#session.destroy(ErrorCode.ENHANCE_YOUR_CALM, error)
  }
  readonly #broken = (): void => {
    this.#session.destroy(ErrorCode.INTERNAL_ERROR)
    this.#conn.stream.destroy()
  }
  readonly #onDraining = guard('http2', this.#broken, () => {
    this.#session.drain()
  })
  readonly #onAborted = guard('http2', this.#broken, () => {
    this.#session.destroy(ErrorCode.NO_ERROR)
    this.#conn.stream.destroy()
  })
  #end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#unsent.end()
    this.#unfinished.end()
    getDeadlines(this.#ctx).delete(this)
    this.#conn.draining.removeEventListener('abort', this.#onDraining)
    this.#conn.aborted.removeEventListener('abort', this.#onAborted)
    const error = this.#error
    if (error === undefined) this.#resolve(ENDED)
    else
      callWhenSent(this.#conn.stream, this.#ctx.clock, 'http2', () => {
        this.#resolve({ error })
      })
  }

  /* What the peer does not take, of all tunnels together (Holder). */

  get client(): string {
    return this.#conn.remote.host
  }
  giveUp(error: MeshError): void {
    this.#session.destroy(ErrorCode.ENHANCE_YOUR_CALM, error)
    this.#conn.stream.destroy()
  }
}

/** As ztunnel answers; what is not here is 503. */
const STATUS: { readonly [code in MeshErrorCode]?: number } = { MESH_PEER_NOT_ALLOWED: 401 }

function isAnswer(status: string): status is Answer {
  return (ANSWERS as readonly string[]).includes(status)
}
