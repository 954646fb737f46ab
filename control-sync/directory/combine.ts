/** Contents of files → the resources of a folder. */
import path from 'node:path'
import type { TimeSlice } from '../../core/os/time-slice.ts'
import type { FileContent, FileKind, FileProblem, FileResource } from './parse.ts'

export type Resources = ReadonlyMap<FileKind, ReadonlyMap<string, FileResource>>
export type FolderContent = { readonly resources: Resources; readonly problems: readonly FileProblem[] }

/**
 * Later contents win over earlier ones, but two files of one folder may not hold the same resource: which one is meant?
 */
export async function combine(contents: Iterable<FileContent>, slice: TimeSlice): Promise<FolderContent> {
  const resources = new Map<FileKind, Map<string, FileResource>>()
  const problems: FileProblem[] = []
  for (const content of contents) {
    problems.push(...content.problems, ...(content.blocked ?? []))
    for (const resource of content.resources) {
      if (slice.due) await slice.yield()
      const ofKind = resources.get(resource.kind) ?? new Map<string, FileResource>()
      resources.set(resource.kind, ofKind)
      const other = ofKind.get(resource.name)
      if (other && path.dirname(other.file) === path.dirname(resource.file)) problems.push(twice(resource, other))
      else ofKind.set(resource.name, resource)
    }
  }
  return { resources, problems }
}

function twice({ file, line, kind, name }: FileResource, other: FileResource): FileProblem {
  return {
    file,
    line,
    resource: kind === 'istio' ? name : `${kind} "${name}"`,
    field: 'name',
    problem: `stands in ${other.file} line ${other.line} already, which counts`,
  }
}

/** One sentence: `edge/clusters.yaml line 12: Cluster "a", lb_policy: …`. */
export function formatProblem({ file, line, column, resource, field, problem }: FileProblem): string {
  const what = [resource, field].filter((part) => part !== '').join(', ')
  return `${file} line ${line}${column === undefined ? '' : `, column ${column}`}: ${what === '' ? '' : `${what}: `}${problem}`
}
