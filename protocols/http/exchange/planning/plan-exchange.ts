/**
 * What is to be done with a request, decided before a byte of it goes anywhere: route, filters in order (authorization,
 * fault, what is not implemented), then the route's action. Shared by every codec; no I/O. The order is Envoy's:
 * filters run before a missing route is answered, so that a denied peer learns nothing about routes.
 */
import type { ExtAuthz } from '../../../../model/http/ext-authz.ts'
import type { GlobalRateLimit, RouteGlobalLimit } from '../../../../model/http/global-rate-limit.ts'
import type { HttpConnectionManager, HttpFilter } from '../../../../model/listener.ts'
import type { Route, RouteConfig, RouteFilter } from '../../../../model/route.ts'
import { RouteTable, type Tables } from '../../../../model/tables.ts'
import { matchRoute } from '../../../router.ts'
import { isAsked } from '../../filters/ext-authz/filter.ts'
import type { LimitAnswer } from '../../filters/rate-limit/service.ts'
import { requestMissingKeys } from '../../filters/jwt/filter.ts'
import { NO_EDITS, collectMutations, collectResponseEdits } from '../../filters/route-edits.ts'
import { askFilter } from './ask-filter.ts'
import { planAction } from './plan-action.ts'
import type { Common, Plan, PlanInput } from './plan.ts'
import { isPaused } from './plan-today.ts'
import { deny, refuse, withoutEdits, type Underway } from './refusals.ts'
import { planQuestion, takeAnswer } from './take-global-limit.ts'
import { takeVerdict } from './take-verdict.ts'

export function planExchange(input: PlanInput): Plan {
  const table = findRouteTable(input.http, input.tables)
  const state = { ...findRoute(input, table), added: [], at: 0 }
  return runFilters({ input, table, state, mutates: hasMutations(input.http.filters) }, 0)
}

/** All filters, in order. One that has to ask somebody ends the run; it goes on behind it with the answer. */
type Run = {
  readonly input: PlanInput
  readonly table: RouteTable | undefined
  readonly state: Underway
  /** Some of the filters change headers (header_mutation). */
  readonly mutates: boolean
}
/** @param looked its keys were looked for */
function runFilters(run: Run, first: number, looked?: HttpFilter): Plan {
  const { input, table, state } = run
  const { filters } = input.http
  for (let i = first; i < filters.length; i++) {
    const filter = filters[i]!
    state.at = i
    const own = state.routed?.route.filters?.get(filter.name)
    if (own ? own.off : filter.off) continue
    const plan = askOrAwait(filter, own, run, i, looked)
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
function askOrAwait(
  filter: HttpFilter,
  own: RouteFilter | undefined,
  run: Run,
  at: number,
  looked: HttpFilter | undefined,
): Plan | undefined {
  if (filter.kind === 'ext-authz') return askService(filter.authz, own, run, at)
  if (filter.kind === 'global-limit') return askCounter(filter.limit, own?.globalLimit, run, at)
  if (filter.kind === 'buffer') return awaitBody(own?.bufferBytes ?? filter.maxBytes, run, at)
  const { input, state } = run
  const keys =
    filter.kind === 'jwt' && filter !== looked ? requestMissingKeys(filter.jwt, own, input.request, input) : undefined
  if (keys) return { ...state.common, kind: 'keys', looked: keys, resume: () => runFilters(run, at, filter) }
  return askFilter(filter, own, input, state)
}

/** @returns undefined: there is none to wait for */
function awaitBody(maxBytes: number, run: Run, at: number): Plan | undefined {
  const { request, upgrade } = run.input
  if (request.bodyLength === 0 || upgrade !== undefined || request.method === 'CONNECT') return undefined
  const { common, routed } = run.state
  const resume = (isTooLarge: boolean): Plan =>
    isTooLarge
      ? withAdded(
          refuse('MESH_REQUEST_TOO_LARGE', `the body is larger than ${maxBytes} bytes`, withoutEdits(common, routed)),
          run,
        )
      : runFilters(run, at + 1)
  return { ...common, kind: 'gather', maxBytes, resume }
}

function withAdded(plan: Plan, { input, state, mutates }: Run): Plan {
  const { added } = state
  if (isPaused(plan) || (!mutates && added.length === 0)) return plan
  const { response } = collectMutations(input.http.filters, state.routed, added)
  const { responseEdits } = plan
  return { ...plan, routeEdits: responseEdits.length, responseEdits: [...responseEdits, ...response] }
}

/** @returns undefined: nobody has to be asked */
function askCounter(
  settings: GlobalRateLimit,
  own: RouteGlobalLimit | undefined,
  run: Run,
  at: number,
): Plan | undefined {
  const { input, state } = run
  const question = planQuestion(settings, own, input, state)
  if (!question || 'kind' in question) return question
  const { service } = settings
  const resume = (answer: LimitAnswer): Plan => {
    const refused = takeAnswer(answer, { settings, tells: question.tells }, input, state)
    return refused ? withAdded(refused, run) : runFilters(run, at + 1)
  }
  return { ...state.common, kind: 'limit', service, question, resume }
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
      const refused = takeVerdict(verdict, authz, input, state)
      if (refused) return withAdded(refused, run)
      if (state.isMoved) Object.assign(state, findRoute(input, table, state.common))
      return runFilters(run, at + 1)
    },
  }
}
/** @param before of the route that matched without what filters have found out since */
function findRoute(input: PlanInput, table: RouteTable | undefined, before?: Common): Omit<Underway, 'added' | 'at'> {
  const routed = table && matchRoute(table, input.request, input.random)
  const common = {
    delayMs: before?.delayMs ?? 0,
    shadow: before?.shadow,
    cors: before?.cors,
    session: before?.session,
    limited: before?.limited,
    health: before?.health,
    keepsHealth: before?.keepsHealth,
    bodies: before?.bodies,
    routeName: routed?.route.name ?? '',
    routeCluster: routed && findOnlyCluster(routed.route),
    responseEdits: table && routed ? collectResponseEdits(table, routed, undefined) : NO_EDITS,
  }
  return { routed, common, isMoved: false }
}

const findOnlyCluster = ({ action }: Route): string | undefined =>
  action.kind === 'forward' && action.clusters.length === 1 ? action.clusters[0]!.name : undefined

const hasMutations = (filters: readonly HttpFilter[]): boolean => filters.some(({ kind }) => kind === 'mutation')

/** All filters have been passed. */
function withRequestMutations(plan: Plan, { input, state, mutates }: Run): Plan {
  if (!mutates) return plan
  const { request } = collectMutations(input.http.filters, state.routed)
  const requestEdits = [...request, ...(plan.requestEdits ?? [])]
  return plan.kind === 'forward' ? { ...plan, requestEdits, filterEdits: request.length } : { ...plan, requestEdits }
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
