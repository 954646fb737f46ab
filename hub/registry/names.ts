/**
 * Which node name belongs to whom. A name is never had by coming first: the token says which names its bearers may
 * have, and a name that matches a pattern belongs to one device.
 */
import { isExpired } from '../../core/pki/validity.ts'
import { Enrollments, KEY_HOLDER, type Enrollment } from './enrollments.ts'
import { isExact, matchesNode } from './node-names.ts'
import type { NameClaim } from './rows.ts'
import type { Sql } from './sql.ts'

/** Prefix of the holder of a name that is held by a token, without a certificate. */
export const TOKEN_HOLDER = 'token:'
/** All nodes of one service account; more needs another. */
const MAX_NAMES_PER_IDENTITY = 100_000

/** Of a claim, what is asked about. */
export type NameQuestion = Omit<NameClaim, 'nodeId' | 'ip'>

/**
 * A node opened a stream under a name.
 * @returns undefined when the name is the caller's from now on, or why it is not
 */
export async function takeName(sql: Sql, c: NameClaim): Promise<string | undefined> {
  try {
    return await sql.transaction((tx) => claim(tx, c))
  } catch (err) {
    // A disk that is full, or a file that somebody else holds, keeps no device from what it has already.
    const known = await sql.all(
      'SELECT 1 FROM devices WHERE name = ? AND spiffe_uri = ? AND holder = ?',
      c.name,
      c.spiffeUri,
      c.holder,
    )
    if (known.length > 0 && (await whyNotName(sql, c)) === undefined) return undefined
    throw err
  }
}

async function claim(tx: Sql, c: NameClaim): Promise<string | undefined> {
  const refused = await whyNotName(tx, c)
  if (refused !== undefined) return refused
  await tx.run(
    `INSERT INTO devices (name, node_id, spiffe_uri, joined_ms, last_seen_ms, last_ip, holder) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET node_id = excluded.node_id, last_seen_ms = excluded.last_seen_ms, last_ip = excluded.last_ip, holder = excluded.holder`,
    c.name,
    c.nodeId,
    c.spiffeUri,
    c.nowMs,
    c.nowMs,
    c.ip,
    c.holder,
  )
  return undefined
}

/**
 * @returns why a stream that claimed the name may not have it any more; a name that nobody has (`devices forget`) is
 * left to it until somebody comes
 */
export async function findLostName(sql: Sql, c: NameQuestion): Promise<string | undefined> {
  const isHad = (await sql.all('SELECT 1 FROM devices WHERE name = ?', c.name)).length > 0
  return isHad || (await new Enrollments(sql).byName(c.name)) ? await whyNotName(sql, c) : undefined
}

async function whyNotName(sql: Sql, c: NameQuestion): Promise<string | undefined> {
  const { name, spiffeUri, holder, jti } = c
  const [known] = await sql.all<Known>('SELECT spiffe_uri AS "spiffeUri", holder FROM devices WHERE name = ?', name)
  if (known && known.spiffeUri !== spiffeUri) return `belongs to ${known.spiffeUri}`
  const enrolled = await new Enrollments(sql).byName(name)
  if (enrolled) return whyNotOfKey(enrolled, holder)
  if (holder.startsWith(KEY_HOLDER)) return 'is not the one that the device joined with'
  const nodes = jti === undefined ? undefined : await readNodes(sql, jti)
  if (nodes === undefined)
    return known && (known.holder === null || known.holder === holder)
      ? undefined
      : 'stands in no join token of this identity'
  if (!matchesNode(nodes, name)) return `is not one that the join token is for (${nodes})`
  return isExact(nodes) ? undefined : await whyNotOfPattern(sql, c, known)
}

type Known = { readonly spiffeUri: string; readonly holder: string | null }

async function whyNotOfPattern(sql: Sql, c: NameQuestion, known: Known | undefined): Promise<string | undefined> {
  const { name, spiffeUri, holder, jti, nowMs } = c
  if (known && known.holder !== null && known.holder !== holder && !(await mayFollow(sql, known.holder, jti!, nowMs)))
    return 'belongs to another device of this identity'
  const [other] = await sql.all<{ name: string }>(
    'SELECT name FROM devices WHERE holder = ? AND name <> ? LIMIT 1',
    holder,
    name,
  )
  if (other && !holder.startsWith(TOKEN_HOLDER)) return `is another than ${other.name}, which the device has already`
  if (known) return undefined
  const [count] = await sql.all<{ n: number }>('SELECT count(*) AS n FROM devices WHERE spiffe_uri = ?', spiffeUri)
  return count!.n >= MAX_NAMES_PER_IDENTITY
    ? `would be one more than ${MAX_NAMES_PER_IDENTITY} of one identity`
    : undefined
}

/**
 * Whether a bearer of the token may take a name over from its holder: a device's first stream may begin before it has
 * its certificate, and one that was away for longer than its certificate lived comes back with a new key.
 */
async function mayFollow(sql: Sql, holder: string, jti: string, nowMs: number): Promise<boolean> {
  if (holder === TOKEN_HOLDER + jti) return true
  const [newest] = await sql.all<{ jti: string | null; notAfterMs: number }>(
    'SELECT jti, not_after_ms AS "notAfterMs" FROM certificates WHERE device = ? ORDER BY not_after_ms DESC LIMIT 1',
    holder,
  )
  return newest !== undefined && newest.jti === jti && isExpired(newest, nowMs)
}

async function readNodes(sql: Sql, jti: string): Promise<string | undefined> {
  const [token] = await sql.all<{ nodes: string | null }>('SELECT nodes FROM tokens WHERE jti = ?', jti)
  return token?.nodes ?? undefined
}

/** A name that a key has is nobody else's, whatever token they show. */
function whyNotOfKey({ keyId, state }: Enrollment, holder: string): string | undefined {
  if (state !== 'active') return `is ${state}: meshlet-hub device approve lets it in again`
  return holder === KEY_HOLDER + keyId ? undefined : 'belongs to a device with a key of its own'
}
