/**
 * A removed file is a change like any other, but one that takes away most of what devices have is more likely a
 * mistake: it is not rolled out by itself. As the agent's own removal guard, for all of them before the first has it.
 */
import type { CompiledRevision } from '../source/compiled.ts'
import { selectType, type ResourceSet } from '../source/resources.ts'

/** A mesh this small changes as a whole now and then. */
const MIN_RESOURCES = 10
const MOST = 0.5

/**
 * @param p.devices how many there are: for a handful, everything may go but not for a fleet
 * @returns what goes, in words; undefined: no more than usual
 */
export function findRemovalOfMost(
  before: CompiledRevision,
  after: CompiledRevision,
  p: { readonly isFleet: boolean },
): string | undefined {
  for (const [folder, had] of before.folders) {
    const has = after.folders.get(folder)
    for (const [typeUrl, named] of had.types) {
      const left = has ? countOf(has, typeUrl, named) : 0
      const gone = named.size - left
      const isAll = gone === named.size && p.isFleet && folder === ''
      if (gone < named.size * MOST || (named.size < MIN_RESOURCES && !isAll)) continue
      const kind = typeUrl.slice(typeUrl.lastIndexOf('.') + 1)
      return `it takes away ${gone} of ${named.size} ${kind} ${folder === '' ? 'that are for all devices' : `of ${folder}/`}`
    }
  }
  return undefined
}

function countOf(set: ResourceSet, typeUrl: string, names: ReadonlyMap<string, unknown>): number {
  const present = selectType(set, typeUrl)
  let count = 0
  for (const name of names.keys()) if (present.has(name)) count++
  return count
}
