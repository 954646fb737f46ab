/** A folder of resource files as the source of configuration: each change of a file is applied as a push would be. */
import type { Clock, Timer } from '../../core/os/clock.ts'
import { MeshError, toMeshError } from '../../core/errors.ts'
import { detached, nothing } from '../../core/defects/guard.ts'
import type { Log } from '../../core/log.ts'
import { TimeSlice } from '../../core/os/time-slice.ts'
import { TYPE_URLS, type ResourceKind } from '../../model/snapshot.ts'
import type { Applier, Change } from '../apply.ts'
import type { Incoming } from '../stage.ts'
import { watchFolder, type FolderResources, type FolderResult, type WatchedFolder } from './watch.ts'
import type { ControlLinkStatus, Sync } from '../sync.ts'

/** A folder that is not there yet is looked for so often: it may be on a disk that is mounted late. */
const AGAIN_MS = 500

export type DirectorySync = Sync & {
  /** Resolves after the first look, whether there is a folder or not. */
  readonly begun: Promise<void>
  /** There has not been a folder yet. */
  readonly isMissing: boolean
  readonly problems: readonly MeshError[]
}
export type DirectorySyncOptions = {
  readonly folder: string
  readonly node: string | undefined
  readonly applier: Applier
  readonly clock: Clock
  readonly log: Log
}

/**
 * A folder that is not there (yet) is a problem like a file that cannot be read: `synced` resolves once there is one.
 */
export function startDirectorySync({ folder, node, applier, clock, log }: DirectorySyncOptions): DirectorySync {
  let problems: readonly MeshError[] = []
  let link: ControlLinkStatus = {
    mode: 'directory',
    address: folder,
    state: 'watching',
    sinceMs: clock.monotonicMs(),
    lastContactMs: undefined,
    error: undefined,
  }
  let offered: FolderResources = new Map()
  let told: ReadonlySet<string> = new Set()
  let work: Promise<unknown> = Promise.resolve()
  let isOver = false
  let isMissing = false
  const synced = Promise.withResolvers<void>()
  let watching: WatchedFolder | undefined
  const apply = async (found: FolderResult): Promise<void> => {
    problems = found.problems.map((p) => new MeshError('MESH_CONFIG_REJECTED', p))
    for (const text of found.problems)
      if (!told.has(text))
        log.warn(
          { evt: 'directory.refused', code: 'MESH_CONFIG_REJECTED', problem: text },
          'a resource file cannot be used; its last good content serves on',
        )
    told = new Set(found.problems)
    const changes = await changesTo(found.resources, offered, new TimeSlice(clock))
    offered = found.resources
    await applier.apply(changes)
    link = { ...link, lastContactMs: clock.monotonicMs() }
  }
  const gone = (thrown: unknown): void => {
    const err = toMeshError(thrown)
    if (problems.some((p) => p.message === err.message)) return
    problems = [err]
    log.warn({ evt: 'directory.gone', err }, 'there is no folder to read; what was read last serves on')
  }
  let later: Timer | undefined
  const begin = async (): Promise<void> => {
    try {
      watching = await watchFolder({
        folder,
        node,
        clock,
        gone,
        onChange: (found) => {
          work = work.then(() => apply(found))
          detached('configuration', work)
        },
      })
    } catch (thrown) {
      gone(thrown)
      isMissing = true
      if (!isOver) later = clock.after(AGAIN_MS, () => detached('configuration', begin()))
      return
    }
    isMissing = false
    if (isOver) watching[Symbol.dispose]()
    await work
    synced.resolve()
  }
  const begun = begin()
  return {
    get link() {
      return link
    },
    get isMissing() {
      return isMissing
    },
    get problems() {
      return problems
    },
    begun,
    synced: synced.promise,
    async [Symbol.asyncDispose]() {
      isOver = true
      later?.cancel()
      watching?.[Symbol.dispose]()
      await work.catch(nothing)
    },
  }
}

/** What differs from what was offered before; the rest is in force or was refused. */
async function changesTo(wanted: FolderResources, offered: FolderResources, slice: TimeSlice): Promise<Change[]> {
  const changes: Change[] = []
  for (const kind of Object.keys(TYPE_URLS) as ResourceKind[]) {
    const [now, before] = [wanted.get(kind) ?? NONE, offered.get(kind) ?? NONE]
    const put: Incoming[] = []
    const removed: string[] = []
    for (const [name, value] of now === before ? NONE : now) {
      if (slice.due) await slice.yield()
      if (before.get(name) !== value) put.push({ name, version: '', value })
    }
    for (const name of now === before ? [] : before.keys()) if (!now.has(name)) removed.push(name)
    changes.push({ kind, put, removed })
  }
  return changes
}
const NONE: ReadonlyMap<string, Uint8Array> = new Map()
