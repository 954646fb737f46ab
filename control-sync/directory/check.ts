/** A folder of resources looked at as a whole: mistakes, what refers to nothing, and what has no effect. */
import { decode } from '../decode/decode.ts'
import { findDangling, collectReferences, type Holder } from '../references.ts'
import { formatProblem } from './combine.ts'
import { readFolder } from './read-folder.ts'

export type FolderCheck = {
  /** One sentence each, with file, line, resource and field. */
  readonly problems: readonly string[]
  /** Fields that meshlet does not act upon, with where they stand. */
  readonly ignored: readonly string[]
  /** Kind → number of resources. */
  readonly counts: Readonly<Record<string, number>>
}

/** Rejects with MESH_CONFIG_INVALID when there is no such folder. */
export async function checkFolder(folder: string, node: string | undefined): Promise<FolderCheck> {
  const { resources, problems } = await readFolder(folder, node)
  const found = problems.map(formatProblem)
  const ignored: string[] = []
  const counts: Record<string, number> = {}
  const holders: (Holder & { readonly place: string })[] = []
  for (const [kind, byName] of resources) {
    if (kind === 'istio') continue // of the hub's folder only
    counts[kind] = byName.size
    for (const { name, value, file, line } of byName.values()) {
      const decoded = decode(kind, value, { readFile: () => '' })
      if (!decoded.ok) continue // stands among the problems
      for (const what of decoded.skipped) ignored.push(`${file} line ${line}: ${kind} "${name}": ${what}`)
      for (const field of decoded.ignored) ignored.push(`${file} line ${line}: ${kind} "${name}", ${field}`)
      holders.push({ kind, name, references: collectReferences(kind, decoded.value), place: `${file} line ${line}` })
    }
  }
  const clusters = resources.get('cluster')
  for (const d of findDangling(holders, (name) => clusters?.has(name) ?? false)) {
    found.push(
      `${(d.holder as (typeof holders)[number]).place}: ${d.holder.kind} "${d.holder.name}" names the cluster "${d.name}", which does not exist`,
    )
  }
  return { problems: found, ignored, counts }
}
