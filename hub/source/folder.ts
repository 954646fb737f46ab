/**
 * The resources folder as one whole: what stands in it is taken when nobody is writing any more and nothing in it is
 * wrong, or is told what is wrong with it.
 */
import { createHash } from 'node:crypto'
import type { Clock, Timer } from '../../core/os/clock.ts'
import { MeshError, toMeshError } from '../../core/errors.ts'
import { detach, guard, doNothing, reportDefect } from '../../core/defects/guard.ts'
import { TimeSlice } from '../../core/os/time-slice.ts'
import { checkContents } from '../../control-sync/directory/check.ts'
import { FolderFiles, type LookFor } from '../../control-sync/directory/folder-files.ts'
import { FolderNotices } from '../../control-sync/directory/notices.ts'
import type { FileContent } from '../../control-sync/directory/parse.ts'
import { formatProblem } from '../../control-sync/directory/combine.ts'
import { FolderReader } from '../../control-sync/directory/reader.ts'
import { findCompiledTwice } from '../istio/read/compiled-twice.ts'
import { ISTIO_FILES } from '../istio/read/istio-file.ts'
import { listTree, MAX_FILES } from './folder-tree.ts'

/** `hash`: SHA-256 of its bytes, hexadecimal. */
export type RevisionFile = { readonly path: string; readonly hash: string; readonly content: FileContent }
/** `id` is the same wherever the same files with the same contents stand. */
export type FolderRevision = { readonly id: string; readonly files: readonly RevisionFile[] }
export type FolderFound =
  | { readonly kind: 'revision'; readonly revision: FolderRevision }
  | { readonly kind: 'invalid'; readonly problems: readonly string[] }
export type FolderOptions = {
  readonly folder: string
  readonly clock: Clock
  readonly onFound: (found: FolderFound) => void
}

const DEBOUNCE_MS = 50
/** Several files that belong together are written one after the other: so long nothing may have changed. */
const SETTLE_MS = 300
const SLOW_LOOK_MS = 5_000
/** Without notices from the kernel. */
const QUICK_LOOK_MS = 500
/** To look at so many folders takes a while: it is done less often. */
const MANY_FOLDERS = 1_000
const MANY_LOOK_MS = 30_000
/** inotify's usual bound for one user is a multiple. */
const MAX_NOTICES = 4_000

export class ResourcesFolder implements Disposable {
  readonly #o: FolderOptions
  readonly #reader: FolderReader
  readonly #files: FolderFiles
  readonly #notices = new FolderNotices(() => this.#soon('notice'))
  #folders: readonly string[] = []
  #misnamed: readonly string[] = []
  #told = ''
  /** Monotonic milliseconds; undefined: what stands there has been told. */
  #changedMs: number | undefined
  #looking: Promise<void> = Promise.resolve()
  #debounce: Timer | undefined
  #nextLook: Timer | undefined
  #noticed = false
  #closed = false

