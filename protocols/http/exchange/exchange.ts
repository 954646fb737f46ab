/**
 * One request from its head to the last byte of its answer: plan, attempts, answer. It does no I/O itself. The server
 * codec tells it of the client's bytes and sends what it has to say (Downstream); an Attempt carries the request to an
 * endpoint. What may have arrived is sent again only where that is safe, which retry.ts decides.
 */
import type { Duplex } from 'node:stream'
import { MeshError } from '../../../core/errors.ts'
import { doNothing } from '../../../core/defects/guard.ts'
import type { Cluster, Endpoint } from '../../../model/cluster.ts'
import { Attempt, type AttemptOwner } from './attempt.ts'
import { finishAccess, reportDenied } from './record.ts'
import { isFinalStatus, UNKNOWN_LENGTH } from '../codec/framing.ts'
import { filterAnswer, filterRequest } from '../filters/bodies/apply.ts'
import type { BodyFilter, BodySink } from '../filters/bodies/body-filter.ts'
import type { BodyOwner } from '../filters/bodies/compressed-answer.ts'
import { RedirectsSoFar } from '../filters/internal-redirect.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import type { RequestHead, ResponseHead, Sent, UpstreamRequest } from '../message.ts'
import { answerHead, prepareAttempt, createUpstreamRequest, chooseTrailers, type HeaderFacts } from './outgoing.ts'
import type { ForwardPlan, PausedPlan, Plan } from './planning/plan.ts'
import { AwaitedPlan, beginPlan, type WaitOwner } from './awaited-plan.ts'
import { ExchangeState } from './exchange-state.ts'
import { createErrorReply, createPlannedReply, type LocalReply } from './reply/reply.ts'
import { sendLocalReply } from './reply/send.ts'
import { RequestedTunnel, type FarEnd, type TunnelOwner } from './requested-tunnel.ts'
import { Retries } from './retries.ts'
import { suspectResponse, type TryOutcome } from './retry.ts'
import { Mirrors } from '../mirrors.ts'
import { watchHealth } from '../filters/health-check.ts'
import { findNotFoundStatus } from '../filters/session.ts'
import { prepareRequest } from '../filters/request-view.ts'
import { Timeouts, deriveTimes, type DueKind, type Timed } from './timeouts.ts'

