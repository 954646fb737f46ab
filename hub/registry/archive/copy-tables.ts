/** All rows of one registry into another, empty one, whatever database each is in. One of the two is SQLite. */
import { MeshError } from '../../../core/errors.ts'
import type { Sql, Value } from '../sql.ts'

const ROWS_AT_ONCE = 200

type Table = { readonly name: string; readonly columns: readonly string[]; readonly key: readonly string[] }

/**
 * @param sqlite the one of the two that is SQLite: it says what tables there are
 * Rejects with MESH_STORAGE_FAILED when fewer rows have come than there were.
 * @returns rows by table
 */
export async function copyTables(
  from: Sql,
  to: Sql,
  sqlite: Sql,
  isMeant: (table: string) => boolean = () => true,
): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>()
  for (const table of await listTables(sqlite)) {
    if (!isMeant(table.name)) continue
    const copied = await copyTable(from, to, table)
    const [{ n }] = (await to.all<{ n: number }>(`SELECT count(*) AS n FROM ${table.name}`)) as [{ n: number }]
    if (n !== copied)
      throw new MeshError('MESH_STORAGE_FAILED', `of ${copied} rows of ${table.name} there are ${n} in the copy`)
    counts.set(table.name, copied)
  }
  return counts
}

/** Those that others refer to come first, as they were made. */
export async function listTables(sqlite: Sql): Promise<readonly Table[]> {
  const names = await sqlite.all<{ name: string }>(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'backup%' ORDER BY rowid",
  )
  const tables: Table[] = []
  for (const { name } of names) {
    const columns = await sqlite.all<{ name: string; pk: number }>('SELECT name, pk FROM pragma_table_info(?)', name)
    tables.push({
      name,
      columns: columns.map((c) => `"${c.name}"`),
      key: columns
        .filter((c) => c.pk > 0)
        .toSorted((a, b) => a.pk - b.pk)
        .map((c) => `"${c.name}"`),
    })
  }
  return tables
}

async function copyTable(from: Sql, to: Sql, { name, columns, key }: Table): Promise<number> {
  const select = `SELECT ${columns.join(', ')} FROM ${name}`
  const order = `ORDER BY ${key.join(', ')} LIMIT ${ROWS_AT_ONCE}`
  const row = `(${columns.map(() => '?').join(', ')})`
  const insert = `INSERT INTO ${name} (${columns.join(', ')}) VALUES `
  const plain = (quoted: string): string => quoted.slice(1, -1)
  let [copied, last] = [0, undefined as readonly Value[] | undefined]
  for (;;) {
    const after = last ? `WHERE (${key.join(', ')}) > (${key.map(() => '?').join(', ')})` : ''
    const rows = await from.all<Record<string, Value>>(`${select} ${after} ${order}`, ...(last ?? []))
    if (rows.length > 0)
      await to.run(
        insert + rows.map(() => row).join(', '),
        ...rows.flatMap((one) => columns.map((column) => one[plain(column)]!)),
      )
    copied += rows.length
    if (rows.length < ROWS_AT_ONCE) return copied
    last = key.map((column) => rows.at(-1)![plain(column)]!)
  }
}
