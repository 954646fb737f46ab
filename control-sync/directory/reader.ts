/**
 * Files of a folder, read off this thread: what is small here, everything else in a thread that is there while there is
 * something to read.
 */
import fs from 'node:fs'
import path from 'node:path'
import { Worker } from 'node:worker_threads'
import { bundle } from '../../core/runtime/bundle.ts'
import type { Clock, Timer } from '../../core/os/clock.ts'
import { toMeshError } from '../../core/errors.ts'
import { detach, guard } from '../../core/defects/guard.ts'
import { waitForNextTurn } from '../../core/os/time-slice.ts'
import { listOwnMessages } from './known.ts'
import { blockWholeFile, type FileContent, type FileResource } from './parse.ts'
import { readHead, readOne, type OtherFiles, type ReadOne } from './read.ts'
import {
  FOLDER_THREAD,
  type FileRequest,
  type FolderThreadData,
  type FromFolderThread,
  type ToFolderThread,
} from './thread-messages.ts'

/**
 * Takes some ten milliseconds at most, which is no longer than traffic may wait; a thread takes many, and 30 MiB. YAML
 * takes ten times as long as JSON.
 */
const SMALL_JSON_BYTES = 64 * 1024
const SMALL_BYTES = 8 * 1024
/** Of a file that is no resource file of Envoy. */
const MAX_OTHER_BYTES = 1024 * 1024
/** As much of it tells what it is. */
const HEAD_BYTES = 64 * 1024
const EMPTY: FileContent = { resources: [], problems: [] }
/** Several small ones in a row take as long as a large one. */
const SMALL_IN_A_ROW = 8
/** Nothing that a person or a program writes takes so long. */
const MAX_READ_MS = 60_000
/** Its memory is given back when nothing has changed for so long. */
const IDLE_MS = 5_000
/**
 * The garbage collector's bound for parsing: a file that needs more is refused. The machine's or the unit's own limit
 * may be lower, and the thread ends there.
 */
const MAX_HEAP_MIB = 512

/** Names the program that is running: a thread of another one may speak otherwise. */
export const readProgramBuild = (): string =>
  bundle ? `${bundle.version} ${bundle.builtAt} ${bundle.addonSha256}` : ''

type Asked = FileRequest & { readonly resolve: (read: ReadOne) => void; readonly resources: FileResource[] }

export class FolderReader implements Disposable {
  readonly #clock: Clock
  readonly #other: OtherFiles | undefined
  readonly #queue: Asked[] = []
  #worker: Worker | undefined
  #isReady = false
  /** The thread cannot be had. */
  #alone = false
  #smallInARow = 0
  #deadline: Timer | undefined
  #idle: Timer | undefined

  /** @param other what is no resource file of Envoy; it is read on this thread, and is small */
  constructor(clock: Clock, other?: OtherFiles) {
    this.#clock = clock
    this.#other = other
  }

  /** Never rejects. @param hash of what is known of the file */
  async read(folder: string, file: string, hash: string | undefined): Promise<ReadOne> {
    const other = this.#other && (await this.#readIfOther(folder, file, hash))
    if (other) return other
    if (this.#alone || this.#isSmall(path.join(folder, file))) {
      await waitForNextTurn()
      const read = readOne(folder, file, hash, listOwnMessages())
      // Envoy has more fields than meshlet; whether it is a mistake, the thread knows.
      if (typeof read.content === 'string' || read.content.problems.length === 0) return read
    }
    return new Promise((resolve) => {
      this.#queue.push({ folder, file, hash, resolve, resources: [] })
      if (this.#queue.length === 1) this.#next()
    })
  }

  [Symbol.dispose](): void {
    this.#idle?.cancel()
    this.#stop()
    for (const { file, resolve } of this.#queue.splice(0)) resolve(failed(file, 'the reader has ended'))
  }

  async #readIfOther(folder: string, file: string, hash: string | undefined): Promise<ReadOne | undefined> {
    if (!/\.ya?ml$/i.test(file)) return undefined
    const size = fs.statSync(path.join(folder, file), { throwIfNoEntry: false })?.size ?? 0
    await waitForNextTurn()
    if (size > MAX_OTHER_BYTES) return this.#refuseIfOther(folder, file, size)
    let isOther = false
    const read = readOne(folder, file, hash, listOwnMessages(), (name, text) => {
      const content = this.#other!.read(name, text)
      isOther = content !== undefined
      return content ?? EMPTY
    })
    return isOther || read.content === 'same' ? read : undefined
  }

  /** What it is shows at its beginning; a large file of Envoy's resources is read by the thread. */
  #refuseIfOther(folder: string, file: string, size: number): ReadOne | undefined {
    if (!this.#other!.owns(file, readHead(path.join(folder, file), HEAD_BYTES))) return undefined
    const problem = `has ${size} bytes, and ${MAX_OTHER_BYTES} are read of a file of this kind: make several files of it`
    return failed(file, problem)
  }

  #isSmall(file: string): boolean {
    const size = fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0
    const most = /\.json$/i.test(file) ? SMALL_JSON_BYTES : SMALL_BYTES
    const isSmall = size <= most && this.#smallInARow < SMALL_IN_A_ROW
    this.#smallInARow = isSmall ? this.#smallInARow + 1 : this.#smallInARow
    this.#stopLater()
    return isSmall
  }

