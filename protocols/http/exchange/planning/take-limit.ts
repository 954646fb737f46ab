/** A local rate limit's say becomes part of the answer, or the answer. */
import type { LocalRateLimit } from '../../../../model/http/rate-limit.ts'
import { editHeaders } from '../../filters/header-edit.ts'
import { askLimit } from '../../filters/rate-limit/filter.ts'
import type { Plan, PlanInput } from './plan.ts'
import { addToAnswer, deny, refuse, withoutEdits, type Underway } from './refusals.ts'

/** Envoy's words. */
const BODY = 'local_rate_limited'
const RESOURCE_EXHAUSTED = 8

/** @returns undefined: the request goes on */
export function takeLimit(settings: LocalRateLimit, input: PlanInput, state: Underway): Plan | undefined {
  const { request, client, random, clocks, connection = input } = input
  const { common, routed } = state
  const { clock } = clocks
  const ownCluster = clocks.telemetry?.serviceName
  const facts = { request, remoteIp: client.remoteIp, ownCluster, routed }
  const said = askLimit(settings, { ...facts, connection, clock, random })
  if (said.kind === 'unknown') {
    const why = `a local rate limit counts by ${said.why}, which is not supported`
    return refuse('MESH_CHAIN_BLOCKED', why, withoutEdits(common, routed))
  }
  const { result } = said
  if (result) common.limited = [...(common.limited ?? []), { prefix: settings.statPrefix, result }]
  if (said.kind === 'passes') {
    addToAnswer(state, said.edit)
    if (result === 'over' && request.headers) editHeaders(request.headers, [settings.requestHeaders], PLAIN)
    return undefined
  }
  const why = 'more requests have come than the local rate limit lets pass'
  const plan = deny(settings.status, 'MESH_RATE_LIMITED', why, state, said.edits)
  return { ...plan, body: BODY, ...(settings.isExhaustion && { grpcStatus: RESOURCE_EXHAUSTED }) }
}

/** Values are text: operators are refused when they are decoded. */
const NOBODY = { host: '', port: 0 }
const PLAIN = {
  client: NOBODY,
  remote: NOBODY,
  local: NOBODY,
  protocol: '',
  startedMs: 0,
  serverName: '',
  routeName: '',
  cluster: '',
  status: 0,
  peer: undefined,
  request: () => undefined,
}
