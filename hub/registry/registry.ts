/**
 * Who may join and who has joined, in a database that the running hub and `meshlet-hub token` open at the same time.
 * The hub asks it seldom: for a join, a renewal, a new stream.
 */
import { applyRevocations, listRevocations } from './archive/revocations.ts'
import { AuditLog } from './audit.ts'
import { ConsoleSessions } from './console-sessions.ts'
import { DeviceCommands } from '../relay/device-commands.ts'
import { DeviceEvents } from './device-events.ts'
import { Enrollments, type Labels } from './enrollments.ts'
import { Fleet } from './rollout/fleet.ts'
import { takeName, findLostName, type NameQuestion } from './names.ts'
import { Reports } from './reports.ts'
import { Revisions } from './rollout/revisions.ts'
import { Rollouts } from './rollout/rollouts.ts'
import type { CertificateRow, DeviceChange, DeviceRow, HeldCertificate, NameClaim, TokenRow } from './rows.ts'
import { recordAuthority, readAuthority, writeAuthority, type AuthorityPart } from './authority.ts'
import {
  removeReplicas,
  registerReplica,
  removeReplica,
  noteChanges,
  readAliveMs,
  CONNECTIONS,
  CONNECTIONS_OF_ONE,
} from './replicas.ts'
import { openSqlite } from './sqlite.ts'
import type { Sql, Store, Value } from './sql.ts'

/** Ended certificates are kept this long, for `meshlet-hub devices`. */
const KEEP_ENDED_MS = 90 * 86_400_000

/** The registry through a store, or through one transaction of it. */
export class Registry {
  readonly audit: AuditLog
  readonly enrollments: Enrollments
  readonly reports: Reports
  readonly deviceEvents: DeviceEvents
  readonly sessions: ConsoleSessions
  readonly fleet: Fleet
  readonly revisions: Revisions
  readonly rollouts: Rollouts
  readonly deviceCommands: DeviceCommands
  readonly #sql: Sql

  constructor(sql: Sql) {
    this.#sql = sql
    this.audit = new AuditLog(sql)
    this.sessions = new ConsoleSessions(sql)
    this.enrollments = new Enrollments(sql)
    this.reports = new Reports(sql)
    this.deviceEvents = new DeviceEvents(sql)
    this.fleet = new Fleet(sql)
    this.revisions = new Revisions(sql)
    this.rollouts = new Rollouts(sql)
    this.deviceCommands = new DeviceCommands(sql)
  }

  /**
   * Runs `work` while nobody else writes the registry, and undoes its writes when it throws. What it reads and writes
   * goes through `tx`.
   */
  exclusively<T>(work: (tx: Registry) => Promise<T>): Promise<T> {
    return this.#sql.transaction((tx) => work(new Registry(tx)))
  }

