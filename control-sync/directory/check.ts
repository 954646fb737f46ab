/** A folder of resources looked at as a whole: mistakes, what refers to nothing, and what has no effect. */
import path from 'node:path'
import type { TimeSlice } from '../../core/os/time-slice.ts'
import { decode } from '../decode/decode.ts'
import { collectReferences, findDangling, NO_REFERENCES, type Holder, type References } from '../references.ts'
import { combine, formatProblem, type Resources } from './combine.ts'
import type { FileContent, FileResource } from './parse.ts'
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
  const holders: PlacedHolder[] = []
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
      `${(d.holder as PlacedHolder).place}: ${d.holder.kind} "${d.holder.name}" names the cluster "${d.name}", which does not exist`,
    )
  }
  return { problems: found, ignored, counts }
}

export type CheckedContents = {
  /** By folder: '' the one at the top. */
  readonly folders: ReadonlyMap<string, Resources>
  /** One sentence each. */
  readonly problems: readonly string[]
}
type PlacedHolder = Holder & { readonly place: string }

/** What did not change since is not decoded again. */
const known = new WeakMap<Uint8Array, References>()

/**
 * Folders within a folder looked at together: what stands twice, and clusters that exist nowhere. What is wrong within a
 * file was found when it was read. @param files in the order of the folder, with names relative to it
 */
export async function checkContents(
  files: Iterable<{ readonly file: string; readonly content: FileContent }>,
  slice: TimeSlice,
): Promise<CheckedContents> {
  const byFolder = Map.groupBy(files, ({ file }) => (path.dirname(file) === '.' ? '' : path.dirname(file)))
  const folders = new Map<string, Resources>()
  const problems: string[] = []
  for (const [folder, own] of byFolder) {
    const found = await combine(
      own.map(({ content }) => content),
      slice,
    )
    folders.set(folder, found.resources)
    problems.push(...found.problems.map(formatProblem))
  }
  problems.push(...(await findNamedNowhere(folders, slice)))
  return { folders, problems }
}

/** What a device has beside a folder depends on the device: a name that exists in any of them may be meant. */
async function findNamedNowhere(folders: CheckedContents['folders'], slice: TimeSlice): Promise<readonly string[]> {
  const clusters = new Set<string>()
  const holders: PlacedHolder[] = []
  // Istio YAML becomes clusters when a node asks.
  if (folders.values().some((resources) => resources.has('istio'))) return []
  for (const resources of folders.values()) {
    for (const name of resources.get('cluster')?.keys() ?? []) clusters.add(name)
    for (const named of resources.values()) {
      for (const resource of named.values()) {
        if (slice.due) await slice.yield()
        const references = referencesOf(resource)
        const { kind, name, file, line } = resource
        if (kind !== 'istio' && references !== NO_REFERENCES)
          holders.push({ kind, name, references, place: `${file} line ${line}` })
      }
    }
  }
  return findDangling(holders, (name) => clusters.has(name)).map(
    ({ holder, name }) =>
      `${(holder as PlacedHolder).place}: ${holder.kind} "${holder.name}" names the cluster "${name}", which does not exist`,
  )
}

function referencesOf({ kind, value }: FileResource): References {
  if (kind === 'istio') return NO_REFERENCES
  const before = known.get(value)
  if (before) return before
  const decoded = decode(kind, value, { readFile: () => '' })
  const references = decoded.ok ? collectReferences(kind, decoded.value) : NO_REFERENCES
  known.set(value, references)
  return references
}
