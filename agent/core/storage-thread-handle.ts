/** The worker thread as its users see it: started when the first message is sent, and again after it has died. */
import { Worker } from 'node:worker_threads'
import type { Bundle } from './bundle.ts'
import type { Disk } from './disk.ts'
import { MeshError, toMeshError } from './errors.ts'
import { sqliteAddon } from './sqlite-addon.ts'
import type { FromThread, ThreadStart, ToThread } from './storage-messages.ts'

/** SQLite's own memory is outside of this heap. */
const MAX_HEAP_MIB = 64

type ThreadWorld = { readonly stateFolder: string; readonly bundle: Bundle | undefined; readonly disk: Disk }

export interface ThreadUser {
  answered(message: FromThread): void
  /** The thread has died; nothing that was sent will be answered. */
  failed(error: MeshError): void
}

export class StorageThread {
  readonly #world: ThreadWorld
  readonly #users = new Map<number, ThreadUser>()
  #worker: Worker | undefined
  #files = 0
  /** Messages without an answer: every one gets exactly one. */
  #unanswered = 0

  constructor(world: ThreadWorld) { this.#world = world }

  /** @returns the number of the file in messages */
  register(user: ThreadUser): number {
    this.#users.set(++this.#files, user)
    return this.#files
  }
  forget(file: number): void { this.#users.delete(file) }

  /** @returns why it was not sent: MESH_STORAGE_FULL, MESH_STATE_UNUSABLE, MESH_STORAGE_FAILED */
  send(message: ToThread): MeshError | undefined {
    try {
      const worker = this.#worker ??= this.#start()
      worker.postMessage(message)
      // The process stays alive while somebody waits for the disk.
      if (this.#unanswered++ === 0) worker.ref()
      return undefined
    } catch (thrown) { return thrown instanceof MeshError ? thrown : new MeshError('MESH_STORAGE_FAILED', 'the storage thread does not start', { cause: thrown }) }
  }

  #start(): Worker {
    const { bundle } = this.#world
    const workerData: ThreadStart = { addon: this.#addon() }
    const options = { workerData, resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MIB, maxYoungGenerationSizeMb: 2 }, execArgv: [] }
    const worker = bundle ? new Worker(bundle.thread(), { ...options, eval: true }) : new Worker(new URL('./storage-thread.ts', import.meta.url), options)
    worker.on('message', (answer: FromThread) => {
      if (--this.#unanswered === 0) worker.unref()
      this.#users.get(answer.file)?.answered(answer)
    })
    worker.on('error', (err) => this.#died(worker, toMeshError(err).message))
    worker.on('exit', (code) => this.#died(worker, `it ended with ${code}`))
    worker.unref()
    return worker
  }

  #addon(): string | undefined {
    const { stateFolder } = this.#world
    try { return sqliteAddon(this.#world) } catch (cause) {
      if (cause instanceof MeshError) throw cause
      if ((cause as NodeJS.ErrnoException).code === 'ENOSPC') throw new MeshError('MESH_STORAGE_FULL', `there is no room for SQLite in ${stateFolder}`, { cause })
      throw new MeshError('MESH_STATE_UNUSABLE', `SQLite cannot be unpacked into ${stateFolder}`, { cause })
    }
  }

  #died(worker: Worker, why: string): void {
    if (this.#worker !== worker) return
    this.#worker = undefined
    this.#unanswered = 0
    const error = new MeshError('MESH_STORAGE_FAILED', `the storage thread broke: ${why}`)
    for (const user of this.#users.values()) user.failed(error)
  }
}
