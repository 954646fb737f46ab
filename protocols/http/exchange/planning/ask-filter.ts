/** One filter of the listener is asked about a request. */
import { RBAC_METADATA } from '../../../../model/http/ext-authz.ts'
import type { HttpFilter } from '../../../../model/listener.ts'
import type { Policy } from '../../../../model/policy.ts'
import type { RouteFilter } from '../../../../model/route.ts'
import { collectTold, decide, decideShadow, describeShadow } from '../../../authz.ts'
import type { RequestFacts } from '../../../router.ts'
import { decideCors } from '../../filters/cors.ts'
import { decideFault } from '../../filters/fault.ts'
import { askForTokens } from '../../filters/jwt/filter.ts'
import { PolicyFacts } from '../../filters/policy-facts.ts'
import { findSession } from '../../filters/session.ts'
import { NO_EDITS } from '../../filters/route-edits.ts'
import { addBodyFilter } from './add-body-filter.ts'
import type { Plan, PlanInput } from './plan.ts'
import { withoutEdits, refuse, type Underway } from './refusals.ts'
import { takeLimit } from './take-limit.ts'
import { addMetadata } from './take-verdict.ts'

/**
 * Changes of mutations are made when all filters have been asked (withRequestMutations).
 * @returns undefined: the request goes on
 */
export function askFilter(
  filter: Exclude<HttpFilter, { kind: 'ext-authz' | 'buffer' }>,
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
      noteShadow(policy, facts, input.request, common)
      const decision = decide([policy], facts)
      if (decision.allowed) return undefined
      return refuse('MESH_PEER_NOT_ALLOWED', 'RBAC: access denied', withoutEdits(common, routed), decision.rule)
    }
    case 'fault': {
      const injected = decideFault(own?.fault ? own.fault.value : filter.fault, input.request, input.random)
      if (!injected) return undefined
      common.delayMs += injected.delayMs
      const { abort } = injected
      if (!abort) return undefined
      const answer = { status: abort.status, body: 'fault filter abort', location: undefined, fault: abort }
      return { ...withoutEdits(common, routed), kind: 'answer', ...answer }
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
    case 'session': {
      const settings = own?.session ?? filter.session
      common.session = settings ? findSession(settings, input.request, input.clocks.clock.wallMs()) : undefined
      return undefined
    }
    case 'mutation':
      return undefined
    case 'rate-limit':
      return takeLimit(own?.rateLimit ?? filter.limit, input, state)
    case 'jwt': {
      const asked = askForTokens(filter.jwt, own, input.request, input)
      if ('code' in asked)
        return { ...refuse(asked.code, asked.what, withoutEdits(common, routed)), fields: asked.fields }
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

/** What its dry-run rules and AUDIT find; asked once, for whoever is told and for filters behind it. */
function noteShadow(policy: Policy, facts: PolicyFacts, request: RequestFacts, common: Underway['common']): void {
  const { shadow } = policy
  if (!shadow && policy.action !== 'log') return
  const dryRun = shadow && decideShadow(shadow, facts)
  common.shadow = [...(common.shadow ?? []), ...collectTold(policy, dryRun, facts)]
  if (shadow?.prefix === undefined || !dryRun) return
  addMetadata(request, RBAC_METADATA, {
    ...(request.metadata?.[RBAC_METADATA] as object | undefined),
    ...describeShadow(shadow.prefix, dryRun),
  })
}
