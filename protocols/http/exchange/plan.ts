/**
 * What is to be done with a request, decided before a byte of it goes anywhere: route, filters in order (authorization,
 * fault, what is not implemented), then the route's action. Shared by every codec; no I/O. The order is Envoy's:
 * filters run before a missing route is answered, so that a denied peer learns nothing about routes.
 */
import type { Random } from '../../../core/os/clock.ts'
import { MeshError, type ErrorCode } from '../../../core/errors.ts'
import type { Cluster } from '../../../model/cluster.ts'
import type { HttpConnectionManager, HttpFilter } from '../../../model/listener.ts'
import type { Json } from '../../../model/http/metadata.ts'
import { EXT_AUTHZ_METADATA, RBAC_METADATA, type AuthBody, type ExtAuthz } from '../../../model/http/ext-authz.ts'
import {
  NO_HEADER_CHANGES,
  type ForwardAction,
  type HeaderEdit,
  type RetryPolicy,
  type RouteAction,
  type RouteConfig,
  type RouteFilter,
  type WeightedCluster,
} from '../../../model/route.ts'
import { RouteTable, type Tables } from '../../../model/tables.ts'
import type { Context } from '../../context.ts'
import { decide, describeShadow, shadowDecisions, type ShadowDecision } from '../../authz.ts'
import { findFirstHeader, matchRoute, pickCluster, type RequestFacts, type Routed } from '../../router.ts'
import { isAsked } from '../filters/ext-authz/filter.ts'
import { applyVerdict, toAnswerHeaders, toResponseEdit, type Verdict } from '../filters/ext-authz/verdict.ts'
import { setHeader } from '../filters/header-edit.ts'
import { NO_EDITS, collectMutations, collectRequestEdits, collectResponseEdits } from '../filters/route-edits.ts'
import { PolicyFacts, type ClientFacts } from '../filters/policy-facts.ts'
import { askForTokens } from '../filters/jwt/filter.ts'
import { chooseMirrors, type MirrorTarget } from '../mirrors.ts'
import { decideCors, type CorsDecision } from '../filters/cors.ts'
import { decideFault, type InjectedFault } from '../filters/fault.ts'
import { redirectLocation, rewriteHost, rewritePath } from '../filters/redirect.ts'
import { permitsUpgrade } from '../filters/upgrade.ts'

export type PlanInput = {
  readonly tables: Tables
  readonly http: HttpConnectionManager
  /** Its path is normalised (path-normalize.ts). */
  readonly request: RequestFacts
  readonly client: ClientFacts
  /** What the request wants to switch to (upgrade.ts); undefined = nothing. */
  readonly upgrade: string | undefined
  readonly random: Random
  /** Tokens are judged by. */
  readonly clocks: Pick<Context, 'clock' | 'tokenTime'>
}

type Common = {
  /** Wait so long before doing it (a fault). */
  readonly delayMs: number
  /** What AUDIT and dry-run policies found, for counters and logs; undefined in the usual case of none. */
  readonly shadow: readonly ShadowDecision[] | undefined
  /** Of the route that matched, whatever became of the request then; '' = it has no name, or there was none. */
  readonly routeName: string
  /** Of every answer, also of our own; in the order they apply, empty in the usual case. */
  readonly responseEdits: readonly HeaderEdit[]
  /** Of a cross-origin request. */
  readonly cors?: CorsDecision | undefined
  /** In the order they apply. Of a request that goes nowhere, too: headers of the answer may say its own. */
  readonly requestEdits?: readonly HeaderEdit[]
}
export type Plan = ForwardPlan | AnswerPlan | RefusePlan | DeniedPlan | WaitPlan
/** An authorization service is asked; with its verdict it goes on. */
export type WaitPlan = Common & {
  readonly kind: 'wait'
  readonly authz: ExtAuthz
  /** What of the body it gets. */
  readonly authBody: AuthBody | undefined
  readonly context: Readonly<Record<string, string>>
  resume(verdict: Verdict): Plan
}
/** An authorization service has refused, or could not be asked: its own words. */
export type DeniedPlan = Common & {
  readonly kind: 'denied'
  readonly status: number
  readonly fields: readonly string[]
  /** A byte a character. */
  readonly body: string
  readonly error: MeshError
}
export type ForwardPlan = Common & {
  readonly kind: 'forward'
  readonly routed: Routed
  readonly action: ForwardAction
  readonly cluster: Cluster
  readonly retry: RetryPolicy | undefined
  /** Undefined: as agent.yaml says. */
  readonly retriesUnsafe?: boolean | undefined
  /** To be asked for; it is permitted. */
  readonly upgrade: string | undefined
  /** After rewrites. */
  readonly path: string
  readonly authority: string
  /** A rewrite says `authority`, perhaps the same as before. */
  readonly hasNewHost?: boolean
  readonly requestEdits: readonly HeaderEdit[]
  /** Get a copy of the request. */
  readonly mirrors?: readonly MirrorTarget[] | undefined
}
/** A direct response, a redirect (`location`), an injected abort (`fault`) or a preflight's answer (`fields`). */
export type AnswerPlan = Common & {
  readonly kind: 'answer'
  readonly status: number
  readonly body: string
  readonly location: string | undefined
  readonly fault: InjectedFault['abort']
  /** A filter's own answer, with these fields (flat) and without a body. */
  readonly fields?: readonly string[]
}
/**
 * `error`: MESH_PEER_NOT_ALLOWED (then `rule` says which), MESH_TOKEN_REFUSED, MESH_TOKEN_AUDIENCE, MESH_CHAIN_BLOCKED, MESH_ROUTE_BLOCKED, MESH_NO_ROUTE,
 * MESH_UPGRADE_NOT_PERMITTED or MESH_NO_CLUSTER.
 */
