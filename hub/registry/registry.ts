/**
 * Who may join and who has joined, in one SQLite file that the running hub and `meshlet-hub token` open at the same time (WAL, busy timeout).
 * Calls block for a disk write at most; the hub makes few of them (a join, a renewal, a new stream).
 */
import Database from 'better-sqlite3'
import { MeshError } from '../../agent/core/errors.ts'
import { MIGRATIONS } from './schema.ts'

export type TokenRow = {
  readonly jti: string; readonly namespace: string; readonly serviceAccount: string
  readonly createdMs: number; readonly expiresMs: number
  readonly revokedMs: number | null
  /** Keys that may be certified with it; null: any number. */
  readonly maxUses: number | null
  /** Keys that were. */
  readonly uses: number
}
export type CertificateRow = {
  readonly serial: string; readonly spiffeUri: string
  /** Of the token that the first certificate was given for; renewals inherit it. Null when not known. */
  readonly jti: string | null
  readonly ip: string; readonly issuedMs: number; readonly notAfterMs: number
}
export type DeviceRow = {
  /** Name of the node: the folder of its resources. */
  readonly name: string
  readonly nodeId: string; readonly spiffeUri: string
  readonly joinedMs: number; readonly lastSeenMs: number; readonly lastIp: string
  readonly serial: string | null; readonly notAfterMs: number | null
}

const BUSY_TIMEOUT_MS = 5_000
/** Ended certificates are kept this long, for `meshlet-hub devices`. */
const KEEP_ENDED_MS = 90 * 86_400_000
/** A node name is the client's word; one identity may use so many of them. */
const MAX_NAMES_PER_IDENTITY = 1_000

export class Registry implements Disposable {
  readonly #db: Database.Database

