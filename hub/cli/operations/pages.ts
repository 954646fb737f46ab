/** Lists that come page by page. */
import { MeshError } from '../../../core/errors.ts'

/** Of the API's queries. */
const PAGE = 500
/** What a hub says of its number of rows must not fill the memory here. */
export const MAX_ROWS = 200_000

export type Page<T> = { readonly total: number; readonly rows: readonly T[] }
export type Place = { readonly offset: number; readonly limit: number }

/** Rejects with MESH_HUB_ANSWER when it does not end. @param most the first so many */
export async function readPages<T>(
  read: (place: Place) => Promise<Page<T>>,
  most = Number.POSITIVE_INFINITY,
): Promise<{ readonly total: number; readonly rows: readonly T[] }> {
  const rows: T[] = []
  for (;;) {
    const limit = Math.min(PAGE, most - rows.length)
    const page = await read({ offset: rows.length, limit })
    for (const row of page.rows.slice(0, limit)) rows.push(row)
    if (page.rows.length === 0 || rows.length >= Math.min(page.total, most)) return { total: page.total, rows }
    if (rows.length >= MAX_ROWS) throw new MeshError('MESH_HUB_ANSWER', `the hub has more than ${MAX_ROWS} rows`)
  }
}
