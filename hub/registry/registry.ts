/**
 * Who may join and who has joined, in one SQLite file that the running hub and `meshlet-hub token` open at the same
 * time (WAL, busy timeout). Calls block for a disk write at most; the hub makes few of them (a join, a renewal, a new
 * stream).
 */
import { isExpired } from '../../core/pki/validity.ts'
import { AuditLog } from './audit.ts'
import { Enrollments, KEY_HOLDER, type Enrollment, type Labels } from './enrollments.ts'
import { isExact, matchesNode } from './node-names.ts'
import type { CertificateRow, DeviceChange, DeviceRow, NameClaim, TokenRow } from './rows.ts'
import { openSqlite, type Sql, type Value } from './sql.ts'

/** While devices are served: a command writes for some milliseconds. */
const SERVING_BUSY_TIMEOUT_MS = 100
/** Ended certificates are kept this long, for `meshlet-hub devices`. */
const KEEP_ENDED_MS = 90 * 86_400_000
/** All nodes of one service account; more needs another. */
const MAX_NAMES_PER_IDENTITY = 100_000

export class Registry implements Disposable {
  readonly audit: AuditLog
  readonly enrollments: Enrollments
  readonly #sql: Sql
  /** What this process has taken from tokens and devices. */
  #ownChanges = 0

  /**
   * @param file `:memory:` for tests
   * @param nativeBinding SQLite's addon; undefined takes the package's own
   * Throws MESH_STORAGE_NEWER, MESH_STORAGE_FAILED.
   */
  constructor(file: string, nativeBinding?: object) {
    this.#sql = openSqlite(file, nativeBinding)
    this.audit = new AuditLog(this.#sql)
    this.enrollments = new Enrollments(this.#sql, () => {
      this.#ownChanges++
    })
  }

  /**
   * From now on nobody waits long for another process that writes: whoever calls stands still meanwhile, and all
   * devices with it.
   */
  serving(): void {
    this.#sql.waitAtMost(SERVING_BUSY_TIMEOUT_MS)
  }

  /** Runs `work` while no other process may write the registry, and undoes its writes when it throws. */
  exclusively<T>(work: () => T): T {
    return this.#sql.transaction(work)
  }