  /**
   * @param file `:memory:` for tests
   * @param nativeBinding path of SQLite's addon; undefined takes the package's own
   * Throws MESH_STORAGE_NEWER, MESH_STORAGE_FAILED.
   */
  constructor(file: string, nativeBinding?: string) {
    this.#db = guarded(() => {
      const db = new Database(file, { timeout: BUSY_TIMEOUT_MS, ...(nativeBinding === undefined ? {} : { nativeBinding }) })
      db.pragma('journal_mode = WAL')
      db.pragma('synchronous = FULL')
      db.pragma('foreign_keys = ON')
      migrate(db)
      return db
    })
  }

  /** Runs `work` while no other process may write the registry: for state that must be made exactly once. */
  exclusively<T>(work: () => T): T { return guarded(() => this.#db.transaction(work).immediate()) }

  addToken(t: Omit<TokenRow, 'uses' | 'revokedMs'>): void {
    this.#run('INSERT INTO tokens (jti, namespace, service_account, created_ms, expires_ms, max_uses) VALUES (?, ?, ?, ?, ?, ?)', t.jti, t.namespace, t.serviceAccount, t.createdMs, t.expiresMs, t.maxUses)
  }
  token(jti: string): TokenRow | undefined { return this.#all<TokenRow>(`${TOKENS} WHERE jti = ?`, jti)[0] }
  /** Newest first. */
  tokens(): readonly TokenRow[] { return this.#all<TokenRow>(`${TOKENS} ORDER BY created_ms DESC, jti`) }
  /** @returns the row as it is now; undefined when there is no such token. Revoking twice keeps the first date. */
  revokeToken(jti: string, nowMs: number): TokenRow | undefined {
    this.#run('UPDATE tokens SET revoked_ms = ? WHERE jti = ? AND revoked_ms IS NULL', nowMs, jti)
    return this.token(jti)
  }

  /** Counts one use by the key. A key counts once, so that a device that lost the answer may ask again. */
  useToken(jti: string, keyId: string, nowMs: number): 'counted' | 'used-up' {
    return guarded(() => this.#db.transaction((): 'counted' | 'used-up' => {
      if (this.#all('SELECT 1 FROM token_uses WHERE jti = ? AND key_id = ?', jti, keyId).length) return 'counted'
      const row = this.token(jti)
      if (!row || (row.maxUses !== null && row.uses >= row.maxUses)) return 'used-up'
      this.#run('INSERT INTO token_uses (jti, key_id, used_ms) VALUES (?, ?, ?)', jti, keyId, nowMs)
      return 'counted'
    }).immediate())
  }

  addCertificate(c: CertificateRow): void {
    this.#run('DELETE FROM certificates WHERE not_after_ms < ?', c.issuedMs - KEEP_ENDED_MS)
    this.#run('INSERT INTO certificates (serial, spiffe_uri, jti, ip, issued_ms, not_after_ms) VALUES (?, ?, ?, ?, ?, ?)', c.serial, c.spiffeUri, c.jti, c.ip, c.issuedMs, c.notAfterMs)
  }
  certificate(serial: string): (CertificateRow & { readonly revokedMs: number | null }) | undefined {
    return this.#all<CertificateRow & { revokedMs: number | null }>(`${CERTIFICATES} WHERE serial = ?`, serial)[0]
  }

  /**
   * A node opened a stream. The first identity that uses a name keeps it.
   * @returns the SPIFFE id that holds the name: the caller's own, or the one of another
   */
  deviceSeen(d: { readonly name: string; readonly nodeId: string; readonly spiffeUri: string; readonly ip: string; readonly serial: string | undefined; readonly nowMs: number }): string {
    return guarded(() => this.#db.transaction(() => {
      const holder = this.#all<{ spiffeUri: string }>('SELECT spiffe_uri AS spiffeUri FROM devices WHERE name = ?', d.name)[0]
      if (holder && holder.spiffeUri !== d.spiffeUri) return holder.spiffeUri
      const serial = d.serial ?? this.#all<{ serial: string }>('SELECT serial FROM certificates WHERE spiffe_uri = ? AND ip = ? ORDER BY issued_ms DESC LIMIT 1', d.spiffeUri, d.ip)[0]?.serial ?? null
      this.#run(`INSERT INTO devices (name, node_id, spiffe_uri, joined_ms, last_seen_ms, last_ip, serial) VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (name) DO UPDATE SET node_id = excluded.node_id, last_seen_ms = excluded.last_seen_ms, last_ip = excluded.last_ip, serial = coalesce(excluded.serial, serial)`,
      d.name, d.nodeId, d.spiffeUri, d.nowMs, d.nowMs, d.ip, serial)
      if (!holder) {
        this.#run(`DELETE FROM devices WHERE spiffe_uri = ? AND name IN
          (SELECT name FROM devices WHERE spiffe_uri = ? ORDER BY last_seen_ms DESC, rowid DESC LIMIT -1 OFFSET ?)`, d.spiffeUri, d.spiffeUri, MAX_NAMES_PER_IDENTITY)
      }
      return d.spiffeUri
    }).immediate())
  }
  deviceGone(name: string, nowMs: number): void { this.#run('UPDATE devices SET last_seen_ms = ? WHERE name = ?', nowMs, name) }
  devices(): readonly DeviceRow[] {
    return this.#all<DeviceRow>(`SELECT name, node_id AS nodeId, d.spiffe_uri AS spiffeUri, joined_ms AS joinedMs, last_seen_ms AS lastSeenMs, last_ip AS lastIp,
      d.serial AS serial, not_after_ms AS notAfterMs FROM devices d LEFT JOIN certificates c ON c.serial = d.serial ORDER BY name`)
  }
  /** Frees the name for another identity. @returns whether it was known */
  forgetDevice(name: string): boolean { return this.#run('DELETE FROM devices WHERE name = ?', name) > 0 }

  [Symbol.dispose](): void { this.#db.close() }

  #all<T>(sql: string, ...params: unknown[]): T[] { return guarded(() => this.#db.prepare(sql).all(...params) as T[]) }
  #run(sql: string, ...params: unknown[]): number { return guarded(() => this.#db.prepare(sql).run(...params).changes) }
}

const TOKENS = `SELECT jti, namespace, service_account AS serviceAccount, created_ms AS createdMs, expires_ms AS expiresMs, revoked_ms AS revokedMs, max_uses AS maxUses,
  (SELECT count(*) FROM token_uses u WHERE u.jti = tokens.jti) AS uses FROM tokens`
const CERTIFICATES = `SELECT serial, spiffe_uri AS spiffeUri, certificates.jti AS jti, ip, issued_ms AS issuedMs, not_after_ms AS notAfterMs, revoked_ms AS revokedMs
  FROM certificates LEFT JOIN tokens ON tokens.jti = certificates.jti`

function migrate(db: Database.Database): void {
  const version = (): number => Number(db.pragma('user_version', { simple: true }))
  if (version() > MIGRATIONS.length) throw new MeshError('MESH_STORAGE_NEWER', `${db.name} has version ${version()}, this hub knows ${MIGRATIONS.length}`)
  if (version() === MIGRATIONS.length) return
  db.transaction(() => { // another process may have migrated while this one waited
    for (const [i, sql] of MIGRATIONS.entries()) if (version() <= i) { db.exec(sql); db.pragma(`user_version = ${i + 1}`) }
  }).immediate()
}

function guarded<T>(work: () => T): T {
  try { return work() } catch (cause) {
    if (cause instanceof MeshError) throw cause
    const full = (cause as { code?: unknown }).code === 'SQLITE_FULL'
    throw new MeshError(full ? 'MESH_STORAGE_FULL' : 'MESH_STORAGE_FAILED', 'the registry of the hub cannot be used', { cause })
  }
}
