/**
 * One SQLite file: opened, checked, migrated, written in transactions, copied. Blocking, but for the copy; for the
 * storage thread.
 */
import Database from 'better-sqlite3'
import fs from 'node:fs'
import { promisify } from 'node:util'
import { replaceAtomically } from '../os/atomic-write.ts'
import { toBindingOption } from './sqlite-addon.ts'
import { mark } from './sqlite-loss.ts'
import type { DamagedLimits } from '../os/files/damaged-files.ts'
import type { DurabilityProfile, Row, Source, Statement } from './storage.ts'

export type OpenFile = {
  readonly path: string
  readonly profile: DurabilityProfile
  readonly migrations: readonly string[]
  readonly previous: string | undefined
  readonly startFrom: Source
  readonly check: 'whole' | 'as read'
  readonly cacheBytes?: number
  /** SQLite's addon; undefined: the package finds its own. */
  readonly addon: object | undefined
  /** Goes into the name of a damaged file. */
  readonly stamp: string
  /** `fail`: the file was open before, and whoever uses it still believes in what was in it. */
  readonly whenDamaged: 'set aside' | 'fail'
  readonly tellsLoss?: boolean
  readonly damagedLimits?: DamagedLimits
}

/**
 * The whole file is checked at opening up to this size (some 2 ms per MiB); larger ones when their pages are read, and
 * whole after damage was met there.
 */
const MAX_CHECKED_BYTES = 64 * 1024 * 1024
const MAX_STATEMENTS = 100
/** Waited for the lock of a predecessor that is still closing. */
const BUSY_MS = 2_000
/** The write-ahead log shrinks back to this after a burst. */
const MAX_IDLE_WAL_BYTES = 4 * 1024 * 1024

const CACHE_BYTES = 2 * 1024 * 1024
const CHUNK_BYTES = 256 * 1024

export class SqliteFile {
  readonly #db: Database.Database
  readonly #path: string
  readonly #prepared = new Map<string, Database.Statement<unknown[]>>()
  /**
   * For copies, and open until SQLite is done: the first close of any descriptor of a file ends all locks that the
   * process has on it (POSIX fcntl).
   */
  #reading: number | undefined
  readonly #profile: DurabilityProfile
  #marks: 'never' | 'not yet' | 'open'

  private constructor(db: Database.Database, { path, profile, tellsLoss = false }: OpenFile) {
    this.#db = db
    this.#path = path
    this.#profile = profile
    this.#marks = tellsLoss ? 'not yet' : 'never'
  }

  /** SQLite itself is loaded, so that the first file need not wait for it. */
  static load(addon: object): void {
    new Database(':memory:', toBindingOption(addon)).close()
  }

  /**
   * A file that is not there, or empty, is made. Throws what SQLite says (`isDamage`), or `code` MESH_STORAGE_NEWER.
   */
  static open(o: OpenFile): SqliteFile {
    const { path, profile, migrations, addon, check, tellsLoss = false, cacheBytes = CACHE_BYTES } = o
    const bytes = readSize(path)
    const db = new Database(path, { timeout: BUSY_MS, ...toBindingOption(addon) })
    try {
      if (bytes === 0) fs.chmodSync(path, 0o600)
      // Keeps a second process out, and the index of the log in memory instead of behind a dozen fcntl calls per
      // transaction.
      db.pragma('locking_mode = EXCLUSIVE')
      db.pragma('journal_mode = WAL')
      db.pragma(`synchronous = ${profile === 'strict' ? 'FULL' : 'NORMAL'}`)
      db.pragma(`journal_size_limit = ${MAX_IDLE_WAL_BYTES}`)
      db.pragma(`cache_size = -${Math.ceil(cacheBytes / 1024)}`)
      db.pragma('temp_store = MEMORY')
      if (bytes > 0 && ((check === 'whole' && bytes <= MAX_CHECKED_BYTES) || fs.existsSync(nameSuspicion(path)))) {
        checkPages(db)
        fs.rmSync(nameSuspicion(path), { force: true })
      }
      migrate(db, migrations)
      if (bytes > 0 && tellsLoss) checkSchema(db, migrations, addon)
      return new SqliteFile(db, o)
    } catch (thrown) {
      db.close()
      throw thrown
    }
  }