export type RefusePlan = Common & {
  readonly kind: 'refuse'
  readonly error: MeshError
  readonly rule: string | undefined
  /** Of the answer, where the error's own does not count. */
  readonly status?: number
  /** Of the answer, besides; flat. */
  readonly fields?: readonly string[]
}

export function planExchange(input: PlanInput): Plan {
  const table = findRouteTable(input.http, input.tables)
  return runFilters({ input, table, state: findRoute(input, table), added: [] }, 0)
}

/** All filters, in order. One that has to ask somebody ends the run; it goes on behind it with the answer. */
type Run = {
  readonly input: PlanInput
  readonly table: RouteTable | undefined
  readonly state: Underway
  /** What authorization services want of every answer. */
  readonly added: HeaderEdit[]
}
function runFilters(run: Run, first: number): Plan {
  const { input, table, state } = run
  const { filters } = input.http
  for (let i = first; i < filters.length; i++) {
    const filter = filters[i]!
    const own = state.routed?.route.filters?.get(filter.name)
    if (own ? own.off : filter.off) continue
    const plan =
      filter.kind === 'ext-authz' ? askService(filter.authz, own, run, i) : askFilter(filter, own, input, state)
    if (plan) return withAdded(plan, run)
    if (state.isMoved) Object.assign(state, findRoute(input, table, state.common))
  }
  const { routed, common } = state
  const plan =
    table && routed
      ? planAction(routed.route.action, table, routed, input, common)
      : refuse('MESH_NO_ROUTE', 'no route matches the request', common)
  return withAdded(withRequestMutations(plan, run), run)
}
function withAdded(plan: Plan, { added, input, state }: Run): Plan {
  if (plan.kind === 'wait') return plan
  const { filters } = input.http
  const own = hasMutations(filters) ? withResponseMutations(plan, filters, state.routed) : plan
  return added.length === 0 ? own : { ...own, responseEdits: [...own.responseEdits, ...added] }
}

/** @returns undefined: nobody has to be asked */
function askService(authz: ExtAuthz, own: RouteFilter | undefined, run: Run, at: number): Plan | undefined {
  const { input, table, state } = run
  const route = own?.extAuthz
  if (route === false) return undefined
  if (!isAsked(authz, input.request, input.random)) {
    if (!authz.deniesOthers) return undefined
    return deny(
      authz.statusOnError,
      'MESH_EXT_AUTHZ_DENIED',
      'requests that no service is asked about are refused',
      state,
    )
  }
  return {
    ...state.common,
    kind: 'wait',
    authz,
    authBody: route?.body === false ? undefined : (route?.body ?? authz.body),
    context: route?.context ?? {},
    resume: (verdict) => {
      const refused = takeVerdict(verdict, authz, run)
      if (refused) return withAdded(refused, run)
      if (state.isMoved) Object.assign(state, findRoute(input, table, state.common))
      return runFilters(run, at + 1)
    },
  }
}
/** @returns undefined: the request goes on, changed as the service wants it */
function takeVerdict(verdict: Verdict, authz: ExtAuthz, { input, state, added }: Run): Plan | undefined {
  const { request } = input
  if ('metadata' in verdict && verdict.metadata !== undefined)
    addMetadata(request, EXT_AUTHZ_METADATA, verdict.metadata)
  switch (verdict.kind) {
    case 'ok': {
      const isChanged = applyVerdict(verdict, request, request.headers ?? [])
      state.isMoved = isChanged && authz.reroutes
      const edit = toResponseEdit(verdict.response)
      if (edit) added.push(edit)
      return undefined
    }
    case 'denied': {
      const { status, body } = verdict
      const plan = deny(status, 'MESH_EXT_AUTHZ_DENIED', 'the authorization service refuses the request', state)
      return { ...plan, fields: toAnswerHeaders(verdict.headers), body }
    }
    case 'too-large':
      return deny(
        413,
        'MESH_EXT_AUTHZ_BODY_TOO_LARGE',
        'the body is larger than the authorization service takes',
        state,
      )
    case 'error':
      if (!authz.failureAllows) return deny(authz.statusOnError, 'MESH_EXT_AUTHZ_UNAVAILABLE', verdict.why, state)
      if (authz.failureIsTold && request.headers)
        setHeader(request.headers, 'x-envoy-auth-failure-mode-allowed', 'true')
      return undefined
    default:
      return verdict satisfies never
  }
}
function deny(status: number, code: ErrorCode, what: string, { common, routed }: Underway): DeniedPlan {
  return {
    ...beforeAction(common, routed),
    kind: 'denied',
    status,
    fields: [],
    body: '',
    error: new MeshError(code, what),
  }
}
function addMetadata(request: RequestFacts, filter: string, value: Json): void {
  request.metadata = { ...request.metadata, [filter]: value }
}