  addToken(t: NewToken): void {
    this.#run(
      'INSERT INTO tokens (jti, namespace, service_account, created_ms, expires_ms, max_uses, nodes, hash, cidrs, labels, approval) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      t.jti,
      t.namespace,
      t.serviceAccount,
      t.createdMs,
      t.expiresMs,
      t.maxUses,
      t.nodes,
      t.hash ?? null,
      JSON.stringify(t.cidrs ?? []),
      JSON.stringify(t.labels ?? {}),
      t.approval === true ? 1 : 0,
    )
  }
  token(jti: string): TokenRow | undefined {
    return this.#all<StoredToken>(`${TOKENS} WHERE jti = ?`, jti).map(readTokenRow)[0]
  }
  /** Newest first. */
  tokens(): readonly TokenRow[] {
    return this.#all<StoredToken>(`${TOKENS} ORDER BY created_ms DESC, jti`).map(readTokenRow)
  }
  /** Names of the devices that joined with the token. */
  devicesOfToken(jti: string): readonly string[] {
    return this.#all<{ name: string }>(
      `SELECT name FROM enrollments WHERE jti = ? UNION SELECT name FROM join_requests WHERE jti = ?
      UNION SELECT d.name FROM certificates c JOIN devices d ON d.holder = c.device WHERE c.jti = ? ORDER BY name`,
      jti,
      jti,
      jti,
    ).map(({ name }) => name)
  }
  /** @returns the row as it is now; undefined when there is no such token. Revoking twice keeps the first date. */
  revokeToken(jti: string, nowMs: number): TokenRow | undefined {
    this.#ownChanges++
    this.#run('UPDATE tokens SET revoked_ms = ? WHERE jti = ? AND revoked_ms IS NULL', nowMs, jti)
    return this.token(jti)
  }

  /** Counts one use by the key. A key counts once, so that a device that lost the answer may ask again. */
  useToken(jti: string, keyId: string, nowMs: number): 'counted' | 'used-up' {
    return this.#sql.transaction((): 'counted' | 'used-up' => {
      if (this.#all('SELECT 1 FROM token_uses WHERE jti = ? AND key_id = ?', jti, keyId).length) return 'counted'
      const row = this.token(jti)
      if (!row || (row.maxUses !== null && row.uses >= row.maxUses)) return 'used-up'
      this.#run('INSERT INTO token_uses (jti, key_id, used_ms) VALUES (?, ?, ?)', jti, keyId, nowMs)
      return 'counted'
    })
  }

  addCertificate(c: CertificateRow): void {
    this.#run('DELETE FROM certificates WHERE not_after_ms < ?', c.issuedMs - KEEP_ENDED_MS)
    this.#run(
      'INSERT INTO certificates (serial, spiffe_uri, jti, device, ip, issued_ms, not_after_ms) VALUES (?, ?, ?, ?, ?, ?, ?)',
      c.serial,
      c.spiffeUri,
      c.jti,
      c.device,
      c.ip,
      c.issuedMs,
      c.notAfterMs,
    )
  }
  certificate(serial: string): (CertificateRow & { readonly revokedMs: number | null }) | undefined {
    return this.#all<CertificateRow & { revokedMs: number | null }>(`${CERTIFICATES} WHERE serial = ?`, serial)[0]
  }

  /**
   * A node opened a stream under a name.
   * @returns undefined when the name is the caller's from now on, or why it is not
   */
  claimName(c: NameClaim): string | undefined {
    try {
      return this.#claim(c)
    } catch (err) {
      // A disk that is full, or a file that somebody else holds, keeps no device from what it has already.
      if (
        this.#all(
          'SELECT 1 FROM devices WHERE name = ? AND spiffe_uri = ? AND holder = ?',
          c.name,
          c.spiffeUri,
          c.holder,
        ).length &&
        this.#whyNot(c) === undefined
      )
        return undefined
      throw err
    }
  }

  #claim(c: NameClaim): string | undefined {
    return this.#sql.transaction((): string | undefined => {
      const refused = this.#whyNot(c)
      if (refused !== undefined) return refused
      this.#run(
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
    })
  }

  /**
   * @returns why a stream that claimed the name may not have it any more; a name that nobody has (`devices forget`) is
   * left to it until somebody comes
   */
  lostName(c: Omit<NameClaim, 'nodeId' | 'ip'>): string | undefined {
    const isHad = this.holderOf(c.name) !== undefined || this.spiffeUriOf(c.name) !== undefined
    return isHad || this.enrollments.byName(c.name) ? this.#whyNot(c) : undefined
  }

  /**
   * A name is never had by coming first: the token says which names its bearers may have, and a name that matches a
   * pattern belongs to one device.
   */
  #whyNot({ name, spiffeUri, holder, jti, nowMs }: Omit<NameClaim, 'nodeId' | 'ip'>): string | undefined {
    const known = this.#all<{ spiffeUri: string; holder: string | null }>(
      'SELECT spiffe_uri AS spiffeUri, holder FROM devices WHERE name = ?',
      name,
    )[0]
    if (known && known.spiffeUri !== spiffeUri) return `belongs to ${known.spiffeUri}`
    const enrolled = this.enrollments.byName(name)
    if (enrolled) return whyNotOfKey(enrolled, holder)
    if (holder.startsWith(KEY_HOLDER)) return 'is not the one that the device joined with'
    const nodes = (jti === undefined ? undefined : this.token(jti))?.nodes ?? undefined
    if (nodes === undefined)
      return known && (known.holder === null || known.holder === holder)
        ? undefined
        : 'stands in no join token of this identity'
    if (!matchesNode(nodes, name)) return `is not one that the join token is for (${nodes})`
    if (isExact(nodes)) return undefined
    if (known && known.holder !== null && known.holder !== holder && !this.#mayFollow(known.holder, jti!, nowMs))
      return 'belongs to another device of this identity'
    const other = this.#all<{ name: string }>(
      'SELECT name FROM devices WHERE holder = ? AND name <> ?',
      holder,
      name,
    )[0]
    if (other && !holder.startsWith(TOKEN_HOLDER)) return `is another than ${other.name}, which the device has already`
    const count = this.#all<{ n: number }>('SELECT count(*) AS n FROM devices WHERE spiffe_uri = ?', spiffeUri)[0]!.n
    return !known && count >= MAX_NAMES_PER_IDENTITY
      ? `would be one more than ${MAX_NAMES_PER_IDENTITY} of one identity`
      : undefined
  }

  /**
   * Whether a bearer of the token may take a name over from its holder: a device's first stream may begin before it has
   * its certificate, and one that was away for longer than its certificate lived comes back with a new key.
   */
  #mayFollow(holder: string, jti: string, nowMs: number): boolean {
    if (holder === TOKEN_HOLDER + jti) return true
    const newest = this.#all<{ jti: string | null; notAfterMs: number }>(
      'SELECT jti, not_after_ms AS notAfterMs FROM certificates WHERE device = ? ORDER BY not_after_ms DESC LIMIT 1',
      holder,
    )[0]
    return newest !== undefined && newest.jti === jti && isExpired(newest, nowMs)
  }

  /**
   * What a running hub has seen of its devices since the last call, in one transaction; it says that the hub lives,
   * too.
   */
  devicesChanged(changes: readonly DeviceChange[], nowMs: number): void {
    this.#sql.transaction(() => {
      for (const c of changes) {
        this.#run(
          'UPDATE devices SET connected_ms = ?, last_seen_ms = ?, in_force = coalesce(?, in_force), in_force_ms = coalesce(?, in_force_ms), refused = ? WHERE name = ?',
          c.connectedMs,
          c.lastSeenMs,
          c.inForce ?? null,
          c.inForceMs ?? null,
          c.refused ?? null,
          c.name,
        )
      }
      this.#run(
        'INSERT INTO hub (only, alive_ms) VALUES (1, ?) ON CONFLICT (only) DO UPDATE SET alive_ms = excluded.alive_ms',
        nowMs,
      )
    })
  }
  /** No hub has streams from a run before. */
  nobodyConnected(): void {
    this.#run('UPDATE devices SET connected_ms = NULL WHERE connected_ms IS NOT NULL')
  }
  /** When a running hub last said that it lives; undefined: never. */
  get aliveMs(): number | undefined {
    return this.#all<{ ms: number }>('SELECT alive_ms AS ms FROM hub')[0]?.ms
  }

  /** Of certificates that have not ended: those that end last, in one order. */
  revokedSerials(nowMs: number, most: number): readonly string[] {
    return this.#all<{ serial: string }>(
      `SELECT serial FROM certificates LEFT JOIN tokens ON tokens.jti = certificates.jti
      WHERE not_after_ms > ? AND (certificates.revoked_ms IS NOT NULL OR tokens.revoked_ms IS NOT NULL) ORDER BY not_after_ms DESC, serial LIMIT ?`,
      nowMs,
      most,
    ).map(({ serial }) => serial)
  }
  /** What `other` has revoked is revoked here, too. @returns how many tokens, certificates and devices that were not */
  takeRevocations(other: Registry): number {
    const all = <T>(sql: string): T[] => other.#all<T>(sql)
    return this.#sql.transaction(() => {
      let taken = 0
      for (const { id, ms } of all<Revoked>(
        'SELECT jti AS id, revoked_ms AS ms FROM tokens WHERE revoked_ms IS NOT NULL',
      ))
        taken += this.#run('UPDATE tokens SET revoked_ms = ? WHERE jti = ? AND revoked_ms IS NULL', ms, id)
      for (const { id, ms } of all<Revoked>(
        'SELECT serial AS id, revoked_ms AS ms FROM certificates WHERE revoked_ms IS NOT NULL',
      ))
        taken += this.#run('UPDATE certificates SET revoked_ms = ? WHERE serial = ? AND revoked_ms IS NULL', ms, id)
      for (const { id, ms } of all<Revoked>(
        "SELECT name AS id, coalesce(revoked_ms, cloned_ms, 0) AS ms FROM enrollments WHERE state <> 'active'",
      )) {
        taken += this.#run(
          "UPDATE enrollments SET state = 'revoked', revoked_ms = ? WHERE name = ? AND state = 'active'",
          ms,
          id,
        )
        const holder = KEY_HOLDER + (this.enrollments.byName(id)?.keyId ?? '')
        taken += this.#run('UPDATE certificates SET revoked_ms = ? WHERE device = ? AND revoked_ms IS NULL', ms, holder)
      }
      return taken
    })
  }

  /** Who has the name by streams of its own. */
  holderOf(name: string): string | undefined {
    return (
      this.#all<{ holder: string | null }>('SELECT holder FROM devices WHERE name = ?', name)[0]?.holder ?? undefined
    )
  }
  spiffeUriOf(name: string): string | undefined {
    return this.#all<{ uri: string }>('SELECT spiffe_uri AS uri FROM devices WHERE name = ?', name)[0]?.uri
  }
  /** Of the certificate that the holder was given last. */
  newestSerial(holder: string): string | undefined {
    return this.#all<{ serial: string }>(
      'SELECT serial FROM certificates WHERE device = ? ORDER BY issued_ms DESC, rowid DESC LIMIT 1',
      holder,
    )[0]?.serial
  }

  devices(): readonly DeviceRow[] {
    return this.#all<DeviceRow>(`SELECT name, node_id AS nodeId, d.spiffe_uri AS spiffeUri, joined_ms AS joinedMs, last_seen_ms AS lastSeenMs, last_ip AS lastIp, connected_ms AS connectedMs,
      in_force AS inForce, in_force_ms AS inForceMs, refused, c.serial AS serial, c.not_after_ms AS notAfterMs
      FROM devices d LEFT JOIN certificates c ON c.serial = (SELECT serial FROM certificates WHERE device = d.holder ORDER BY issued_ms DESC, rowid DESC LIMIT 1) ORDER BY name`)
  }
  /**
   * Another one once another process has written to the file (https://sqlite.org/pragma.html#pragma_data_version), or
   * this one has revoked a token.
   */
  get revision(): string {
    return `${this.#sql.foreignChanges}.${this.#ownChanges}`
  }
  /** A copy of the registry as it is now, whoever writes to it. @param file must not exist */
  copyTo(file: string): void {
    this.#sql.copyTo(file)
  }
  /** Frees the name for another device or identity. @returns whether it was known */
  forgetDevice(name: string): boolean {
    return this.enrollments.forget(name) + this.#run('DELETE FROM devices WHERE name = ?', name) > 0
  }

  [Symbol.dispose](): void {
    this.#sql[Symbol.dispose]()
  }

  #all<T>(sql: string, ...params: readonly Value[]): T[] {
    return this.#sql.all<T>(sql, ...params)
  }
  #run(sql: string, ...params: readonly Value[]): number {
    return this.#sql.run(sql, ...params)
  }
}

