/**
 * What is to be done with a request, decided before a byte of it goes anywhere: route, filters in order (authorization,
 * fault, what is not implemented), then the route's action. Shared by every codec; no I/O. The order is Envoy's:
 * filters run before a missing route is answered, so that a denied peer learns nothing about routes.
 */
import type { Random } from '../../../core/os/clock.ts'
import { MeshError } from '../../../core/errors.ts'
import type { Cluster } from '../../../model/cluster.ts'
import type { HttpConnectionManager, HttpFilter } from '../../../model/listener.ts'
import type { HeaderValues } from '../../../model/matcher.ts'
import type { Metadata } from '../../../model/http/metadata.ts'
import {
  NO_HEADER_CHANGES,
  type ForwardAction,
  type HeaderEdit,
  type MirrorPolicy,
  type RetryPolicy,
  type RouteAction,
  type RouteConfig,
  type RouteFilter,
  type WeightedCluster,
} from '../../../model/route.ts'
import { RouteTable, type Tables } from '../../../model/tables.ts'
import type { Context } from '../../context.ts'
import { decide, shadowDecisions, type AuthzFacts, type ShadowDecision } from '../../authz.ts'
import {
  collectHeaderValues,
  findFirstHeader,
  matchRoute,
  readPathText,
  pickCluster,
  TO_HTTPS,
  type RequestFacts,
  type Routed,
} from '../../router.ts'
import { askForTokens } from '../filters/jwt/filter.ts'
import type { MirrorTarget } from '../mirrors.ts'
import { decideCors, type CorsDecision } from '../filters/cors.ts'
import { decideFault, type InjectedFault } from '../filters/fault.ts'
import { redirectLocation, rewriteHost, rewritePath } from '../filters/redirect.ts'
import { permitsUpgrade } from '../filters/upgrade.ts'

/** The connection's part of the authorization facts. */
export type ClientFacts = Omit<AuthzFacts, 'header' | 'path'>

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
}
export type Plan = ForwardPlan | AnswerPlan | RefusePlan
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
  /** In the order they apply; empty in the usual case. */
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
  const state = findRoute(input, table)
  const plan = askFilters(input, table, state)
  const { filters } = input.http
  return filters.some((f) => f.kind === 'mutation') ? withMutations(plan, filters, state.routed) : plan
}

function askFilters(input: PlanInput, table: RouteTable | undefined, state: Underway): Plan {
  for (const filter of input.http.filters) {
    const own = state.routed?.route.filters?.get(filter.name)
    if (own ? own.off : filter.off) continue
    const plan = askFilter(filter, own, input, state)
    if (plan) return plan
    if (state.isMoved) Object.assign(state, findRoute(input, table, state.common))
  }
  const { routed, common } = state
  if (!table || !routed) return refuse('MESH_NO_ROUTE', 'no route matches the request', common)
  return planAction(routed.route.action, table, routed, input, common)
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
    responseEdits: table && routed ? responseEdits(table, routed, undefined) : NO_EDITS,
  }
  return { routed, common, isMoved: false }
}

