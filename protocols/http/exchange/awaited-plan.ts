/**
 * A request that waits for something before its plan is made to the end, or before it is tried again. When the wait is
 * over and a push has changed what it was planned by, it is planned anew, as it came: what the push asks for counts for
 * it, too.
 */
import { isDeepStrictEqual } from 'node:util'
import { guard } from '../../../core/defects/guard.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { memoize } from '../../../core/memoize.ts'
import type { Timer } from '../../../core/os/clock.ts'
import type { HttpConnectionManager, HttpFilter } from '../../../model/listener.ts'
import type { RouteTable } from '../../../model/tables.ts'
import { Asking, type AskOwner } from '../filters/ext-authz/asking.ts'
import { Gathering, type GatherOwner } from '../filters/bodies/gathering.ts'
import { AwaitedKeys } from '../filters/jwt/awaited-keys.ts'
import { normalizePath } from '../filters/path-normalize.ts'
import { AskingLimit } from '../filters/rate-limit/asking.ts'
import type { RequestHead } from '../message.ts'
import type { HttpRuntime } from '../runtime.ts'
import { planRequest } from './connect-tunnel.ts'
import type { ForwardPlan, PausedPlan, Plan } from './planning/plan.ts'
import { findRouteTable } from './planning/plan-exchange.ts'
import { isPaused, planToday } from './planning/plan-today.ts'
import { notePlan, type ExchangeRecord } from './record.ts'

/** Over when it is cancelled, or has told the next plan. */
type Wait = Asking | AskingLimit | Gathering | AwaitedKeys

/** The exchange, as its wait sees it. */
export interface WaitOwner extends AskOwner, GatherOwner {
  readonly request: RequestHead
  readonly http: HttpConnectionManager
  readonly record: ExchangeRecord
  /** The request as it came (keepAsked). */
  asked: RequestHead
  /** The route table of its last plan. */
  plannedBy: RouteTable | undefined
  /** False: what has been made of its body cannot be made again. */
  readonly mayBeginAnew: boolean
  /** It goes on as another request, by another configuration. */
  beginAnew(request: RequestHead, http: HttpConnectionManager): void
  act(plan: Exclude<Plan, PausedPlan>): void
}

const CHANGED = 'the configuration changed while the request waited, and it cannot be planned anew'
/** Pushes that come while one request waits; behind them it is refused. */
const MAX_ANEW = 8

export class AwaitedPlan {
  readonly #rt: HttpRuntime
  readonly #owner: WaitOwner
  #wait: Wait | undefined
  #timer: Timer | undefined
  #isDelayed = false
  #anew = 0

  constructor(rt: HttpRuntime, owner: WaitOwner) {
    this.#rt = rt
    this.#owner = owner
  }

  follow(plan: Plan): void {
    const owner = this.#owner
    notePlan(plan, owner, this.#rt)
    if (isPaused(plan)) {
      this.#wait = createWait(this.#rt, owner, plan, (next) => this.#goOn(() => this.follow(next())))
      this.#wait.start()
    } else if (plan.delayMs > 0 && !this.#isDelayed) this.#delay(plan)
    else this.#act(plan)
  }

  /** More of the body has come, or its end. */
  bodyGrew(): void {
    this.#wait?.bodyGrew()
  }
  cancel(): void {
    this.#wait?.cancel()
    this.#timer?.cancel()
  }

  /** Once, however often it is planned. */
  #delay(plan: Exclude<Plan, PausedPlan>): void {
    this.#isDelayed = true
    const end = guard(
      'exchange',
      (error) => this.#owner.abort(error),
      () => this.#goOn(() => this.#act(plan)),
    )
    this.#timer = this.#rt.ctx.clock.after(plan.delayMs, end)
  }

  #act(plan: Exclude<Plan, PausedPlan>): void {
    this.#owner.act(planToday(plan, this.#rt.ctx.tables.get()))
  }