  /** When nothing has been asked for a while the thread goes. */
  #stopLater(): void {
    this.#idle?.cancel()
    this.#idle = this.#clock.after(IDLE_MS, () => {
      if (this.#queue.length > 0) return
      this.#smallInARow = 0
      this.#stop()
    })
  }

  #next(): void {
    const asked = this.#queue[0]
    if (!asked) {
      this.#stopLater()
      return
    }
    const worker = (this.#worker ??= this.#start())
    this.#deadline = this.#clock.after(MAX_READ_MS, () =>
      this.#died(worker, `it takes longer than ${MAX_READ_MS / 1000} s`),
    )
    worker.ref()
    this.#post(worker, { kind: 'read', folder: asked.folder, file: asked.file, hash: asked.hash })
  }

  #post(worker: Worker, message: ToFolderThread): void {
    worker.postMessage(message)
  }

  #start(): Worker {
    const data: FolderThreadData = { part: FOLDER_THREAD, build: readProgramBuild() }
    const options = {
      workerData: data,
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MIB, maxYoungGenerationSizeMb: 16 },
    }
    const worker = new Worker(bundle ? bundle.file : new URL('./folder-thread.ts', import.meta.url), options)
    this.#isReady = false
    worker.on(
      'message',
      guard(
        'configuration',
        () => this.#died(worker, 'its answer was not understood'),
        (message: FromFolderThread) => {
          if (worker === this.#worker) this.#answered(worker, message)
        },
      ),
    )
    worker.on(
      'error',
      guard('configuration', doNothing, (err: unknown) => this.#died(worker, toMeshError(err).message)),
    )
    worker.on(
      'exit',
      guard('configuration', doNothing, (code: number) => this.#died(worker, `its thread ended with ${code}`)),
    )
    return worker
  }

  #answered(worker: Worker, message: FromFolderThread): void {
    const asked = this.#queue[0]
    switch (message.kind) {
      case 'ready':
        this.#isReady = message.build === readProgramBuild()
        if (!this.#isReady) this.#died(worker, 'the program was replaced')
        return
      case 'piece': {
        if (!asked) return
        let from = 0
        for (const [kind, name, line, to] of message.resources) {
          asked.resources.push({ kind, name, line, file: asked.file, value: message.bytes.slice(from, to) })
          from = to
        }
        // A text that was requested in this turn could still be handed over in it.
        detach(
          'configuration',
          waitForNextTurn().then(() => this.#post(worker, { kind: 'next' })),
        )
        return
      }
      case 'done': {
        if (!asked) return
        const { stamp, hash, outcome, problems, blocked } = message
        this.#finish({
          stamp,
          hash,
          content: outcome === 'content' ? { resources: asked.resources, problems, blocked } : outcome,
        })
        return
      }
      default:
        message satisfies never
    }
  }

  #finish(read: ReadOne): void {
    this.#deadline?.cancel()
    this.#worker?.unref()
    this.#queue.shift()?.resolve(read)
    this.#next()
  }

  /** What it was reading is the reason; the others are read by another. */
  #died(worker: Worker, why: string): void {
    if (worker !== this.#worker) return
    const wasReady = this.#isReady
    this.#stop()
    const asked = this.#queue[0]
    if (!asked) return
    if (wasReady) {
      this.#finish(failed(asked.file, `cannot be read: ${why}`))
      return
    }
    // No thread can be had (limits of the machine, a replaced program): slower, but it goes on.
    this.#alone = true
    for (const { folder, file, hash, resolve } of this.#queue.splice(0))
      resolve(readOne(folder, file, hash, listOwnMessages()))
  }

  #stop(): void {
    this.#deadline?.cancel()
    const worker = this.#worker
    this.#worker = undefined
    this.#isReady = false
    if (worker) worker.terminate().catch(doNothing)
  }
}

function failed(file: string, problem: string): ReadOne {
  return { stamp: '', hash: '', content: blockWholeFile(file, problem) }
}

function doNothing(): void {
  /* whoever waits is told by what follows */
}
