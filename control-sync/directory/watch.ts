/**
 * Watches a folder of resource files: those at its top are everybody's, those in `<folder>/<node>/` are one node's and
 * win over the shared ones. A file with a mistake keeps its last good resources in force until it is corrected; a file
 * that is deleted takes its resources with it. Changes come from the kernel and, where those are missed, from a slow
 * look at the time stamps.
 */
import path from 'node:path'
import type { Clock, Timer } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import { detach, reportDefect } from '../../core/defects/guard.ts'
import { TimeSlice } from '../../core/os/time-slice.ts'
import { combine, formatProblem, type Resources } from './combine.ts'
import { FolderFiles, type LookFor } from './folder-files.ts'
import type { FileKind } from './parse.ts'
import { listFiles, MAX_FILES } from './list.ts'
import { FolderNotices } from './notices.ts'
import { FolderReader } from './reader.ts'

/** Kind → name → the Any's value. What is the same object as before has not changed. */
export type FolderResources = ReadonlyMap<FileKind, ReadonlyMap<string, Uint8Array>>
export type FolderResult = {
  readonly resources: FolderResources
  /** One sentence each, with file, line, resource and field. */
  readonly problems: readonly string[]
}

export type WatchOptions = {
  readonly folder: string
  /** Name of the subfolder with this node's own files; undefined = shared files only. */
  readonly node: string | undefined
  readonly clock: Clock
  /** Shared by the watchers of several folders. */
  readonly reader?: FolderReader
  /** Called once before watchFolder resolves, and then whenever resources or problems differ. */
  readonly onChange: (found: FolderResult) => void
  /** The folder is gone; `onChange` is called when it is back. */
  readonly gone?: (why: unknown) => void
}

/** An editor writes a file in several steps. */
const DEBOUNCE_MS = 50
const SLOW_LOOK_MS = 5_000
/** Without notices from the kernel (network file systems, no inotify watches left). */
const QUICK_LOOK_MS = 500

/**
 * Resolves once everything has been read. Rejects with MESH_CONFIG_INVALID when there is no such folder, or `node` is
 * no name of one. Disposing ends the watching.
 */
export async function watchFolder(options: WatchOptions): Promise<WatchedFolder> {
  const watched = new WatchedFolder(options)
  try {
    await watched.look('first')
  } catch (err) {
    watched[Symbol.dispose]()
    throw err
  }
  watched.start()
  return watched
}

export class WatchedFolder implements Disposable {
  readonly #o: WatchOptions
  readonly #reader: FolderReader
  readonly #files: FolderFiles
  readonly #notices = new FolderNotices(() => this.#soon('notice'))
  #last: FolderResult | undefined
  #looking: Promise<void> = Promise.resolve()
  #debounce: Timer | undefined
  #nextLook: Timer | undefined
  #noticed = false
  #closed = false

  constructor(options: WatchOptions) {
    this.#o = options
    this.#reader = options.reader ?? new FolderReader(options.clock)
    const { folder, node, clock } = options
    this.#files = new FolderFiles({
      folder,
      list: () => listFiles(folder, node),
      maxFiles: MAX_FILES,
      clock,
      reader: this.#reader,
    })
  }

  /** Resolves when nothing is being read. */
  get idle(): Promise<void> {
    return this.#looking
  }

  start(): void {
    if (this.#closed) return
    const { folder, node, clock } = this.#o
    const wanted = node === undefined ? [folder] : [folder, path.join(folder, node)]
    for (const one of wanted) this.#notices.add(one)
    this.#nextLook = clock.after(this.#notices.size < wanted.length ? QUICK_LOOK_MS : SLOW_LOOK_MS, () => {
      this.#safeLook('changes')
      detach(
        'configuration',
        this.#looking.then(() => {
          this.start()
        }),
      )
    })
  }

  /** Reads what changed and tells what is new. Rejects when the folder is gone. */
  async look(what: LookFor): Promise<void> {
    const { changed, unsettled } = await this.#files.look(what)
    if (this.#closed) return
    if (unsettled) this.#soon('changes')
    if (!changed && this.#last) return
    const slice = new TimeSlice(this.#o.clock)
    const content = await combine(this.#files.contents(), slice)
    const before = this.#last
    const resources = await reuseValues(content.resources, before?.resources, slice)
    const problems = content.problems.map(formatProblem)
    if (
      this.#closed ||
      (before && resources === before.resources && before.problems.join('\n') === problems.join('\n'))
    )
      return
    this.#last = { resources, problems }
    this.#o.onChange(this.#last)
  }

  [Symbol.dispose](): void {
    this.#closed = true
    this.#debounce?.cancel()
    this.#nextLook?.cancel()
    if (!this.#o.reader) this.#reader[Symbol.dispose]()
    this.#notices[Symbol.dispose]()
  }

  /** A folder that is gone for a moment (unmounted, being replaced) changes nothing; it is looked for again. */
  #safeLook(what: LookFor): void {
    this.#looking = this.#looking
      .then(() => this.look(what))
      .catch((thrown: unknown) => {
        if (!(thrown instanceof MeshError)) reportDefect('configuration', thrown)
        this.#last = undefined
        this.#o.gone?.(thrown)
        this.#notices[Symbol.dispose]()
      })
  }

  #soon(what: LookFor): void {
    if (what === 'notice') this.#noticed = true
    // Not prolonged by further notices: a file that is written all the time must not keep the others waiting.
    if (!this.#closed)
      this.#debounce ??= this.#o.clock.after(DEBOUNCE_MS, () => {
        const noticed = this.#noticed
        this.#debounce = undefined
        this.#noticed = false
        this.#safeLook(noticed ? 'notice' : 'changes')
      })
  }
}

/** The very `before` when nothing in it differs, and its maps for kinds of which nothing does. */
async function reuseValues(
  found: Resources,
  before: FolderResources | undefined,
  slice: TimeSlice,
): Promise<FolderResources> {
  const all = new Map<FileKind, ReadonlyMap<string, Uint8Array>>()
  let isSame = before?.size === found.size
  for (const [kind, named] of found) {
    const old = before?.get(kind)
    const values = new Map<string, Uint8Array>()
    let sameKind = old?.size === named.size
    for (const [name, { value }] of named) {
      if (slice.due) await slice.yield()
      const last = old?.get(name)
      const next = last && (last === value || Buffer.compare(last, value) === 0) ? last : value
      if (next !== last) sameKind = false
      values.set(name, next)
    }
    all.set(kind, sameKind ? old! : values)
    if (!sameKind) isSame = false
  }
  return isSame ? before! : all
}
