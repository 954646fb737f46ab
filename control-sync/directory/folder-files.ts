/**
 * The files of a folder as they were last read: only what changed is read again, and each resource that cannot be read
 * keeps its last good content.
 */
import path from 'node:path'
import type { Clock } from '../../core/os/clock.ts'
import { TimeSlice } from '../../core/os/time-slice.ts'
import { stampFile } from './list.ts'
import { formatLabel, type FileContent, type FileProblem, type FileResource } from './parse.ts'
import type { FolderReader } from './reader.ts'
import { Unrest } from './unrest.ts'

/** `hash` undefined: it is to be parsed again even if it is the same, for what it names may have come. */
type FileState = {
  readonly stamp: string
  readonly hash: string | undefined
  readonly good: FileContent | undefined
  readonly problems: readonly FileProblem[]
}
export type Looked = {
  readonly changed: boolean
  /** Somebody is writing: another look in a moment. */
  readonly unsettled: boolean
}
/** `notice`: something happened in the folder, maybe to what a file with a mistake names. */
export type LookFor = 'first' | 'notice' | 'changes'

const CANNOT_BE_LOOKED_AT = '?'
/** Then those are taken that are whole. */
const TORN_TRIES = 10
/** At the first look there is nothing that could serve in the meantime. */
const FIRST_TRIES = 5

export type FolderFilesOptions = {
  readonly folder: string
  /** Names of its files, relative to it. Throws MESH_CONFIG_INVALID when there is no such folder. */
  readonly list: () => readonly string[] | Promise<readonly string[]>
  /** More are a mistake, and would take long to look at. */
  readonly maxFiles: number
  readonly clock: Clock
  readonly reader: FolderReader
}
/** A file as it was last read. `hash`: SHA-256 of its content; undefined while it has a mistake. */
export type ReadFolderFile = {
  readonly file: string
  readonly hash: string | undefined
  readonly content: FileContent
}

export class FolderFiles {
  readonly #folder: string
  readonly #list: FolderFilesOptions['list']
  readonly #maxFiles: number
  readonly #clock: Clock
  readonly #reader: FolderReader
  readonly #unrest = new Unrest()
  #files = new Map<string, FileState>()
  /** Looks in a row that found somebody writing. */
  #torn = 0
  #tooMany: readonly FileProblem[] = []

  constructor({ folder, list, maxFiles, clock, reader }: FolderFilesOptions) {
    this.#folder = folder
    this.#list = list
    this.#maxFiles = maxFiles
    this.#clock = clock
    this.#reader = reader
  }

