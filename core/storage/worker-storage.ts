/**
 * Storage over one worker thread for all files of the process. Group commit without a timer: what arrives while a batch
 * runs forms the next one, so a busy agent pays one fsync for many messages and an idle one waits for nobody. A thread
 * that dies takes the running batches with it; the next commit starts another.
 */
import path from 'node:path'
import { TimeSlice } from '../os/time-slice.ts'
import { type Clock, systemClock, type Timer } from '../os/clock.ts'
import { MeshError } from '../errors.ts'
import { StorageThread, type ThreadAnswer, type ThreadUser, type ThreadWorld } from './thread-handle.ts'
import type { Answer, Commit, FromThread, Job, OpenHow } from './messages.ts'
import {
  listValues,
  type Opened,
  type OpenStorage,
  type Params,
  type Row,
  type SqlValue,
  type Statement,
  type Storage,
  type StorageOptions,
  type StorageStats,
} from './storage.ts'

/** `eco` waits so long for company: flash wears by the write. */
const ECO_WAIT_MS = 1_000

export type StorageWorld = ThreadWorld & { readonly clock?: Clock }

export function openStorageWith(world: StorageWorld, thread = new StorageThread(world)): OpenStorage {
  const clock = world.clock ?? systemClock
  return (options) => new WorkerStorage(thread, clock, options).open()
}

type Waiting = { readonly job: Job; resolve(answer: Answer): void; reject(error: MeshError): void }

class WorkerStorage implements Storage, ThreadUser {
  readonly stats: StorageStats = { commits: 0, statements: 0, fsyncs: 0, writtenBytes: undefined, waiting: 0 }
  readonly #thread: StorageThread
  readonly #clock: Clock
  readonly #options: StorageOptions
  readonly #file: number
  readonly #opening = Promise.withResolvers<Opened>()
  #state: 'not open' | 'opening' | 'open' | 'closing' | 'closed' = 'not open'
  #waiting: Waiting[] = []
  #running: Waiting[] | undefined
  #company: Timer | undefined
  #copying: PromiseWithResolvers<number> | undefined
  #isInPieces = false
  #commitsInPieces = 0
  readonly #closed = Promise.withResolvers<void>()

  constructor(thread: StorageThread, clock: Clock, options: StorageOptions) {
    this.#thread = thread
    this.#clock = clock
    this.#options = options
    this.#file = thread.register(this)
  }