  /** @param go with the plan as it is today, while that is in force */
  tryAgain(plan: ForwardPlan, go: (plan: ForwardPlan) => void): void {
    this.#goOn(() => {
      const today = planToday(plan, this.#rt.ctx.tables.get())
      if (today.kind === 'refuse') this.#owner.abort(today.error)
      else go(today)
    })
  }

  /** A wait is over. @param byTheSame what it was planned by is in force */
  #goOn(byTheSame: () => void): void {
    const owner = this.#owner
    const http = getHttpOf(owner)
    if (this.#isInForce(http)) byTheSame()
    else if (owner.mayBeginAnew && this.#anew++ < MAX_ANEW) this.planAnew(http)
    else owner.abort(new MeshError('MESH_DRAINING', CHANGED))
  }

  planAnew(http: HttpConnectionManager): void {
    const owner = this.#owner
    const request = owner.asked.copy()
    try {
      if (http !== owner.http) request.path = normalizePath(request.target, http)
    } catch (thrown) {
      owner.abort(toMeshError(thrown))
      return
    }
    owner.beginAnew(request, http)
    this.follow(planNow(this.#rt, owner))
  }

  /** Whether what the request was planned by is what counts now. */
  #isInForce(http: HttpConnectionManager): boolean {
    const { asked, plannedBy: was, http: before } = this.#owner
    if (http !== before) return false
    const now = findRouteTable(http, this.#rt.ctx.tables.get())
    if (was === now) return true
    return (
      was !== undefined &&
      now !== undefined &&
      was.virtualHost(asked.authority) === now.virtualHost(asked.authority) &&
      isDeepStrictEqual(withoutHosts(was), withoutHosts(now))
    )
  }
}

/** Where the chain speaks something else now, its connections come to their end. */
function getHttpOf({ client, http }: Pick<WaitOwner, 'client' | 'http'>): HttpConnectionManager {
  const { codec } = client.conn.chain
  return codec.kind === 'http' ? codec.http : http
}

function planNow(rt: HttpRuntime, owner: WaitOwner): Plan {
  const { client, http, request, remoteIp } = owner
  owner.plannedBy = findRouteTable(http, rt.ctx.tables.get())
  return planRequest(rt.ctx, client, http, request, remoteIp)
}

const withoutHosts = ({ config }: RouteTable): object => ({ ...config, virtualHosts: undefined })

function createWait(rt: HttpRuntime, owner: WaitOwner, plan: PausedPlan, goOn: (next: () => Plan) => void): Wait {
  switch (plan.kind) {
    case 'wait':
      return new Asking(rt, owner, plan, (verdict) => goOn(() => plan.resume(verdict)))
    case 'gather':
      return new Gathering(owner, plan.maxBytes, (isTooLarge) => goOn(() => plan.resume(isTooLarge)))
    case 'keys':
      return new AwaitedKeys(plan.looked, owner, () => goOn(() => plan.resume()))
    case 'limit':
      return new AskingLimit(rt, owner, plan, (answer) => goOn(() => plan.resume(answer)))
    default:
      return plan satisfies never
  }
}

/** @returns what it waits for; undefined: nothing */
export function beginPlan(rt: HttpRuntime, owner: WaitOwner): AwaitedPlan | undefined {
  owner.asked = keepAsked(owner.request, owner.http)
  const http = getHttpOf(owner)
  if (http !== owner.http) {
    // A redirect that is followed comes long after its request.
    const redirected = new AwaitedPlan(rt, owner)
    redirected.planAnew(http)
    return redirected
  }
  const plan = planNow(rt, owner)
  if (!isPaused(plan) && plan.delayMs <= 0) {
    notePlan(plan, owner, rt)
    owner.act(plan)
    return undefined
  }
  const awaited = new AwaitedPlan(rt, owner)
  awaited.follow(plan)
  return awaited
}

/** @returns a copy where filters of the listener change a request while it is planned; else the request */
function keepAsked(request: RequestHead, { filters }: HttpConnectionManager): RequestHead {
  return filters.length > 0 && kindOf(filters).changes ? request.copy() : request
}
const kindOf = memoize((filters: readonly HttpFilter[]) => ({ changes: filters.some((one) => changesRequest(one)) }))
const CHANGING: ReadonlySet<HttpFilter['kind']> = new Set([
  'ext-authz',
  'global-limit',
  'rate-limit',
  'jwt',
  'grpc-web',
  'compressor',
])
function changesRequest(filter: HttpFilter): boolean {
  return CHANGING.has(filter.kind) || (filter.kind === 'mutation' && filter.isEarly === true)
}
