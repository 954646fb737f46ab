/**
 * What the registry needs of a database: statements with `?`, transactions that nobody else writes beside, and a
 * number that says whether somebody has written. SQLite fulfils it; nothing above this file knows which database it is.
 */
import Database from 'better-sqlite3'
import { MeshError } from '../../core/errors.ts'
import { toBindingOption } from '../../core/storage/sqlite-addon.ts'
import { MIGRATIONS } from './schema.ts'

export type Value = string | number | null
export interface Sql extends Disposable {
  all<T>(sql: string, ...params: readonly Value[]): T[]
  /** @returns rows that changed */
  run(sql: string, ...params: readonly Value[]): number
  /** Nobody else writes meanwhile; what throws is undone. */
  transaction<T>(work: () => T): T
  /** Another number once somebody else has written. */
  readonly foreignChanges: number
  /** Nobody waits longer for somebody else's write. */
  waitAtMost(ms: number): void
  /** A copy as it is now, whoever writes. @param file must not exist */
  copyTo(file: string): void
}

/** A command waits so long for another process that writes. */
const BUSY_TIMEOUT_MS = 5_000

/** Throws MESH_STORAGE_FAILED, MESH_STORAGE_FULL, MESH_STORAGE_NEWER, as every method does. */
export function openSqlite(file: string, nativeBinding?: object): Sql {
  const db = guarded(() => {
    const opened = new Database(file, { timeout: BUSY_TIMEOUT_MS, ...toBindingOption(nativeBinding) })
    opened.pragma('journal_mode = WAL')
    opened.pragma('synchronous = FULL')
    opened.pragma('foreign_keys = ON')
    migrate(opened)
    return opened
  })
  return {
    all: <T>(sql: string, ...params: readonly Value[]) => guarded(() => db.prepare(sql).all(...params) as T[]),
    run: (sql, ...params) => guarded(() => db.prepare(sql).run(...params).changes),
    transaction: (work) => guarded(() => (db.inTransaction ? work() : db.transaction(work).immediate())),
    // https://sqlite.org/pragma.html#pragma_data_version
    get foreignChanges() {
      return guarded(() => Number(db.pragma('data_version', { simple: true })))
    },
    waitAtMost: (ms) => guarded(() => db.pragma(`busy_timeout = ${ms}`)),
    copyTo: (copy) => guarded(() => db.prepare('VACUUM INTO ?').run(copy)),
    [Symbol.dispose]: () => db.close(),
  }
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
