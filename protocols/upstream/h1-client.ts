/**
 * The client side of one HTTP/1.1 connection to an endpoint: one call at a time, kept alive between them. A byte that
 * nobody asked for, or a response that ends before its request has left, makes the connection unusable: the next caller
 * must never get an answer that is not its own.
 */
import type { Duplex } from 'node:stream'
import { MeshError, toMeshError } from '../../core/errors.ts'
import { guard, doNothing } from '../../core/defects/guard.ts'
import type { Endpoint } from '../../model/cluster.ts'
import type { Deadline } from '../deadlines.ts'
import { CHUNKED, formatRequestFraming, UNKNOWN_LENGTH } from '../http/codec/framing.ts'
import { H1Parser, type ParserSink } from '../http/codec/h1-parser.ts'
import { findKeptCase, writeHeaderCase } from '../http/codec/header-case.ts'
import { Gather, formatRequestHead } from '../http/codec/h1-write.ts'
import type { CallEvents, HttpCall, ResponseHead, Sent, UpstreamRequest } from '../http/message.ts'
import { Outlet } from '../outlet.ts'
import type { Holder, Waiting } from '../waiting.ts'
import { isOurDoing, findRefusal } from '../tls/client.ts'
import type { Dialed } from './dial.ts'
import type { HostPool, PooledConnection } from './pool.ts'

/**
 * What these say of a request is that it was not read whole. A server closes the connection then or reads the rest (RFC
 * 9112 §9.3); one that does neither takes the rest for the next request, and its answer to that would be the next
 * caller's. From here that looks like any other answer that comes early.
 */
const UNREAD: ReadonlySet<number> = new Set([408, 413, 414, 431])

export class H1Connection implements PooledConnection, HttpCall, ParserSink, Deadline, Holder {
  dueMs = Infinity
  readonly certificates: Dialed['certificates']
  readonly local: Dialed['local']
  readonly version = 'HTTP/1.1'
  readonly #pool: HostPool
  readonly #stream: Duplex
  readonly #parser: H1Parser
  readonly #out: Gather
  readonly #outlet: Outlet
  readonly #waiting: Waiting
  readonly #openedMs: number
  #events: CallEvents | undefined
  #sent: Sent = 'nothing'
  #served = 0
  #gotBytes = false
  /** Of the answer itself. What the parser says before is of the one before, or of a 1xx. */
  #hasHead = false
  #busy = false
  /** The request at hand asks for another protocol. */
  #upgrading = false
  /** The response's last part was read. */
  #ended = false
  #trailers: string[] | undefined
  #closed = false
  #leaving = false
  /** Of the call at hand. */
  #lease: Disposable | undefined

