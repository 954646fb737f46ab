/** An authorization policy of the listener or of a route is asked about a request. */
import { RBAC_METADATA } from '../../../../model/http/ext-authz.ts'
import type { Policy } from '../../../../model/policy.ts'
import { collectTold, decide, decideShadow, describeShadow } from '../../../authz.ts'
import type { RequestFacts } from '../../../router.ts'
import { PolicyFacts } from '../../filters/policy-facts.ts'
import type { Plan, PlanInput } from './plan.ts'
import { refuse, withoutEdits, type Underway } from './refusals.ts'
import { addMetadata } from './take-verdict.ts'

/** @returns undefined: the request goes on */
export function askPolicy(
  policy: Policy | undefined,
  input: PlanInput,
  { routed, common }: Underway,
): Plan | undefined {
  if (!policy) return undefined
  const facts = new PolicyFacts(input)
  noteShadow(policy, facts, input.request, common)
  const decision = decide([policy], facts)
  if (decision.allowed) return undefined
  return refuse('MESH_PEER_NOT_ALLOWED', 'RBAC: access denied', withoutEdits(common, routed), decision.rule)
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