  /** All or nothing. */
  commit(statements: Iterable<Statement>): void {
    try {
      this.#statement('BEGIN IMMEDIATE').run()
      for (const { sql, params } of statements) this.#statement(sql).run(params ?? [])
      this.#statement('COMMIT').run()
      if (this.#marks === 'not yet') {
        this.#marks = 'open'
        mark(this.#path, 'open', this.#profile)
      }
    } catch (thrown) {
      if (this.#db.inTransaction) this.#statement('ROLLBACK').run()
      throw this.#noted(thrown)
    }
  }
  query({ sql, params }: Statement): Row[] {
    try {
      const statement = this.#statement(sql)
      if (statement.reader) return statement.all(params ?? []) as Row[]
      statement.run(params ?? []) // VACUUM
      return []
    } catch (thrown) {
      throw this.#noted(thrown)
    }
  }
  /**
   * Nothing may be committed before it resolves: without a commit only the log's checkpoint writes to the file itself.
   * @returns bytes
   */
  async copyTo(to: string): Promise<number> {
    try {
      checkPages(this.#db)
      this.#db.pragma('wal_checkpoint(TRUNCATE)')
    } catch (thrown) {
      throw this.#noted(thrown)
    }
    return await replaceAtomically(to, readChunks((this.#reading ??= fs.openSync(this.#path, 'r'))), 0o600)
  }
  close(): void {
    try {
      if (this.#marks === 'open') mark(this.#path, 'closing', this.#profile)
      this.#db.close()
      if (this.#marks === 'open') mark(this.#path, 'closed', this.#profile)
    } finally {
      if (this.#reading !== undefined) fs.closeSync(this.#reading)
    }
  }

  /** Damage that shows only now makes the next start look at the whole file. */
  #noted(thrown: unknown): unknown {
    if (isDamage(thrown))
      try {
        fs.writeFileSync(nameSuspicion(this.#path), '', { flag: 'wx', mode: 0o600 })
      } catch {
        /* it is there, or the disk is full; then the next start does without */
      }
    return thrown
  }

  #statement(sql: string): Database.Statement<unknown[]> {
    let made = this.#prepared.get(sql)
    if (!made) {
      made = this.#db.prepare(sql)
      if (this.#prepared.size >= MAX_STATEMENTS) this.#prepared.clear()
      this.#prepared.set(sql, made)
    }
    return made
  }
}

/** The version stands twice, so that a flipped bit of it is not taken for another version. */
const APPLICATION_ID = 0x6d_73_00_00
function migrate(db: Database.Database, migrations: readonly string[]): void {
  const version = Number(db.pragma('user_version', { simple: true }))
  const id = Number(db.pragma('application_id', { simple: true }))
  if (id !== 0 && id !== APPLICATION_ID + version) throw corrupt('its version is not what it was written with')
  if (version > migrations.length)
    throw Object.assign(new Error(`the file has schema ${version}, this meshlet knows up to ${migrations.length}`), {
      code: 'MESH_STORAGE_NEWER',
    })
  for (let next = version; next < migrations.length; next++) {
    db.transaction(() => {
      db.exec(migrations[next]!)
      db.pragma(`user_version = ${next + 1}`)
      db.pragma(`application_id = ${APPLICATION_ID + next + 1}`)
    })()
  }
}

/** The tables' definitions are text, and a flipped bit of it is mostly another definition. */
function checkSchema(db: Database.Database, migrations: readonly string[], addon: object | undefined): void {
  const fresh = new Database(':memory:', toBindingOption(addon))
  try {
    migrate(fresh, migrations)
    const [is, ought] = [db, fresh].map((of) =>
      JSON.stringify(of.prepare('SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name').all()),
    )
    if (is !== ought) throw corrupt('its tables are not those that were made')
  } finally {
    fresh.close()
  }
}

const corrupt = (message: string): Error => Object.assign(new Error(message), { code: 'SQLITE_CORRUPT' })

function checkPages(db: Database.Database): void {
  const verdict = db.pragma('quick_check(1)', { simple: true })
  if (verdict !== 'ok') throw corrupt(String(verdict))
}

export async function* readChunks(fd: number): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.alloc(CHUNK_BYTES)
  for (let at = 0; ;) {
    const { bytesRead } = await promisify(fs.read)(fd, buffer, 0, CHUNK_BYTES, at)
    if (bytesRead === 0) return
    at += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}

/** Makes the next start look at the whole file. */
export const nameSuspicion = (path: string): string => `${path}.suspect`
/** 0 when there is none. */
export const readSize = (path: string): number => fs.statSync(path, { throwIfNoEntry: false })?.size ?? 0

/** A read that ends early is of a page that the file ought to have. */
export function isDamage(thrown: unknown): boolean {
  const code = codeOf(thrown)
  return code === 'SQLITE_NOTADB' || code === 'SQLITE_IOERR_SHORT_READ' || code.startsWith('SQLITE_CORRUPT')
}
/** Damage, or a disk that does not give its bytes back; where those may be missed. */
export function isUnreadable(thrown: unknown): boolean {
  const code = codeOf(thrown)
  return isDamage(thrown) || code === 'EIO' || code === 'SQLITE_IOERR_READ' || code === 'SQLITE_IOERR_CORRUPTFS'
}
const codeOf = (thrown: unknown): string => (thrown as { code?: string }).code ?? ''
