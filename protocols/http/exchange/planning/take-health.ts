/** The filter of health checks marks what is one, and may answer it by itself. */
import type { HealthCheckFilter } from '../../../../model/http/health-check-filter.ts'
import type { HeaderEdit } from '../../../../model/route.ts'
import { getNodeHealth, isHealthCheck, tellHealth } from '../../filters/health-check.ts'
import type { Plan, PlanInput } from './plan.ts'
import { addToAnswer, deny, withOwnEdits, type Underway } from './refusals.ts'

/** @returns undefined: the request goes on */
export function takeHealth(filter: HealthCheckFilter, input: PlanInput, state: Underway): Plan | undefined {
  const { request, tables, clocks } = input
  const node = getNodeHealth(clocks)
  const { isDraining } = node
  if (!isHealthCheck(filter, request)) {
    if (isDraining) addToAnswer(state, GIVE_UP)
    return undefined
  }
  const { common } = state
  common.health = filter
  addToAnswer(state, set('x-envoy-upstream-healthchecked-cluster', clocks.telemetry?.serviceName ?? ''))
  const told = tellHealth(filter, {
    request,
    isDraining,
    tables,
    clock: clocks.clock,
    hosts: node,
  })
  if (!told) {
    if (filter.cacheMs > 0) common.keepsHealth = true
    return undefined
  }
  const { status, details } = told
  const own = told.isDegraded ? [DEGRADED] : []
  if (status >= 300)
    return { ...deny(status, 'MESH_HEALTH_CHECK', `this node is not well: ${details}`, state, own), details }
  const answer = { status, body: '', location: undefined, fault: undefined, details }
  return { ...withOwnEdits(state, own), kind: 'answer', ...answer }
}

function set(name: string, value: string): HeaderEdit {
  return { remove: [], add: [{ name, value, how: 'overwrite', keepEmpty: true }] }
}
/** Another proxy is to send nothing more, without waiting for its next question. */
const GIVE_UP = set('x-envoy-immediate-health-check-fail', 'true')
const DEGRADED = set('x-envoy-degraded', '')