  constructor(pool: HostPool, { stream, certificates, local }: Omit<Dialed, 'alpn'>) {
    this.#pool = pool
    this.certificates = certificates
    this.local = local
    this.#stream = stream
    this.#openedMs = pool.nowMs()
    this.#parser = new H1Parser('response', pool.limits, this)
    this.#parser.keepsNames = findKeptCase(pool.headerCase)
    this.#out = new Gather(stream)
    this.#waiting = pool.waiting
    this.#outlet = new Outlet(stream, pool.maxBufferBytes, { waiting: this.#waiting, holder: this }, () => {
      this.#events?.onCallDrained()
    })
    stream.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose).on('error', this.#onError)
    if (stream.destroyed) this.#onClose()
  }

  get room(): number {
    return this.#closed || this.#busy ? 0 : 1
  }
  get endpoint(): Endpoint {
    return this.#pool.host.endpoint
  }

  start(events: CallEvents, lease: Disposable): void {
    this.#busy = true
    this.#lease = lease
    this.#events = events
    this.#sent = 'nothing'
    this.#gotBytes = false
    this.#hasHead = false
    this.#ended = false
    this.#trailers = undefined
    this.#served++
    this.dueMs = Infinity
    events.onCall(this)
  }

  drain(): void {
    this.#leaving = true
    if (!this.#busy) this.destroy()
  }
  destroy(): void {
    this.#stream.destroy()
    this.#onClose()
  }
  onDue(): void {
    if (!this.#busy) this.destroy()
  }

  /* The call. */

  sendHead(request: UpstreamRequest, end: boolean): void {
    this.#parser.begin(request.method)
    const { upgrade } = request
    let framing = formatRequestFraming(request.method, request.bodyLength)
    this.#out.chunked = framing === CHUNKED
    this.#upgrading = upgrade !== undefined
    if (upgrade !== undefined) framing += `connection: upgrade\r\nupgrade: ${upgrade}\r\n`
    const { method, path, authority, headers, names } = request
    const text = formatRequestHead(method, path, authority, headers, framing)
    const { headerCase } = this.#pool
    this.#out.text(names || headerCase ? writeHeaderCase(text, headerCase, names) : text)
    this.#sent = end ? 'all' : 'part'
  }
  sendData(chunk: Buffer): void {
    this.#out.body(chunk)
  }
  sendEnd(trailers: readonly string[] | undefined): void {
    this.#out.end(trailers)
    this.#sent = 'all'
  }
  flush(): boolean {
    if (this.#closed) return true
    this.#out.flush()
    return !this.#outlet.isFull()
  }
  pauseResponse(): void {
    this.#stream.pause()
  }
  resumeResponse(): void {
    if (this.#stream.isPaused()) this.#stream.resume()
  }

  cancel(): void {
    if (!this.#events) return
    this.#events = undefined
    // The answer is complete and the request too: #onData gives the connection back.
    if (this.#hasHead && this.#parser.bodyLength === 0 && this.#reading && this.#sent === 'all') return
    this.#finish(false)
  }

  /* The response. */

  #reading = false
  /** A defect in one of the callbacks: nobody can say in which state the connection is. */
  readonly broken = (error: MeshError): void => {
    this.#stream.destroy()
    this.#fail(error)
    this.#gone()
  }
  readonly #onData = guard('upstream', this.broken, (chunk: Buffer) => {
    if (!this.#busy) {
      this.destroy()
      return
    }
    this.#waiting.received(chunk.length)
    this.#gotBytes = true
    this.#reading = true
    let used: number
    try {
      used = this.#parser.execute(chunk)
    } catch (thrown) {
      this.#reading = false
      this.#fail(toMeshError(thrown))
      return
    }
    this.#reading = false
    if (!this.#busy) return
    if (this.#parser.status === 101 && this.#events) {
      this.#upgraded(this.#events, used < chunk.length ? chunk.subarray(used) : undefined)
      return
    }
    if (this.#ended) this.#complete(used === chunk.length)
    else this.#events?.onCallPause()
  })

  onHead(): void {
    const { status, headers, contentLength, bodyLength, names } = this.#parser
    this.#hasHead = true
    this.#pool.answered(status, headers)
    if (status === 101) return
    this.#events?.onCallHead({ status, headers, contentLength, names }, bodyLength === 0)
  }
  onInformational(): void {
    this.#events?.onCallInformational({
      status: this.#parser.status,
      headers: this.#parser.headers,
      contentLength: UNKNOWN_LENGTH,
      names: this.#parser.names,
    })
  }
  onBody(chunk: Buffer): void {
    this.#events?.onCallData(chunk)
  }
  onMessageEnd(trailers: string[] | undefined): void {
    this.#ended = true
    this.#trailers = trailers
  }

  #complete(clean: boolean): void {
    const events = this.#events
    const trailers = this.#trailers
    this.#events = undefined
    this.#finish(clean && this.#parser.keepAlive && this.#isRequestRead())
    events?.onCallEnd(trailers)
  }

  /** As far as can be told from here. */
  #isRequestRead(): boolean {
    // An endpoint that declines an upgrade may still read what follows in the other protocol, or lose its place.
    return this.#sent === 'all' && this.#outlet.isEmpty && !this.#upgrading && !UNREAD.has(this.#parser.status)
  }

  #upgraded(events: CallEvents, rest: Buffer | undefined): void {
    this.#events = undefined
    const { headers, names } = this.#parser
    const head: ResponseHead = { status: 101, headers, contentLength: UNKNOWN_LENGTH, names }
    const stream = this.#stream
    stream.pause()
    stream.off('data', this.#onData).off('end', this.#onEnd)
    // From here the stream is the caller's; the pool counts it until it closes.
    events.onCallUpgraded(head, stream, rest)
  }

  readonly #onEnd = guard('upstream', this.broken, () => {
    if (!this.#busy) {
      this.destroy()
      return
    }
    if (this.#parser.finish() && this.#ended) {
      this.#complete(false)
      return
    }
    this.#fail(this.#reset())
  })
  readonly #onClose = guard('upstream', this.broken, () => {
    if (this.#closed) return
    if (this.#busy && this.#events) this.#fail(this.#reset())
    else if (this.#busy) this.#finish(false)
    else this.#gone()
  })
  readonly #onError = doNothing

  #reset(): MeshError {
    return (
      findRefusal(this.#stream) ??
      new MeshError(
        'MESH_UPSTREAM_RESET',
        this.#gotBytes ? 'the endpoint closed in the middle of its answer' : 'the endpoint closed before it answered',
      )
    )
  }

  #fail(error: MeshError): void {
    const events = this.#events
    const reused = this.#served > 1 && !this.#gotBytes
    this.#events = undefined
    // A pooled connection that the endpoint had closed says nothing about its health.
    if (!reused && !isOurDoing(error)) this.#pool.failed()
    this.#finish(false)
    events?.onCallFailed(error, this.#sent, reused)
  }

  /* What of a request waits for the endpoint (Holder). */

  get client(): string {
    return this.#events?.source ?? ''
  }
  giveUp(error: MeshError): void {
    const events = this.#events
    this.#events = undefined
    this.#finish(false)
    events?.onCallFailed(error, this.#sent)
  }

  /** The call is over for the pool; told once per start. */
  #finish(reusable: boolean): void {
    if (!this.#busy) return
    this.#busy = false
    const spent = this.#leaving || this.#pool.isSpent(this.#served, this.#openedMs)
    if (!reusable || spent || this.#stream.destroyed || this.#stream.readableEnded) {
      this.#lease?.[Symbol.dispose]()
      this.#gone()
      this.#stream.destroy()
      return
    }
    if (this.#stream.isPaused()) this.#stream.resume()
    this.#lease?.[Symbol.dispose]()
    this.#pool.release(this)
  }

  #gone(): void {
    if (this.#closed) return
    this.#closed = true
    this.#parser.stop()
    this.#pool.closed(this)
  }
}