  /** What is in force, in the order of the folder. */
  *contents(): Iterable<FileContent> {
    if (this.#tooMany.length > 0) yield { resources: [], problems: this.#tooMany }
    for (const { content } of this.files()) yield content
  }
  *files(): Iterable<ReadFolderFile> {
    for (const [file, { hash, good, problems }] of this.#files)
      yield { file, hash, content: { resources: good?.resources ?? [], problems, blocked: good?.blocked ?? [] } }
  }
  /** There are more files than are read. */
  get tooMany(): readonly FileProblem[] {
    return this.#tooMany
  }

  /**
   * What changed since the last look comes into force together. Throws MESH_CONFIG_INVALID when the folder is not
   * there.
   */
  async look(what: LookFor): Promise<Looked> {
    const slice = new TimeSlice(this.#clock)
    const listed = await this.#list()
    const stamps = await this.#stamps(listed, slice)
    const moved = [...stamps].filter(([file, stamp]) => this.#files.get(file)?.stamp !== stamp)
    const gone = [...this.#files.keys()].filter((file) => !stamps.has(file))
    const rest = this.#unrest.at(
      [...moved, ...gone.map((file) => [file, 'gone'] as const)],
      this.#clock.monotonicMs(),
      stamps.size === 0,
    )
    if (what !== 'first' && rest.wait) return { changed: false, unsettled: true }
    const movedFiles = new Set(moved.map(([file]) => file))
    const again =
      what === 'notice'
        ? [...stamps].filter(([file]) => !movedFiles.has(file) && this.#files.get(file)?.hash === undefined)
        : []
    const wanted = [...moved, ...again].filter(([file]) => what === 'first' || !rest.restless.has(file))
    const read = await this.#readAll(wanted, what, slice)
    // One of several that were swapped together: all of them at the next look.
    if (read === 'torn') return { changed: false, unsettled: true }
    this.#files = new Map(
      listed.flatMap((file): [string, FileState][] => {
        const state = read.get(file) ?? this.#files.get(file)
        return state && stamps.has(file) ? [[file, state]] : []
      }),
    )
    return { changed: read.size + gone.length > 0, unsettled: rest.restless.size > 0 }
  }

  async #stamps(files: readonly string[], slice: TimeSlice): Promise<Map<string, string>> {
    const left = files.length - this.#maxFiles
    this.#tooMany =
      left > 0
        ? [
            {
              file: files[this.#maxFiles]!,
              line: 1,
              resource: '',
              field: '',
              problem: `this and ${left - 1} more are not read: a folder has ${this.#maxFiles} files at most`,
            },
          ]
        : []
    const stamps = new Map<string, string>()
    for (const file of files.slice(0, this.#maxFiles)) {
      if (slice.due) await slice.yield()
      stamps.set(file, stampFile(path.join(this.#folder, file)) ?? CANNOT_BE_LOOKED_AT)
    }
    return stamps
  }

  /** `torn`: one of them changed meanwhile. */
  async #readAll(
    files: readonly (readonly [file: string, stamp: string])[],
    what: LookFor,
    slice: TimeSlice,
  ): Promise<Map<string, FileState> | 'torn'> {
    const read = new Map<string, FileState>()
    for (const [file, stamp] of files) {
      if (slice.due) await slice.yield()
      const state = await this.#read(file, stamp, what, slice)
      if (state === 'torn' && what !== 'first' && this.#torn++ < TORN_TRIES) return 'torn'
      if (state !== 'torn') read.set(file, state)
    }
    this.#torn = 0
    return read
  }

  async #read(file: string, stamp: string, what: LookFor, slice: TimeSlice): Promise<FileState | 'torn'> {
    const before = this.#files.get(file)
    let read = await this.#reader.read(this.#folder, file, before?.hash)
    for (let i = 1; i < FIRST_TRIES && what === 'first' && read.content === 'torn'; i++)
      read = await this.#reader.read(this.#folder, file, undefined)
    if (read.content === 'torn' || (what !== 'first' && read.stamp !== '' && read.stamp !== stamp)) return 'torn'
    if (read.content === 'same') return { ...before!, stamp: read.stamp }
    const { problems } = read.content
    const isGood = problems.length === 0
    const content = await reuseKnown(read.content, before?.good, slice)
    const good = isGood || !before?.good ? content : withLastGood(content, before.good)
    return { stamp: read.stamp === '' ? stamp : read.stamp, hash: isGood ? read.hash : undefined, good, problems }
  }
}

/**
 * Of a file with mistakes: what is sound in it counts, everything else is what it was when it was last sound. That a
 * resource is not there is not believed of such a file: it may be the one whose name is mistaken, or behind where the
 * file is broken.
 */
function withLastGood(content: FileContent, before: FileContent): FileContent {
  const sound = new Set(content.resources.map((r) => `${r.kind} ${r.name}`))
  const rest = before.resources.filter((r) => !sound.has(`${r.kind} ${r.name}`))
  const labels = new Set(rest.map(formatLabel))
  return {
    resources: [...content.resources, ...rest],
    problems: [],
    blocked: [...(content.blocked ?? []), ...(before.blocked ?? []).filter((p) => labels.has(p.resource))],
  }
}

/** Resources that are as they were stay the same bytes: nobody needs to look at them again. */
async function reuseKnown(
  content: FileContent,
  before: FileContent | undefined,
  slice: TimeSlice,
): Promise<FileContent> {
  if (!before) return { ...content, problems: [] }
  const known = new Map<string, Uint8Array>()
  for (const { kind, name, value } of before.resources) {
    if (slice.due) await slice.yield()
    known.set(`${kind} ${name}`, value)
  }
  const resources: FileResource[] = []
  for (const resource of content.resources) {
    if (slice.due) await slice.yield()
    const value = known.get(`${resource.kind} ${resource.name}`)
    resources.push(value && Buffer.compare(value, resource.value) === 0 ? { ...resource, value } : resource)
  }
  return { ...content, resources, problems: [] }
}