export class Exchange
  extends ExchangeState
  implements AttemptOwner, WaitOwner, TunnelOwner, HeaderFacts, Timed, BodyOwner
{
  #plan: ForwardPlan | undefined
  /** Made at the first attempt: the headers are edited once. */
  #outgoing: UpstreamRequest | undefined
  #attempt: Attempt | undefined
  #retries: Retries | undefined
  /** Once it has had to wait. */
  #awaited: AwaitedPlan | undefined
  #timeouts: Timeouts | undefined
  #tunnel: RequestedTunnel | undefined
  #mirrors: Mirrors | undefined
  #redirects: RedirectsSoFar | undefined
  /** Changes the request's body on its way. */
  #filtered: BodySink | undefined

  /* From the server codec. */

  /** After the head, and after as much of the body as came with it: the first write then carries both. */
  start(): void {
    const { request, http, client } = this
    this.place = this.rt.underWay.add(this)
    const prepared = prepareRequest(request, http, client, this.rt.ctx)
    if (typeof prepared !== 'string') {
      this.#refuse(prepared)
      return
    }
    this.remoteIp = prepared
    this.beginAnew(request, http)
    this.#awaited = beginPlan(this.rt, this)
  }
  beginAnew(request: RequestHead, http: HttpConnectionManager): void {
    this.#backToPlanning()
    this.request = request
    this.http = http
    if (request.upgrade !== undefined || request.method === 'CONNECT')
      this.#tunnel = new RequestedTunnel(this.rt, this, request)
  }

  requestData(chunk: Buffer): void {
    if (this.phase === 'over') return
    this.record.receivedBytes += chunk.length
    if (this.#filtered) this.#filtered.data(chunk)
    else this.#bodyData(chunk)
  }
  #bodyData(chunk: Buffer): void {
    if (this.phase === 'over') return
    this.record.messages?.requests.add(chunk)
    this.#mirrors?.add(chunk)
    if (this.body.add(chunk)) this.rt.metrics.limits.replayBytes.value++
    if (this.#attempt?.isOpen) this.#attempt.sendData(chunk)
    // There is no connection yet. Until there is one, no more than the replay limit is taken.
    else if (this.body.full) this.down.pauseRequest()
    if (this.phase === 'planning') this.#awaited?.bodyGrew()
  }

  requestEnd(trailers: readonly string[] | undefined): void {
    if (this.phase === 'over') return
    this.record.requestEndMs = this.record.stopwatch?.monotonicMs()
    if (this.#filtered) this.#filtered.end(trailers)
    else this.#bodyEnd(trailers)
  }
  #bodyEnd(trailers: readonly string[] | undefined): void {
    if (this.phase === 'over') return
    const kept = chooseTrailers(trailers, this.#plan, this, this.rt.ctx)
    this.body.end(kept)
    if (this.#attempt?.isOpen) this.#attempt.sendEnd(kept)
    if (this.#plan) this.#requestComplete()
    else this.#awaited?.bodyGrew()
  }

  /** The client left, broke the protocol or was silent too long. Nothing can be told to a client that is gone. */
  abort(error: MeshError): void {
    if (this.phase === 'over') return
    if (this.phase === 'tunnel') this.#tunnel!.abort(error)
    else this.#refuse(error)
  }

  downstreamDrained(): void {
    if (this.down.drained?.() ?? true) this.#attempt?.resumeResponse()
  }
  resumeAnswer(): void {
    this.#attempt?.resumeResponse()
  }
  answerMade(): void {
    if (this.phase === 'answering' && !this.down.isEnding) this.#finish(undefined)
  }

  /** The cluster whose place it takes while a request is under way. */
  get calling(): Cluster | undefined {
    return this.#attempt?.isOpen ? this.#plan?.cluster : undefined
  }

  protected get isForwarded(): boolean {
    return this.#attempt !== undefined
  }

  act(plan: Exclude<Plan, PausedPlan>): void {
    if (this.phase !== 'planning') return
    if (plan.health) this.down = watchHealth(plan, this, this.rt.ctx.clock)
    if (plan.bodies) this.down = filterAnswer(plan.bodies, this.down, this, this.rt)
    if (plan.kind === 'forward') {
      this.#forward(plan)
      return
    }
    if (plan.kind === 'refuse') reportDenied(plan, this.client.conn, this.rt)
    const { reply, error } = createPlannedReply(plan)
    this.#answerLocally(reply, error)
  }

  #forward(plan: ForwardPlan): void {
    this.phase = 'trying'
    this.#plan = plan
    this.asFiltered = plan.requestEdits.length > 0 ? this.request.copy() : undefined
    this.client.conn.cluster = plan.cluster.name
    this.body.trailers = chooseTrailers(this.body.trailers, plan, this, this.rt.ctx)
    if (plan.bodies && !this.#filterBody(plan.bodies)) return
    if (plan.mirrors && !this.#mirrors) {
      this.#mirrors = new Mirrors(this.rt, this, plan)
      for (const chunk of this.body.chunks) this.#mirrors.add(chunk)
    }
    if (plan.action.idleMs !== undefined) this.down.setIdleMs(plan.action.idleMs)
    const times = deriveTimes(plan.action, plan.retry?.perTryTimeoutMs, this.http, this.request)
    if (times) this.#timeouts = new Timeouts(times, this.record.startedMs, this.rt.deadlines, this.rt.ctx.clock, this)
    if (this.request.method === 'CONNECT') {
      this.#tunnel!.connect(plan)
      return
    }
    this.askForBody()
    if (this.body.ended) this.#requestComplete()
    this.#try(false)
  }

  /** @returns false: what has come of it is refused, and the client has been answered */
  #filterBody(bodies: readonly BodyFilter[]): boolean {
    const to: BodySink = { data: (chunk) => this.#bodyData(chunk), end: (trailers) => this.#bodyEnd(trailers) }
    const filtered = filterRequest(bodies, to, this.down, this, this.rt)
    if (!filtered) return true
    this.down = filtered.down
    this.#filtered = filtered.sink
    this.mayBeginAnew = false
    this.body.moveTo(filtered.sink)
    return this.phase === 'trying'
  }

  /* Attempts. */

  #try(fresh: boolean): void {
    this.record.tries++
    const plan = this.#plan!
    this.#attempt = new Attempt(this)
    this.#attempt.start(this.rt, plan, fresh, this.#retries?.tried)
  }

  /** What allowed it may not be in force any more, and the cluster of that name may be another one. */
  #tryToday(): void {
    this.#awaited ??= new AwaitedPlan(this.rt, this)
    this.#awaited.tryAgain(this.#plan!, (plan) => {
      this.#plan = plan
      this.#try(false)
    })
  }
  #backToPlanning(): void {
    this.#timeouts?.end()
    this.#plan = this.#outgoing = this.#timeouts = undefined
    this.phase = 'planning'
    this.down = this.codec
  }

  #attemptOver(): void {
    this.#attempt = undefined
    this.body.takeBack()
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

  onHead(head: ResponseHead, end: boolean): void {
    const plan = this.#plan!
    this.rt.metrics.attempts.answered.value++
    const suspect = plan.retry && suspectResponse(plan.retry, head, end)
    if (suspect && this.#retry(suspect)) return
    this.#retries?.release()
    if (plan.action.internalRedirects && this.#redirect(head)) return
    if (!isFinalStatus(head.status)) {
      this.#cancelAttempt()
      this.#refuse(new MeshError('MESH_UPSTREAM_PROTOCOL', `the endpoint answered with status ${head.status}`))
      return
    }
    this.phase = 'answering'
    this.body.drop()
    this.keepPlan()
    const { record } = this
    record.status = head.status
    record.firstByteMs = this.rt.ctx.clock.monotonicMs()
    this.#timeouts?.tryEnds()
    this.down.sendHead(
      answerHead(head, plan.responseEdits, this, this.http.serverName, record.firstByteMs - record.startedMs),
      end,
    )
  }

  /** @returns true when it is followed; the client is told nothing of it */
  #redirect(head: ResponseHead): boolean {
    const { body, rt } = this
    const redirects = (this.#redirects ??= new RedirectsSoFar())
    const next = redirects.next(this.#plan!, head, this.#upstreamRequest(), this, rt.ctx)
    if (!next) return false
    this.#cancelAttempt()
    this.#backToPlanning()
    this.#retries = this.#mirrors = undefined
    this.record.tries = 0
    if (next.bodyLength === 0) body.clear()
    this.request = next
    this.#awaited = beginPlan(this.rt, this)
    return true
  }

  onEnd(trailers: readonly string[] | undefined): void {
    this.#attemptOver()
    if (this.phase !== 'answering') return
    this.down.sendEnd(trailers)
    this.down.flush()
    this.answerMade()
  }

  onUpgraded(head: ResponseHead, stream: Duplex, rest: Buffer | undefined): void {
    this.#attemptOver()
    this.rt.metrics.attempts.answered.value++
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
    if (this.phase === 'over') return
    this.rt.metrics.attempts.failed.value++
    if (this.phase === 'answering') {
      this.#finish(error)
      return
    }
    if (this.#retry({ kind: 'failed', code: error.code, sent, reused })) return
    this.#refuse(error)
  }

  /** @returns true when another attempt is on its way; the one at hand is given up then */
  #retry(outcome: TryOutcome): boolean {
    const plan = this.#plan!
    const next = this.#retriesSoFar().next(plan, outcome, this)
    switch (next.kind) {
      case 'none':
        return false
      case 'fresh':
        this.#try(true)
        return true
      case 'after':
        this.#cancelAttempt()
        this.after(next.backoffMs, () => this.#tryToday())
        return true
      default:
        return next satisfies never
    }
  }

  #retriesSoFar(): Retries {
    return (this.#retries ??= new Retries(this.rt, this.client.conn, this.record))
  }

  #requestComplete(): void {
    this.#mirrors?.send(this.#upstreamRequest(), this.body.trailers)
    this.#timeouts?.requestDone()
    if (this.phase === 'trying' && this.#attempt?.isOpen) this.#timeouts?.tryBegins()
  }

  onTimeout(kind: DueKind, error: MeshError): void {
    if (this.phase === 'over') return
    if (this.phase === 'tunnel') {
      this.#tunnel!.abort(error)
      return
    }
    if (kind !== 'stream') this.rt.metrics.attempts.timeout.value++
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
    this.phase = 'tunnel'
    this.keepPlan()
    // From here the tunnel's own idle time counts, not the time for an answer.
    this.#timeouts?.onlyStream()
    tunnel.open(head, far, plan)
  }

  onTunnelEnd(error: MeshError | undefined): void {
    this.#finish(error)
  }

  /* The end. */

  #refuse(error: MeshError): void {
    if (this.phase === 'answering') {
      this.#finish(error)
      return
    }
    const status = error.code === 'MESH_NO_ENDPOINT' ? findNotFoundStatus(this.#plan?.session) : undefined
    this.#answerLocally(createErrorReply(error, status), error)
  }

  #answerLocally(reply: LocalReply, error: MeshError | undefined): void {
    this.record.error = error
    this.phase = 'answering'
    this.#stop()
    sendLocalReply(reply, this, this.rt.ctx)
    this.answerMade()
  }

  /** Nobody else answers, though a filter may need turns to make an answer of what was said. */
  #stop(): void {
    this.wait?.cancel()
    this.#awaited?.cancel()
    if (this.#attempt) {
      this.rt.metrics.attempts.cancelled.value++
      this.#cancelAttempt()
    }
    this.#retries?.release()
    this.#timeouts?.end()
    this.#tunnel?.end()
  }

  #finish(error: MeshError | undefined): void {
    if (this.phase === 'over') return
    this.phase = 'over'
    this.rt.underWay.delete(this.place)
    this.record.error ??= error
    this.#stop()
    this.#mirrors?.drop()
    this.body.drop()
    finishAccess(this, this.rt)
    this.down.finished(error)
  }
}
