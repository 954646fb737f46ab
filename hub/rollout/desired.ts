/** Which revision a device is to have. Pure, so that every replica finds the same. */
import { hasBegunFor, isActive, type Rollout } from './machine.ts'
import { formatScope, isWithin, type DeviceOf, type Scope } from './scope.ts'

/** What was good last, for whom. */
export type Assignment = { readonly scope: Scope; readonly revision: string }
/** Assignments in the order in which they came into force: the last that concerns a device counts for it. */
export type Desired = { readonly assignments: readonly Assignment[]; readonly active: Rollout | undefined }

/** Undefined: there is no revision yet. */
export function decideRevision({ assignments, active }: Desired, device: DeviceOf): string | undefined {
  if (active && isActive(active) && isWithin(active.scope, device) && hasBegunFor(active, device.name)) return active.to
  return assignments.findLast(({ scope }) => isWithin(scope, device))?.revision
}

/** What is for all replaces everything; what is for some replaces what was for the same. */
export function applyAssignment(assignments: readonly Assignment[], next: Assignment): readonly Assignment[] {
  if (next.scope.kind === 'all') return [next]
  const scope = formatScope(next.scope)
  return [...assignments.filter((one) => formatScope(one.scope) !== scope), next]
}

export const listRevisions = ({ assignments, active }: Desired): ReadonlySet<string> =>
  new Set([...assignments.map(({ revision }) => revision), ...(active ? [active.to] : [])])
