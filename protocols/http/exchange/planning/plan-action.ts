/** What the route that matched wants done with a request that has passed all filters. */
import {
  NO_HEADER_CHANGES,
  type ForwardAction,
  type RouteAction,
  type WeightedCluster,
} from '../../../../model/route.ts'
import type { RouteTable } from '../../../../model/tables.ts'
import { findFirstHeader, pickCluster, type Routed } from '../../../router.ts'
import { redirectLocation, rewriteHost, rewritePath } from '../../filters/redirect.ts'
import { collectRequestEdits, collectResponseEdits } from '../../filters/route-edits.ts'
import { permitsUpgrade } from '../../filters/upgrade.ts'
import { chooseMirrors } from '../../mirrors.ts'
import type { Common, ForwardPlan, Plan, PlanInput, RefusePlan } from './plan.ts'
import { refuse } from './refusals.ts'

export function planAction(
  action: RouteAction,
  table: RouteTable,
  routed: Routed,
  input: PlanInput,
  common: Common,
): Plan {
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
    case 'forward':
      return planForward(action, table, routed, input, common)
    default:
      return action satisfies never
  }
}

function planForward(
  action: ForwardAction,
  table: RouteTable,
  routed: Routed,
  input: PlanInput,
  common: Common,
): ForwardPlan | RefusePlan {
  const picked = chooseCluster(action, input)
  const cluster = picked && input.tables.cluster(picked.name)
  if (!cluster) {
    const refused = refuse('MESH_NO_CLUSTER', "the route's cluster is unknown", common)
    return action.notFoundStatus === undefined ? refused : { ...refused, status: action.notFoundStatus }
  }
  const { rewrite } = action
  const host = rewriteHost(rewrite.host, input.request)
  return {
    delayMs: common.delayMs,
    shadow: common.shadow,
    routeName: common.routeName,
    cors: common.cors,
    session: common.session,
    limited: common.limited,
    health: common.health,
    keepsHealth: common.keepsHealth,
    bodies: common.bodies,
    kind: 'forward',
    routed,
    action,
    cluster,
    upgrade: input.upgrade,
    retry: action.retry ?? routed.virtualHost.retry,
    retriesUnsafe: routed.route.retriesUnsafe ?? routed.virtualHost.retriesUnsafe ?? table.config.retriesUnsafe,
    mirrors: chooseMirrors(action.mirrors ?? routed.virtualHost.mirrors ?? table.config.mirrors, input),
    path: rewrite.path ? rewritePath(rewrite.path, routed.route.match, input.request.path) : input.request.path,
    authority: host ?? input.request.authority,
    hasNewHost: host !== undefined,
    requestEdits: collectRequestEdits(table, routed, picked.headers.request),
    responseEdits: collectResponseEdits(table, routed, picked.headers.response),
  }
}

function chooseCluster(action: ForwardAction, { request, random }: PlanInput): WeightedCluster | undefined {
  if (action.clusterHeader === undefined) return pickCluster(action, random)
  const name = findFirstHeader(request, action.clusterHeader)
  return name ? { name, weight: 1, headers: NO_HEADER_CHANGES } : undefined
}