  private constructor(o: FolderOptions) {
    this.#o = o
    this.#reader = new FolderReader(o.clock, ISTIO_FILES)
    this.#files = new FolderFiles({
      ...o,
      list: () => this.#list(),
      maxFiles: MAX_FILES,
      reader: this.#reader,
    })
  }

  /**
   * Resolves once what stands there has been told. Rejects with MESH_CONFIG_INVALID when there is no folder.
   */
  static async open(o: FolderOptions): Promise<ResourcesFolder> {
    const folder = new ResourcesFolder(o)
    try {
      await folder.#look('first')
    } catch (err) {
      folder[Symbol.dispose]()
      throw err
    }
    folder.#watch()
    return folder
  }

  [Symbol.dispose](): void {
    this.#closed = true
    this.#debounce?.cancel()
    this.#nextLook?.cancel()
    this.#notices[Symbol.dispose]()
    this.#reader[Symbol.dispose]()
  }

  async #list(): Promise<readonly string[]> {
    const { files, folders, problems } = await listTree(this.#o.folder, new TimeSlice(this.#o.clock))
    this.#folders = folders
    this.#misnamed = problems
    return files
  }

  #watch(): void {
    if (this.#closed) return
    const watched = this.#folders.slice(0, MAX_NOTICES)
    this.#notices.retain(new Set(watched))
    for (const folder of watched) this.#notices.add(folder)
    const isMany = this.#folders.length > MANY_FOLDERS
    const isDeaf = this.#notices.size < this.#folders.length
    const waitMs = isMany ? (isDeaf ? SLOW_LOOK_MS : MANY_LOOK_MS) : isDeaf ? QUICK_LOOK_MS : SLOW_LOOK_MS
    this.#nextLook = this.#o.clock.after(
      waitMs,
      guard('hub', doNothing, () => {
        this.#safeLook('changes')
        detach(
          'hub',
          this.#looking.then(() => {
            this.#watch()
          }),
        )
      }),
    )
  }

  async #look(what: LookFor): Promise<void> {
    const nowMs = this.#o.clock.monotonicMs()
    const misnamed = this.#misnamed.join()
    const { changed, unsettled } = await this.#files.look(what)
    if (this.#closed) return
    if (what === 'first') {
      await this.#tell()
      return
    }
    if (changed || unsettled || misnamed !== this.#misnamed.join()) this.#changedMs = nowMs
    if (unsettled) this.#soon('changes')
    else if (this.#changedMs !== undefined && nowMs - this.#changedMs >= SETTLE_MS) {
      this.#changedMs = undefined
      await this.#tell()
    } else if (this.#changedMs !== undefined) this.#soon('changes')
  }

  async #tell(): Promise<void> {
    const found = await this.#evaluate()
    const told = found.kind === 'revision' ? found.revision.id : found.problems.join('\n')
    if (this.#closed || told === this.#told) return
    this.#told = told
    this.#o.onFound(found)
  }

  async #evaluate(): Promise<FolderFound> {
    const slice = new TimeSlice(this.#o.clock)
    const files = [...this.#files.files()].sort((a, b) => (a.file < b.file ? -1 : 1))
    const { problems, folders } = await checkContents(files, slice)
    const all = [
      ...this.#misnamed,
      ...this.#files.tooMany.map(({ file, problem }) => `${file}: ${problem}`),
      ...problems,
      ...[...folders.values()].flatMap(findCompiledTwice).map(formatProblem),
    ]
    if (all.length > 0) return { kind: 'invalid', problems: all }
    const hash = createHash('sha256')
    const taken: RevisionFile[] = []
    for (const { file, hash: ofFile, content } of files) {
      if (slice.due) await slice.yield()
      const hex = Buffer.from(ofFile ?? '', 'base64').toString('hex')
      hash.update(`${file}\0${hex}\n`)
      taken.push({ path: file, hash: hex, content })
    }
    return { kind: 'revision', revision: { id: hash.digest('hex').slice(0, 16), files: taken } }
  }

  /** A folder that is gone for a moment (unmounted, being replaced) changes nothing; it is looked for again. */
  #safeLook(what: LookFor): void {
    this.#looking = this.#looking
      .then(() => this.#look(what))
      .catch((thrown: unknown) => {
        if (!(thrown instanceof MeshError)) reportDefect('hub', thrown)
        this.#notices.retain(new Set())
        const { message } = toMeshError(thrown)
        if (this.#closed || this.#told === message) return
        this.#told = message
        this.#o.onFound({ kind: 'invalid', problems: [message] })
      })
  }

  #soon(what: LookFor): void {
    if (what === 'notice') this.#noticed = true
    if (this.#closed) return
    // Not prolonged by further notices: a file that is written all the time must not keep the others waiting.
    this.#debounce ??= this.#o.clock.after(
      DEBOUNCE_MS,
      guard('hub', doNothing, () => {
        const noticed = this.#noticed
        this.#debounce = undefined
        this.#noticed = false
        this.#safeLook(noticed ? 'notice' : 'changes')
      }),
    )
  }
}
