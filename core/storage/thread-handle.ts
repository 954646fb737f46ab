/** The worker thread as its users see it: started when the first message is sent, and again after it has died. */
import { Worker } from 'node:worker_threads'
import type { Bundle } from '../runtime/bundle.ts'
import { FFI_ARGV } from '../runtime/libc.ts'
import { MeshError, toMeshError } from '../errors.ts'
import { describeAddon } from './sqlite-addon.ts'
import type { FromThread, ToThread } from './messages.ts'
import { guard, doNothing } from '../defects/guard.ts'

/** SQLite's own memory is outside of this heap. */
const MAX_HEAP_MIB = 64

export type StorageWorker = Worker

export type ThreadWorld = {
  readonly bundle: Bundle | undefined
  /** Started before anybody knew the configuration; the first that is used. */
  readonly worker?: StorageWorker | undefined
}

/**
 * A thread takes as long to come up as configuration takes to read: who will need one starts it first. It holds no
 * process open.
 */
export function startWorker(bundle: Bundle | undefined): StorageWorker {
  // The descriptor of SQLite's addon outlives the thread that made it.
  const start = (execArgv: readonly string[]): Worker => {
    const options = {
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MIB, maxYoungGenerationSizeMb: 2 },
      execArgv: [...execArgv],
      trackUnmanagedFds: false,
    }
    return bundle
      ? new Worker(bundle.thread, { ...options, eval: true })
      : new Worker(new URL('./thread.ts', import.meta.url), options)
  }
  let worker: Worker
  try {
    worker = start(FFI_ARGV)
  } catch {
    // A Node that does not know the option.
    worker = start([])
  }
  if (bundle) {
    const addon = { ...describeAddon(bundle), ...(loaded.has(bundle) ? { fd: loaded.get(bundle) } : {}) }
    worker.on(
      'message',
      guard('storage', doNothing, (answer: FromThread) => {
        if (answer.kind === 'addon') loaded.set(bundle, answer.fd)
      }),
    )
    worker.postMessage({ kind: 'prepare', addon } satisfies ToThread)
  }
  worker.unref()
  return worker
}

/** Descriptors of addons that a thread has loaded. */
const loaded = new WeakMap<Bundle, number>()

export type ThreadAnswer = Exclude<FromThread, { kind: 'addon' }>

export interface ThreadUser {
  answered(message: ThreadAnswer): void
  /** The thread has died; nothing that was sent will be answered. */
  failed(error: MeshError): void
}

export class StorageThread {
  readonly #world: ThreadWorld
  #warm: Worker | undefined
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
  forget(file: number): void {
    this.#users.delete(file)
  }

  /** @param changesHands gone from here afterwards @returns why it was not sent: MESH_STORAGE_FAILED */
  send(message: ToThread, changesHands: readonly ArrayBuffer[] = []): MeshError | undefined {
    try {
      const worker = (this.#worker ??= this.#start())
      worker.postMessage(message, changesHands)
      // The process stays alive while somebody waits for the disk.
      if (message.kind !== 'piece' && this.#unanswered++ === 0) worker.ref()
      return undefined
    } catch (thrown) {
      return thrown instanceof MeshError
        ? thrown
        : new MeshError('MESH_STORAGE_FAILED', 'the storage thread does not start', { cause: thrown })
    }
  }

  /** What malloc has free in the whole process goes back to the system, behind what the thread does now. */
  trimMalloc(): void {
    this.#worker?.postMessage({ kind: 'trim', rest: false } satisfies ToThread)
  }
  /** That, the thread's own garbage, and pages of Node's program; those that run are back at once. */
  releaseMemory(): void {
    this.#worker?.postMessage({ kind: 'trim', rest: true } satisfies ToThread)
  }

  #start(): Worker {
    const worker = this.#warm ?? startWorker(this.#world.bundle)
    this.#warm = undefined
    worker.on(
      'message',
      guard('storage', doNothing, (answer: FromThread) => {
        if (answer.kind === 'addon') return
        if (--this.#unanswered === 0) worker.unref()
        this.#users.get(answer.file)?.answered(answer)
      }),
    )
    worker.on(
      'error',
      guard('storage', doNothing, (err: unknown) => this.#died(worker, toMeshError(err).message)),
    )
    worker.on(
      'exit',
      guard('storage', doNothing, (code: number) => this.#died(worker, `it ended with ${code}`)),
    )
    return worker
  }

  #died(worker: Worker, why: string): void {
    if (this.#worker !== worker) return
    this.#worker = undefined
    this.#unanswered = 0
    const error = new MeshError('MESH_STORAGE_FAILED', `the storage thread broke: ${why}`)
    for (const user of this.#users.values()) user.failed(error)
  }
}
