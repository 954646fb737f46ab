/** One SQLite file: opened or set aside, migrated, written in transactions. Blocking; for the storage thread. */
import Database from 'better-sqlite3'
import fs from 'node:fs'
import type { DurabilityProfile, Row, Statement } from './storage.ts'

export type OpenFile = {
  readonly path: string
  readonly profile: DurabilityProfile
  readonly migrations: readonly string[]
  readonly addon: string | undefined
  /** Goes into the name of a damaged file. */
  readonly stamp: string
  /** `fail`: the file was open before, and whoever uses it still believes in what was in it. */
  readonly whenDamaged: 'set aside' | 'fail'
}

/** The whole file is checked at opening up to this size (some 2 ms per MiB); larger ones when their pages are read, and whole after damage was met there. */
const MAX_CHECKED_BYTES = 64 * 1024 * 1024
const MAX_STATEMENTS = 100
/** Waited for the lock of a predecessor that is still closing. */
const BUSY_MS = 2_000
/** The write-ahead log shrinks back to this after a burst. */
const MAX_IDLE_WAL_BYTES = 4 * 1024 * 1024

export class SqliteFile {
  readonly #db: Database.Database
  readonly #path: string
  readonly #prepared = new Map<string, Database.Statement<unknown[]>>()

  private constructor(db: Database.Database, path: string) { this.#db = db; this.#path = path }

  /** SQLite itself is loaded, so that the first file need not wait for it. */
  static load(addon: string): void { new Database(':memory:', { nativeBinding: addon }).close() }

  /** A file that is damaged is renamed with its companions, and an empty one takes its place. Throws MESH_STORAGE_NEWER (as `code`) or what SQLite says. */
  static open(o: OpenFile): { opened: SqliteFile; setAside: string | undefined } {
    try {
      return { opened: openSound(o), setAside: undefined }
    } catch (thrown) {
      if (!isDamage(thrown) || o.whenDamaged === 'fail') throw thrown
      const setAside = `${o.path}.damaged-${o.stamp}`
      fs.rmSync(suspicionOf(o.path), { force: true })
      // The database first: SQLite removes a log beside a file that is not there, but would apply it to one that is.
      for (const suffix of ['', '-wal', '-shm']) if (fs.existsSync(o.path + suffix)) fs.renameSync(o.path + suffix, setAside + suffix)
      return { opened: openSound(o), setAside }
    }

    function openSound({ path, profile, migrations, addon }: OpenFile): SqliteFile {
      const bytes = fs.existsSync(path) ? fs.statSync(path).size : 0
      const db = new Database(path, { timeout: BUSY_MS, ...(addon === undefined ? {} : { nativeBinding: addon }) })
      try {
        if (bytes === 0) fs.chmodSync(path, 0o600)
        // Keeps a second process out, and the index of the log in memory instead of behind a dozen fcntl calls per transaction.
        db.pragma('locking_mode = EXCLUSIVE')
        db.pragma('journal_mode = WAL')
        db.pragma(`synchronous = ${profile === 'strict' ? 'FULL' : 'NORMAL'}`)
        db.pragma(`journal_size_limit = ${MAX_IDLE_WAL_BYTES}`)
        db.pragma('cache_size = -2048')
        db.pragma('temp_store = MEMORY')
        if (bytes > 0 && (bytes <= MAX_CHECKED_BYTES || fs.existsSync(suspicionOf(path)))) {
          const verdict = db.pragma('quick_check(1)', { simple: true })
          if (verdict !== 'ok') throw Object.assign(new Error(String(verdict)), { code: 'SQLITE_CORRUPT' })
          fs.rmSync(suspicionOf(path), { force: true })
        }
        migrate(db, migrations)
        return new SqliteFile(db, path)
      } catch (thrown) { db.close(); throw thrown }
    }
  }

  /** All or nothing. */
  commit(statements: Iterable<Statement>): void {
    try {
      this.#statement('BEGIN IMMEDIATE').run()
      for (const { sql, params } of statements) this.#statement(sql).run(params ?? [])
      this.#statement('COMMIT').run()
    } catch (thrown) {
      if (this.#db.inTransaction) this.#statement('ROLLBACK').run()
      throw this.#noted(thrown)
    }
  }
  query({ sql, params }: Statement): Row[] {
    try { return this.#statement(sql).all(params ?? []) as Row[] } catch (thrown) { throw this.#noted(thrown) }
  }
  close(): void { this.#db.close() }

  /** Damage that shows only now makes the next start look at the whole file. */
  #noted(thrown: unknown): unknown {
    if (isDamage(thrown)) try { fs.writeFileSync(suspicionOf(this.#path), '') } catch { /* a disk that is full; then the next start does without */ }
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

function migrate(db: Database.Database, migrations: readonly string[]): void {
  const version = Number(db.pragma('user_version', { simple: true }))
  if (version > migrations.length) throw Object.assign(new Error(`the file has schema ${version}, this meshlet knows up to ${migrations.length}`), { code: 'MESH_STORAGE_NEWER' })
  for (let next = version; next < migrations.length; next++) {
    db.transaction(() => { db.exec(migrations[next]!); db.pragma(`user_version = ${next + 1}`) })()
  }
}

const suspicionOf = (path: string): string => `${path}.suspect`

function isDamage(thrown: unknown): boolean {
  const { code = '' } = thrown as { code?: string }
  return code === 'SQLITE_NOTADB' || code.startsWith('SQLITE_CORRUPT')
}
