import type { OpenFile } from '../../../core/storage/sqlite-file.ts'

/** A table, and rows for it. */
export const TABLE = 'CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)'
export const insert = (k: number, v: string | Uint8Array = 'x') => ({
  sql: 'INSERT INTO t VALUES (?, ?)',
  params: [k, v],
})
export const ALL = { sql: 'SELECT k FROM t ORDER BY k' }

/** Options of a file that is opened for a test. */
export const how = (file: string, over: Partial<OpenFile> = {}): OpenFile => ({
  path: file,
  profile: 'balanced',
  migrations: [TABLE],
  previous: undefined,
  startFrom: 'file',
  check: 'whole',
  addon: undefined,
  stamp: 's',
  whenDamaged: 'set aside',
  ...over,
})
