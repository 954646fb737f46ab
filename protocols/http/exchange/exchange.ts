/**
 * One request from its head to the last byte of its answer: plan, tries, answer. A state machine without I/O of its
 * own: the server codec tells it of the client's bytes and takes what it has to say (Downstream); a client codec does
 * the same towards the endpoint (HttpCall). What was sent and may have arrived is never sent again unless that is safe;
 * retry.ts decides that.
 */
import type { Duplex } from 'node:stream'
import type { Timer } from '../../../core/os/clock.ts'
import { MeshError } from '../../../core/errors.ts'
import { detached, guarded } from '../../../core/defects/guard.ts'
import type { Cluster, Endpoint } from '../../../model/cluster.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import { isGrpc } from '../../router.ts'
import type { RequestOrigin } from './request-origin.ts'
import { finishAccess, type ExchangeRecord } from './record.ts'
import { isFinalStatus, isInformational, UNKNOWN_LENGTH } from '../codec/framing.ts'
import { prepareRequestHeaders } from '../filters/forwarded.ts'
import { requestHash } from '../filters/hash.ts'
import { hasUnderscored, removeUnderscored, setHeader } from '../filters/header-edit.ts'
import type {
  CallEvents,
  Downstream,
  HttpCall,
  PendingCall,
  RequestHead,
  ResponseHead,
  Sent,
  UpstreamRequest,
} from '../message.ts'
import { answerHead, upstreamRequest, type HeaderFacts } from './outgoing.ts'
import { planExchange, planToday, type ForwardPlan, type Plan } from './plan.ts'
import { ReplayBuffer } from './replay-buffer.ts'
import { errorAnswer, faultAnswer, routeAnswer, type LocalAnswer } from './reply.ts'
import { decideRetry, grpcStatusOf, retryBackoffMs, type TryOutcome } from './retry.ts'
import type { HttpRuntime } from '../runtime.ts'
import { inClear, openConnectTunnel, planConnect, refusalNow } from './connect-tunnel.ts'
import { settleRequest } from '../filters/request-view.ts'
import { Timeouts, timesOf, type DueKind, type Timed } from './timeouts.ts'
import { Tunnel } from './tunnel.ts'

export class Exchange implements CallEvents, HeaderFacts, Timed {
  readonly request: RequestHead
  readonly client: RequestOrigin
  readonly http: HttpConnectionManager
  readonly record: ExchangeRecord
  readonly #rt: HttpRuntime
  readonly #down: Downstream
  readonly #body: ReplayBuffer
  /** As trusted hops tell it; '' = nobody was asked yet. */
  remoteIp = ''
  #plan: ForwardPlan | undefined
  /** Made at the first try: the headers are edited once. */
  #outgoing: UpstreamRequest | undefined
  #pending: PendingCall | undefined
  #call: HttpCall | undefined
  /** Ready for the connection at hand to be given the request's bytes. */
  #sentAll = false
  #requestDone = false
  #answering = false
  #over = false
  #retries = 0
  #freshRetries = 0
  #retryLease: Disposable | undefined
  #tried: Endpoint[] | undefined
  #wait: Timer | undefined
  #timeouts: Timeouts | undefined
  /** The client waits for 100 before it sends the rest, and the endpoint is to give it. */
  awaitsContinue = false
  /** Of a request that wants a tunnel, as policies saw it: they are asked again when they change. */
  #asked: RequestHead | undefined
  #watching: Disposable | undefined
  #tunnel: Tunnel | undefined
  #stopConnecting: AbortController | undefined

  constructor(
    rt: HttpRuntime,
    client: RequestOrigin,
    http: HttpConnectionManager,
    request: RequestHead,
    down: Downstream,
  ) {
    this.#rt = rt
    this.client = client
    this.http = http
    this.request = request
    this.#down = down
    this.#body = new ReplayBuffer(rt.ctx.limits.maxReplayBytes, rt.waiting, this)
    this.record = {
      startedMs: rt.ctx.clock.monotonicMs(),
      startedWallMs: rt.ctx.clock.wallMs(),
      status: 0,
      error: undefined,
      receivedBytes: 0,
      sentBytes: 0,
      tries: 0,
      firstByteMs: undefined,
      endpoint: undefined,
      plan: undefined,
    }
  }

  /* From the server codec. */

