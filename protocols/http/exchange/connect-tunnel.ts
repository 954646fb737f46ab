/** CONNECT of an explicit proxy (RFC 9110 §9.3.6): which cluster the tunnel leads to, and the connection to it. */
import { MeshError, type ErrorCode } from '../../../core/errors.ts'
import { turnsTlsOn, type Cluster, type Endpoint } from '../../../model/cluster.ts'
import type { HttpConnectionManager, HttpFilter } from '../../../model/listener.ts'
import type { HeaderEdit } from '../../../model/route.ts'
import type { Tables } from '../../../model/tables.ts'
import type { Connection } from '../../connection.ts'
import type { Context } from '../../context.ts'
import type { UpstreamStream } from '../../upstream-api.ts'
import { editWithFacts } from './outgoing.ts'
import type { RequestOrigin } from './request-origin.ts'
import type { RequestHead } from '../message.ts'
import type { ForwardPlan, Plan, PlanInput } from './planning/plan.ts'
import { planUnescaped } from './planning/plan-unescaped.ts'
import { planExchange } from './planning/plan-exchange.ts'
import type { HttpRuntime } from '../runtime.ts'

type PlanContext = Pick<Context, 'tables' | 'random' | 'clock' | 'tokenTime' | 'telemetry'>

/** @param remoteIp the client's address as trusted hops tell it */
export function planRequest(
  ctx: PlanContext,
  client: RequestOrigin,
  http: HttpConnectionManager,
  request: RequestHead,
  remoteIp: string,
): Plan {
  const input = {
    tables: ctx.tables.get(),
    http,
    request,
    client: client.facts(remoteIp),
    random: ctx.random,
    clocks: ctx,
    connection: client.conn,
    upgrade: request.upgrade,
    edit: (edits: readonly HeaderEdit[], routeName: string) =>
      editWithFacts(
        request.headers,
        edits,
        { request, client, remoteIp, record: { startedWallMs: 0, plan: { kind: 'wait', routeName } } },
        undefined,
        0,
      ),
  }
  const elsewhere = planUnescaped(request, http)
  if (elsewhere) return elsewhere
  return request.method === 'CONNECT' ? planConnect(input) : planExchange(input)
}

/**
 * A connect route where there is one; else the route of the virtual host that takes `/`: who lists a host there means
 * to reach it. Filters have had their say in the first plan, where the path is unknown. A route with a policy of its
 * own would be asked about a path that a tunnel does not have, so it is not used that way.
 */
function planConnect(input: PlanInput): Plan {
  if (!input.http.explicitProxy)
    return {
      kind: 'refuse',
      error: new MeshError('MESH_UNSUPPORTED', 'CONNECT is served by http_proxy listeners only'),
      rule: undefined,
      delayMs: 0,
      shadow: undefined,
      routeName: '',
      responseEdits: [],
    }
  const plan = planExchange({ ...input, upgrade: undefined })
  if (plan.kind !== 'refuse' || plan.error.code !== 'MESH_NO_ROUTE') return plan
  const { request } = input
  const byHost = planExchange({
    ...input,
    upgrade: undefined,
    http: { ...input.http, filters: [] },
    request: {
      method: 'CONNECT',
      path: '/',
      authority: request.authority,
      scheme: request.scheme,
      header: (name) => request.header(name),
      values: (name) => (request.values ?? request.header).call(request, name),
    },
  })
  // What it says to filters may be what could not be taken.
  if (byHost.kind === 'refuse' && byHost.error.code === 'MESH_ROUTE_BLOCKED') return byHost
  if (byHost.kind !== 'forward' || [...(byHost.routed.route.filters?.values() ?? [])].some((f) => f.policy?.value))
    return plan
  return { ...byHost, delayMs: plan.delayMs, shadow: plan.shadow }
}

/** Rejects as Upstreams.connect does. */
export function openConnectTunnel(
  { upstreams, ctx }: HttpRuntime,
  plan: ForwardPlan,
  conn: Connection,
  signal: AbortSignal,
): Promise<UpstreamStream> {
  ctx.log.debug({ evt: 'http.connect', conn: conn.id, cluster: plan.cluster.name }, 'tunnel is opened')
  return upstreams.connect(plan.cluster, {
    signal,
    speaks: 'tcp',
    originalDst: conn.originalDst,
    host: plan.authority,
    client: conn,
  })
}

/**
 * Asks today's policies about a request that is under way, or whose tunnel is open. Chance has no part in it: faults are
 * not injected anew, and a route or cluster that is gone ends nothing, as in Envoy.
 * @param asked as policies saw it
 * @param isPlanned filters have changed it already
 * @returns why it would be refused now
 */
export function findRefusal(
  asked: RequestHead,
  client: RequestOrigin,
  remoteIp: string,
  ctx: PlanContext,
  { isPlanned } = { isPlanned: false },
): MeshError | undefined {
  const { codec } = client.conn.chain
  // The chain's own policies (L4) were asked by the recheck; there are no others where it speaks something else now.
  if (codec.kind !== 'http') return undefined
  const { http } = codec
  // Mutations are made anew, on a copy. What the token said is remembered; the token itself may have been taken from the request.
  const filters = http.filters.filter(({ kind }) => !OF_BEGINNINGS.has(kind) && !(isPlanned && kind === 'mutation'))
  const plan = planRequest(ctx, client, { ...http, filters }, asked.copy(), remoteIp)
  return plan.kind === 'refuse' && CUTS.has(plan.error.code) ? plan.error : undefined
}
/** Of these a request is asked once. */
const OF_BEGINNINGS: ReadonlySet<HttpFilter['kind']> = new Set<HttpFilter['kind']>([
  'fault',
  'jwt',
  'ext-authz',
  'rate-limit',
  'global-limit',
  'health-check',
  'buffer',
])
const CUTS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'MESH_PEER_NOT_ALLOWED',
  'MESH_CHAIN_BLOCKED',
  'MESH_ROUTE_BLOCKED',
  'MESH_UPGRADE_NOT_PERMITTED',
])

/** A tunnel that goes in clear where TLS is asked for now. */
export function refuseInClear(was: Cluster, endpoint: Endpoint | undefined, tables: Tables): MeshError | undefined {
  const now = tables.cluster(was.name)
  return now && now !== was && endpoint && turnsTlsOn(was, now, endpoint)
    ? new MeshError('MESH_DRAINING', `cluster ${was.name} asks for TLS now`)
    : undefined
}
