/** One filter of the listener is asked about a request. */
import type { HttpFilter } from '../../../../model/listener.ts'
import type { Fault, RouteFilter } from '../../../../model/route.ts'
import { hasLateOperators } from '../../../../model/substitution.ts'
import { decideCors } from '../../filters/cors.ts'
import { decideFault } from '../../filters/fault.ts'
import { askForTokens } from '../../filters/jwt/filter.ts'
import { createSessionEdit, findSession } from '../../filters/session.ts'
import { listMutations, NO_EDITS } from '../../filters/route-edits.ts'
import { addBodyFilter } from './add-body-filter.ts'
import { askPolicy } from './ask-policy.ts'
import type { Plan, PlanInput } from './plan.ts'
import { addToAnswer, withoutEdits, withOwnEdits, refuse, type Underway } from './refusals.ts'
import { takeHealth } from './take-health.ts'
import { takeLimit } from './take-limit.ts'

/**
 * Changes of mutations that nobody behind them asks about are made when all have been asked (withRequestMutations).
 * @returns undefined: the request goes on
 */
export function askFilter(
  filter: Exclude<HttpFilter, { kind: 'ext-authz' | 'global-limit' | 'buffer' }>,
  own: RouteFilter | undefined,
  input: PlanInput,
  state: Underway,
): Plan | undefined {
  const { routed, common } = state
  switch (filter.kind) {
    case 'rbac':
      return askPolicy(own?.policy ? own.policy.value : filter.policy, input, state)
    case 'fault':
      return injectFault(own?.fault ? own.fault.value : filter.fault, input, state)
    case 'cors': {
      // As in Envoy, of routes that forward.
      const cors =
        routed?.route.action.kind === 'forward' ? decideCors(own?.cors, input.request, input.random) : undefined
      common.cors = cors
      if (!cors?.preflight) return undefined
      const answer = { status: 200, body: '', location: undefined, fault: undefined, fields: cors.preflight }
      return { ...common, responseEdits: NO_EDITS, kind: 'answer', ...answer }
    }
    case 'session': {
      const settings = own?.session ?? filter.session
      common.session = settings ? findSession(settings, input.request, input.clocks.clock.wallMs()) : undefined
      if (common.session) addToAnswer(state, createSessionEdit(common.session))
      return undefined
    }
    case 'mutation':
      return filter.isEarly ? changeRequest(filter, own, input, state) : undefined
    case 'rate-limit':
      return takeLimit(own?.rateLimit ?? filter.limit, input, state)
    case 'health-check':
      return takeHealth(filter.health, input, state)
    case 'jwt': {
      const asked = askForTokens(filter.jwt, own, input.request, input)
      if ('code' in asked) return refuse(asked.code, asked.what, withOwnEdits(state, asked.edits))
      state.isMoved = asked.reroute
      return undefined
    }
    case 'grpc-web':
    case 'compressor':
      return addBodyFilter(filter, own, input, state)
    case 'blocked':
      return refuse('MESH_CHAIN_BLOCKED', `filter ${filter.name} cannot be applied`, withoutEdits(common, routed))
    default:
      return filter satisfies never
  }
}

/** As in Envoy, the route stays the one that was found before. */
function changeRequest(
  filter: Extract<HttpFilter, { kind: 'mutation' }>,
  own: RouteFilter | undefined,
  input: PlanInput,
  { routed, common }: Underway,
): Plan | undefined {
  const edits = listMutations(filter, own).flatMap((m) => m.request)
  if (edits.some(hasLateOperators))
    return refuse('MESH_CHAIN_BLOCKED', `filter ${filter.name} cannot be applied`, withoutEdits(common, routed))
  if (edits.length > 0) input.edit?.(edits, common.routeName)
  return undefined
}

function injectFault(
  fault: Fault | undefined,
  { request, random }: PlanInput,
  { routed, common }: Underway,
): Plan | undefined {
  const injected = decideFault(fault, request, random)
  if (!injected) return undefined
  common.delayMs += injected.delayMs
  const { abort } = injected
  if (!abort) return undefined
  const answer = { status: abort.status, body: 'fault filter abort', location: undefined, fault: abort }
  return { ...withoutEdits(common, routed), kind: 'answer', ...answer }
}
