/**
 * SQLite as a store: one connection, and one task at a time on it, so that what is written between two awaits of a
 * transaction is that transaction's. A statement blocks for a disk write at most.
 */
import Database from 'better-sqlite3'
import { MeshError } from '../../core/errors.ts'
import { toBindingOption } from '../../core/storage/sqlite-addon.ts'
import { MIGRATIONS } from './schema.ts'
import { TransactionScope, type Sql, type Store, type Value } from './sql.ts'

/** A command waits so long for another process that writes. */
const BUSY_TIMEOUT_MS = 5_000
/** While devices are served: a command writes for some milliseconds, and all devices stand still meanwhile. */
const SERVING_BUSY_TIMEOUT_MS = 100

/** @param file `:memory:` for tests. Throws MESH_STORAGE_FAILED, MESH_STORAGE_FULL, MESH_STORAGE_NEWER. */
export function openSqlite(file: string, nativeBinding?: object): Store {
  return new SqliteStore(
    guarded(() => {
      const opened = new Database(file, { timeout: BUSY_TIMEOUT_MS, ...toBindingOption(nativeBinding) })
      opened.pragma('journal_mode = WAL')
      opened.pragma('synchronous = FULL')
      opened.pragma('foreign_keys = ON')
      migrate(opened)
      return opened
    }),
  )
}

class SqliteStore implements Store {
  readonly #db: Database.Database
  readonly #scope = new TransactionScope()
  /** Settles when everybody who came before is done. */
  #last: Promise<void> = Promise.resolve()
  #ownChanges = 0

  constructor(db: Database.Database) {
    this.#db = db
  }

  all<T>(sql: string, ...params: readonly Value[]): Promise<T[]> {
    return this.#alone(async () => all<T>(this.#db, sql, params))
  }
  run(sql: string, ...params: readonly Value[]): Promise<number> {
    return this.#alone(async () => run(this.#db, sql, params))
  }
  async touch(): Promise<void> {
    this.#ownChanges++
  }

  transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T> {
    return this.#alone(async () => {
      const tx = new SqliteTransaction(this.#db)
      guarded(() => this.#db.exec('BEGIN IMMEDIATE'))
      try {
        const result = await this.#scope.run(() => work(tx))
        tx.isOver = true
        guarded(() => this.#db.exec('COMMIT'))
        if (tx.isTouched) this.#ownChanges++
        return result
      } finally {
        tx.isOver = true
        // SQLite may have rolled back by itself, on a full disk.
        if (this.#db.inTransaction) this.#db.exec('ROLLBACK')
      }
    })
  }

  /** https://sqlite.org/pragma.html#pragma_data_version: changes of other connections. */
  get revision(): string {
    return `${guarded(() => Number(this.#db.pragma('data_version', { simple: true })))}.${this.#ownChanges}`
  }
  serving(): void {
    guarded(() => this.#db.pragma(`busy_timeout = ${SERVING_BUSY_TIMEOUT_MS}`))
  }
  copyTo(file: string): Promise<void> {
    return this.#alone(async () => {
      run(this.#db, 'VACUUM INTO ?', [file])
    })
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#alone(async () => {
      this.#db.close()
    })
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    this.#scope.checkOutside()
    const before = this.#last
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#last = promise
    await before
    try {
      return await work()
    } finally {
      resolve()
    }
  }
}

class SqliteTransaction implements Sql {
  readonly #db: Database.Database
  isOver = false
  isTouched = false

  constructor(db: Database.Database) {
    this.#db = db
  }

  async all<T>(sql: string, ...params: readonly Value[]): Promise<T[]> {
    return all<T>(this.#open(), sql, params)
  }
  async run(sql: string, ...params: readonly Value[]): Promise<number> {
    return run(this.#open(), sql, params)
  }
  transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T> {
    return work(this)
  }
  async touch(): Promise<void> {
    this.isTouched = true
  }

  #open(): Database.Database {
    if (this.isOver) throw new MeshError('MESH_INTERNAL', 'a statement came after the end of its transaction')
    return this.#db
  }
}

function all<T>(db: Database.Database, sql: string, params: readonly Value[]): T[] {
  return guarded(() => db.prepare(sql).all(...params) as T[])
}
function run(db: Database.Database, sql: string, params: readonly Value[]): number {
  return guarded(() => db.prepare(sql).run(...params).changes)
}

function migrate(db: Database.Database): void {
  const version = (): number => Number(db.pragma('user_version', { simple: true }))
  if (version() > MIGRATIONS.length)
    throw new MeshError(
      'MESH_STORAGE_NEWER',
      `${db.name} has version ${version()}, this hub knows ${MIGRATIONS.length}`,
    )
  if (version() === MIGRATIONS.length) return
  db.transaction(() => {
    // another process may have migrated while this one waited
    for (const [i, sql] of MIGRATIONS.entries())
      if (version() <= i) {
        db.exec(sql)
        db.pragma(`user_version = ${i + 1}`)
      }
  }).immediate()
}

function guarded<T>(work: () => T): T {
  try {
    return work()
  } catch (cause) {
    if (cause instanceof MeshError) throw cause
    const full = (cause as { code?: unknown }).code === 'SQLITE_FULL'
    throw new MeshError(full ? 'MESH_STORAGE_FULL' : 'MESH_STORAGE_FAILED', 'the registry of the hub cannot be used', {
      cause,
    })
  }
}
