/** A folder of resource files as the source of configuration: each change of a file is applied as a push would be. */
import type { Clock } from '../../agent/core/clock.ts'
import { MeshError } from '../../agent/core/errors.ts'
import { detached } from '../../agent/core/guard.ts'
import type { Log } from '../../agent/core/log.ts'
import { TYPE_URLS, type ResourceKind } from '../../agent/model/snapshot.ts'
import type { Applier, Change } from '../apply.ts'
import { watchFolder, type FolderResult } from './watch.ts'
import type { Link, Sync } from '../sync.ts'

export type DirectorySync = Sync & { readonly problems: readonly MeshError[] }
export type DirectorySyncOptions = { readonly folder: string; readonly node: string | undefined; readonly applier: Applier; readonly clock: Clock; readonly log: Log }

/** `synced` rejects with MESH_CONFIG_INVALID when there is no such folder. */
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
  let watching: Disposable | undefined
  try {
    watching = watchFolder({ folder, node, clock, onChange: (found) => { detached('configuration', apply(found)) } })
  } catch (thrown) { synced.reject(thrown) }
  return {
    get link() { return link }, get problems() { return problems }, synced: synced.promise,
    async [Symbol.asyncDispose]() { watching?.[Symbol.dispose]() },
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
