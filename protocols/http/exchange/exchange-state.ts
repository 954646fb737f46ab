/** What an exchange is about: its client, its request, and what is remembered of it. */
import { guard } from '../../../core/defects/guard.ts'
import type { Place } from '../../../core/runtime/linked-list.ts'
import type { MeshError } from '../../../core/errors.ts'
import type { Timer } from '../../../core/os/clock.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import type { RouteTable, Tables } from '../../../model/tables.ts'
import { isInformational, UNKNOWN_LENGTH } from '../codec/framing.ts'
import { isRequestChanged } from '../filters/bodies/body-filter.ts'
import type { Downstream, RequestHead, ResponseHead } from '../message.ts'
import type { HttpRuntime } from '../runtime.ts'
import type { UnderWay } from '../under-way.ts'
import { findRefusal } from './connect-tunnel.ts'
import { findRouteTable } from './planning/plan-exchange.ts'
import { createRecord, type ExchangeRecord } from './record.ts'
import { ReplayBuffer } from './replay-buffer.ts'
import type { RequestOrigin } from './request-origin.ts'

/**
 * `planning`: nothing has left yet; a fault may delay it. `trying`: an attempt, the back-off before one, or a tunnel
 * being opened. `answering`: the head of an answer has been sent to the client. `tunnel`: the two streams are joined.
 */
type Phase = 'planning' | 'trying' | 'answering' | 'tunnel' | 'over'

export abstract class ExchangeState {
  protected phase: Phase = 'planning'
  /** A redirect that is followed here makes another one of it. */
  request: RequestHead
  /** As long as it may be planned anew. */
  asked: RequestHead
  plannedBy: RouteTable | undefined
  mayBeginAnew = true
  readonly client: RequestOrigin
  /** A push that comes while the request waits brings another one. */
  http: HttpConnectionManager
  readonly record: ExchangeRecord
  /** Filters of bodies may come between. */
  down: Downstream
  /** Without them. */
  protected readonly codec: Downstream
  /** What has come of the request. */
  readonly body: ReplayBuffer
  protected readonly rt: HttpRuntime
  /** A fault's delay, or the back-off before an attempt. */
  protected wait: Timer | undefined
  /** As trusted hops tell it; '' = nobody was asked yet. */
  remoteIp = ''
  /** The client waits for 100 before it sends the rest, and the endpoint is to give it. */
  awaitsContinue = false

  /** As filters left it, where the route changes it further on its way out. */
  protected asFiltered: RequestHead | undefined
  /** Among those under way, from its start. */
  protected place: Place<UnderWay> | undefined

  constructor(
    rt: HttpRuntime,
    client: RequestOrigin,
    http: HttpConnectionManager,
    request: RequestHead,
    down: Downstream,
  ) {
    this.rt = rt
    this.client = client
    this.http = http
    this.request = this.asked = request
    this.down = this.codec = down
    this.body = new ReplayBuffer(rt.ctx.limits.maxReplayBytes, rt.waiting, this)
    this.record = createRecord(rt.ctx, http, request)
  }

  /** A filter has waited for all of it, or makes something else of it. */
  get bodyLength(): number {
    const { bodyLength } = this.request
    if (bodyLength === 0) return 0
    if (isRequestChanged(this.record.plan?.bodies)) return UNKNOWN_LENGTH
    return this.body.isGathered ? this.body.bytes : bodyLength
  }

  /** Where the client waits to be asked; of a redirect that is followed here the body is there already. */
  protected askForBody(): void {
    const { expectContinue } = this.request
    this.awaitsContinue = expectContinue && this.http.proxyContinue === true
    if (expectContinue && !this.awaitsContinue && this.record.tries === 0) this.down.sendContinue()
  }

  /** It goes by the plan that it has. */
  protected keepPlan(): void {
    this.asked = this.request
    this.plannedBy = undefined
  }

  onInformational(head: ResponseHead): void {
    if (head.status === 100 && this.awaitsContinue) {
      this.awaitsContinue = false
      this.down.sendContinue()
    } else if (isInformational(head.status)) this.down.sendInformational(head)
  }

  protected after(ms: number, then: () => void): void {
    this.wait = this.rt.ctx.clock.after(
      ms,
      guard('exchange', (error) => this.abort(error), then),
    )
  }

  abstract abort(error: MeshError): void
  /** It is with an endpoint, or on its way to one, and no tunnel. */
  protected abstract get isForwarded(): boolean

  /** No more of the request is needed. */
  get over(): boolean {
    return this.phase === 'over'
  }
  get isAnswering(): boolean {
    return this.phase === 'answering'
  }

  /** What waits is planned anew when its wait is over, and a tunnel asks by itself. */
  revalidate(next: Tables, previous: Tables): void {
    const { codec } = this.client.conn.chain
    if (!this.isForwarded || codec.kind !== 'http') return
    const { http } = codec
    if (http === this.http && findRouteTable(http, next) === findRouteTable(http, previous)) return
    const asked = this.asFiltered ?? this.request
    const refusal = findRefusal(asked, this.client, this.remoteIp, this.rt.ctx, { isPlanned: true })
    if (refusal) this.abort(refusal)
  }

  get source(): string {
    return this.client.directIp
  }
  get nowMs(): number {
    return this.rt.ctx.clock.wallMs()
  }
  get elapsedMs(): number {
    return this.rt.ctx.clock.monotonicMs() - this.record.startedMs
  }
}
