/** A folder of resource files as the source of configuration: each change of a file is applied as a push would be. */
import type { Clock, Timer } from '../../agent/core/clock.ts'
import { MeshError, toMeshError } from '../../agent/core/errors.ts'
import { detached } from '../../agent/core/guard.ts'
import type { Log } from '../../agent/core/log.ts'
import { TYPE_URLS, type ResourceKind } from '../../agent/model/snapshot.ts'
import type { Applier, Change } from '../apply.ts'
import { watchFolder, type FolderResult } from './watch.ts'
import type { Link, Sync } from '../sync.ts'

/** A folder that is not there yet is looked for so often: it may be on a disk that is mounted late. */
const AGAIN_MS = 500

export type DirectorySync = Sync & {
  /** There has not been a folder yet. */
  readonly isMissing: boolean
  readonly problems: readonly MeshError[]
}
export type DirectorySyncOptions = { readonly folder: string; readonly node: string | undefined; readonly applier: Applier; readonly clock: Clock; readonly log: Log }

/** A folder that is not there (yet) is a problem like a file that cannot be read: `synced` resolves once there is one. */
export function startDirectorySync({ folder, node, applier, clock, log }: DirectorySyncOptions): DirectorySync {
  let problems: readonly MeshError[] = []
  let link: Link = { mode: 'directory', address: folder, state: 'watching', sinceMs: clock.monotonicMs(), lastContactMs: undefined, error: undefined }
  const synced = Promise.withResolvers<void>()
  const apply = async (found: FolderResult): Promise<void> => {
    problems = found.problems.map((p) => new MeshError('MESH_CONFIG_REJECTED', p))
    for (const text of found.problems) log.warn({ evt: 'directory.refused', code: 'MESH_CONFIG_REJECTED', problem: text }, 'a resource file cannot be used; its last good content serves on')
    await applier.apply(changesTo(found, applier))
    link = { ...link, lastContactMs: clock.monotonicMs() }
    synced.resolve()
  }
  const gone = (thrown: unknown): void => {
    const err = toMeshError(thrown)
    if (problems.some((p) => p.message === err.message)) return
    problems = [err]
    log.warn({ evt: 'directory.gone', err }, 'there is no folder to read; what was read last serves on')
  }
  let watching: Disposable | undefined
  let later: Timer | undefined
  const begin = (): void => {
    try { watching = watchFolder({ folder, node, clock, onChange: (found) => { detached('configuration', apply(found)) }, gone }) } catch (thrown) {
      gone(thrown)
      later = clock.after(AGAIN_MS, begin)
    }
  }
  begin()
  return {
    get link() { return link }, get isMissing() { return !watching }, get problems() { return problems }, synced: synced.promise,
    async [Symbol.asyncDispose]() { later?.cancel(); watching?.[Symbol.dispose]() },
  }
}

/** The whole folder against what is in force: what is there, and what is there no more. */
function changesTo(found: FolderResult, applier: Applier): Change[] {
  return (Object.keys(TYPE_URLS) as ResourceKind[]).map((kind) => {
    const wanted = found.resources.get(kind) ?? new Map<string, Uint8Array>()
    return {
      kind, put: [...wanted].map(([name, value]) => ({ name, version: '', value })),
      removed: [...applier.snapshot.resources[kind].keys()].filter((name) => !wanted.has(name)),
    }
  })
}
