/**
 * The last good snapshot and the one before, in SQLite: what the agent starts from when no control plane answers.
 * Beside the file lies a whole copy of it, for when the file as such is damaged or gone. Whatever is found damaged is
 * told, with what serves instead.
 */
import path from 'node:path'
import { MeshError, toMeshError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Family, Metrics } from '../../core/metrics.ts'
import type { Sealer } from '../../core/pki/sealing.ts'
import type { Opened, OpenStorage, Source, Statement, Storage } from '../../core/storage/storage.ts'
import { closeBlocks } from './packed-resource.ts'
import { MIGRATIONS, Records } from './records.ts'
import { countBytes, copyStatements, load, savePieces, tidy, type Loaded } from './rows.ts'
import type { Copied, Save, StoredSnapshot } from './types.ts'

export type SnapshotStoreOptions = {
  readonly openStorage: OpenStorage
  readonly path: string
  /** The node's id: another node's configuration must never be served. */
  readonly node: string
  /** With it resources are sealed, and their names. */
  readonly sealer?: Sealer | undefined
  readonly log: Log
  readonly metrics: Metrics
}

export interface SnapshotStore extends AsyncDisposable {
  /**
   * Rejects with MESH_STORAGE_FULL, MESH_STORAGE_DAMAGED or MESH_STORAGE_FAILED; then the stored snapshot is the one
   * before.
   * @returns bytes handed to SQLite
   */
  save(p: Save): Promise<number>
  /** Puts a whole copy beside the file, in place of the last. Rejects as `save` does. @returns bytes written */
  copy(atMs: number): Promise<number>
  /** Undefined when there is none of this node's. */
  readonly copied: Copied | undefined
  /**
   * After MESH_STORAGE_DAMAGED: sets the file aside and begins an empty one. Whoever has the snapshot saves all of it.
   * Rejects as opening does.
   */
  restart(): Promise<void>
  /** Damage that was found in this run, as MESH_STORAGE_DAMAGED. */
  readonly damage: readonly MeshError[]
}

/** More of the same help nobody. */
const MAX_TOLD = 20

/**
 * `stored`: undefined when there is no snapshot of this node. Rejects with MESH_STORAGE_NEWER, MESH_STATE_LOCKED
 * (sealed with another key), MESH_STATE_IN_USE, MESH_STATE_UNUSABLE, MESH_STORAGE_FULL or MESH_STORAGE_FAILED; then
 * nothing is left open.
 */
export async function openSnapshotStore(
  o: SnapshotStoreOptions,
): Promise<{ store: SnapshotStore; stored: StoredSnapshot | undefined }> {
  const store = new Store(o)
  return { store, stored: await store.open() }
}

/** Read as a whole, written in the order of its keys: no page is needed twice. */
const CACHE_BYTES = 128 * 1024

class Store implements SnapshotStore {
  readonly damage: MeshError[] = []
  readonly #o: SnapshotStoreOptions
  readonly #records: Records
  readonly #previous: string
  readonly #found: Family<'what'>
  #storage: Storage | undefined
  #generation = 0
  #copied: Copied | undefined

