/** What somebody has lost stays lost, whatever a backup says. */
import { Enrollments, KEY_HOLDER } from '../enrollments.ts'
import type { Sql } from '../sql.ts'

type Revoked = { readonly id: string; readonly ms: number }
export type Revocations = {
  readonly tokens: readonly Revoked[]
  readonly certificates: readonly Revoked[]
  readonly devices: readonly Revoked[]
}

export async function listRevocations(sql: Sql): Promise<Revocations> {
  return {
    tokens: await sql.all<Revoked>('SELECT jti AS id, revoked_ms AS ms FROM tokens WHERE revoked_ms IS NOT NULL'),
    certificates: await sql.all<Revoked>(
      'SELECT serial AS id, revoked_ms AS ms FROM certificates WHERE revoked_ms IS NOT NULL',
    ),
    devices: await sql.all<Revoked>(
      "SELECT name AS id, coalesce(revoked_ms, cloned_ms, 0) AS ms FROM enrollments WHERE state <> 'active'",
    ),
  }
}

/** @returns how many tokens, certificates and devices were not revoked here */
export async function applyRevocations(tx: Sql, { tokens, certificates, devices }: Revocations): Promise<number> {
  let taken = 0
  for (const { id, ms } of tokens)
    taken += await tx.run('UPDATE tokens SET revoked_ms = ? WHERE jti = ? AND revoked_ms IS NULL', ms, id)
  for (const { id, ms } of certificates)
    taken += await tx.run('UPDATE certificates SET revoked_ms = ? WHERE serial = ? AND revoked_ms IS NULL', ms, id)
  for (const { id, ms } of devices) {
    taken += await tx.run(
      "UPDATE enrollments SET state = 'revoked', revoked_ms = ? WHERE name = ? AND state = 'active'",
      ms,
      id,
    )
    const holder = KEY_HOLDER + ((await new Enrollments(tx).byName(id))?.keyId ?? '')
    taken += await tx.run('UPDATE certificates SET revoked_ms = ? WHERE device = ? AND revoked_ms IS NULL', ms, holder)
  }
  await tx.touch()
  return taken
}
