/** Tables of the spool, read page by page. */
import { MeshError } from '../../../../core/errors.ts'
import type { Row, SqlValue, Statement, Storage } from '../../../../core/storage/storage.ts'
import { ROWS_PER_PAGE } from '../schema.ts'
import type { Losses } from './losses.ts'

export type Restoring = {
  readonly storage: Storage
  readonly losses: Losses
  readonly repairs: Statement[]
  /** Of rows that are given up. */
  readonly damagedSessions: Set<string>
}

/** @param keyOf the parameters that ask for what comes after a row */
export async function* readRows(
  storage: Storage,
  sql: string,
  first: readonly SqlValue[],
  keyOf: (last: Row) => readonly SqlValue[],
): AsyncGenerator<Row> {
  for (let key = first; ;) {
    const rows = await storage.query({ sql, params: [...key, ROWS_PER_PAGE] })
    yield* rows
    const last = rows.at(-1)
    if (!last || rows.length < ROWS_PER_PAGE) return
    const next = keyOf(last)
    if (!isBehind(next, key)) throw new MeshError('MESH_STORAGE_DAMAGED', 'rows of the spool are not in their order')
    key = next
  }
}
/** In SQLite's order, for values of the same type. */
function isBehind(next: readonly SqlValue[], before: readonly SqlValue[]): boolean {
  for (const [i, value] of next.entries()) {
    const other = before[i]!
    const order =
      typeof value === 'string'
        ? Buffer.compare(Buffer.from(value), Buffer.from(String(other)))
        : Number(value) - Number(other)
    if (order !== 0) return order > 0
  }
  return false
}
