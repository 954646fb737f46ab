/** One call on an HTTP/2 connection to an endpoint: a stream of the session, told to the exchange. */
import { MeshError, toMeshError } from '../../core/errors.ts'
import { guard, doNothing } from '../../core/defects/guard.ts'
import type { Endpoint } from '../../model/cluster.ts'
import type { Address } from '../../core/os/network.ts'
import type { CertificatesUsed } from '../../model/identity.ts'
import { ErrorCode } from '../http/codec/h2-frames.ts'
import { TunnelStream } from '../http/h2/tunnel-stream.ts'
import type { FieldList } from '../http/codec/hpack/decoder.ts'
import { takeTrailers } from '../http/codec/field-table.ts'
import { CONNECTION_CLOSED } from '../http/h2/events.ts'
import type { Http2Session } from '../http/h2/session.ts'
import type { Http2Stream, StreamOwner } from '../http/h2/stream/stream.ts'
import type { HeadLimits } from '../http/codec/h1-head.ts'
import { decodeAnswer } from '../http/h2/answer-head.ts'
import { toRequestFields, toTrailerFields } from '../http/h2/outgoing-fields.ts'
import { findHeaderValue } from '../http/filters/header-edit.ts'
import { checkFieldList } from '../http/head-limits.ts'
import type { CallEvents, HttpCall, ResponseHead, Sent, UpstreamRequest } from '../http/message.ts'
import { isGrpc } from '../router.ts'
import { isOurDoing } from '../tls/client.ts'
import type { Hold, Holder } from '../waiting.ts'
import type { HostPool } from './pool.ts'

/** Of one answer, as much may come before its client takes it. */
export const WINDOW_BYTES = 256 * 1024
/** Less in one piece is not counted against the memory budget. */
const COUNTED_BYTES = 4 * 1024
const TE_TRAILERS = ['te', 'trailers']

/** What a call needs of the connection that it is on. */
export interface CallConnection {
  readonly pool: HostPool
  readonly limits: HeadLimits
  readonly session: Http2Session
  readonly certificates: CertificatesUsed
  readonly local: Address
  /** Why the endpoint, or we, have ended the connection, where that was said. */
  readonly refusal: MeshError | undefined
  answered(status: number, headers: readonly string[]): void
  written(): void
  callOver(): void
}

let tellInformational: (call: H2Call, fields: string[]) => void
let tellHead: (call: H2Call, list: FieldList, end: boolean) => void
let tellData: (call: H2Call, chunk: Buffer) => void
let tellPause: (call: H2Call) => void
let tellWritten: (call: H2Call) => void

/** A defect: the stream is over, and the exchange hears of it if it can still hear. */
function broken(error: MeshError, call: H2Call): void {
  call.giveUp(error)
}

export class H2Call implements HttpCall, StreamOwner, Holder {
  readonly #connection: CallConnection
  readonly #reused: boolean
  readonly #ofCall: Disposable
  readonly #onConnection: Disposable
  #events: CallEvents | undefined
  #stream: Http2Stream | undefined
  /** The exchange has said all of the request. */
  #saidAll = false
  #gotBytes = false
  /** All of the answer was told. */
  #isComplete = false
  #trailers: string[] | undefined
  #fault: MeshError | undefined
  #over = false
  /** The exchange was asked to wait. */
  #waits = false
  /** Of the request, for the endpoint. */
  #hold: Hold | undefined
  /** Of the answer, while that is not read on. */
  #unread: Hold | undefined

  constructor(
    connection: CallConnection,
    events: CallEvents,
    reused: boolean,
    ofCall: Disposable,
    onConnection: Disposable,
  ) {
    this.#connection = connection
    this.#events = events
    this.#reused = reused
    this.#ofCall = ofCall
    this.#onConnection = onConnection
  }
  get endpoint(): Endpoint {
    return this.#connection.pool.host.endpoint
  }
  get certificates(): HttpCall['certificates'] {
    return this.#connection.certificates
  }
  get version(): 'HTTP/2' {
    return 'HTTP/2'
  }
  get local(): Address {
    return this.#connection.local
  }

