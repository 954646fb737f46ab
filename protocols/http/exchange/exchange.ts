/**
 * One request from its head to the last byte of its answer: plan, attempts, answer. It does no I/O itself. The server
 * codec tells it of the client's bytes and sends what it has to say (Downstream); an Attempt carries the request to an
 * endpoint. What may have arrived is sent again only where that is safe, which retry.ts decides.
 */
import type { Duplex } from 'node:stream'
import type { Timer } from '../../../core/os/clock.ts'
import { MeshError } from '../../../core/errors.ts'
import { guard, doNothing } from '../../../core/defects/guard.ts'
import type { Cluster, Endpoint } from '../../../model/cluster.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import { Attempt, type AttemptOwner } from './attempt.ts'
import { planRequest } from './connect-tunnel.ts'
import type { RequestOrigin } from './request-origin.ts'
import { finishAccess, createRecord, notePlan, reportDenied, type ExchangeRecord } from './record.ts'
import { isFinalStatus, isInformational, UNKNOWN_LENGTH } from '../codec/framing.ts'
import { Asking, type AskOwner } from '../filters/ext-authz/asking.ts'
import type { Downstream, RequestHead, ResponseHead, Sent, UpstreamRequest } from '../message.ts'
import { answerHead, prepareAttempt, createUpstreamRequest, type HeaderFacts } from './outgoing.ts'
import type { ForwardPlan, Plan } from './planning/plan.ts'
import { planToday } from './planning/plan-today.ts'
import { ReplayBuffer } from './replay-buffer.ts'
import { createErrorReply, createPlannedReply, type LocalReply } from './reply/reply.ts'
import { sendLocalReply } from './reply/send.ts'
import { RequestedTunnel, type FarEnd, type TunnelOwner } from './requested-tunnel.ts'
import { Retries } from './retries.ts'
import { suspectResponse, type TryOutcome } from './retry.ts'
import { Mirrors } from '../mirrors.ts'
import type { HttpRuntime } from '../runtime.ts'
import { findNotFoundStatus } from '../filters/session.ts'
import { prepareRequest } from '../filters/request-view.ts'
import { Timeouts, deriveTimes, type DueKind, type Timed } from './timeouts.ts'

/**
 * `planning`: nothing has left yet; a fault may delay it. `trying`: an attempt, the back-off before one, or a tunnel
 * being opened. `answering`: the head of an answer has been sent to the client. `tunnel`: the two streams are joined.
 */
type Phase = 'planning' | 'trying' | 'answering' | 'tunnel' | 'over'

