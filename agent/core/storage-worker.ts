/**
 * Storage over one worker thread for all files of the process. Group commit without a timer: what arrives while a commit runs forms the next
 * one, so a busy agent pays one fsync for many messages and an idle one waits for nobody.
 */
import { Worker } from 'node:worker_threads'
import type { Bundle } from './bundle.ts'
import type { Disk } from './disk.ts'
import { MeshError, toMeshError } from './errors.ts'
import { sqliteAddon } from './sqlite-addon.ts'
import type { Answer, FromThread, Job, ThreadStart, ToThread } from './storage-messages.ts'
import type { Opened, OpenStorage, Row, Statement, Storage, StorageOptions, StorageStats } from './storage.ts'

export type StorageWorld = { readonly stateFolder: string; readonly bundle: Bundle | undefined; readonly disk: Disk }

/** How long `eco` waits for company: flash wears by the write. */
const ECO_WAIT_MS = 1_000
/** SQLite's own memory is outside of this heap. */
const MAX_HEAP_MIB = 64

export function openStorageWith(world: StorageWorld): OpenStorage {
  let thread: Thread | undefined
  let files = 0
  return async (options) => {
    // A thread that died is not used again; files that were open on it have failed for good.
    if (!thread || thread.dead) thread = new Thread(world)
    const mine = thread
    const file = ++files
    const answer = await mine.ask((id) => ({ kind: 'open', id, file, path: options.path, profile: options.profile, migrations: options.migrations, stamp: String(Date.now()) }))
    return { storage: new WorkerStorage(mine, file, options), setAside: 'setAside' in answer ? answer.setAside : undefined } satisfies Opened
  }
}

type Waiting = { resolve(answer: Answer): void; reject(error: MeshError): void }

class Thread {
  readonly #worker: Worker
  readonly #waiting = new Map<number, Waiting>()
  #ids = 0
  dead = false

  constructor(world: StorageWorld) {
    const data: ThreadStart = { addon: addonOf(world) }
    const options = { workerData: data, resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MIB, maxYoungGenerationSizeMb: 8 }, stdout: false, stderr: false, execArgv: [] }
    this.#worker = world.bundle ? new Worker(world.bundle.file, options) : new Worker(new URL('./storage-thread.ts', import.meta.url), options)
    this.#worker.on('message', ({ answers }: FromThread) => { for (const answer of answers) this.#settle(answer) })
    this.#worker.on('error', (err: Error) => this.#die(err.message))
    this.#worker.on('exit', () => this.#die('it ended'))
    this.#worker.unref()
  }

  /** Resolves with the answer, rejects with its error. */
  ask(make: (id: number) => ToThread): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const id = this.expect({ resolve, reject })
      if (id !== undefined) this.send(make(id))
    })
  }
  /** A place for one answer; undefined (and rejected) when the thread is dead. */
  expect(waiting: Waiting): number | undefined {
    if (this.dead) { waiting.reject(new MeshError('MESH_STORAGE_FAILED', 'the storage thread has ended')); return undefined }
    const id = ++this.#ids
    // The process stays alive while somebody waits for the disk.
    if (this.#waiting.size === 0) this.#worker.ref()
    this.#waiting.set(id, waiting)
    return id
  }
  send(message: ToThread): void { this.#worker.postMessage(message) }

  #settle(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id)
    this.#waiting.delete(answer.id)
    if (this.#waiting.size === 0) this.#worker.unref()
    if ('error' in answer) waiting?.reject(new MeshError(answer.error.code, answer.error.message))
    else waiting?.resolve(answer)
  }
  #die(why: string): void {
    this.dead = true
    const error = new MeshError('MESH_STORAGE_FAILED', `the storage thread broke: ${why}`)
    for (const waiting of this.#waiting.values()) waiting.reject(error)
    this.#waiting.clear()
  }
}

function addonOf(world: StorageWorld): string | undefined {
  try { return sqliteAddon(world) } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOSPC') throw new MeshError('MESH_STORAGE_FULL', `there is no room for SQLite in ${world.stateFolder}`, { cause })
    throw new MeshError('MESH_STATE_UNUSABLE', `SQLite cannot be unpacked into ${world.stateFolder}`, { cause })
  }
}

type Pending = { readonly statements: readonly Statement[]; resolve(): void; reject(error: MeshError): void }

class WorkerStorage implements Storage {
  readonly #thread: Thread
  readonly #file: number
  readonly #eco: boolean
  readonly stats: StorageStats = { commits: 0, statements: 0, fsyncs: 0, writtenBytes: 0, waiting: 0 }
  #pending: Pending[] = []
  #running: Promise<void> | undefined

  constructor(thread: Thread, file: number, { profile }: StorageOptions) {
    this.#thread = thread
    this.#file = file
    this.#eco = profile === 'eco'
  }

  commit(statements: readonly Statement[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ statements, resolve, reject })
      this.stats.waiting = this.#pending.length
      this.#running ??= this.#run()
    })
  }
  async query(statement: Statement): Promise<readonly Row[]> {
    const answer = await this.#thread.ask((id) => ({ kind: 'query', id, file: this.#file, statement }))
    return 'rows' in answer ? answer.rows : []
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running
    await this.#thread.ask((id) => ({ kind: 'close', id, file: this.#file })).catch(() => undefined)
  }

  async #run(): Promise<void> {
    if (this.#eco) await new Promise((resolve) => { setTimeout(resolve, ECO_WAIT_MS) })
    // Everything that this turn of the event loop still brings belongs to the first batch.
    else await new Promise((resolve) => { setImmediate(resolve) })
    while (this.#pending.length > 0) {
      const batch = this.#pending
      this.#pending = []
      this.stats.waiting = 0
      await this.#batch(batch)
    }
    this.#running = undefined
  }

  #batch(batch: readonly Pending[]): Promise<void> {
    this.stats.commits++
    this.stats.fsyncs++
    return new Promise((over) => {
      let left = batch.length
      const settled = (): void => { if (--left === 0) over() }
      const jobs: Job[] = []
      for (const { statements, resolve, reject } of batch) {
        this.stats.statements += statements.length
        for (const { params } of statements) for (const p of params ?? []) if (p instanceof Uint8Array) this.stats.writtenBytes += p.length
        const id = this.#thread.expect({ resolve: () => { resolve(); settled() }, reject: (err) => { reject(toMeshError(err)); settled() } })
        if (id !== undefined) jobs.push({ id, statements })
      }
      if (jobs.length > 0) this.#thread.send({ kind: 'commit', file: this.#file, jobs })
    })
  }
}