  sendHead(request: UpstreamRequest, end: boolean): void {
    const { headers, method, upgrade } = request
    if (upgrade !== undefined) {
      this.#failLater(
        new MeshError('MESH_UNSUPPORTED', `an upgrade to ${upgrade.slice(0, 64)} cannot be carried over HTTP/2`),
      )
      return
    }
    if (request.authority === '') {
      // RFC 9113 §8.3.1: with http and https there is an authority, and it is not empty. HTTP/1.0 has requests without
      // a host.
      this.#failLater(new MeshError('MESH_UNSUPPORTED', 'a request without a host cannot be carried over HTTP/2'))
      return
    }
    const { session } = this.#connection
    if (!session.canOpen) {
      this.#failLater(new MeshError('MESH_UPSTREAM_REFUSED_STREAM', 'the connection takes no more streams'))
      return
    }
    // gRPC over HTTP/2 asks for it, to find proxies that drop trailers.
    const more = isGrpc(findHeaderValue(headers, 'content-type')) ? TE_TRAILERS : []
    this.#stream = session.open(this, method)
    this.#stream.sendHead(toRequestFields(request, more), end)
    this.#saidAll = end
  }
  sendData(chunk: Buffer): void {
    const stream = this.#stream
    if (!stream) return
    stream.sendData(chunk)
    if (stream.queuedBytes >= COUNTED_BYTES)
      (this.#hold ??= this.#connection.pool.waiting.hold(this)).set(stream.queuedBytes)
  }
  sendEnd(trailers: readonly string[] | undefined): void {
    this.#stream?.sendEnd(toTrailerFields(trailers))
    this.#saidAll = true
  }
  flush(): boolean {
    this.#waits = this.#stream?.mustWait === true
    return !this.#waits
  }
  pauseResponse(): void {
    const stream = this.#stream
    if (!stream || stream.isClosed) return
    stream.pause()
    this.#unread ??= this.#connection.pool.waiting.hold(this)
    // As much may still come as the window permits.
    this.#unread.set(WINDOW_BYTES)
  }
  resumeResponse(): void {
    this.#unread?.set(0)
    this.#stream?.resume()
    // What had come meanwhile was told now.
    this.#events?.onCallPause()
  }
  /** Never an END_STREAM: half a request would look whole. */
  cancel(): void {
    if (!this.#events) return
    this.#events = undefined
    this.#stream?.reset(ErrorCode.CANCEL)
    this.#finish()
  }

  /* StreamOwner. What the exchange throws ends the call; the session knows nothing of it. */

  onInformational(fields: string[]): void {
    tellInformational(this, fields)
  }
  onHead(list: FieldList, end: boolean): void {
    tellHead(this, list, end)
  }
  onData(chunk: Buffer): void {
    tellData(this, chunk)
  }
  onPause(): void {
    tellPause(this)
  }
  onWritten(): void {
    tellWritten(this)
  }

  static {
    tellInformational = guard('upstream', broken, (call: H2Call, fields: string[]) => {
      call.#events?.onCallInformational(decodeAnswer(fields))
    })
    tellHead = guard('upstream', broken, (call: H2Call, list: FieldList, end: boolean) => {
      call.#head(list, end)
    })
    tellData = guard('upstream', broken, (call: H2Call, chunk: Buffer) => {
      call.#events?.onCallData(chunk)
    })
    tellPause = guard('upstream', broken, (call: H2Call) => {
      call.#events?.onCallPause()
    })
    tellWritten = guard('upstream', broken, (call: H2Call) => {
      call.#written()
    })
  }

  #head(list: FieldList, end: boolean): void {
    this.#gotBytes = true
    if (this.#isTooLarge(list)) return
    const head = decodeAnswer(list.fields)
    this.#connection.answered(head.status, head.headers)
    if (this.#stream!.isConnect && head.status < 300) this.#handOver(head)
    else this.#events?.onCallHead(head, end)
  }
  /** A tunnel is open: its bytes are the caller's from now on, and the call is over when its stream is. */
  #handOver(head: ResponseHead): void {
    const events = this.#events
    const stream = this.#stream!
    if (!events) return
    this.#events = undefined
    stream.pause()
    const { pool, refusal } = this.#connection
    const tunnel = new TunnelStream(stream, {
      describeReset: (code) =>
        refusal ?? new MeshError('MESH_UPSTREAM_RESET', `the tunnel was broken off (error code ${code})`),
      onWritten: () => {
        this.#connection.written()
      },
      onPaused: (isPaused) => {
        if (isPaused) (this.#unread ??= pool.waiting.hold(this)).set(WINDOW_BYTES)
        else this.#unread?.set(0)
      },
      onClosed: () => {
        this.#finish()
      },
    })
    tunnel.on('error', doNothing)
    events.onCallUpgraded(head, tunnel, undefined)
  }
  #written(): void {
    const stream = this.#stream!
    this.#connection.written()
    this.#hold?.set(stream.queuedBytes)
    if (!this.#waits || stream.mustWait) return
    this.#waits = false
    this.#events?.onCallDrained()
  }

  onEnd(trailers: FieldList | undefined): void {
    if (this.#fault || (trailers && this.#isTooLarge(trailers))) return
    this.#isComplete = true
    if (trailers) this.#trailers = takeTrailers(trailers.fields)
    // RFC 9113 §8.1: the answer counts, and what is left of the request is of no use to anybody. Where nothing is left
    // the session ends the stream.
    const stream = this.#stream!
    if (!stream.localEnded) stream.reset(ErrorCode.NO_ERROR)
  }

  onStreamClose(code: number, problem: string | undefined): void {
    this.#hold?.set(0)
    const events = this.#events
    this.#events = undefined
    const failure = this.#isComplete ? undefined : this.#failure(code, problem)
    if (events && failure && failure.code !== 'MESH_UPSTREAM_REFUSED_STREAM' && !isOurDoing(failure))
      this.#connection.pool.failed()
    this.#finish()
    if (!events) return
    if (failure) events.onCallFailed(failure, this.#sent, this.#reused && !this.#gotBytes)
    else events.onCallEnd(this.#trailers)
  }
  #failure(code: number, problem: string | undefined): MeshError {
    if (this.#fault) return this.#fault
    if (problem !== undefined)
      return new MeshError(
        'MESH_UPSTREAM_PROTOCOL',
        code === CONNECTION_CLOSED ? problem : `the endpoint's answer is malformed: ${problem}`,
      )
    if (code === ErrorCode.REFUSED_STREAM)
      return new MeshError('MESH_UPSTREAM_REFUSED_STREAM', 'the endpoint refused the stream')
    if (code !== CONNECTION_CLOSED)
      return new MeshError('MESH_UPSTREAM_RESET', `the endpoint reset the stream (error code ${code})`)
    return (
      this.#connection.refusal ??
      new MeshError(
        'MESH_UPSTREAM_RESET',
        `the endpoint closed ${this.#gotBytes ? 'in the middle of its answer' : 'before it answered'}`,
      )
    )
  }
  /** What may have left; a stream gets its id when its head does. */
  get #sent(): Sent {
    if (!this.#stream || this.#stream.id === 0) return 'nothing'
    return this.#saidAll ? 'all' : 'part'
  }

  #isTooLarge({ fields, oversized }: FieldList): boolean {
    const problem = oversized ? 'more fields than permitted' : listProblem(fields, this.#connection)
    if (problem === undefined) return false
    this.#fault = new MeshError('MESH_UPSTREAM_PROTOCOL', `the endpoint's response: ${problem}`)
    this.#stream!.reset(ErrorCode.CANCEL)
    return true
  }

  /* What of a request waits for the endpoint (Holder). */

  get client(): string {
    return this.#events?.source ?? ''
  }
  giveUp(error: MeshError): void {
    const events = this.#events
    this.#events = undefined
    this.#stream?.reset(ErrorCode.CANCEL)
    this.#finish()
    events?.onCallFailed(error, this.#sent)
  }

  /** The exchange is in the middle of onCall: it hears of it afterwards. */
  #failLater(error: MeshError): void {
    queueMicrotask(
      guard('upstream', doNothing, () => {
        const events = this.#events
        this.#events = undefined
        this.#finish()
        events?.onCallFailed(error, 'nothing', this.#reused)
      }),
    )
  }
  #finish(): void {
    if (this.#over) return
    this.#over = true
    this.#hold?.set(0)
    this.#unread?.set(0)
    this.#onConnection[Symbol.dispose]()
    this.#ofCall[Symbol.dispose]()
    this.#connection.callOver()
  }
}

function listProblem(fields: readonly string[], { limits }: CallConnection): string | undefined {
  try {
    checkFieldList(fields, limits)
    return undefined
  } catch (thrown) {
    return toMeshError(thrown).message
  }
}