/** Prefix of the holder of a name that is held by a token, without a certificate. */
export const TOKEN_HOLDER = 'token:'

/** A name that a key has is nobody else's, whatever token they show. */
function whyNotOfKey({ keyId, state }: Enrollment, holder: string): string | undefined {
  if (state !== 'active') return `is ${state}: meshlet-hub device approve lets it in again`
  return holder === KEY_HOLDER + keyId ? undefined : 'belongs to a device with a key of its own'
}

type Revoked = { readonly id: string; readonly ms: number }
type NewToken = Omit<TokenRow, 'uses' | 'revokedMs' | 'hash' | 'cidrs' | 'labels' | 'approval'> &
  Partial<Pick<TokenRow, 'hash' | 'cidrs' | 'labels' | 'approval'>>
type StoredToken = Omit<TokenRow, 'cidrs' | 'labels' | 'approval'> & {
  readonly cidrs: string
  readonly labels: string
  readonly approval: number
}
const readTokenRow = (row: StoredToken): TokenRow => ({
  ...row,
  cidrs: JSON.parse(row.cidrs) as string[],
  labels: JSON.parse(row.labels) as Labels,
  approval: row.approval === 1,
})

const TOKENS = `SELECT jti, namespace, service_account AS serviceAccount, created_ms AS createdMs, expires_ms AS expiresMs, revoked_ms AS revokedMs, max_uses AS maxUses, nodes,
  (SELECT count(*) FROM token_uses u WHERE u.jti = tokens.jti) AS uses, hash, cidrs, labels, approval FROM tokens`
const CERTIFICATES = `SELECT serial, spiffe_uri AS spiffeUri, certificates.jti AS jti, device, ip, issued_ms AS issuedMs, not_after_ms AS notAfterMs, coalesce(certificates.revoked_ms, tokens.revoked_ms) AS revokedMs
  FROM certificates LEFT JOIN tokens ON tokens.jti = certificates.jti`
