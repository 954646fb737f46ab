/**
 * Requests that collectors have not taken, on disk, so that they outlive an outage and a restart. Bounded: the oldest
 * make room for new ones. Nothing of it is worth an fsync, and none of its failures is worth more than a line.
 */
import { MeshError, toMeshError } from '../../../core/errors.ts'
import type { Log } from '../../../core/log.ts'
import type { Metrics } from '../../../core/metrics.ts'
import type { OpenStorage, Row, Statement, Storage } from '../../../core/storage/storage.ts'
import type { Signal } from '../../../model/access-log/collector.ts'

export type Batch = { readonly items: number; readonly body: Buffer }
export type StoredBatch = Batch & { readonly id: number }

export type BatchStoreOptions = {
  readonly openStorage: OpenStorage
  readonly path: string
  /** The file is there: what is in it is read at once. */
  readonly hasFile: boolean
  readonly maxBytes: number
  /** Throws the system's error. */
  readonly freeBytes: () => number
  readonly log: Log
  readonly metrics: Metrics
  /** Items that made room for others, or that the disk did not take or give back. */
  readonly onLost: (signal: Signal, items: number) => void
}

/** Many small ones may not take more memory for their index than they are worth. */
export const MAX_BATCHES = 10_000
/** Messages and configuration need the rest of the disk more. */
export const MIN_FREE_BYTES = 64 * 1024 * 1024
const CACHE_BYTES = 64 * 1024
const MIGRATIONS = [
  'CREATE TABLE batches (id INTEGER PRIMARY KEY, collector TEXT NOT NULL, signal TEXT NOT NULL, items INTEGER NOT NULL, body BLOB NOT NULL)',
]

type Entry = { readonly id: number; readonly signal: Signal; readonly items: number; readonly bytes: number }
export type BatchStore = {
  has(key: string): boolean
  /** Undefined: none, or the disk does not give it back. */
  findOldest(key: string): Promise<StoredBatch | undefined>
  /** @returns false: it did not take it */
  put(key: string, batch: Batch): Promise<boolean>
  remove(batch: StoredBatch): Promise<void>
}

export class BatchStores implements AsyncDisposable {
  readonly #o: BatchStoreOptions
  #storage: Promise<Storage> | undefined
  /** By collector; oldest first. */
  readonly #entries = new Map<string, Entry[]>()
  #bytes = 0
  #count = 0
  #nextId = 1
  #isBroken = false

  constructor(options: BatchStoreOptions) {
    this.#o = options
    options.metrics.gaugeOf(
      'mesh_telemetry_stored_bytes',
      'Spans and entries of access logs on disk that wait for their collectors.',
      () => this.#bytes,
    )
  }

  /** Of one kind of items. */
  open(signal: Signal): BatchStore {
    return {
      has: (key) => (this.#entries.get(key)?.length ?? 0) > 0,
      findOldest: (key) => this.#findOldest(key),
      put: (key, batch) => this.#put(key, signal, batch),
      remove: (batch) => this.#remove(batch),
    }
  }

  /** Resolves when it is known what the last run left. Never rejects. */
  async load(): Promise<void> {
    if (!this.#o.hasFile) return
    await this.#try('read', async (storage) => {
      const sql = 'SELECT id, collector, signal, items, length(body) AS bytes FROM batches ORDER BY id'
      for (const row of await storage.query({ sql })) this.#add(String(row['collector']), toEntry(row))
      await this.#makeRoom(storage, 0, [])
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const opened = this.#storage
    this.#storage = Promise.reject(new MeshError('MESH_STORAGE_FAILED', 'closed'))
    this.#storage.catch(() => {})
    await (await opened?.catch(() => undefined))?.[Symbol.asyncDispose]()
  }

  async #put(key: string, signal: Signal, { items, body }: Batch): Promise<boolean> {
    const { maxBytes } = this.#o
    if (body.length > maxBytes) return false
    const put = await this.#try('write', async (storage) => {
      if (this.#o.freeBytes() < MIN_FREE_BYTES)
        throw new MeshError('MESH_STORAGE_FULL', `less than ${MIN_FREE_BYTES} bytes of the disk are free`)
      const id = this.#nextId++
      const sql = 'INSERT INTO batches (id, collector, signal, items, body) VALUES (?, ?, ?, ?, ?)'
      await this.#makeRoom(storage, body.length, [{ sql, params: [id, key, signal, items, body] }])
      this.#add(key, { id, signal, items, bytes: body.length })
      return true
    })
    return put ?? false
  }

