/** A table, and rows for it. */
export const TABLE = 'CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)'
export const insert = (k: number, v: string | Uint8Array = 'x') => ({
  sql: 'INSERT INTO t VALUES (?, ?)',
  params: [k, v],
})
export const ALL = { sql: 'SELECT k FROM t ORDER BY k' }