/** `isMoved`: a filter has found out what another route may ask for. */
type Underway = { routed: Routed | undefined; common: Mutable<Common>; isMoved: boolean }
type Mutable<T> = { -readonly [key in keyof T]: T[key] }

/** @param before of the route that matched without what filters have found out since */
function findRoute(input: PlanInput, table: RouteTable | undefined, before?: Common): Underway {
  const routed = table && matchRoute(table, input.request, input.random)
  const common = {
    delayMs: before?.delayMs ?? 0,
    shadow: before?.shadow,
    cors: before?.cors,
    routeName: routed?.route.name ?? '',
    responseEdits: table && routed ? collectResponseEdits(table, routed, undefined) : NO_EDITS,
  }
  return { routed, common, isMoved: false }
}

/** @returns undefined: the request goes on */
function askFilter(
  filter: Exclude<HttpFilter, { kind: 'ext-authz' }>,
  own: RouteFilter | undefined,
  input: PlanInput,
  state: Underway,
): Plan | undefined {
  const { routed, common } = state
  switch (filter.kind) {
    case 'rbac': {
      const policy = own?.policy ? own.policy.value : filter.policy
      if (!policy) return undefined
      const facts = new PolicyFacts(input)
      if (policy.shadow || policy.action === 'log')
        common.shadow = [...(common.shadow ?? []), ...shadowDecisions([policy], facts)]
      if (policy.shadow?.prefix !== undefined)
        addMetadata(input.request, RBAC_METADATA, {
          ...(input.request.metadata?.[RBAC_METADATA] as object | undefined),
          ...describeShadow(policy.shadow, facts),
        })
      const decision = decide([policy], facts)
      if (decision.allowed) return undefined
      return refuse('MESH_PEER_NOT_ALLOWED', 'RBAC: access denied', beforeAction(common, routed), decision.rule)
    }
    case 'fault': {
      const injected = decideFault(own?.fault ? own.fault.value : filter.fault, input.request, input.random)
      if (!injected) return undefined
      common.delayMs += injected.delayMs
      const { abort } = injected
      if (!abort) return undefined
      const answer = { status: abort.status, body: 'fault filter abort', location: undefined, fault: abort }
      return { ...beforeAction(common, routed), kind: 'answer', ...answer }
    }
    case 'cors': {
      // As in Envoy, of routes that forward.
      const cors =
        routed?.route.action.kind === 'forward' ? decideCors(own?.cors, input.request, input.random) : undefined
      common.cors = cors
      if (!cors?.preflight) return undefined
      const answer = { status: 200, body: '', location: undefined, fault: undefined, fields: cors.preflight }
      return { ...common, responseEdits: NO_EDITS, kind: 'answer', ...answer }
    }
    // Its changes are made when all filters have been asked (withRequestMutations).
    case 'mutation':
      return undefined
    case 'jwt': {
      const asked = askForTokens(filter.jwt, own, input.request, input)
      if ('code' in asked)
        return { ...refuse(asked.code, asked.what, beforeAction(common, routed)), fields: asked.fields }
      state.isMoved = asked.reroute
      return undefined
    }
    case 'blocked':
      return refuse('MESH_CHAIN_BLOCKED', `filter ${filter.name} cannot be applied`, beforeAction(common, routed))
    default:
      return filter satisfies never
  }
}

/** A filter answers by itself: Envoy's redirects and direct responses edit none but their own answers. */
function beforeAction(common: Common, routed: Routed | undefined): Common {
  return routed?.route.action.kind === 'forward' ? common : { ...common, responseEdits: NO_EDITS }
}

