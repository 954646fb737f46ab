/**
 * Who may join and who has joined, in one SQLite file that the running hub and `meshlet-hub token` open at the same
 * time (WAL, busy timeout). Calls block for a disk write at most; the hub makes few of them (a join, a renewal, a new
 * stream).
 */
import Database from 'better-sqlite3'
import { MeshError } from '../../core/errors.ts'
import { isExpired } from '../../core/pki/validity.ts'
import { toBindingOption } from '../../core/storage/sqlite-addon.ts'
import { isExact, matchesNode } from './node-names.ts'
import { MIGRATIONS } from './schema.ts'

export type TokenRow = {
  readonly jti: string
  readonly namespace: string
  readonly serviceAccount: string
  readonly createdMs: number
  readonly expiresMs: number
  readonly revokedMs: number | null
  /** Keys that may be certified with it; null: any number. */
  readonly maxUses: number | null
  /** Keys that were. */
  readonly uses: number
  /**
   * Node names that it is good for (node-names.ts); null: made by an older hub, good for names that its devices have
   * already.
   */
  readonly nodes: string | null
}
export type CertificateRow = {
  readonly serial: string
  readonly spiffeUri: string
  /** Of the token that the first certificate was given for; renewals inherit it. Null when not known. */
  readonly jti: string | null
  /**
   * Keys that follow one another by renewal belong to one device: the id of the first of them. Null: certified by an
   * older hub.
   */
  readonly device: string | null
  readonly ip: string
  readonly issuedMs: number
  readonly notAfterMs: number
}
export type DeviceRow = {
  /** Name of the node: the folder of its resources. */
  readonly name: string
  readonly nodeId: string
  readonly spiffeUri: string
  readonly joinedMs: number
  readonly lastSeenMs: number
  readonly lastIp: string
  /** Since when it has a stream; null: it has none. */
  readonly connectedMs: number | null
  /** Version of the node's resources that it took as a whole last, and when. */
  readonly inForce: string | null
  readonly inForceMs: number | null
  /** What it says of the resources that it refused last; null: it took all. */
  readonly refused: string | null
  /** Of the newest certificate of the device. */
  readonly serial: string | null
  readonly notAfterMs: number | null
}
export type NameClaim = {
  readonly name: string
  readonly nodeId: string
  readonly spiffeUri: string
  readonly ip: string
  /** The claimant: a device, or the bearer of a token without a certificate. */
  readonly holder: string
  /** Of the token that the claim rests on; undefined when it is not known any more. */
  readonly jti: string | undefined
  readonly nowMs: number
}
export type DeviceChange = {
  readonly name: string
  readonly connectedMs: number | null
  readonly lastSeenMs: number
  readonly inForce: string | undefined
  readonly inForceMs: number | undefined
  readonly refused: string | undefined
}

const BUSY_TIMEOUT_MS = 5_000
/** While devices are served: a command writes for some milliseconds. */
const SERVING_BUSY_TIMEOUT_MS = 100
/** Ended certificates are kept this long, for `meshlet-hub devices`. */
const KEEP_ENDED_MS = 90 * 86_400_000
/** All nodes of one service account; more needs another. */
const MAX_NAMES_PER_IDENTITY = 100_000

export class Registry implements Disposable {
  readonly #db: Database.Database
  /** Tokens revoked and names freed by this process. */
  #ownChanges = 0

