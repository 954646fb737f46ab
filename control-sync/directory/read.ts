/** A folder of resource files: those at its top are everybody's, those in `<folder>/<node>/` are one node's and win over the shared ones. */
import fs from 'node:fs'
import path from 'node:path'
import { MeshError } from '../../agent/core/errors.ts'
import type { ResourceKind } from '../../agent/model/snapshot.ts'
import { allMessages } from './known.ts'
import { parseFile, wholeFile, type FileContent, type FileProblem, type FileResource } from './parse.ts'

export type { FileProblem, FileResource } from './parse.ts'

export type FolderContent = {
  readonly resources: ReadonlyMap<ResourceKind, ReadonlyMap<string, FileResource>>
  readonly problems: readonly FileProblem[]
}

const MAX_FILES = 10_000
const MAX_FILE_BYTES = 64 * 1024 * 1024
const MAX_PEM_BYTES = 1024 * 1024

/**
 * Reads everything once. File names in the result are relative to `folder`.
 * Throws MESH_CONFIG_INVALID when there is no such folder, or `node` is no folder name.
 */
export function readFolder(folder: string, node: string | undefined): FolderContent {
  return combine(listFiles(folder, node).map((file) => readOne(folder, file)))
}

/** Names of the resource files, shared ones first, each group in alphabetical order. Throws as readFolder does. */
export function listFiles(folder: string, node: string | undefined): string[] {
  // The hub has node names from devices: they may not lead out of the folder.
  if (node !== undefined && !/^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/.test(node)) throw new MeshError('MESH_CONFIG_INVALID', `${JSON.stringify(node.slice(0, 64))} cannot be the name of a node's folder`)
  const shared = namesIn(folder)
  if (!shared) throw new MeshError('MESH_CONFIG_INVALID', `there is no readable folder ${folder}`)
  const own = node === undefined ? [] : (namesIn(path.join(folder, node)) ?? []).map((name) => path.join(node, name))
  return [...shared, ...own].slice(0, MAX_FILES)
}

function namesIn(folder: string): string[] | undefined {
  try {
    return fs.readdirSync(folder).filter((name) => /^[^.].*\.(ya?ml|json)$/i.test(name)).toSorted()
  } catch { return undefined }
}

/** Never throws: a file that cannot be read is a problem of that file. */
export function readOne(folder: string, file: string): FileContent {
  const full = path.join(folder, file)
  let text: string
  try {
    const { size } = fs.statSync(full)
    if (size > MAX_FILE_BYTES) return wholeFile(file, `is larger than ${MAX_FILE_BYTES} bytes`)
    text = fs.readFileSync(full, 'utf8')
  } catch (err) { return wholeFile(file, `cannot be read: ${err instanceof Error ? err.message : String(err)}`) }
  return parseFile(file, text, (name) => smallFile(path.resolve(path.dirname(full), name)), allMessages())
}

function smallFile(file: string): string | undefined {
  try { return fs.statSync(file).size <= MAX_PEM_BYTES ? fs.readFileSync(file, 'utf8') : undefined } catch { return undefined }
}

/** Later contents win over earlier ones, but two files of one folder may not hold the same resource: which one is meant? */
export function combine(contents: readonly FileContent[]): FolderContent {
  const resources = new Map<ResourceKind, Map<string, FileResource>>()
  const problems: FileProblem[] = contents.flatMap((c) => [...c.problems, ...c.blocked ?? []])
  for (const resource of contents.flatMap((c) => c.resources)) {
    const ofKind = resources.get(resource.kind) ?? new Map<string, FileResource>()
    resources.set(resource.kind, ofKind)
    const other = ofKind.get(resource.name)
    if (other && path.dirname(other.file) === path.dirname(resource.file)) {
      problems.push({ file: resource.file, line: resource.line, resource: `${resource.kind} "${resource.name}"`, field: 'name', problem: `stands in ${other.file} line ${other.line} already, which counts` })
    } else ofKind.set(resource.name, resource)
  }
  return { resources, problems }
}

/** One sentence: `edge/clusters.yaml line 12: Cluster "a", lb_policy: …`. */
export function problemText({ file, line, resource, field, problem }: FileProblem): string {
  const what = [resource, field].filter((part) => part !== '').join(', ')
  return `${file} line ${line}: ${what === '' ? '' : `${what}: `}${problem}`
}
