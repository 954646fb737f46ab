/** A folder of resource files as the source of configuration: each change of a file is applied as a push would be. */
import type { Clock, Timer } from '../../core/os/clock.ts'
import { MeshError, toMeshError } from '../../core/errors.ts'
import { detach, doNothing } from '../../core/defects/guard.ts'
import type { Log } from '../../core/log.ts'
import { waitForNextTurn, TimeSlice } from '../../core/os/time-slice.ts'
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
export function startDirectorySync(options: DirectorySyncOptions): DirectorySync {
  return new FolderSync(options)
}

class FolderSync implements DirectorySync {
  readonly begun: Promise<void>
  readonly #o: DirectorySyncOptions
  readonly #synced = Promise.withResolvers<void>()
  #problems: readonly MeshError[] = []
  #link: ControlLinkStatus
  /** What the applier was given last. */
  #offered: FolderResources = new Map()
  /** Problems that the log has had. */
  #logged: ReadonlySet<string> = new Set()
  #work: Promise<unknown> = Promise.resolve()
  #watching: WatchedFolder | undefined
  #later: Timer | undefined
  #isOver = false
  #isMissing = false

  constructor(options: DirectorySyncOptions) {
    this.#o = options
    this.#link = {
      mode: 'directory',
      address: options.folder,
      state: 'watching',
      sinceMs: options.clock.monotonicMs(),
      lastContactMs: undefined,
      error: undefined,
    }
    this.begun = this.#begin()
  }

  get link(): ControlLinkStatus {
    return this.#link
  }
  get isMissing(): boolean {
    return this.#isMissing
  }
  get problems(): readonly MeshError[] {
    return this.#problems
  }
  get synced(): Promise<void> {
    return this.#synced.promise
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    this.#later?.cancel()
    this.#watching?.[Symbol.dispose]()
    await this.#work.catch(doNothing)
  }

  async #begin(): Promise<void> {
    const { folder, node, clock } = this.#o
    // Loading the program has filled this turn.
    await waitForNextTurn()
    try {
      this.#watching = await watchFolder({
        folder,
        node,
        clock,
        gone: (thrown) => this.#reportGone(thrown),
        onChange: (found) => {
          this.#work = this.#work.then(() => this.#apply(found))
          detach('configuration', this.#work)
        },
      })
    } catch (thrown) {
      this.#reportGone(thrown)
      this.#isMissing = true
      if (!this.#isOver) this.#later = clock.after(AGAIN_MS, () => detach('configuration', this.#begin()))
      return
    }
    this.#isMissing = false
    if (this.#isOver) this.#watching[Symbol.dispose]()
    await this.#work
    this.#synced.resolve()
  }

  async #apply({ problems, resources }: FolderResult): Promise<void> {
    const { applier, clock } = this.#o
    this.#reportProblems(problems)
    const changes = await findChanges(resources, this.#offered, new TimeSlice(clock))
    this.#offered = resources
    await applier.apply(changes)
    this.#link = { ...this.#link, lastContactMs: clock.monotonicMs() }
  }

  #reportProblems(problems: readonly string[]): void {
    this.#problems = problems.map((p) => new MeshError('MESH_CONFIG_REJECTED', p))
    for (const problem of problems)
      if (!this.#logged.has(problem))
        this.#o.log.warn(
          { evt: 'directory.refused', code: 'MESH_CONFIG_REJECTED', problem },
          'a resource file cannot be used; its last good content serves on',
        )
    this.#logged = new Set(problems)
  }

  #reportGone(thrown: unknown): void {
    const err = toMeshError(thrown)
    if (this.#problems.some((p) => p.message === err.message)) return
    this.#problems = [err]
    this.#o.log.warn({ evt: 'directory.gone', err }, 'there is no folder to read; what was read last serves on')
  }
}

/** What differs from what was offered before; the rest is in force or was refused. */
async function findChanges(wanted: FolderResources, offered: FolderResources, slice: TimeSlice): Promise<Change[]> {
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
