/**
 * Watches a folder of resource files. A file with a mistake keeps its last good resources in force until it is mended; a file that is
 * deleted takes its resources with it. Changes come from the kernel and, where those are missed, from a slow look at the time stamps.
 */
import fs from 'node:fs'
import path from 'node:path'
import type { Clock, Timer } from '../../agent/core/clock.ts'
import type { ResourceKind } from '../../agent/model/snapshot.ts'
import type { FileContent } from './parse.ts'
import { combine, listFiles, problemText, readOne, type FileProblem, type FolderContent } from './read.ts'
import { guarded, nothing } from '../../agent/core/guard.ts'

export type FolderResult = {
  /** Kind → name → the Any's value. */
  readonly resources: ReadonlyMap<ResourceKind, ReadonlyMap<string, Uint8Array>>
  /** One sentence each, with file, line, resource and field. */
  readonly problems: readonly string[]
}

export type WatchOptions = {
  readonly folder: string
  /** Name of the subfolder with this node's own files; undefined = shared files only. */
  readonly node: string | undefined
  readonly clock: Clock
  /** Called once before watchFolder returns, and then whenever resources or problems differ. */
  readonly onChange: (found: FolderResult) => void
  /** The folder is gone; `onChange` is called when it is back. */
  readonly gone?: (why: unknown) => void
}

/** An editor writes a file in several steps; one look after them is enough. */
const DEBOUNCE_MS = 50
const SLOW_LOOK_MS = 5_000
/** Without notices from the kernel (network file systems, no inotify watches left). */
const QUICK_LOOK_MS = 500

/** Throws MESH_CONFIG_INVALID when there is no such folder. Disposing stops the watching. */
export function watchFolder(options: WatchOptions): Disposable {
  const watcher = new FolderWatcher(options)
  watcher.look()
  watcher.start()
  return watcher
}

class FolderWatcher implements Disposable {
  readonly #o: WatchOptions
  readonly #good = new Map<string, FileContent>()
  readonly #watches = new Map<string, fs.FSWatcher>()
  #stamps = ''
  #last: FolderContent | undefined
  #lastProblems = ''
  #debounce: Timer | undefined
  #nextLook: Timer | undefined
  #closed = false

  constructor(options: WatchOptions) { this.#o = options }

  start(): void {
    this.#watch(this.#o.folder)
    if (this.#o.node !== undefined) this.#watch(path.join(this.#o.folder, this.#o.node))
    const wanted = this.#o.node === undefined ? 1 : 2
    this.#nextLook = this.#o.clock.after(this.#watches.size < wanted ? QUICK_LOOK_MS : SLOW_LOOK_MS, () => {
      if (this.#stampsNow() !== this.#stamps) this.#safeLook()
      if (!this.#closed) this.start()
    })
  }

  /** Reads all files and tells what is new. Throws when the folder is gone. */
  look(): void {
    const { folder, node } = this.#o
    this.#stamps = this.#stampsNow()
    const files = listFiles(folder, node)
    for (const file of this.#good.keys()) if (!files.includes(file)) this.#good.delete(file)
    const problems: FileProblem[] = []
    const contents = files.map((file) => {
      const content = readOne(folder, file)
      problems.push(...content.problems)
      const good = this.#good.get(file)
      if (content.problems.length > 0 && good) return good
      // At the first look the sound resources of a damaged file are better than none.
      if (content.problems.length === 0) this.#good.set(file, content)
      return { ...content, problems: [] }
    })
    const found = combine(contents)
    this.#tell({ resources: found.resources, problems: [...problems, ...found.problems] })
  }

  [Symbol.dispose](): void {
    this.#closed = true
    this.#debounce?.cancel()
    this.#nextLook?.cancel()
    for (const watch of this.#watches.values()) watch.close()
  }

  #tell(found: FolderContent): void {
    const problems = found.problems.map(problemText)
    if (this.#last && sameResources(this.#last, found) && this.#lastProblems === problems.join('\n')) return
    this.#last = found
    this.#lastProblems = problems.join('\n')
    const resources = new Map([...found.resources].map(([kind, byName]) => [kind, new Map([...byName].map(([name, r]) => [name, r.value]))]))
    this.#o.onChange({ resources, problems })
  }

  /** A folder that is gone for a moment (unmounted, being replaced) changes nothing; it is looked for again. */
  #safeLook(): void {
    try { this.look() } catch (why) {
      this.#stamps = ''
      this.#last = undefined
      this.#o.gone?.(why)
      for (const watch of this.#watches.values()) watch.close()
    }
  }

  #watch(folder: string): void {
    if (this.#watches.has(folder)) return
    try {
      const watch = fs.watch(folder, { persistent: false })
      const forget = guarded('configuration', nothing, () => { watch.close(); this.#watches.delete(folder) })
      watch.on('change', guarded('configuration', nothing, () => this.#soon()))
      watch.on('error', forget)
      watch.on('close', forget)
      this.#watches.set(folder, watch)
    } catch { /* no such folder yet, or no watches left: the quick look finds it */ }
  }

  #soon(): void {
    // Not prolonged by further notices: a file that is written all the time must not keep the others waiting.
    if (!this.#closed) this.#debounce ??= this.#o.clock.after(DEBOUNCE_MS, () => { this.#debounce = undefined; this.#safeLook() })
  }

  /** Inode, size and time of every file: differs when any was written, replaced, added or removed. */
  #stampsNow(): string {
    const { folder, node } = this.#o
    try {
      return listFiles(folder, node).map((file) => {
        const s = fs.statSync(path.join(folder, file), { throwIfNoEntry: false })
        return s ? `${file} ${s.ino} ${s.size} ${s.mtimeMs}` : file
      }).join('\n')
    } catch { return '' }
  }
}

function sameResources(a: FolderContent, b: FolderContent): boolean {
  if (a.resources.size !== b.resources.size) return false
  for (const [kind, byName] of a.resources) {
    const others = b.resources.get(kind)
    if (others?.size !== byName.size) return false
    for (const [name, { value }] of byName) {
      const other = others.get(name)
      if (!other || Buffer.compare(other.value, value) !== 0) return false
    }
  }
  return true
}
