/** A registry of SQLite becomes the one of a PostgreSQL: a migration, or a restore. */
import { MeshError } from '../../../core/errors.ts'
import type { Sql } from '../sql.ts'
import { copyTables, listTables } from './copy-tables.ts'

/** Rows of these make a registry somebody's. */
const TELLING = ['tokens', 'certificates', 'devices', 'enrollments', 'join_requests', 'authority']

/** Rejects with MESH_CONFIG_INVALID. */
export async function checkEmpty(to: Sql): Promise<void> {
  for (const name of TELLING)
    if ((await to.all(`SELECT 1 FROM ${name} LIMIT 1`)).length > 0)
      throw new MeshError('MESH_CONFIG_INVALID', `the database has a registry already (${name}); name an empty one`)
}

/** Everything of `from` in place of what is there, but the tables that are to stay. @returns rows by table */
export async function takeOver(from: Sql, to: Sql, stay: readonly string[] = []): Promise<ReadonlyMap<string, number>> {
  const isMeant = (name: string): boolean => !stay.includes(name)
  const tables = (await listTables(from)).filter(({ name }) => isMeant(name))
  for (const { name } of tables.toReversed()) await to.run(`DELETE FROM ${name}`)
  const counts = await copyTables(from, to, from, isMeant)
  await resetIdentities(to)
  return counts
}

/** Numbers that PostgreSQL gives by itself go on after those that were copied. */
async function resetIdentities(to: Sql): Promise<void> {
  const columns = await to.all<{ table: string; column: string }>(
    `SELECT table_name AS "table", column_name AS "column" FROM information_schema.columns
    WHERE table_schema = current_schema() AND is_identity = 'YES'`,
  )
  for (const { table, column } of columns)
    await to.all(
      `SELECT setval(pg_get_serial_sequence(?, ?), (SELECT coalesce(max("${column}"), 0) + 1 FROM ${table}), false)`,
      table,
      column,
    )
}