  /** After the head, and after as much of the body as came with it: the first write then carries both. */
  start(): void {
    const { ctx } = this.#rt
    const { request, http } = this
    if (http.underscores !== undefined && hasUnderscored(request.headers)) {
      if (http.underscores === 'refuse') {
        this.#refuse(
          new MeshError(
            'MESH_MALFORMED_INPUT',
            'the name of a field holds an underscore (headers_with_underscores_action)',
          ),
        )
        return
      }
      removeUnderscored(request.headers)
    }
    this.remoteIp = prepareRequestHeaders(request, http, this.client, ctx.random)
    settleRequest(request, http, this.client, ctx.tables.get())
    if (request.upgrade !== undefined || request.method === 'CONNECT') this.#asked = request.copy()
    const input = {
      tables: ctx.tables.get(),
      http,
      request,
      client: this.client.facts(this.remoteIp),
      random: ctx.random,
      upgrade: request.upgrade,
    }
    const plan = request.method === 'CONNECT' ? planConnect(input) : planExchange(input)
    this.record.plan = plan
    if (plan.shadow) for (const shadow of plan.shadow) if (!shadow.wouldAllow) this.#rt.metrics.shadowDenied.value++
    if (plan.delayMs > 0)
      this.#wait = ctx.clock.after(
        plan.delayMs,
        guarded(
          'exchange',
          (error) => this.abort(error),
          () => this.#act(planToday(plan, ctx.tables.get())),
        ),
      )
    else this.#act(plan)
  }

  requestData(chunk: Buffer): void {
    if (this.#over) return
    this.record.receivedBytes += chunk.length
    const call = this.#call
    if (!this.#body.add(chunk) && !this.#body.counted) {
      this.#body.counted = true
      this.#rt.metrics.limits.replayBytes.value++
    }
    if (!call) {
      // Nobody to send it to yet. Until there is, no more than the replay limit is taken.
      if (this.#body.full) this.#down.pauseRequest()
      return
    }
    call.sendData(chunk)
    this.#body.passed()
    if (!call.flush()) this.#down.pauseRequest()
  }

  requestEnd(trailers: readonly string[] | undefined): void {
    if (this.#over) return
    this.#requestDone = true
    this.#body.end(trailers)
    if (this.#call) {
      this.#call.sendEnd(trailers)
      this.#sentAll = true
      this.#call.flush()
    }
    if (this.#plan) this.#requestTimes()
  }

  /** The client left, broke the protocol or was silent too long. Nothing can be told to a client that is gone. */
  abort(error: MeshError): void {
    if (this.#over) return
    if (this.#tunnel) this.#tunnel.abort(error)
    else this.#refuse(error)
  }

  /** Whose doing it is: the client's address. */
  get source(): string {
    return this.client.directIp
  }

  /** Not a field: every request would pay for it. */
  broken(error: MeshError): void {
    this.abort(error)
  }

  downstreamDrained(): void {
    this.#call?.resumeResponse()
  }

  /** The cluster whose place it takes while a request is under way. */
  get calling(): Cluster | undefined {
    return this.#call ? this.#plan?.cluster : undefined
  }

  /** True when no more of the request is needed. */
  get over(): boolean {
    return this.#over
  }

  /* The plan. */

  #act(plan: Plan): void {
    this.#wait = undefined
    if (this.#over) return
    switch (plan.kind) {
      case 'refuse':
        if (plan.error.code === 'MESH_PEER_NOT_ALLOWED') {
          this.#rt.metrics.denied.value++
          this.#rt.ctx.log.debug(
            {
              evt: 'http.denied',
              conn: this.client.conn.id,
              rule: plan.rule,
              peer: this.client.conn.tls?.peer?.spiffeId?.uri,
            },
            'request refused by policy',
          )
        }
        this.#refuse(plan.error)
        return
      case 'answer':
        if (plan.fault)
          this.#answerLocally(
            faultAnswer(plan.status, plan.fault.grpcStatus, this.#isGrpc(), plan.body),
            new MeshError('MESH_FAULT_INJECTED', plan.body),
            plan.responseEdits,
          )
        else
          this.#answerLocally(
            routeAnswer(plan.status, plan.body, plan.location, this.#isGrpc()),
            undefined,
            plan.responseEdits,
          )
        return
      case 'forward':
        this.#forward(plan)
        return
      default:
        plan satisfies never
    }
  }

  #tryAgain(): void {
    this.#wait = undefined
    const plan = planToday(this.#plan!, this.#rt.ctx.tables.get())
    if (plan.kind === 'refuse') {
      this.#refuse(plan.error)
      return
    }
    this.#plan = plan
    this.#try(false)
  }

  #forward(plan: ForwardPlan): void {
    this.#plan = plan
    this.client.conn.cluster = plan.cluster.name
    if (plan.action.idleMs !== undefined) this.#down.setIdleMs(plan.action.idleMs)
    const times = timesOf(plan.action, plan.retry?.perTryTimeoutMs, this.http, this.request)
    if (times) this.#timeouts = new Timeouts(times, this.record.startedMs, this.#rt.deadlines, this.#rt.ctx.clock, this)
    if (this.request.method === 'CONNECT') {
      this.#connect(plan)
      return
    }
    if (this.request.expectContinue) {
      if (this.http.proxyContinue) this.awaitsContinue = true
      else this.#down.sendContinue()
    }
    if (this.#requestDone) this.#requestTimes()
    this.#try(false)
  }

  #try(fresh: boolean): void {
    const plan = this.#plan!
    const { action, retry } = plan
    const { balancer } = plan.cluster
    this.record.tries++
    this.#sentAll = false
    const hashed = action.hash.length > 0 && (balancer.kind === 'ring-hash' || balancer.kind === 'maglev')
    const pending = this.#rt.upstreams.startCall(
      plan.cluster,
      {
        source: this.client.source,
        speaks: this.request.version === 'HTTP/2' ? 'http2' : 'http1',
        fresh,
        host: plan.authority,
        originalDst: this.client.conn.originalDst,
        hash: hashed
          ? requestHash(action.hash, {
              header: (name) => this.request.header(name),
              path: this.request.path,
              remoteIp: this.remoteIp,
            })
          : undefined,
        avoid: retry?.avoidPreviousHosts ? this.#tried : undefined,
        maxHostPicks: retry?.maxHostPicks ?? 0,
      },
      this,
    )
    if (pending) this.#pending = pending
  }

  /* From the client codec. */

  /** A host counts as tried when it is picked: one that refuses the connection, too (Envoy's onHostAttempted). */
  onCallPicked(endpoint: Endpoint): void {
    this.record.endpoint = endpoint
    if (this.#plan!.retry?.avoidPreviousHosts) (this.#tried ??= []).push(endpoint)
  }

  /** Not a try: nothing was asked yet. */
  onCallMoved(): void {
    this.record.tries--
    this.#pending = undefined
    this.#tryAgain()
  }

  onCall(call: HttpCall): void {
    this.#pending = undefined
    this.#call = call
    const outgoing = (this.#outgoing ??= upstreamRequest(this.request, this.#plan!, this))
    // In place of what the proxy before us, or the try before this one, has counted.
    if (this.#plan!.routed.virtualHost.includeAttemptCount)
      setHeader(this.request.headers, 'x-envoy-attempt-count', String(this.record.tries))
    const body = this.#body
    call.sendHead(outgoing, outgoing.bodyLength === 0)
    for (const chunk of body.chunks) call.sendData(chunk)
    body.passed()
    if (outgoing.bodyLength === 0) this.#sentAll = true
    else if (body.ended) {
      call.sendEnd(body.trailers)
      this.#sentAll = true
    }
    if (this.#requestDone) this.#timeouts?.tryBegins()
    if (call.flush() && !this.#requestDone) this.#down.resumeRequest()
  }

  onCallInformational(head: ResponseHead): void {
    if (head.status === 100 && this.awaitsContinue) {
      this.awaitsContinue = false
      this.#down.sendContinue()
    } else if (isInformational(head.status)) this.#down.sendInformational(head)
  }

  onCallHead(head: ResponseHead, end: boolean): void {
    const plan = this.#plan!
    this.#rt.metrics.attempts.answered.value++
    const { retry } = plan
    if (retry) {
      const { status, headers } = head
      const grpcStatus = end && status === 200 ? grpcStatusOf(headers) : undefined
      const suspect = status >= 400 || (grpcStatus ?? 0) > 0 || retry.statusCodes.has(status)
      if (
        suspect &&
        this.#retry({ kind: 'response', status, grpcStatus, rateLimited: headers.includes('x-envoy-ratelimited') })
      )
        return
    }
    this.#releaseRetry()
    if (!isFinalStatus(head.status)) {
      this.#cancelCall()
      this.#refuse(new MeshError('MESH_UPSTREAM_PROTOCOL', `the endpoint answered with status ${head.status}`))
      return
    }
    this.#answering = true
    this.#body.drop()
    const { record } = this
    record.status = head.status
    record.firstByteMs = this.#rt.ctx.clock.monotonicMs()
    this.#timeouts?.tryEnds()
    this.#down.sendHead(
      answerHead(head, plan.responseEdits, this, this.http.serverName, record.firstByteMs - record.startedMs),
      end,
    )
  }

  onCallData(chunk: Buffer): void {
    this.record.sentBytes += chunk.length
    this.#down.sendData(chunk)
  }

  onCallEnd(trailers: readonly string[] | undefined): void {
    this.#call = undefined
    if (this.#over || !this.#answering) return
    this.#down.sendEnd(trailers)
    this.#down.flush()
    this.#finish(undefined)
  }

  onCallPause(): void {
    if (this.#answering && !this.#over && !this.#down.flush()) this.#call?.pauseResponse()
  }

  onCallDrained(): void {
    if (!this.#requestDone) this.#down.resumeRequest()
  }

  onCallUpgraded(head: ResponseHead, stream: Duplex, rest: Buffer | undefined): void {
    this.#call = undefined
    this.#rt.metrics.attempts.answered.value++
    this.#releaseRetry()
    if (this.#plan!.upgrade === undefined) {
      stream.destroy()
      this.#refuse(new MeshError('MESH_UPSTREAM_PROTOCOL', 'the endpoint switched protocols without being asked'))
      return
    }
    this.record.status = 101
    this.#openTunnel(
      answerHead(head, this.#plan!.responseEdits, this, this.http.serverName, undefined),
      stream,
      rest,
      () => {},
    )
  }

  onCallFailed(error: MeshError, sent: Sent, reused: boolean): void {
    this.#call = undefined
    this.#pending = undefined
    if (this.#over) return
    this.#rt.metrics.attempts.failed.value++
    if (this.#answering) {
      this.#finish(error)
      return
    }
    if (this.#retry({ kind: 'failed', code: error.code, sent, reused })) return
    this.#refuse(error)
  }

  /* Retries. */

  /** @returns true when another try is on its way; the call at hand is given up then */
  #retry(outcome: TryOutcome): boolean {
    const { retry, cluster } = this.#plan!
    const request = {
      method: this.request.method,
      hasIdempotencyKey: this.request.header('idempotency-key') !== undefined,
      replayable: this.#body.replayable,
    }
    const decision = decideRetry(retry, outcome, request, { retries: this.#retries, freshRetries: this.#freshRetries })
    const { metrics, upstreams, ctx } = this.#rt
    if (typeof decision === 'object') {
      if (decision.stop === 'not-safe') metrics.retries.heldBack.value++
      if (decision.stop === 'limit') this.record.retryFlag = 'URX'
      return false
    }
    this.#releaseRetry()
    if (decision === 'retry-fresh') {
      metrics.retries.sent.value++
      this.#freshRetries++
      this.#try(true)
      return true
    }
    this.#retryLease = upstreams.takeRetry(cluster)
    if (!this.#retryLease) {
      metrics.retries.budget.value++
      this.record.retryFlag = 'UO'
      return false
    }
    metrics.retries.sent.value++
    this.#cancelCall()
    const backoffMs = retry ? retryBackoffMs(retry, this.#retries, ctx.random) : 0
    this.#retries++
    ctx.log.debug(
      { evt: 'http.retry', conn: this.client.conn.id, cluster: cluster.name, tries: this.record.tries, backoffMs },
      'request is tried again',
    )
    this.#wait = ctx.clock.after(
      backoffMs,
      guarded(
        'exchange',
        (error) => this.abort(error),
        () => this.#tryAgain(),
      ),
    )
    return true
  }

  #releaseRetry(): void {
    this.#retryLease?.[Symbol.dispose]()
    this.#retryLease = undefined
  }

  #cancelCall(): void {
    const call = this.#call
    const pending = this.#pending
    this.#call = undefined
    this.#pending = undefined
    call?.cancel()
    pending?.cancel()
  }

  /* Time. */

  #requestTimes(): void {
    this.#timeouts?.requestDone()
    if (this.#call && !this.#answering) this.#timeouts?.tryBegins()
  }

  onTimeout(kind: DueKind, error: MeshError): void {
    if (this.#over) return
    if (this.#tunnel) {
      this.#tunnel.abort(error)
      return
    }
    if (kind !== 'stream') this.#rt.metrics.attempts.timeout.value++
    if (
      kind === 'try' &&
      this.#retry({
        kind: 'failed',
        code: 'MESH_UPSTREAM_TIMEOUT',
        sent: this.#sentAll ? 'all' : 'part',
        reused: false,
      })
    )
      return
    this.#cancelCall()
    this.#refuse(error)
  }

  /* Tunnels. */

  #connect(plan: ForwardPlan): void {
    const stop = new AbortController()
    this.#stopConnecting = stop
    detached(
      'exchange',
      openConnectTunnel(this.#rt, plan, this.client.conn, stop.signal).then(
        (up) => {
          if (this.#over) {
            up.release('ok')
            up.stream.destroy()
            return
          }
          this.record.endpoint = up.endpoint
          this.record.status = 200
          this.#openTunnel(
            { status: 200, headers: [], contentLength: UNKNOWN_LENGTH },
            up.stream,
            undefined,
            (failed) => up.release(failed ? 'failed' : 'ok'),
          )
        },
        (error: unknown) => {
          if (!this.#over)
            this.#refuse(
              error instanceof MeshError
                ? error
                : new MeshError('MESH_INTERNAL', 'the tunnel could not be opened', { cause: error }),
            )
        },
      ),
      (error) => this.abort(error),
    )
  }

  #openTunnel(head: ResponseHead, stream: Duplex, rest: Buffer | undefined, release: (failed: boolean) => void): void {
    const { ctx } = this.#rt
    // The rules may have changed while the endpoint was asked.
    const refusal = this.#refusalNow()
    if (refusal) {
      stream.destroy()
      release(false)
      this.#refuse(refusal)
      return
    }
    this.#answering = true
    // From here the tunnel's own idle time counts, not the time for an answer.
    this.#timeouts?.onlyStream()
    const client = this.#down.takeOver(head)
    const { conn } = this.client
    this.#tunnel = new Tunnel(
      client,
      { stream, rest },
      {
        clock: ctx.clock,
        waiting: this.#rt.waiting,
        client: this.source,
        maxBufferBytes: ctx.limits.maxBufferBytes,
        idleMs: this.#tunnelIdleMs(),
        onClientBytes: (bytes) => {
          this.record.receivedBytes += bytes
          conn.receivedBytes += bytes
        },
        onServerBytes: (bytes) => {
          this.record.sentBytes += bytes
          conn.sentBytes += bytes
        },
        onEnd: (error) => {
          release(error?.code === 'MESH_UPSTREAM_RESET')
          this.#finish(error)
        },
      },
    )
    this.#watching = ctx.tables.watch(
      guarded(
        'exchange',
        (error) => this.abort(error),
        () => this.#recheck(),
      ),
    )
  }

  /**
   * A tunnel of an explicit proxy carries what nobody here looks into, and may be silent for as long as a TCP
   * connection.
   */
  #tunnelIdleMs(): number {
    const { limits } = this.#rt.ctx
    return (
      this.#plan!.action.idleMs ??
      (this.request.method === 'CONNECT' ? limits.idleMs : (this.http.streamIdleMs ?? limits.idleMs))
    )
  }

  /** A tunnel outlives the answer that was given to it: who would be refused now is cut off now. */
  #recheck(): void {
    const refusal = this.#refusalNow()
    if (refusal) this.#tunnel?.abort(refusal)
  }
  #refusalNow(): MeshError | undefined {
    return (
      this.#asked &&
      (refusalNow(this.#asked, this.client, this.remoteIp, this.#rt.ctx) ??
        inClear(this.#plan!.cluster, this.record.endpoint, this.#rt.ctx.tables.get()))
    )
  }

  /* The end. */

  #refuse(error: MeshError): void {
    if (this.#answering) {
      this.#finish(error)
      return
    }
    // As in Envoy: who adds a header to a route's answers means all of them.
    this.#answerLocally(errorAnswer(error, this.#isGrpc()), error, this.record.plan?.responseEdits)
  }

  #answerLocally(
    { head, body }: LocalAnswer,
    error: MeshError | undefined,
    edits: ForwardPlan['responseEdits'] = [],
  ): void {
    this.record.status = head.status
    this.record.error = error
    this.#answering = true
    const withBody = body !== undefined && this.request.method !== 'HEAD'
    this.#down.sendHead(answerHead(head, edits, this, this.http.serverName, undefined), !withBody)
    if (withBody) {
      this.record.sentBytes += body.length
      this.#down.sendData(body)
    }
    this.#down.sendEnd(undefined)
    this.#down.flush()
    this.#finish(undefined)
  }

  #finish(error: MeshError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.record.error ??= error
    this.#wait?.cancel()
    this.#stopConnecting?.abort(new MeshError('MESH_CLIENT_GONE', 'the client left'))
    if (this.#call || this.#pending) {
      this.#rt.metrics.attempts.cancelled.value++
      this.#cancelCall()
    }
    this.#releaseRetry()
    this.#body.drop()
    this.#timeouts?.end()
    this.#watching?.[Symbol.dispose]()
    finishAccess(this, this.#rt)
    this.#down.finished(error)
  }

  #isGrpc(): boolean {
    return isGrpc(this.request.header('content-type'))
  }

  get nowMs(): number {
    return this.#rt.ctx.clock.wallMs()
  }
}
