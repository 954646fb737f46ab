/** The worker thread as its users see it: started when the first message is sent, and again after it has died. */
import { Worker } from 'node:worker_threads'
import type { Bundle } from './bundle.ts'
import type { Disk } from './disk.ts'
import { MeshError, toMeshError } from './errors.ts'
import { addonOf, unpackAddon } from './sqlite-addon.ts'
import type { OpenFile } from './sqlite-file.ts'
import type { FromThread, OpenHow, ToThread } from './storage-messages.ts'
import { guarded, nothing } from './guard.ts'

/** SQLite's own memory is outside of this heap. */
const MAX_HEAP_MIB = 64

export type StorageWorker = Worker

export type ThreadWorld = {
  readonly stateFolder: string
  readonly bundle: Bundle | undefined
  readonly disk: Disk
  /** Started before anybody knew the state folder; the first that is used. */
  readonly worker?: StorageWorker | undefined
}

/** A thread takes as long to come up as configuration takes to read: who will need one starts it first. It holds no process open. */
export function startWorker(bundle: Bundle | undefined): StorageWorker {
  const options = { resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MIB, maxYoungGenerationSizeMb: 2 }, execArgv: [] }
  const worker = bundle ? new Worker(bundle.thread(), { ...options, eval: true }) : new Worker(new URL('./storage-thread.ts', import.meta.url), options)
  worker.unref()
  const stateFolder = bundle?.likelyStateFolder()
  if (bundle && stateFolder !== undefined) worker.postMessage({ kind: 'prepare', addon: addonOf(stateFolder, bundle) } satisfies ToThread)
  return worker
}

export type ThreadAnswer = Exclude<FromThread, { kind: 'no addon' }>

export interface ThreadUser {
  answered(message: ThreadAnswer): void
  /** The thread has died; nothing that was sent will be answered. */
  failed(error: MeshError): void
}

export class StorageThread {
  readonly #world: ThreadWorld
  #warm: Worker | undefined
  /** Files that this thread was to open a second time, after the addon was unpacked. */
  readonly #again = new Set<number>()
  readonly #users = new Map<number, ThreadUser>()
  #worker: Worker | undefined
  #files = 0
  /** Messages without an answer: every one but a piece gets exactly one. */
  #unanswered = 0

  constructor(world: ThreadWorld) {
    this.#world = world
    this.#warm = world.worker
  }

  /** @returns the number of the file in messages */
  register(user: ThreadUser): number {
    this.#users.set(++this.#files, user)
    return this.#files
  }
  forget(file: number): void { this.#users.delete(file) }

  /** As `send`. */
  open(file: number, how: Omit<OpenFile, 'addon'>): MeshError | undefined {
    const { bundle, stateFolder } = this.#world
    return this.send({ kind: 'open', file, how: { ...how, addon: bundle && addonOf(stateFolder, bundle) } })
  }
  /** @param changesHands gone from here afterwards @returns why it was not sent: MESH_STORAGE_FAILED */
  send(message: ToThread, changesHands: readonly ArrayBuffer[] = []): MeshError | undefined {
    try {
      const worker = this.#worker ??= this.#start()
      worker.postMessage(message, changesHands)
      // The process stays alive while somebody waits for the disk.
      if (message.kind !== 'piece' && this.#unanswered++ === 0) worker.ref()
      return undefined
    } catch (thrown) { return thrown instanceof MeshError ? thrown : new MeshError('MESH_STORAGE_FAILED', 'the storage thread does not start', { cause: thrown }) }
  }

  #start(): Worker {
    const worker = this.#warm ?? startWorker(this.#world.bundle)
    this.#warm = undefined
    this.#again.clear()
    worker.on('message', guarded('storage', nothing, (answer: FromThread) => {
      if (answer.kind === 'no addon') { this.#openWithAddon(worker, answer); return }
      if (--this.#unanswered === 0) worker.unref()
      this.#users.get(answer.file)?.answered(answer)
    }))
    worker.on('error', guarded('storage', nothing, (err: unknown) => this.#died(worker, toMeshError(err).message)))
    worker.on('exit', guarded('storage', nothing, (code: number) => this.#died(worker, `it ended with ${code}`)))
    return worker
  }

  #openWithAddon(worker: Worker, { file, how }: { readonly file: number; readonly how: OpenHow }): void {
    const { bundle } = this.#world
    try {
      if (!bundle || this.#again.has(file)) throw new MeshError('MESH_STORAGE_FAILED', `${how.addon?.file} does not stay what was written`)
      if (this.#again.size === 0) unpackAddon({ ...this.#world, bundle })
      this.#again.add(file)
      worker.postMessage({ kind: 'open', file, how } satisfies ToThread)
    } catch (thrown) {
      if (--this.#unanswered === 0) worker.unref()
      this.#users.get(file)?.failed(toMeshError(thrown))
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