  /** One transaction with what needs the room. */
  async #makeRoom(storage: Storage, bytes: number, statements: readonly Statement[]): Promise<void> {
    const out: [key: string, entry: Entry][] = []
    let [left, count] = [this.#bytes + bytes, this.#count + statements.length]
    const isTooMuch = (): boolean => left > this.#o.maxBytes || count > MAX_BATCHES
    for (const [key, entry] of isTooMuch() ? this.#byAge() : []) {
      if (!isTooMuch()) break
      out.push([key, entry])
      left -= entry.bytes
      count--
    }
    const deletions = out.map(([, { id }]) => ({ sql: 'DELETE FROM batches WHERE id = ?', params: [id] }))
    if (deletions.length + statements.length > 0) await storage.commit([...deletions, ...statements])
    for (const [key, entry] of out) this.#drop(key, entry)
  }

  async #findOldest(key: string): Promise<StoredBatch | undefined> {
    const entry = this.#entries.get(key)?.[0]
    if (!entry) return undefined
    const row = await this.#try('read', async (storage) => {
      const [found] = await storage.query({ sql: 'SELECT body FROM batches WHERE id = ?', params: [entry.id] })
      return found
    })
    if (row?.['body'] instanceof Uint8Array) return { id: entry.id, items: entry.items, body: Buffer.from(row['body']) }
    this.#drop(key, entry)
    await this.#delete(entry.id)
    return undefined
  }

  async #remove({ id }: StoredBatch): Promise<void> {
    for (const [key, entries] of this.#entries) {
      const at = entries.findIndex((entry) => entry.id === id)
      if (at >= 0) this.#take(key, at)
    }
    await this.#delete(id)
  }
  async #delete(id: number): Promise<void> {
    await this.#try('write', (storage) => storage.commit([{ sql: 'DELETE FROM batches WHERE id = ?', params: [id] }]))
  }

  #byAge(): (readonly [key: string, entry: Entry])[] {
    const all = [...this.#entries].flatMap(([key, entries]) => entries.map((entry) => [key, entry] as const))
    return all.sort(([, a], [, b]) => a.id - b.id)
  }
  #add(key: string, entry: Entry): void {
    const entries = this.#entries.get(key)
    if (entries) entries.push(entry)
    else this.#entries.set(key, [entry])
    this.#bytes += entry.bytes
    this.#count++
    this.#nextId = Math.max(this.#nextId, entry.id + 1)
  }
  #drop(key: string, entry: Entry): void {
    const at = this.#entries.get(key)?.indexOf(entry) ?? -1
    if (at < 0) return
    this.#take(key, at)
    this.#o.onLost(entry.signal, entry.items)
  }
  #take(key: string, at: number): void {
    const entries = this.#entries.get(key)!
    const [taken] = entries.splice(at, 1)
    if (entries.length === 0) this.#entries.delete(key)
    this.#bytes -= taken!.bytes
    this.#count--
  }

  /** @returns undefined where the disk did not do it, which is told once */
  async #try<T>(what: 'read' | 'write', work: (storage: Storage) => Promise<T>): Promise<T | undefined> {
    try {
      this.#storage ??= this.#openFile()
      const done = await work(await this.#storage)
      this.#isBroken = false
      return done
    } catch (thrown) {
      const err = toMeshError(thrown)
      if (!this.#isBroken) this.#o.log.warn({ evt: 'telemetry.store', what, err }, 'telemetry cannot be kept on disk')
      this.#isBroken = true
      return undefined
    }
  }

  async #openFile(): Promise<Storage> {
    const { openStorage, path } = this.#o
    const { storage } = await openStorage({ path, profile: 'eco', migrations: MIGRATIONS, cacheBytes: CACHE_BYTES })
    return storage
  }
}

function toEntry(row: Row): Entry {
  const signal: Signal = row['signal'] === 'logs' ? 'logs' : 'spans'
  return { id: Number(row['id']), signal, items: Number(row['items']), bytes: Number(row['bytes']) }
}
