/**
 * Which hubs there are on one registry, and which nodes have streams at each. A hub that has not said for a while that it
 * lives has no streams any more, whatever it wrote last.
 */
import type { DeviceChange } from './rows.ts'
import type { Sql, Value } from './sql.ts'

export const ALIVE_MS = 10_000
/** A hub that was silent for so long does not run. */
export const HUB_GONE_MS = 3 * ALIVE_MS
/** What a hub that is gone has left is kept for so long: it may only have lost the database. */
const KEEP_GONE_MS = 3_600_000
/** SQLite takes 32,766 parameters, PostgreSQL twice as many. */
const ROWS_AT_ONCE = 500

/** Hubs that live: the newest word of any of them is the present. */
const LIVE = `SELECT c.name AS node, min(c.connected_ms) AS since_ms FROM connections c JOIN replicas r ON r.id = c.replica
  WHERE r.alive_ms > (SELECT max(alive_ms) FROM replicas) - ${HUB_GONE_MS}`
/** Since when each connected node is. */
export const CONNECTIONS = `${LIVE} GROUP BY c.name`
/** Of the one node whose name is given: SQLite groups all others first where only the join says which is meant. */
export const CONNECTIONS_OF_ONE = `${LIVE} AND c.name = ? GROUP BY c.name`

/** @param p.isAlone there is no other hub: nobody has streams from a run before */
export async function registerReplica(
  sql: Sql,
  p: { readonly id: string; readonly nowMs: number; readonly isAlone: boolean },
): Promise<void> {
  await sql.transaction(async (tx) => {
    await removeReplicas(tx, p.isAlone ? 'all' : p.nowMs - KEEP_GONE_MS)
    // One that died with its clock far ahead would make all others look gone; one that lives says so again.
    await tx.run('DELETE FROM replicas WHERE alive_ms > ?', p.nowMs + KEEP_GONE_MS)
    await tx.run('INSERT INTO replicas (id, started_ms, alive_ms) VALUES (?, ?, ?)', p.id, p.nowMs, p.nowMs)
  })
}

export async function removeReplica(sql: Sql, id: string): Promise<void> {
  await sql.run('DELETE FROM connections WHERE replica = ?', id)
  await sql.run('DELETE FROM replicas WHERE id = ?', id)
}

/** @param which those silent since then, milliseconds since the epoch */
export async function removeReplicas(tx: Sql, which: 'all' | number): Promise<void> {
  const before = which === 'all' ? Number.MAX_SAFE_INTEGER : which
  await tx.run('DELETE FROM replicas WHERE alive_ms < ?', before)
  await tx.run('DELETE FROM connections WHERE replica NOT IN (SELECT id FROM replicas)')
}

/**
 * What a hub has seen of its devices, and that it lives. Each statement is whole by itself and may be made again.
 * @returns false: others had given the hub up, and its connections have to be said anew
 */
export async function noteChanges(
  sql: Sql,
  changes: readonly DeviceChange[],
  { replica, nowMs }: { readonly replica: string; readonly nowMs: number },
): Promise<boolean> {
  const alive = 'INSERT INTO replicas (id, started_ms, alive_ms) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING'
  const isNew = (await sql.run(alive, replica, nowMs, nowMs)) > 0
  if (!isNew) await sql.run('UPDATE replicas SET alive_ms = ? WHERE id = ?', nowMs, replica)
  for (let at = 0; at < changes.length; at += ROWS_AT_ONCE)
    await noteSome(sql, changes.slice(at, at + ROWS_AT_ONCE), replica)
  return !isNew
}

async function noteSome(sql: Sql, changes: readonly DeviceChange[], replica: string): Promise<void> {
  const row = '(CAST(? AS TEXT), CAST(? AS BIGINT), CAST(? AS TEXT), CAST(? AS BIGINT), CAST(? AS TEXT))'
  await sql.run(
    `UPDATE devices SET last_seen_ms = v.column2, in_force = coalesce(v.column3, in_force), in_force_ms = coalesce(v.column4, in_force_ms), refused = v.column5
    FROM (VALUES ${changes.map(() => row).join(', ')}) AS v WHERE devices.name = v.column1`,
    ...changes.flatMap((c): readonly Value[] => [
      c.name,
      c.lastSeenMs,
      c.inForce ?? null,
      c.inForceMs ?? null,
      c.refused ?? null,
    ]),
  )
  const connected = changes.filter((c) => c.connectedMs !== null)
  if (connected.length > 0)
    await sql.run(
      `INSERT INTO connections (name, replica, connected_ms) VALUES ${connected.map(() => '(?, ?, ?)').join(', ')}
      ON CONFLICT (name, replica) DO UPDATE SET connected_ms = excluded.connected_ms`,
      ...connected.flatMap((c) => [c.name, replica, c.connectedMs]),
    )
  const gone = changes.filter((c) => c.connectedMs === null)
  if (gone.length > 0)
    await sql.run(
      `DELETE FROM connections WHERE replica = ? AND name IN (${gone.map(() => '?').join(', ')})`,
      replica,
      ...gone.map((c) => c.name),
    )
}

/** When a running hub last said that it lives; undefined: none has. */
export async function readAliveMs(sql: Sql): Promise<number | undefined> {
  return (await sql.all<{ ms: number | null }>('SELECT max(alive_ms) AS ms FROM replicas'))[0]?.ms ?? undefined
}