/** @returns undefined: the request goes on */
function askFilter(
  filter: HttpFilter,
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
    // Its changes are made when all filters have been asked (withMutations).
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
        mirrors: drawMirrors(action.mirrors ?? routed.virtualHost.mirrors ?? table.config.mirrors, input),
        path: rewrite.path ? rewritePath(rewrite.path, routed.route.match, request.path) : request.path,
        authority: host ?? request.authority,
        hasNewHost: host !== undefined,
        requestEdits: requestEdits(table, routed, picked.headers.request),
        responseEdits: responseEdits(table, routed, picked.headers.response),
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

/**
 * Header mutations of filters. The router, which is last, makes the route's own changes to requests; answers, whoever
 * gives them, go back through all filters from the last one to the first.
 */
function withMutations(plan: Plan, filters: readonly HttpFilter[], routed: Routed | undefined): Plan {
  let [request, response] = [NO_EDITS, NO_EDITS]
  for (const filter of filters) {
    if (filter.kind !== 'mutation') continue
    const own = routed?.route.filters?.get(filter.name)
    if (own ? own.off : filter.off) continue
    const levels = own?.mutations ?? []
    const all = [filter.mutations, ...(filter.nearestWins ? levels : levels.toReversed())]
    request = [...request, ...all.flatMap((m) => m.request)]
    response = [...all.flatMap((m) => m.response), ...response]
  }
  const responseEdits = [...plan.responseEdits, ...response]
  if (plan.kind !== 'forward') return { ...plan, responseEdits }
  return { ...plan, responseEdits, requestEdits: [...request, ...plan.requestEdits] }
}

/** Not of an upgrade, whose two sides talk to each other. A cluster that is not there gets none, as in Envoy. */
function drawMirrors(
  policies: readonly MirrorPolicy[] | undefined,
  { tables, request, random, upgrade }: PlanInput,
): readonly MirrorTarget[] | undefined {
  if (!policies || upgrade !== undefined || request.method === 'CONNECT') return undefined
  const targets = policies.flatMap(({ cluster: by, fraction, keepsHost }): MirrorTarget[] => {
    if (fraction < 1 && random.float() >= fraction) return []
    const cluster = tables.cluster('name' in by ? by.name : (findFirstHeader(request, by.header) ?? ''))
    return cluster ? [{ cluster, keepsHost }] : []
  })
  return targets.length > 0 ? targets : undefined
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

/** Made for every request, so it holds what is known already; the rest is worked out for a policy that asks. */
class PolicyFacts implements AuthzFacts {
  readonly #client: ClientFacts
  readonly #request: RequestFacts

  constructor({ client, request }: PlanInput) {
    this.#client = client
    this.#request = request
  }

  get peer(): AuthzFacts['peer'] {
    return this.#client.peer
  }
  get directRemoteIp(): string {
    return this.#client.directRemoteIp
  }
  get remoteIp(): string {
    return this.#client.remoteIp
  }
  get destinationIp(): string {
    return this.#client.destinationIp
  }
  get destinationPort(): number {
    return this.#client.destinationPort
  }
  get serverName(): string {
    return this.#client.serverName
  }
  get metadata(): Metadata {
    return this.#request.metadata ?? NO_METADATA
  }
  get path(): string | undefined {
    return this.#request.path === '' ? undefined : readPathText(this.#request.path)
  }
  header(name: string): HeaderValues {
    return collectHeaderValues(this.#request, name)
  }
}

const NO_METADATA: Metadata = {}

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

const NO_EDITS: readonly HeaderEdit[] = []

/* Weighted cluster, route, virtual host, table: Envoy's order. */

function requestEdits(
  { config }: RouteTable,
  { route, virtualHost }: Routed,
  cluster: HeaderEdit | undefined,
): readonly HeaderEdit[] {
  return inOrder(config, [cluster, route.headers.request, virtualHost.headers.request, config.headers.request])
}
function responseEdits(
  { config }: RouteTable,
  { route, virtualHost }: Routed,
  cluster: HeaderEdit | undefined,
): readonly HeaderEdit[] {
  if (route === TO_HTTPS) return NO_EDITS
  return inOrder(config, [cluster, route.headers.response, virtualHost.headers.response, config.headers.response])
}
/** @param levels the nearest one first, which is the order in which they apply unless the table says otherwise */
function inOrder(
  { nearestWins }: Pick<RouteConfig, 'nearestWins'>,
  levels: readonly (HeaderEdit | undefined)[],
): readonly HeaderEdit[] {
  let edits = NO_EDITS
  for (const edit of levels)
    if (edit && (edit.remove.length > 0 || edit.add.length > 0))
      edits = nearestWins ? [edit, ...edits] : [...edits, edit]
  return edits
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