  /**
   * @param file `:memory:` for tests
   * @param nativeBinding SQLite's addon; undefined takes the package's own
   * Throws MESH_STORAGE_NEWER, MESH_STORAGE_FAILED.
   */
  constructor(file: string, nativeBinding?: object) {
    this.#db = guarded(() => {
      const db = new Database(file, { timeout: BUSY_TIMEOUT_MS, ...toBindingOption(nativeBinding) })
      db.pragma('journal_mode = WAL')
      db.pragma('synchronous = FULL')
      db.pragma('foreign_keys = ON')
      migrate(db)
      return db
    })
  }

  /**
   * From now on nobody waits long for another process that writes: whoever calls stands still meanwhile, and all
   * devices with it.
   */
  serving(): void {
    guarded(() => this.#db.pragma(`busy_timeout = ${SERVING_BUSY_TIMEOUT_MS}`))
  }

  /** Runs `work` while no other process may write the registry: for state that must be made exactly once. */
  exclusively<T>(work: () => T): T {
    return guarded(() => this.#db.transaction(work).immediate())
  }

  addToken(t: Omit<TokenRow, 'uses' | 'revokedMs'>): void {
    this.#run(
      'INSERT INTO tokens (jti, namespace, service_account, created_ms, expires_ms, max_uses, nodes) VALUES (?, ?, ?, ?, ?, ?, ?)',
      t.jti,
      t.namespace,
      t.serviceAccount,
      t.createdMs,
      t.expiresMs,
      t.maxUses,
      t.nodes,
    )
  }
  token(jti: string): TokenRow | undefined {
    return this.#all<TokenRow>(`${TOKENS} WHERE jti = ?`, jti)[0]
  }
  /** Newest first. */
  tokens(): readonly TokenRow[] {
    return this.#all<TokenRow>(`${TOKENS} ORDER BY created_ms DESC, jti`)
  }
  /** @returns the row as it is now; undefined when there is no such token. Revoking twice keeps the first date. */
  revokeToken(jti: string, nowMs: number): TokenRow | undefined {
    this.#ownChanges++
    this.#run('UPDATE tokens SET revoked_ms = ? WHERE jti = ? AND revoked_ms IS NULL', nowMs, jti)
    return this.token(jti)
  }

  /** Counts one use by the key. A key counts once, so that a device that lost the answer may ask again. */
  useToken(jti: string, keyId: string, nowMs: number): 'counted' | 'used-up' {
    return guarded(() =>
      this.#db
        .transaction((): 'counted' | 'used-up' => {
          if (this.#all('SELECT 1 FROM token_uses WHERE jti = ? AND key_id = ?', jti, keyId).length) return 'counted'
          const row = this.token(jti)
          if (!row || (row.maxUses !== null && row.uses >= row.maxUses)) return 'used-up'
          this.#run('INSERT INTO token_uses (jti, key_id, used_ms) VALUES (?, ?, ?)', jti, keyId, nowMs)
          return 'counted'
        })
        .immediate(),
    )
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
    return guarded(() =>
      this.#db
        .transaction((): string | undefined => {
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
        .immediate(),
    )
  }

  /**
   * @returns why a stream that claimed the name may not have it any more; a name that nobody has (`devices forget`) is
   * left to it until somebody comes
   */
  lostName(c: Omit<NameClaim, 'nodeId' | 'ip'>): string | undefined {
    return this.#all('SELECT 1 FROM devices WHERE name = ?', c.name).length ? this.#whyNot(c) : undefined
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
    guarded(() =>
      this.#db
        .transaction(() => {
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
        .immediate(),
    )
  }
  /** No hub has streams from a run before. */
  nobodyConnected(): void {
    this.#run('UPDATE devices SET connected_ms = NULL WHERE connected_ms IS NOT NULL')
  }
  /** When a running hub last said that it lives; undefined: never. */
  get aliveMs(): number | undefined {
    return this.#all<{ ms: number }>('SELECT alive_ms AS ms FROM hub')[0]?.ms
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
    return guarded(() => `${String(this.#db.pragma('data_version', { simple: true }))}.${this.#ownChanges}`)
  }
  /** A copy of the registry as it is now, whoever writes to it. @param file must not exist */
  copyTo(file: string): void {
    this.#run('VACUUM INTO ?', file)
  }
  /** Frees the name for another device or identity. @returns whether it was known */
  forgetDevice(name: string): boolean {
    return this.#run('DELETE FROM devices WHERE name = ?', name) > 0
  }

  [Symbol.dispose](): void {
    this.#db.close()
  }

  #all<T>(sql: string, ...params: unknown[]): T[] {
    return guarded(() => this.#db.prepare(sql).all(...params) as T[])
  }
  #run(sql: string, ...params: unknown[]): number {
    return guarded(() => this.#db.prepare(sql).run(...params).changes)
  }
}

/** Prefix of the holder of a name that is held by a token, without a certificate. */
export const TOKEN_HOLDER = 'token:'

const TOKENS = `SELECT jti, namespace, service_account AS serviceAccount, created_ms AS createdMs, expires_ms AS expiresMs, revoked_ms AS revokedMs, max_uses AS maxUses, nodes,
  (SELECT count(*) FROM token_uses u WHERE u.jti = tokens.jti) AS uses FROM tokens`
const CERTIFICATES = `SELECT serial, spiffe_uri AS spiffeUri, certificates.jti AS jti, device, ip, issued_ms AS issuedMs, not_after_ms AS notAfterMs, revoked_ms AS revokedMs
  FROM certificates LEFT JOIN tokens ON tokens.jti = certificates.jti`

function migrate(db: Database.Database): void {
  const version = (): number => Number(db.pragma('user_version', { simple: true }))
  if (version() > MIGRATIONS.length)
    throw new MeshError(
      'MESH_STORAGE_NEWER',
      `${db.name} has version ${version()}, this hub knows ${MIGRATIONS.length}`,
    )
  if (version() === MIGRATIONS.length) return
  db.transaction(() => {
    // another process may have migrated while this one waited
    for (const [i, sql] of MIGRATIONS.entries())
      if (version() <= i) {
        db.exec(sql)
        db.pragma(`user_version = ${i + 1}`)
      }
  }).immediate()
}

function guarded<T>(work: () => T): T {
  try {
    return work()
  } catch (cause) {
    if (cause instanceof MeshError) throw cause
    const full = (cause as { code?: unknown }).code === 'SQLITE_FULL'
    throw new MeshError(full ? 'MESH_STORAGE_FULL' : 'MESH_STORAGE_FAILED', 'the registry of the hub cannot be used', {
      cause,
    })
  }
}
