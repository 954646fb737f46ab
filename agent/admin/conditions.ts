/**
 * What may be wrong with an agent, one row a condition: `meshlet status` says "Nothing is wrong" when none of them
 * holds. docs/status.md is made from this table, and test/rules/catalogue.test.ts wants a test for each row. Worst
 * first.
 */
import { MeshError, toMeshError } from '../../core/errors.ts'
import type { Condition, Found } from './conditions/condition.ts'
import { CONFIGURATION } from './conditions/configuration.ts'
import { CONTROL_PLANE } from './conditions/control-plane.ts'
import { MEMORY } from './conditions/memory.ts'
import { PEERS } from './conditions/peers.ts'
import { PORTS } from './conditions/ports.ts'
import { DAMAGE, STORAGE } from './conditions/storage.ts'
import type { Problem } from './status.ts'
import type { StatusParts } from './status-parts.ts'

/** More names of the same kind help nobody. */
const MAX_LISTED = 20

export const CONDITIONS: readonly Condition[] = [
  ...CONTROL_PLANE,
  ...STORAGE,
  ...MEMORY,
  ...PORTS,
  ...PEERS,
  ...CONFIGURATION,
  DAMAGE,
]

/** A condition whose check fails is reported as such, and hides no other. */
export function findProblems(p: StatusParts, conditions: readonly Condition[] = CONDITIONS): Problem[] {
  const seen = new Set<string>()
  return conditions.flatMap(({ name, find }) => {
    let found: Found
    try {
      found = find(p)
    } catch (thrown) {
      const { code, message } = toMeshError(thrown)
      found = new MeshError(
        'MESH_INTERNAL',
        `the condition ${name} cannot be looked at: ${code === 'MESH_INTERNAL' ? '' : `${code}: `}${message}`,
        { cause: thrown },
      )
    }
    const all = (
      Array.isArray(found) ? (found as readonly (MeshError | undefined)[]) : [found as MeshError | undefined]
    ).filter((e) => e !== undefined)
    return all.slice(0, MAX_LISTED).flatMap((thrown) => {
      const err = toMeshError(thrown)
      if (seen.has(err.code + err.message)) return []
      seen.add(err.code + err.message)
      return [{ code: err.code, text: err.message, remedy: err.row.remedy }]
    })
  })
}