  async open(): Promise<Opened> {
    this.#openFile('set aside')
    try {
      return await this.#opening.promise
    } catch (err) {
      this.#thread.forget(this.#file)
      throw err
    }
  }
  async commit(statements: readonly Statement[]): Promise<void> {
    if (statements.length === 0) return
    this.stats.statements += statements.length
    await this.#ask(this.#portable(statements), 'batched')
  }
  async commitInPieces(pieces: Iterable<readonly Statement[]>): Promise<void> {
    if (this.#isInPieces) throw this.#failed('takes one commit in pieces at a time')
    this.#isInPieces = true
    try {
      const of = ++this.#commitsInPieces
      let count = 0
      const slice = new TimeSlice(this.#clock)
      for (const statements of pieces) {
        if (this.#state === 'closing' || this.#state === 'closed') throw this.#failed('is closed')
        if (statements.length > 0) {
          const commit = this.#portable(statements)
          const refusal = this.#thread.send(
            { kind: 'piece', file: this.#file, of, commit },
            commit.piece ? [commit.piece] : [],
          )
          if (refusal) throw refusal
          this.stats.statements += statements.length
          count++
        }
        if (slice.due) await slice.yield()
      }
      await this.#ask({ pieces: of, count }, 'batched')
    } finally {
      this.#isInPieces = false
    }
  }
  async query(statement: Statement): Promise<readonly Row[]> {
    const answer = await this.#ask({ query: statement }, 'at once')
    return typeof answer === 'object' && 'rows' in answer ? answer.rows : []
  }
  copyTo(to: string): Promise<number> {
    if (this.#state !== 'open' || this.#copying)
      return Promise.reject(this.#failed(this.#copying ? 'is being copied' : 'is not open'))
    const { promise } = (this.#copying = Promise.withResolvers<number>())
    const refusal = this.#thread.send({ kind: 'copy', file: this.#file, to: path.resolve(to) })
    if (refusal) this.failed(refusal)
    return promise
  }
  /** Waits until everything that was asked for is answered. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'closed' || this.#state === 'closing') return this.#closed.promise
    const wasOpen = this.#state !== 'not open'
    this.#state = wasOpen ? 'closing' : 'closed'
    if (!wasOpen) this.#closed.resolve()
    else if (this.#running || this.#waiting.length > 0) this.#next('at once')
    else this.#thread.send({ kind: 'close', file: this.#file })
    await this.#closed.promise
    this.#thread.forget(this.#file)
  }

  #ask(job: Job, when: 'at once' | 'batched'): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#state === 'closing' || this.#state === 'closed') {
        reject(this.#failed('is closed'))
        return
      }
      this.#waiting.push({ job, resolve, reject })
      this.stats.waiting = this.#waiting.length
      if (this.#state === 'not open') this.#openFile('fail')
      else this.#next(when)
    })
  }

  #openFile(whenDamaged: 'set aside' | 'fail'): void {
    const { path: file, previous, startFrom = 'file', check = 'whole', ...options } = this.#options
    this.#state = 'opening'
    const how: OpenHow = {
      ...options,
      path: path.resolve(file),
      previous: previous === undefined ? undefined : path.resolve(previous),
      check,
      startFrom: whenDamaged === 'fail' ? 'file' : startFrom,
      stamp: String(this.#clock.wallMs()),
      whenDamaged,
    }
    const refusal = this.#thread.send({ kind: 'open', file: this.#file, how })
    if (refusal) this.failed(refusal)
  }

  #next(when: 'at once' | 'batched'): void {
    if (this.#running || this.#waiting.length === 0 || this.#state === 'opening') return
    if (when === 'batched' && this.#options.profile === 'eco') {
      this.#company ??= this.#clock.after(ECO_WAIT_MS, () => this.#next('at once'))
      return
    }
    this.#company?.cancel()
    this.#company = undefined
    this.#running = this.#waiting
    this.#waiting = []
    this.stats.waiting = 0
    const jobs = this.#running.map((w) => w.job)
    const refusal = this.#thread.send(
      { kind: 'batch', file: this.#file, jobs },
      jobs.flatMap((job) => ('commit' in job && job.piece) || []),
    )
    if (refusal) this.failed(refusal)
  }

  answered(message: ThreadAnswer): void {
    switch (message.kind) {
      case 'opened':
        if (this.#state === 'opening') this.#state = 'open'
        this.#opening.resolve({
          storage: this,
          source: message.source,
          setAside: message.setAside,
          previous: message.previous,
          lost: message.lost,
          damaged: message.damaged,
        })
        this.#next(this.#state === 'open' ? 'batched' : 'at once')
        if (this.#state === 'closing' && !this.#running) this.#thread.send({ kind: 'close', file: this.#file })
        return
      case 'refused':
        this.failed(new MeshError(message.failed.code, `${this.#options.path}: ${message.failed.message}`))
        return
      case 'answers':
        this.#settle(message)
        return
      case 'copied': {
        const { result } = message
        if (typeof result === 'number') this.#copying?.resolve(result)
        else this.#copying?.reject(new MeshError(result.code, `${this.#options.path}: ${result.message}`))
        this.#copying = undefined
        return
      }
      case 'closed':
        this.#state = 'closed'
        this.#closed.resolve()
        return
      default:
        message satisfies never
    }
  }

  #settle({ answers, transactions, writtenBytes }: Extract<FromThread, { kind: 'answers' }>): void {
    const jobs = this.#running ?? []
    this.#running = undefined
    this.stats.commits += transactions
    if (writtenBytes !== undefined) this.stats.writtenBytes = (this.stats.writtenBytes ?? 0) + writtenBytes
    if (this.#options.profile === 'strict') this.stats.fsyncs += transactions
    for (const [i, { resolve, reject }] of jobs.entries()) {
      const answer = answers[i]!
      if (typeof answer === 'object' && 'failed' in answer)
        reject(new MeshError(answer.failed.code, `${this.#options.path}: ${answer.failed.message}`))
      else resolve(answer)
    }
    this.#next(this.#state === 'open' ? 'batched' : 'at once')
    if (this.#state === 'closing' && !this.#running) this.#thread.send({ kind: 'close', file: this.#file })
  }

  /** The thread has died or does not open the file: everybody who waits is told, and the next who comes tries again. */
  failed(error: MeshError): void {
    const jobs = [...(this.#running ?? []), ...this.#waiting]
    this.#running = undefined
    this.#waiting = []
    this.stats.waiting = 0
    this.#company?.cancel()
    this.#company = undefined
    if (this.#state === 'closing') {
      this.#state = 'closed'
      this.#closed.resolve()
    } else if (this.#state !== 'closed') this.#state = 'not open'
    this.#opening.reject(error)
    this.#copying?.reject(error)
    this.#copying = undefined
    for (const { reject } of jobs) reject(error)
  }

  #failed(what: string): MeshError {
    return new MeshError('MESH_STORAGE_FAILED', `${this.#options.path} ${what}`)
  }

  /**
   * All bytes of a commit go over in one piece that changes hands: pieces of their own would be made, copied and
   * collected one by one, on both sides.
   */
  #portable(statements: readonly Statement[]): Commit {
    let length = 0
    let last: Params | undefined
    // The same bytes in many rows go over once.
    const places = new Map<Uint8Array, number>()
    for (const { params } of statements) {
      if (params === undefined || params === last) continue
      for (const value of listValues(params)) {
        if (!(value instanceof Uint8Array)) continue
        if (places.has(value)) continue
        places.set(value, length)
        length += value.byteLength
      }
      last = params
    }
    const piece = new Uint8Array(length)
    for (const [value, at] of places) piece.set(value, at)
    const moved = (value: SqlValue): SqlValue => {
      if (!(value instanceof Uint8Array)) return value
      const at = places.get(value)!
      return piece.subarray(at, at + value.byteLength)
    }
    const texts: string[] = []
    let lastMoved: Params | undefined
    last = undefined
    const commit = statements.map(({ sql, params }) => {
      let text = texts.indexOf(sql)
      if (text < 0) text = texts.push(sql) - 1
      if (params !== last) {
        last = params
        lastMoved =
          params &&
          (Array.isArray(params)
            ? params.map(moved)
            : Object.fromEntries(Object.entries(params).map(([name, value]) => [name, moved(value)])))
      }
      return { text, params: lastMoved }
    })
    return length === 0 ? { texts, commit } : { texts, commit, piece: piece.buffer }
  }
}