  constructor(o: SnapshotStoreOptions) {
    this.#o = o
    this.#records = new Records(o.path, o.sealer)
    this.#previous = path.join(path.dirname(o.path), 'snapshot.previous.db')
    this.#found = o.metrics.counter(
      'mesh_config_damaged_total',
      'Stored configuration that was found damaged or gone: the file, its whole copy, single resources.',
      ['what'],
    )
  }

  get copied(): Copied | undefined {
    return this.#copied
  }

  /** The file, else its copy, else nothing. */
  async open(): Promise<StoredSnapshot | undefined> {
    const causes: string[] = []
    for (let from: Source = 'file'; ;) {
      const { opened, loaded } = await this.#openFrom(from, causes)
      const { source, previous } = opened
      // An empty file beside a copy: a kill came between a new file and what was to be written into it.
      if (loaded && (loaded.everSaved || source !== 'file' || previous !== 'there')) {
        this.#began(loaded, source, previous, causes)
        this.#rest()
        return loaded.stored
      }
      if (loaded) {
        causes.push(`${this.#o.path} held nothing`)
        await this[Symbol.asyncDispose]()
      }
      from = source === 'file' ? 'previous' : 'nothing'
    }
  }

  /** @returns what was read; undefined, and closed, when that is damaged */
  async #openFrom(startFrom: Source, causes: string[]): Promise<{ opened: Opened; loaded: Loaded | undefined }> {
    const opened = await this.#storageFrom(startFrom)
    const { storage, setAside, source, previous } = opened
    if (setAside !== undefined) causes.push(`a damaged file was found at start and is now ${setAside}`)
    else if (source === 'previous') causes.push(`${this.#o.path} was gone`)
    if (previous === 'damaged') {
      causes.push(`${this.#previous} is damaged`)
      this.#found.cell({ what: 'copy' }).value++
    }
    try {
      const loaded = await load(storage, this.#o.node, this.#records)
      await tidy(storage, {
        records: this.#records,
        mark: loaded.sealing,
        copyAt: previous === 'there' ? this.#previous : undefined,
      })
      return { opened, loaded }
    } catch (thrown) {
      await this[Symbol.asyncDispose]()
      const err = toMeshError(thrown)
      if (err.code !== 'MESH_STORAGE_DAMAGED' || source === 'nothing') throw err
      this.#o.log.warn({ evt: 'snapshot.unreadable', err }, 'the stored configuration opens and cannot be read')
      if (source === 'previous') this.#found.cell({ what: 'copy' }).value++
      return { opened, loaded: undefined }
    }
  }

  #began({ stored, copied }: Loaded, source: Source, previous: Opened['previous'], causes: readonly string[]): void {
    this.#generation = stored?.generation ?? 0
    if (stored && previous === 'there')
      this.#copied = source === 'previous' ? { generation: stored.generation, atMs: stored.snapshot.savedAtMs } : copied
    if (causes.length > 0) {
      const serves = stored
        ? `what serves is a copy of the configuration, last changed ${new Date(stored.snapshot.savedAtMs).toISOString()} (generation ${stored.generation})`
        : 'nothing serves until a control plane answers'
      this.#tell('file', `${serves}: ${causes.join('; ')}`, {
        evt: 'snapshot.damaged',
        serves: stored ? 'previous' : 'nothing',
      })
    }
    const damaged = stored?.damaged ?? []
    if (damaged.length > 0)
      this.#tell(
        'resource',
        `${damaged.length} stored resources are damaged: their version before serves, or none: ${damaged.slice(0, MAX_TOLD).join(', ')}`,
        { evt: 'snapshot.damaged-resources' },
        damaged.length,
      )
  }

  async save(p: Save): Promise<number> {
    let bytes = 0
    const counted = function* (pieces: Iterable<readonly Statement[]>): Generator<readonly Statement[]> {
      for (const piece of pieces) {
        bytes += countBytes(piece)
        yield piece
      }
    }
    await this.#opened().commitInPieces(counted(savePieces(p, this.#records)))
    // Their bytes were packed before.
    closeBlocks()
    this.#generation = p.generation
    this.#rest()
    return bytes
  }
  async copy(atMs: number): Promise<number> {
    const [storage, generation] = [this.#opened(), this.#generation]
    const bytes = await storage.copyTo(this.#previous)
    this.#copied = { generation, atMs }
    // Should this fail, the next run makes a copy too many.
    await storage.commit(copyStatements(this.#copied)).catch(() => undefined)
    this.#rest()
    return bytes
  }
  async restart(): Promise<void> {
    await this[Symbol.asyncDispose]()
    const { setAside } = await this.#storageFrom('nothing')
    this.#tell(
      'file',
      `the configuration in force was stored anew: the file was damaged while it was in use and is now ${setAside}`,
      { evt: 'snapshot.damaged', serves: 'memory' },
    )
  }

  async #storageFrom(startFrom: Source): Promise<Opened> {
    const opened = await this.#o.openStorage({
      path: this.#o.path,
      profile: 'strict',
      migrations: MIGRATIONS,
      check: 'as read',
      cacheBytes: CACHE_BYTES,
      previous: this.#previous,
      startFrom,
    })
    this.#storage = opened.storage
    // Replaced rows are overwritten, so that no plain text stays in free pages.
    if (this.#records.seals) await opened.storage.query({ sql: 'PRAGMA secure_delete = ON' })
    return opened
  }
  /**
   * All of it was read or written, and now it lies for hours: two megabytes of pages in memory are of no use. Nobody
   * waits for it.
   */
  #rest(): void {
    this.#storage?.query({ sql: 'PRAGMA shrink_memory' }).catch(() => undefined)
  }
  #opened(): Storage {
    if (!this.#storage)
      throw new MeshError('MESH_STORAGE_DAMAGED', `${this.#o.path} was damaged and could not be begun anew`)
    return this.#storage
  }
  #tell(
    what: 'file' | 'resource',
    text: string,
    fields: { readonly evt: string; readonly serves?: string },
    count = 1,
  ): void {
    const err = new MeshError('MESH_STORAGE_DAMAGED', text)
    this.#found.cell({ what }).value += count
    // A disk that breaks again and again is one problem.
    if (this.damage.length < MAX_TOLD) this.damage.push(err)
    this.#o.log.warn({ ...fields, err }, 'the stored configuration is damaged')
  }
  async [Symbol.asyncDispose](): Promise<void> {
    const storage = this.#storage
    this.#storage = undefined
    await storage?.[Symbol.asyncDispose]()
  }
}
