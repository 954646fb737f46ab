/** How far rollouts have come does not go back with a restore: what has halted since would be tried again. */
import { readAuthority } from '../authority.ts'
import { Rollouts } from '../rollout/rollouts.ts'
import type { Sql } from '../sql.ts'
import { copyTables } from './copy-tables.ts'

/** All that says which device is to have what, with what it would be sent. Parents first. */
export const ROLLOUT_TABLES: readonly string[] = [
  'revisions',
  'revision_blobs',
  'rollouts',
  'rollout_devices',
  'rollout_state',
]

/** Whether `present` is a later state of the registry of `backup`: then its rollouts are to stay. */
export async function isLaterThan(present: Sql, backup: Sql): Promise<boolean> {
  const [newest] = await new Rollouts(present).list(1)
  // Another fleet's, or one that was begun anew.
  if (!newest || !(await haveOneKey(present, backup))) return false
  const [last] = await new Rollouts(backup).list(1)
  if (!last || newest.startedMs >= last.startedMs) return true
  return (await new Rollouts(present).get(last.id)) !== undefined
}

async function haveOneKey(a: Sql, b: Sql): Promise<boolean> {
  const [ofA, ofB] = [await readAuthority(a, 'token-key'), await readAuthority(b, 'token-key')]
  return ofA.length > 0 && ofA.join() === ofB.join()
}

/** Those of `present` in place of those of the backup. */
export async function keepRollouts(present: Sql, restored: Sql): Promise<void> {
  await restored.transaction(async (tx) => {
    for (const name of ROLLOUT_TABLES.toReversed()) await tx.run(`DELETE FROM ${name}`)
    await copyTables(present, tx, tx, (name) => ROLLOUT_TABLES.includes(name))
  })
}

/** Nobody knows how far it has come since: an operator says whether it goes on. @returns the rollout that waits */
export async function pauseRestored(tx: Sql): Promise<string | undefined> {
  const rollouts = new Rollouts(tx)
  const active = await rollouts.active()
  if (active?.state !== 'running') return undefined
  await rollouts.update({ ...active, state: 'paused', reason: 'of a backup: nobody knows how far it had come' })
  return active.id
}