export class Exchange implements AttemptOwner, AskOwner, TunnelOwner, HeaderFacts, Timed {
  readonly request: RequestHead
  readonly client: RequestOrigin
  readonly http: HttpConnectionManager
  readonly record: ExchangeRecord
  readonly down: Downstream
  /** What has come of the request. */
  readonly body: ReplayBuffer
  readonly #rt: HttpRuntime
  /** As trusted hops tell it; '' = nobody was asked yet. */
  remoteIp = ''
  /** The client waits for 100 before it sends the rest, and the endpoint is to give it. */
  awaitsContinue = false
  #phase: Phase = 'planning'
  #plan: ForwardPlan | undefined
  /** Made at the first attempt: the headers are edited once. */
  #outgoing: UpstreamRequest | undefined
  #attempt: Attempt | undefined
  #retries: Retries | undefined
  /** The last one, over or not. */
  #asking: Asking | undefined
  /** A fault's delay, or the back-off before an attempt. */
  #wait: Timer | undefined
  #timeouts: Timeouts | undefined
  #tunnel: RequestedTunnel | undefined
  #mirrors: Mirrors | undefined

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
    this.down = down
    this.body = new ReplayBuffer(rt.ctx.limits.maxReplayBytes, rt.waiting, this)
    this.record = createRecord(rt.ctx, http, request)
  }

  /* From the server codec. */

  /** After the head, and after as much of the body as came with it: the first write then carries both. */
  start(): void {
    const { request, http, client } = this
    const prepared = prepareRequest(request, http, client, this.#rt.ctx)
    if (typeof prepared !== 'string') {
      this.#refuse(prepared)
      return
    }
    this.remoteIp = prepared
    if (request.upgrade !== undefined || request.method === 'CONNECT')
      this.#tunnel = new RequestedTunnel(this.#rt, this, request)
    this.#follow(planRequest(this.#rt.ctx, client, http, request, prepared))
  }

  #follow(plan: Plan): void {
    notePlan(plan, this, this.#rt)
    if (plan.kind === 'wait') {
      this.#asking = new Asking(this.#rt, this, plan, (verdict) => this.#follow(plan.resume(verdict)))
      this.#asking.start()
    } else if (plan.delayMs > 0) this.#after(plan.delayMs, () => this.#act(planToday(plan, this.#rt.ctx.tables.get())))
    else this.#act(plan)
  }

  #after(ms: number, then: () => void): void {
    this.#wait = this.#rt.ctx.clock.after(
      ms,
      guard('exchange', (error) => this.abort(error), then),
    )
  }

  requestData(chunk: Buffer): void {
    if (this.#phase === 'over') return
    this.record.receivedBytes += chunk.length
    this.record.messages?.requests.add(chunk)
    this.#mirrors?.add(chunk)
    if (this.body.add(chunk)) this.#rt.metrics.limits.replayBytes.value++
    if (this.#attempt?.isOpen) this.#attempt.sendData(chunk)
    // There is no connection yet. Until there is one, no more than the replay limit is taken.
    else if (this.body.full) this.down.pauseRequest()
    if (this.#phase === 'planning') this.#asking?.bodyGrew()
  }

  requestEnd(trailers: readonly string[] | undefined): void {
    if (this.#phase === 'over') return
    this.body.end(trailers)
    this.record.requestEndMs = this.record.stopwatch?.monotonicMs()
    if (this.#attempt?.isOpen) this.#attempt.sendEnd(trailers)
    if (this.#plan) this.#requestComplete()
    else this.#asking?.bodyGrew()
  }

  /** The client left, broke the protocol or was silent too long. Nothing can be told to a client that is gone. */
  abort(error: MeshError): void {
    if (this.#phase === 'over') return
    if (this.#phase === 'tunnel') this.#tunnel!.abort(error)
    else this.#refuse(error)
  }

  get source(): string {
    return this.client.directIp
  }

  downstreamDrained(): void {
    this.#attempt?.resumeResponse()
  }

  /** The cluster whose place it takes while a request is under way. */
  get calling(): Cluster | undefined {
    return this.#attempt?.isOpen ? this.#plan?.cluster : undefined
  }

  /** True when no more of the request is needed. */
  get over(): boolean {
    return this.#phase === 'over'
  }
  get isAnswering(): boolean {
    return this.#phase === 'answering'
  }

  #act(plan: Exclude<Plan, { kind: 'wait' }>): void {
    if (this.#phase !== 'planning') return
    if (plan.kind === 'forward') {
      this.#forward(plan)
      return
    }
    if (plan.kind === 'refuse') reportDenied(plan, this.client.conn, this.#rt)
    const { reply, error } = createPlannedReply(plan)
    this.#answerLocally(reply, error)
  }

  #forward(plan: ForwardPlan): void {
    this.#phase = 'trying'
    this.#plan = plan
    this.client.conn.cluster = plan.cluster.name
    if (plan.mirrors) this.#mirrors = new Mirrors(this.#rt, this, plan)
    for (const chunk of this.body.chunks) this.#mirrors?.add(chunk)
    if (plan.action.idleMs !== undefined) this.down.setIdleMs(plan.action.idleMs)
    const times = deriveTimes(plan.action, plan.retry?.perTryTimeoutMs, this.http, this.request)
    if (times) this.#timeouts = new Timeouts(times, this.record.startedMs, this.#rt.deadlines, this.#rt.ctx.clock, this)
    if (this.request.method === 'CONNECT') {
      this.#tunnel!.connect(plan)
      return
    }
    if (this.request.expectContinue) {
      if (this.http.proxyContinue) this.awaitsContinue = true
      else this.down.sendContinue()
    }
    if (this.body.ended) this.#requestComplete()
    this.#try(false)
  }

  /* Attempts. */

  #try(fresh: boolean): void {
    this.record.tries++
    const plan = this.#plan!
    this.#attempt = new Attempt(this)
    this.#attempt.start(this.#rt, plan, fresh, this.#retries?.tried)
  }

  /** The cluster of that name may be another one by now. */
  #tryToday(): void {
    const plan = planToday(this.#plan!, this.#rt.ctx.tables.get())
    if (plan.kind === 'refuse') {
      this.#refuse(plan.error)
      return
    }
    this.#plan = plan
    this.#try(false)
  }

  #attemptOver(): void {
    this.#attempt = undefined
    this.#timeouts?.tryEnds()
  }

  #cancelAttempt(): void {
    this.#attempt?.cancel()
    this.#attemptOver()
  }

  /* From the attempt. */

  /** A host counts as tried when it is picked, even if it refuses the connection (Envoy's onHostAttempted). */
  onPicked(endpoint: Endpoint): void {
    this.record.endpoint = endpoint
    const { retry } = this.#plan!
    if (retry?.avoidPreviousHosts || retry?.avoidPreviousPriorities) this.#retriesSoFar().addTried(endpoint)
  }

  /** Not a try: nothing was asked yet. */
  onMoved(): void {
    this.record.tries--
    this.#attemptOver()
    this.#tryToday()
  }

  #upstreamRequest(): UpstreamRequest {
    return (this.#outgoing ??= createUpstreamRequest(this.request, this.#plan!, this))
  }
  requestToSend(): UpstreamRequest {
    return prepareAttempt(this.#upstreamRequest(), this.#plan!, this)
  }

  onSending(): void {
    if (this.body.ended) this.#timeouts?.tryBegins()
  }

  onInformational(head: ResponseHead): void {
    if (head.status === 100 && this.awaitsContinue) {
      this.awaitsContinue = false
      this.down.sendContinue()
    } else if (isInformational(head.status)) this.down.sendInformational(head)
  }

  onHead(head: ResponseHead, end: boolean): void {
    const plan = this.#plan!
    this.#rt.metrics.attempts.answered.value++
    const suspect = plan.retry && suspectResponse(plan.retry, head, end)
    if (suspect && this.#retry(suspect)) return
    this.#retries?.release()
    if (!isFinalStatus(head.status)) {
      this.#cancelAttempt()
      this.#refuse(new MeshError('MESH_UPSTREAM_PROTOCOL', `the endpoint answered with status ${head.status}`))
      return
    }
    this.#phase = 'answering'
    this.body.drop()
    const { record } = this
    record.status = head.status
    record.firstByteMs = this.#rt.ctx.clock.monotonicMs()
    this.#timeouts?.tryEnds()
    this.down.sendHead(
      answerHead(head, plan.responseEdits, this, this.http.serverName, record.firstByteMs - record.startedMs),
      end,
    )
  }

  onEnd(trailers: readonly string[] | undefined): void {
    this.#attemptOver()
    if (this.#phase !== 'answering') return
    this.down.sendEnd(trailers)
    this.down.flush()
    this.#finish(undefined)
  }

  onUpgraded(head: ResponseHead, stream: Duplex, rest: Buffer | undefined): void {
    this.#attemptOver()
    this.#rt.metrics.attempts.answered.value++
    this.#retries?.release()
    if (this.#plan!.upgrade === undefined) {
      stream.destroy()
      this.#refuse(new MeshError('MESH_UPSTREAM_PROTOCOL', 'the endpoint switched protocols without being asked'))
      return
    }
    this.record.status = 101
    this.#openTunnel(answerHead(head, this.#plan!.responseEdits, this, this.http.serverName, undefined), {
      stream,
      rest,
      // The pool counts the connection until its stream closes.
      release: doNothing,
    })
  }

  onFailed(error: MeshError, sent: Sent, reused: boolean): void {
    this.#attemptOver()
    if (this.#phase === 'over') return
    this.#rt.metrics.attempts.failed.value++
    if (this.#phase === 'answering') {
      this.#finish(error)
      return
    }
    if (this.#retry({ kind: 'failed', code: error.code, sent, reused })) return
    this.#refuse(error)
  }

  /** @returns true when another attempt is on its way; the one at hand is given up then */
  #retry(outcome: TryOutcome): boolean {
    const plan = this.#plan!
    const next = this.#retriesSoFar().next(plan, outcome, {
      method: this.request.method,
      hasIdempotencyKey: this.request.header('idempotency-key') !== undefined,
      replayable: this.body.replayable,
    })
    switch (next.kind) {
      case 'none':
        return false
      case 'fresh':
        this.#try(true)
        return true
      case 'after':
        this.#cancelAttempt()
        this.#after(next.backoffMs, () => this.#tryToday())
        return true
      default:
        return next satisfies never
    }
  }

  #retriesSoFar(): Retries {
    return (this.#retries ??= new Retries(this.#rt, this.client.conn, this.record))
  }

  #requestComplete(): void {
    this.#mirrors?.send(this.#upstreamRequest(), this.body.trailers)
    this.#timeouts?.requestDone()
    if (this.#phase === 'trying' && this.#attempt?.isOpen) this.#timeouts?.tryBegins()
  }

  onTimeout(kind: DueKind, error: MeshError): void {
    if (this.#phase === 'over') return
    if (this.#phase === 'tunnel') {
      this.#tunnel!.abort(error)
      return
    }
    if (kind !== 'stream') this.#rt.metrics.attempts.timeout.value++
    if (
      kind === 'try' &&
      this.#retry({
        kind: 'failed',
        code: 'MESH_UPSTREAM_TIMEOUT',
        sent: this.#attempt?.sent === 'all' ? 'all' : 'part',
        reused: false,
      })
    )
      return
    this.#cancelAttempt()
    this.#refuse(error)
  }

  onConnected(endpoint: Endpoint, far: FarEnd): void {
    this.record.endpoint = endpoint
    this.record.status = 200
    this.#openTunnel({ status: 200, headers: [], contentLength: UNKNOWN_LENGTH }, far)
  }

  #openTunnel(head: ResponseHead, far: FarEnd): void {
    const [tunnel, plan] = [this.#tunnel!, this.#plan!]
    // The rules may have changed while the endpoint was asked.
    const refusal = tunnel.refusal(plan)
    if (refusal) {
      far.stream.destroy()
      far.release(false)
      this.#refuse(refusal)
      return
    }
    this.#phase = 'tunnel'
    // From here the tunnel's own idle time counts, not the time for an answer.
    this.#timeouts?.onlyStream()
    tunnel.open(head, far, plan)
  }

  onTunnelEnd(error: MeshError | undefined): void {
    this.#finish(error)
  }

  /* The end. */

  #refuse(error: MeshError): void {
    if (this.#phase === 'answering') {
      this.#finish(error)
      return
    }
    const status = error.code === 'MESH_NO_ENDPOINT' ? findNotFoundStatus(this.#plan?.session) : undefined
    this.#answerLocally(createErrorReply(error, [], status), error)
  }

  #answerLocally(reply: LocalReply, error: MeshError | undefined): void {
    this.record.error = error
    this.#phase = 'answering'
    sendLocalReply(reply, this, this.#rt.ctx)
    this.#finish(undefined)
  }

  #finish(error: MeshError | undefined): void {
    if (this.#phase === 'over') return
    this.#phase = 'over'
    this.record.error ??= error
    this.#wait?.cancel()
    this.#asking?.cancel()
    if (this.#attempt) {
      this.#rt.metrics.attempts.cancelled.value++
      this.#cancelAttempt()
    }
    this.#retries?.release()
    this.#mirrors?.drop()
    this.body.drop()
    this.#timeouts?.end()
    this.#tunnel?.end()
    finishAccess(this, this.#rt)
    this.down.finished(error)
  }

  get nowMs(): number {
    return this.#rt.ctx.clock.wallMs()
  }
}