function planAction(action: RouteAction, table: RouteTable, routed: Routed, input: PlanInput, common: Common): Plan {
  const { request, upgrade } = input
  // The caller may be a stranger; the reason is for `meshlet status`.
  if (action.kind === 'blocked')
    return refuse('MESH_ROUTE_BLOCKED', 'the route cannot be taken as it was configured', common)
  if (upgrade !== undefined && !permitsUpgrade(input.http, action, upgrade))
    return refuse('MESH_UPGRADE_NOT_PERMITTED', `an upgrade to ${upgrade.slice(0, 64)} is not permitted`, common)
  switch (action.kind) {
    case 'direct':
      return {
        ...common,
        kind: 'answer',
        status: action.status,
        body: action.body,
        location: undefined,
        fault: undefined,
      }
    case 'redirect': {
      const location = redirectLocation(action, routed.route.match, request)
      return { ...common, kind: 'answer', status: action.status, body: '', location, fault: undefined }
    }
    case 'forward': {
      const picked = chooseCluster(action, input)
      const cluster = picked && input.tables.cluster(picked.name)
      if (!cluster) {
        const refused = refuse('MESH_NO_CLUSTER', "the route's cluster is unknown", common)
        return action.notFoundStatus === undefined ? refused : { ...refused, status: action.notFoundStatus }
      }
      const { rewrite } = action
      const host = rewriteHost(rewrite.host, request)
      return {
        delayMs: common.delayMs,
        shadow: common.shadow,
        routeName: common.routeName,
        cors: common.cors,
        kind: 'forward',
        routed,
        action,
        cluster,
        upgrade,
        retry: action.retry ?? routed.virtualHost.retry,
        retriesUnsafe: routed.route.retriesUnsafe ?? routed.virtualHost.retriesUnsafe ?? table.config.retriesUnsafe,
        mirrors: chooseMirrors(action.mirrors ?? routed.virtualHost.mirrors ?? table.config.mirrors, input),
        path: rewrite.path ? rewritePath(rewrite.path, routed.route.match, request.path) : request.path,
        authority: host ?? request.authority,
        hasNewHost: host !== undefined,
        requestEdits: collectRequestEdits(table, routed, picked.headers.request),
        responseEdits: collectResponseEdits(table, routed, picked.headers.response),
      }
    }
    default:
      return action satisfies never
  }
}

function chooseCluster(action: ForwardAction, { request, random }: PlanInput): WeightedCluster | undefined {
  if (action.clusterHeader === undefined) return pickCluster(action, random)
  const name = findFirstHeader(request, action.clusterHeader)
  return name ? { name, weight: 1, headers: NO_HEADER_CHANGES } : undefined
}

const hasMutations = (filters: readonly HttpFilter[]): boolean => filters.some(({ kind }) => kind === 'mutation')

/** All filters have been passed. */
function withRequestMutations(plan: Plan, { input, state }: Run): Plan {
  const { filters } = input.http
  if (!hasMutations(filters)) return plan
  const { request } = collectMutations(filters, state.routed)
  return { ...plan, requestEdits: [...request, ...(plan.requestEdits ?? [])] }
}
function withResponseMutations(plan: Plan, filters: readonly HttpFilter[], routed: Routed | undefined): Plan {
  return { ...plan, responseEdits: [...plan.responseEdits, ...collectMutations(filters, routed).response] }
}

/**
 * After a wait: the cluster of that name may be another one now, with TLS for one, or none. Envoy looks it up anew,
 * too.
 */
export function planToday<P extends Plan>(plan: P, tables: Tables): P | RefusePlan {
  if (plan.kind !== 'forward') return plan
  const cluster = tables.cluster(plan.cluster.name)
  if (!cluster)
    return refuse('MESH_NO_CLUSTER', "the route's cluster is gone", {
      delayMs: 0,
      shadow: undefined,
      routeName: plan.routeName,
      responseEdits: plan.responseEdits,
    })
  return cluster === plan.cluster ? plan : { ...plan, cluster }
}

/** Inline tables are indexed once; they live as long as their configuration. */
const inlineTables = new WeakMap<RouteConfig, RouteTable>()

/** Undefined: the control plane has not sent the table that the listener names. */
export function findRouteTable({ routes }: HttpConnectionManager, tables: Tables): RouteTable | undefined {
  if (routes.from === 'rds') return tables.routes(routes.name)
  let table = inlineTables.get(routes.config)
  if (!table) {
    table = new RouteTable(routes.config)
    inlineTables.set(routes.config, table)
  }
  return table
}

function refuse(
  code:
    | 'MESH_PEER_NOT_ALLOWED'
    | 'MESH_TOKEN_REFUSED'
    | 'MESH_TOKEN_AUDIENCE'
    | 'MESH_CHAIN_BLOCKED'
    | 'MESH_ROUTE_BLOCKED'
    | 'MESH_NO_ROUTE'
    | 'MESH_NO_CLUSTER'
    | 'MESH_UPGRADE_NOT_PERMITTED',
  what: string,
  common: Common,
  rule?: string,
): RefusePlan {
  return { ...common, kind: 'refuse', error: new MeshError(code, what), rule }
}
