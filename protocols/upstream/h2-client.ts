/** The client side of one HTTP/2 connection to an endpoint: many calls at once, each a stream (RFC 9113 §5). */
import type { Duplex } from 'node:stream'
import { MeshError } from '../../core/errors.ts'
import { takeLease, Tally } from '../../core/lease.ts'
import { ErrorCode } from '../http/codec/h2-frames.ts'
import type { Deadline } from '../deadlines.ts'
import type { HeadLimits } from '../http/codec/h1-head.ts'
import type { Http2Event, SessionOwner } from '../http/h2/events.ts'
import { Floods } from '../http/h2/floods.ts'
import { Http2Session } from '../http/h2/session.ts'
import { Unfinished } from '../http/h2/unfinished.ts'
import { UnsentHold } from '../http/h2/unsent.ts'
import { callWhenSent } from '../http/h2/when-sent.ts'
import { LIST_OVERHEAD } from '../http/head-limits.ts'
import { findFloodCell } from '../http/http-metrics.ts'
import type { CallEvents } from '../http/message.ts'
import { endFor, findRefusal } from '../tls/client.ts'
import { type CallConnection, H2Call, WINDOW_BYTES } from './h2-call.ts'
import type { Holder } from '../waiting.ts'
import type { Dialed } from './dial.ts'
import type { HostPool, PooledConnection } from './pool.ts'

/**
 * What is assumed until the endpoint has said how many streams it takes at once, over this connection or one before
 * (RFC 9113 §6.5.2 recommends no less); no more are opened in any case.
 */
const ASSUMED_STREAMS = 100
/** From the begin of a header block to its end; what an answer may take is the route's business. */
const BLOCK_MS = 60_000

export class H2Connection implements PooledConnection, CallConnection, Deadline, SessionOwner, Holder {
  dueMs = Infinity
  readonly pool: HostPool
  readonly limits: HeadLimits
  readonly session: Http2Session
  readonly certificates: Dialed['certificates']
  readonly local: Dialed['local']
  readonly #stream: Duplex
  readonly #openedMs: number
  readonly #floods: Floods
  readonly #unsent: UnsentHold
  readonly #unfinished: Unfinished
  /** Calls under way. */
  readonly #active = new Tally()
  #served = 0
  #closed = false
  #leaving = false

  constructor(pool: HostPool, { stream, certificates, local }: Omit<Dialed, 'alpn'>) {
    this.pool = pool
    this.certificates = certificates
    this.local = local
    this.limits = pool.limits
    this.#stream = stream
    this.#openedMs = pool.nowMs()
    this.#floods = new Floods(pool.clock, (kind) => {
      this.#calm(kind)
    })
    const { maxHeaderBytes, maxHeaderCount } = this.limits
    this.session = new Http2Session(
      {
        role: 'client',
        socket: stream,
        maxConcurrentStreams: 0,
        extendedConnect: false,
        // One more for :status.
        maxHeaderListBytes: maxHeaderBytes + LIST_OVERHEAD * (maxHeaderCount + 1),
        maxHeaderCount: maxHeaderCount + 1,
        // A caller that does not read its answer must not block the answers of others.
        streamWindowBytes: WINDOW_BYTES,
        connectionWindowBytes: ASSUMED_STREAMS * WINDOW_BYTES,
        onRead: (received, unfinished, blockStreamId) => {
          this.#unfinished.read(received, unfinished, blockStreamId)
        },
      },
      this,
    )
    this.#unsent = new UnsentHold(stream, pool.waiting, this)
    const onTimeout = (): void => {
      this.session.destroy(
        ErrorCode.ENHANCE_YOUR_CALM,
        new MeshError('MESH_UPSTREAM_PROTOCOL', 'the endpoint began a header block and did not end it'),
      )
    }
    this.#unfinished = new Unfinished({
      waiting: pool.waiting,
      holder: this,
      clock: pool.clock,
      blockMs: BLOCK_MS,
      onTimeout,
    })
    this.session.begin()
    if (stream.destroyed) this.session.destroy(ErrorCode.NO_ERROR)
  }

  get room(): number {
    if (this.#closed || this.#leaving || !this.session.canOpen) return 0
    if (this.pool.isSpent(this.#served, this.#openedMs)) return 0
    const { peerMaxStreams = this.pool.host.maxStreams ?? ASSUMED_STREAMS } = this.session
    return Math.max(0, Math.min(peerMaxStreams, ASSUMED_STREAMS) - this.#active.now)
  }

  get refusal(): MeshError | undefined {
    return findRefusal(this.#stream)
  }

  start(events: CallEvents, ofCall: Disposable): void {
    this.#served++
    this.#floods.stream()
    this.dueMs = Infinity
    events.onCall(new H2Call(this, events, this.#served > 1, ofCall, takeLease(this.#active)))
  }
  drain(): void {
    this.#leaving = true
    if (this.#active.now === 0) this.destroy()
  }
  destroy(): void {
    this.session.destroy(ErrorCode.NO_ERROR)
  }
  onDue(): void {
    if (this.#active.now === 0) this.destroy()
  }

  /** Frames of a call were made. */
  written(): void {
    this.#unsent.made(this.session)
  }
  /** An answer has begun: SETTINGS came before it (RFC 9113 §3.4). The next connection begins with what they said. */
  answered(status: number, headers: readonly string[]): void {
    const { peerMaxStreams } = this.session
    // No streams at all is said for a while: a connection that began so would be of no use.
    if (peerMaxStreams !== 0) this.pool.host.maxStreams = peerMaxStreams
    this.pool.answered(status, headers)
  }
  callOver(): void {
    if (this.#active.now === 0 && (this.#leaving || this.room === 0)) this.destroy()
    else if (!this.#closed) this.pool.release(this)
  }

  /* SessionOwner. */

  onStream(): void {
    /* A server's. */
  }
  onMalformed(): void {
    /* A server's. */
  }
  onGoaway(): void {
    this.#leaving = true
  }
  onCostlyFrame(what: Http2Event): void {
    this.#floods.frame(what, this.session.sentDataFrames)
  }
  #calm(kind: Http2Event): void {
    findFloodCell(this.pool.metrics, kind).value++
    this.session.destroy(
      ErrorCode.ENHANCE_YOUR_CALM,
      new MeshError('MESH_UPSTREAM_PROTOCOL', `the endpoint sends ${kind} only to make work`),
    )
  }
  onSessionClose(): void {
    if (this.#closed) return
    this.#closed = true
    this.#unsent.end()
    this.#unfinished.end()
    this.#endStream()
    this.pool.closed(this)
  }

  /* What the endpoint does not take, of all calls together (Holder). */

  get client(): string {
    return this.pool.host.endpoint.address
  }
  giveUp(error: MeshError): void {
    endFor(this.#stream, error)
    this.destroy()
  }

  /** The session has ended it; it is let go of when what was said has left. */
  #endStream(): void {
    const stream = this.#stream
    callWhenSent(stream, this.pool.clock, 'upstream', () => {
      stream.destroy()
    })
  }
}
