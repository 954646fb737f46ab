/**
 * Whose registry it is. Several hubs on one database need the same CA and token key, which stay in files of each: what
 * stands here are their fingerprints, so that a hub with other keys does not serve.
 */
import { MeshError } from '../../core/errors.ts'
import type { Sql } from './sql.ts'

export type AuthorityPart = 'ca' | 'token-key'

/** @returns fingerprints; none: the registry is of nobody yet */
export async function readAuthority(sql: Sql, part: AuthorityPart): Promise<readonly string[]> {
  const rows = await sql.all<{ fingerprint: string }>('SELECT fingerprint FROM authority WHERE part = ?', part)
  return rows[0]?.fingerprint.split(' ') ?? []
}

/**
 * Rejects with MESH_CA_DAMAGED when the registry is that of another, or its roots have rotated beside this hub.
 * @param own the one that signs first
 * @param p.decides what `own` is counts; otherwise only where nothing stands yet
 * @param tx nobody else writes meanwhile
 */
export async function recordAuthority(
  tx: Sql,
  part: AuthorityPart,
  own: readonly string[],
  p: { readonly decides: boolean },
): Promise<void> {
  const known = await readAuthority(tx, part)
  if (known[0] !== undefined && !own.includes(known[0]))
    throw new MeshError(
      'MESH_CA_DAMAGED',
      `the registry belongs to a ${part} with the fingerprint ${known.join(' ')}, and this hub has ${own.join(' ')}: copy the folder ca of the state of a hub that serves`,
    )
  if (own.join(' ') === known.join(' ') || (known.length > 0 && !p.decides)) return
  await writeAuthority(tx, part, own)
}

/** All hubs look at it. */
export async function writeAuthority(tx: Sql, part: AuthorityPart, own: readonly string[]): Promise<void> {
  await tx.run(
    'INSERT INTO authority (part, fingerprint) VALUES (?, ?) ON CONFLICT (part) DO UPDATE SET fingerprint = excluded.fingerprint',
    part,
    own.join(' '),
  )
  await tx.touch()
}
