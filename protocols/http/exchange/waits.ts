/** What a request waits for before its plan is made to the end. */
import { AwaitedKeys } from '../filters/jwt/awaited-keys.ts'
import { Gathering, type GatherOwner } from '../filters/bodies/gathering.ts'
import { Asking, type AskOwner } from '../filters/ext-authz/asking.ts'
import { AskingLimit } from '../filters/rate-limit/asking.ts'
import type { MeshError } from '../../../core/errors.ts'
import type { HttpRuntime } from '../runtime.ts'
import type { Plan, PausedPlan } from './planning/plan.ts'

/** Over when it is cancelled, or has told the next plan. */
export type Wait = Asking | AskingLimit | Gathering | AwaitedKeys

export type WaitOwner = AskOwner & GatherOwner & { abort(error: MeshError): void }

export function createWait(rt: HttpRuntime, owner: WaitOwner, plan: PausedPlan, follow: (next: Plan) => void): Wait {
  switch (plan.kind) {
    case 'wait':
      return new Asking(rt, owner, plan, (verdict) => follow(plan.resume(verdict)))
    case 'gather':
      return new Gathering(owner, plan.maxBytes, (isTooLarge) => follow(plan.resume(isTooLarge)))
    case 'keys':
      return new AwaitedKeys(plan.looked, owner, () => follow(plan.resume()))
    case 'limit':
      return new AskingLimit(rt, owner, plan, (answer) => follow(plan.resume(answer)))
    default:
      return plan satisfies never
  }
}
