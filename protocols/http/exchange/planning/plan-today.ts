/** A plan that has waited, by the tables of now. */
import type { Tables } from '../../../../model/tables.ts'
import type { PausedPlan, Plan, RefusePlan } from './plan.ts'
import { refuse } from './refusals.ts'

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

/** Something is waited for before the plan is made to the end. */
export function isPaused(plan: Plan): plan is PausedPlan {
  return plan.kind === 'wait' || plan.kind === 'gather' || plan.kind === 'keys' || plan.kind === 'limit'
}
