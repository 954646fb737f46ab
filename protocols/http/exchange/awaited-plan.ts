/**
 * A request that waits for something before its plan is made to the end. When the wait is over and a push has changed
 * what it was planned by, it is planned anew, as it came: what the push asks for counts for it, too.
 */
import { isDeepStrictEqual } from 'node:util'
import { guard } from '../../../core/defects/guard.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { memoize } from '../../../core/memoize.ts'
import type { Timer } from '../../../core/os/clock.ts'
import type { HttpConnectionManager, HttpFilter } from '../../../model/listener.ts'
import type { RouteTable, Tables } from '../../../model/tables.ts'
import { Asking, type AskOwner } from '../filters/ext-authz/asking.ts'
import { Gathering, type GatherOwner } from '../filters/bodies/gathering.ts'
import { AwaitedKeys } from '../filters/jwt/awaited-keys.ts'
import { normalizePath } from '../filters/path-normalize.ts'
import { AskingLimit } from '../filters/rate-limit/asking.ts'
import type { RequestHead } from '../message.ts'
import type { HttpRuntime } from '../runtime.ts'
import { planRequest } from './connect-tunnel.ts'
import type { PausedPlan, Plan } from './planning/plan.ts'
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
  /** It goes on as another request, by another configuration. */
  beginAnew(request: RequestHead, http: HttpConnectionManager): void
  act(plan: Exclude<Plan, PausedPlan>): void
}

/** Pushes that come while one request waits; behind them it is refused. */
const MAX_ANEW = 8

export class AwaitedPlan {
  readonly #rt: HttpRuntime
  readonly #owner: WaitOwner
  readonly #asked: RequestHead
  #tables: Tables
  #wait: Wait | undefined
  #timer: Timer | undefined
  #isDelayed = false
  #anew = 0

  /** @param asked the request as it came (keepAsked) */
  constructor(rt: HttpRuntime, owner: WaitOwner, asked: RequestHead) {
    this.#rt = rt
    this.#owner = owner
    this.#asked = asked
    this.#tables = rt.ctx.tables.get()
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

  #goOn(byTheSame: () => void): void {
    const owner = this.#owner
    const { codec } = owner.client.conn.chain
    // Where the chain speaks something else now, its connections come to their end.
    const http = codec.kind === 'http' ? codec.http : owner.http
    if (this.#isInForce(http)) byTheSame()
    else if (this.#anew++ < MAX_ANEW) this.#planAnew(http)
    else
      owner.abort(new MeshError('MESH_DRAINING', 'the configuration changed again and again while the request waited'))
  }

  #planAnew(http: HttpConnectionManager): void {
    const owner = this.#owner
    const { ctx } = this.#rt
    this.#tables = ctx.tables.get()
    const request = this.#asked.copy()
    try {
      if (http !== owner.http) request.path = normalizePath(request.target, http)
    } catch (thrown) {
      owner.abort(toMeshError(thrown))
      return
    }
    owner.beginAnew(request, http)
    this.follow(planRequest(ctx, owner.client, http, request, owner.remoteIp))
  }

  /** Whether what the request was planned by is what counts now. */
  #isInForce(http: HttpConnectionManager): boolean {
    const tables = this.#rt.ctx.tables.get()
    if (http !== this.#owner.http) return false
    if (tables === this.#tables) return true
    const [was, now] = [findRouteTable(http, this.#tables), findRouteTable(http, tables)]
    if (was === now) return true
    const { authority } = this.#asked
    return (
      was !== undefined &&
      now !== undefined &&
      was.virtualHost(authority) === now.virtualHost(authority) &&
      isDeepStrictEqual(withoutHosts(was), withoutHosts(now))
    )
  }
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
  const { client, http, request, remoteIp } = owner
  const asked = keepAsked(request, http)
  const plan = planRequest(rt.ctx, client, http, request, remoteIp)
  if (!isPaused(plan) && plan.delayMs <= 0) {
    notePlan(plan, owner, rt)
    owner.act(plan)
    return undefined
  }
  const awaited = new AwaitedPlan(rt, owner, asked)
  awaited.follow(plan)
  return awaited
}

/**
 * @returns a copy where filters of the listener change a request while it is planned, and one of them may have it wait;
 * else the request
 */
function keepAsked(request: RequestHead, { filters }: HttpConnectionManager): RequestHead {
  return filters.length > 0 && kindOf(filters).needsCopy ? request.copy() : request
}
const kindOf = memoize((filters: readonly HttpFilter[]) => ({
  needsCopy: filters.some(({ kind }) => MAY_WAIT.has(kind)) && filters.some((filter) => changesRequest(filter)),
}))
const MAY_WAIT: ReadonlySet<HttpFilter['kind']> = new Set(['ext-authz', 'global-limit', 'buffer', 'jwt', 'fault'])
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