  async addToken(t: NewToken): Promise<void> {
    await this.#run(
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
  async token(jti: string): Promise<TokenRow | undefined> {
    return (await this.#all<StoredToken>(`${TOKENS} WHERE jti = ?`, jti)).map(readTokenRow)[0]
  }
  /** Newest first. */
  async tokens(): Promise<readonly TokenRow[]> {
    return (await this.#all<StoredToken>(`${TOKENS} ORDER BY created_ms DESC, jti`)).map(readTokenRow)
  }
  /** Names of the devices that joined with the token. */
  async devicesOfToken(jti: string): Promise<readonly string[]> {
    const rows = await this.#all<{ name: string }>(
      `SELECT name FROM enrollments WHERE jti = ? UNION SELECT name FROM join_requests WHERE jti = ?
      UNION SELECT d.name FROM certificates c JOIN devices d ON d.holder = c.device WHERE c.jti = ? ORDER BY name`,
      jti,
      jti,
      jti,
    )
    return rows.map(({ name }) => name)
  }
  /** @returns the row as it is now; undefined when there is no such token. Revoking twice keeps the first date. */
  async revokeToken(jti: string, nowMs: number): Promise<TokenRow | undefined> {
    await this.#run('UPDATE tokens SET revoked_ms = ? WHERE jti = ? AND revoked_ms IS NULL', nowMs, jti)
    await this.#sql.touch()
    return await this.token(jti)
  }

  /** Counts one use by the key. A key counts once, so that a device that lost the answer may ask again. */
  useToken(jti: string, keyId: string, nowMs: number): Promise<'counted' | 'used-up'> {
    return this.exclusively(async (tx): Promise<'counted' | 'used-up'> => {
      const used = await tx.#all('SELECT 1 FROM token_uses WHERE jti = ? AND key_id = ?', jti, keyId)
      if (used.length > 0) return 'counted'
      const row = await tx.token(jti)
      if (!row || (row.maxUses !== null && row.uses >= row.maxUses)) return 'used-up'
      await tx.#run('INSERT INTO token_uses (jti, key_id, used_ms) VALUES (?, ?, ?)', jti, keyId, nowMs)
      return 'counted'
    })
  }

  async addCertificate(c: CertificateRow): Promise<void> {
    await this.#run('DELETE FROM certificates WHERE not_after_ms < ?', c.issuedMs - KEEP_ENDED_MS)
    await this.#run(
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
  async certificate(serial: string): Promise<(CertificateRow & { readonly revokedMs: number | null }) | undefined> {
    const rows = await this.#all<CertificateRow & { revokedMs: number | null }>(
      `${CERTIFICATES} WHERE serial = ?`,
      serial,
    )
    return rows[0]
  }

  /** Of a device, newest first: those that the registry still has. */
  async listCertificates(holder: string, most: number): Promise<readonly HeldCertificate[]> {
    const rows = await this.#all<Omit<HeldCertificate, 'revoked'> & { revokedMs: number | null }>(
      `SELECT serial, issued_ms AS "issuedMs", not_after_ms AS "notAfterMs", ip, coalesce(certificates.revoked_ms, tokens.revoked_ms) AS "revokedMs"
      FROM certificates LEFT JOIN tokens ON tokens.jti = certificates.jti WHERE device = ? ORDER BY issued_ms DESC, serial LIMIT ?`,
      holder,
      most,
    )
    return rows.map(({ revokedMs, ...row }) => ({ ...row, revoked: revokedMs !== null }))
  }

  /** As names.ts has it. */
  claimName(c: NameClaim): Promise<string | undefined> {
    return takeName(this.#sql, c)
  }
  lostName(c: NameQuestion): Promise<string | undefined> {
    return findLostName(this.#sql, c)
  }

  /** As replicas.ts has it: what a running hub has seen of its devices since the last call, and that it lives. */
  devicesChanged(changes: readonly DeviceChange[], nowMs: number, replica = 'hub'): Promise<boolean> {
    return noteChanges(this.#sql, changes, { replica, nowMs })
  }
  registerReplica(p: { readonly id: string; readonly nowMs: number; readonly isAlone: boolean }): Promise<void> {
    return registerReplica(this.#sql, p)
  }
  removeReplica(id: string): Promise<void> {
    return removeReplica(this.#sql, id)
  }
  nobodyConnected(): Promise<void> {
    return this.#sql.transaction((tx) => removeReplicas(tx, 'all'))
  }
  aliveMs(): Promise<number | undefined> {
    return readAliveMs(this.#sql)
  }
  /** The hubs that have a stream of the node, by their ids. */
  async hubsOf(node: string): Promise<readonly string[]> {
    const sql = 'SELECT replica FROM connections WHERE name = ? ORDER BY replica'
    return (await this.#all<{ replica: string }>(sql, node)).map(({ replica }) => replica)
  }
  /** As authority.ts has it. */
  recordAuthority(part: AuthorityPart, own: readonly string[], p: { readonly decides: boolean }): Promise<void> {
    return recordAuthority(this.#sql, part, own, p)
  }
  writeAuthority(part: AuthorityPart, own: readonly string[]): Promise<void> {
    return writeAuthority(this.#sql, part, own)
  }
  authority(part: AuthorityPart): Promise<readonly string[]> {
    return readAuthority(this.#sql, part)
  }

  /** As `revokedSerials` without a bound. */
  async countRevoked(nowMs: number): Promise<number> {
    return (await this.#all<{ n: number }>(`SELECT count(*) AS n FROM ${REVOKED}`, nowMs))[0]!.n
  }
  /** Of certificates that have not ended: those that end last, in one order. */
  async revokedSerials(nowMs: number, most: number): Promise<readonly string[]> {
    const rows = await this.#all<{ serial: string }>(
      `SELECT serial FROM ${REVOKED} ORDER BY not_after_ms DESC, serial LIMIT ?`,
      nowMs,
      most,
    )
    return rows.map(({ serial }) => serial)
  }
  /** Devices whose newest certificate that still counts was given before: what has come since, they have not heard of. */
  async devicesCertifiedBefore(beforeMs: number, nowMs: number): Promise<readonly string[]> {
    const rows = await this.#all<{ name: string }>(
      `SELECT max(coalesce(d.name, c.device, c.serial)) AS name FROM certificates c
      LEFT JOIN devices d ON d.holder = c.device LEFT JOIN tokens t ON t.jti = c.jti
      WHERE c.not_after_ms > ? AND c.revoked_ms IS NULL AND t.revoked_ms IS NULL
      GROUP BY coalesce(c.device, c.serial) HAVING max(c.issued_ms) < ? ORDER BY name`,
      nowMs,
      beforeMs,
    )
    return rows.map(({ name }) => name)
  }
  /** What `other` has revoked is revoked here, too. @returns how many tokens, certificates and devices that were not */
  async takeRevocations(other: Registry): Promise<number> {
    const revoked = await listRevocations(other.#sql)
    return await this.#sql.transaction((tx) => applyRevocations(tx, revoked))
  }

  /** Who has the name by streams of its own. */
  async holderOf(name: string): Promise<string | undefined> {
    const [row] = await this.#all<{ holder: string | null }>('SELECT holder FROM devices WHERE name = ?', name)
    return row?.holder ?? undefined
  }
  async spiffeUriOf(name: string): Promise<string | undefined> {
    return (await this.#all<{ uri: string }>('SELECT spiffe_uri AS uri FROM devices WHERE name = ?', name))[0]?.uri
  }
  /** Of the certificate that the holder was given last. */
  async newestSerial(holder: string): Promise<string | undefined> {
    const rows = await this.#all<{ serial: string }>(
      'SELECT serial FROM certificates WHERE device = ? ORDER BY issued_ms DESC, rowid DESC LIMIT 1',
      holder,
    )
    return rows[0]?.serial
  }

  async devices(): Promise<readonly DeviceRow[]> {
    return await this.#all<DeviceRow>(`${describeDevices(CONNECTIONS)} ORDER BY name`)
  }
  async device(name: string): Promise<DeviceRow | undefined> {
    const sql = `${describeDevices(CONNECTIONS_OF_ONE)} WHERE d.name = ?`
    return (await this.#all<DeviceRow>(sql, name, name))[0]
  }
  /** Frees the name for another device or identity. @returns whether it was known */
  async forgetDevice(name: string): Promise<boolean> {
    await this.reports.forget(name)
    await this.rollouts.untrack(name)
    return (await this.enrollments.forget(name)) + (await this.#run('DELETE FROM devices WHERE name = ?', name)) > 0
  }

  #all<T>(sql: string, ...params: readonly Value[]): Promise<T[]> {
    return this.#sql.all<T>(sql, ...params)
  }
  #run(sql: string, ...params: readonly Value[]): Promise<number> {
    return this.#sql.run(sql, ...params)
  }
}

/** The registry with the store that it is in. */
export class OpenRegistry extends Registry implements AsyncDisposable {
  readonly store: Store

  constructor(store: Store) {
    super(store)
    this.store = store
  }

  /**
   * Another one once something was taken from tokens or devices, or another process has written to the file. Throws
   * MESH_STORAGE_FAILED.
   */
  get revision(): string {
    return this.store.revision
  }
  /**
   * From now on nobody waits long for another process that writes: whoever calls stands still meanwhile, and all
   * devices with it.
   */
  serving(): void {
    this.store.serving()
  }
  /** A copy of the registry as it is now, whoever writes to it. @param file must not exist */
  copyTo(file: string, nativeBinding?: object): Promise<void> {
    return this.store.copyTo(file, nativeBinding)
  }
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve(this.store[Symbol.asyncDispose]())
  }
}

/**
 * @param file `:memory:` for tests
 * @param nativeBinding SQLite's addon; undefined takes the package's own
 * Throws MESH_STORAGE_NEWER, MESH_STORAGE_FAILED.
 */
export function openRegistry(file: string, nativeBinding?: object): OpenRegistry {
  return new OpenRegistry(openSqlite(file, nativeBinding))
}

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

const TOKENS = `SELECT jti, namespace, service_account AS "serviceAccount", created_ms AS "createdMs", expires_ms AS "expiresMs", revoked_ms AS "revokedMs", max_uses AS "maxUses", nodes,
  (SELECT count(*) FROM token_uses u WHERE u.jti = tokens.jti) AS uses, hash, cidrs, labels, approval FROM tokens`
const CERTIFICATES = `SELECT serial, spiffe_uri AS "spiffeUri", certificates.jti AS jti, device, ip, issued_ms AS "issuedMs", not_after_ms AS "notAfterMs", coalesce(certificates.revoked_ms, tokens.revoked_ms) AS "revokedMs"
  FROM certificates LEFT JOIN tokens ON tokens.jti = certificates.jti`
const describeDevices = (connections: string): string =>
  `SELECT name, node_id AS "nodeId", d.spiffe_uri AS "spiffeUri", joined_ms AS "joinedMs", last_seen_ms AS "lastSeenMs", last_ip AS "lastIp", v.since_ms AS "connectedMs",
      in_force AS "inForce", in_force_ms AS "inForceMs", refused, c.serial AS serial, c.not_after_ms AS "notAfterMs"
      FROM devices d LEFT JOIN (${connections}) v ON v.node = d.name LEFT JOIN certificates c ON c.serial = (SELECT serial FROM certificates WHERE device = d.holder ORDER BY issued_ms DESC, rowid DESC LIMIT 1)`
const REVOKED = `certificates LEFT JOIN tokens ON tokens.jti = certificates.jti
  WHERE not_after_ms > ? AND (certificates.revoked_ms IS NOT NULL OR tokens.revoked_ms IS NOT NULL)`
