/**
 * Devices with a long-lived key of their own: the name belongs to the key, whatever token it once came with. Who waits
 * for an operator's word stands beside them.
 */
import { MeshError } from '../../core/errors.ts'
import type { Sql } from './sql.ts'

export type Labels = Readonly<Record<string, string>>
export type EnrollmentState = 'active' | 'suspended' | 'revoked'
/** What was said last in a device's chain of renewals (hub/enrollment/renewal-chain.ts). */
export type ChainState = {
  readonly counter: number
  readonly chain: string
  readonly previousChain: string
  readonly nonce: string
  /** Whatever comes next is taken for the last answer. */
  readonly resync: boolean
}
export type Applicant = {
  readonly name: string
  /** Thumbprint of the device's key (RFC 7638). */
  readonly keyId: string
  readonly namespace: string
  readonly serviceAccount: string
  readonly jti: string | null
  readonly labels: Labels
  readonly address: string
}
export type JoinRequest = Applicant & { readonly why: string; readonly askedMs: number }
export type Enrollment = Applicant &
  ChainState & {
    readonly state: EnrollmentState
    readonly joinedMs: number
    readonly renewedMs: number
    /** End of the newest certificate. */
    readonly notAfterMs: number
    readonly clonedMs: number | null
    readonly cloneAddresses: string | null
    readonly revokedMs: number | null
  }

export type PageOf = {
  readonly namespaces: readonly string[] | undefined
  readonly offset: number
  readonly limit: number
}
export type EnrollmentPage = {
  /** Of all pages. */
  readonly total: number
  readonly waiting: readonly JoinRequest[]
  readonly enrolled: readonly Enrollment[]
}

/** Holder of names and certificates of a device with a key (Caller.device). */
export const KEY_HOLDER = 'key:'
/** One who makes keys in a loop must not fill the disk. */
const MAX_REQUESTS = 10_000

type RequestRow = Omit<JoinRequest, 'labels'> & { readonly labels: string }
type Row = Omit<Enrollment, 'labels' | 'resync'> & { readonly labels: string; readonly resync: number }
const COLUMNS = `name, key_id AS "keyId", namespace, service_account AS "serviceAccount", jti, labels, address`
const ENROLLMENTS = `SELECT ${COLUMNS}, state, counter, chain, previous_chain AS "previousChain", nonce, resync, joined_ms AS "joinedMs",
  renewed_ms AS "renewedMs", not_after_ms AS "notAfterMs", cloned_ms AS "clonedMs", clone_addresses AS "cloneAddresses", revoked_ms AS "revokedMs" FROM enrollments`
const REQUESTS = `SELECT ${COLUMNS}, why, asked_ms AS "askedMs" FROM join_requests`

export class Enrollments {
  readonly #sql: Sql
  constructor(sql: Sql) {
    this.#sql = sql
  }

  async byName(name: string): Promise<Enrollment | undefined> {
    return (await this.#sql.all<Row>(`${ENROLLMENTS} WHERE name = ?`, name)).map(read)[0]
  }
  async byKey(keyId: string): Promise<Enrollment | undefined> {
    return (await this.#sql.all<Row>(`${ENROLLMENTS} WHERE key_id = ?`, keyId)).map(read)[0]
  }
  async all(): Promise<readonly Enrollment[]> {
    return (await this.#sql.all<Row>(`${ENROLLMENTS} ORDER BY name`)).map(read)
  }
  async request(of: { readonly name: string } | { readonly keyId: string }): Promise<JoinRequest | undefined> {
    const [column, value] = 'name' in of ? ['name', of.name] : ['key_id', of.keyId]
    return (await this.#sql.all<RequestRow>(`${REQUESTS} WHERE ${column} = ?`, value)).map(withLabels)[0]
  }
  async requests(): Promise<readonly JoinRequest[]> {
    return (await this.#sql.all<RequestRow>(`${REQUESTS} ORDER BY name`)).map(withLabels)
  }

  /** Who waits, then who has joined, each by name. @param namespaces undefined: of all */
  async page({ namespaces, offset, limit }: PageOf): Promise<EnrollmentPage> {
    if (namespaces?.length === 0) return { total: 0, waiting: [], enrolled: [] }
    const where = namespaces === undefined ? '' : `WHERE namespace IN (${namespaces.map(() => '?').join(', ')})`
    const of = namespaces ?? []
    const count = async (table: string): Promise<number> =>
      (await this.#sql.all<{ n: number }>(`SELECT count(*) AS n FROM ${table} ${where}`, ...of))[0]!.n
    const [requests, all] = [await count('join_requests'), await count('enrollments')]
    const rows = <T>(select: string, from: number, most: number): Promise<readonly T[]> | readonly T[] =>
      most > 0 ? this.#sql.all<T>(`${select} ${where} ORDER BY name LIMIT ? OFFSET ?`, ...of, most, from) : []
    const waiting = await rows<RequestRow>(REQUESTS, offset, Math.min(limit, requests - offset))
    const from = Math.max(0, offset - requests)
    const enrolled = await rows<Row>(ENROLLMENTS, from, limit - waiting.length)
    return { total: requests + all, waiting: waiting.map(withLabels), enrolled: enrolled.map(read) }
  }

  /** Rejects with MESH_CONTROL_SLOW_DOWN when too many wait. Asking twice changes nothing. */
  async ask(r: JoinRequest): Promise<void> {
    const [{ n }] = (await this.#sql.all<{ n: number }>('SELECT count(*) AS n FROM join_requests')) as [{ n: number }]
    if (n >= MAX_REQUESTS)
      throw new MeshError('MESH_CONTROL_SLOW_DOWN', `${MAX_REQUESTS} devices wait for approval already`)
    await this.#sql.run(
      `INSERT INTO join_requests (name, key_id, namespace, service_account, jti, labels, address, why, asked_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (name) DO NOTHING`,
      ...applicant(r),
      r.why,
      r.askedMs,
    )
  }

  /** Those of before are nobody's any more. */
  async dropRequests(beforeMs: number): Promise<void> {
    await this.#sql.run('DELETE FROM join_requests WHERE asked_ms < ?', beforeMs)
  }

  /** The name is the key's from now on; whoever had it before has it no more. */
  enroll(a: Applicant, nowMs: number): Promise<Enrollment> {
    return this.#sql.transaction(async (tx) => {
      const own = new Enrollments(tx)
      const before = await own.byName(a.name)
      if (before) await own.revokeCertificates(KEY_HOLDER + before.keyId, nowMs)
      await tx.run('DELETE FROM enrollments WHERE name = ? OR key_id = ?', a.name, a.keyId)
      await tx.run('DELETE FROM join_requests WHERE name = ? OR key_id = ?', a.name, a.keyId)
      await tx.run('DELETE FROM devices WHERE name = ?', a.name)
      await tx.run(
        `INSERT INTO enrollments (name, key_id, namespace, service_account, jti, labels, address, state, counter, chain, previous_chain, nonce, resync,
        joined_ms, renewed_ms, not_after_ms) VALUES (?, ?, ?, ?, ?, ?, ?, 'active', 0, '', '', '', 1, ?, ?, ?)`,
        ...applicant(a),
        nowMs,
        nowMs,
        nowMs,
      )
      await tx.touch()
      return (await own.byName(a.name))!
    })
  }

  async renewed(
    name: string,
    c: Omit<ChainState, 'resync'> & { address: string; nowMs: number; notAfterMs: number },
  ): Promise<void> {
    await this.#sql.run(
      'UPDATE enrollments SET counter = ?, chain = ?, previous_chain = ?, nonce = ?, resync = 0, address = ?, renewed_ms = ?, not_after_ms = ? WHERE name = ?',
      c.counter,
      c.chain,
      c.previousChain,
      c.nonce,
      c.address,
      c.nowMs,
      c.notAfterMs,
      name,
    )
  }

  /** @param state `suspended`: neither copy goes on until an operator says so */
  async markCloned(name: string, c: { addresses: string; nowMs: number; state: EnrollmentState }): Promise<void> {
    await this.#sql.run(
      'UPDATE enrollments SET cloned_ms = ?, clone_addresses = ?, state = ? WHERE name = ?',
      c.nowMs,
      c.addresses,
      c.state,
      name,
    )
    await this.#sql.touch()
  }

  /** An operator's word: whichever copy, or state of the device, comes next goes on. */
  async resume(name: string, nowMs: number): Promise<void> {
    await this.#sql.run('DELETE FROM join_requests WHERE name = ?', name)
    await this.#sql.run(
      "UPDATE enrollments SET state = 'active', resync = 1, cloned_ms = NULL, clone_addresses = NULL, revoked_ms = NULL, not_after_ms = ? WHERE name = ?",
      nowMs,
      name,
    )
  }
  /** After a restore: devices are further than what the registry knows of them. */
  async resyncAll(): Promise<void> {
    await this.#sql.run('UPDATE enrollments SET resync = 1')
  }

  async revoke(name: string, nowMs: number): Promise<void> {
    await this.#sql.run("UPDATE enrollments SET state = 'revoked', revoked_ms = ? WHERE name = ?", nowMs, name)
    await this.#sql.run('DELETE FROM join_requests WHERE name = ?', name)
    await this.#sql.touch()
  }
  async deny(name: string): Promise<void> {
    await this.#sql.run('DELETE FROM join_requests WHERE name = ?', name)
  }
  async forget(name: string): Promise<number> {
    const enrolled = await this.#sql.run('DELETE FROM enrollments WHERE name = ?', name)
    const waiting = await this.#sql.run('DELETE FROM join_requests WHERE name = ?', name)
    await this.#sql.touch()
    return enrolled + waiting
  }

  /** @param but serial of the one that stays good. @returns how many were not revoked before and had not ended */
  async revokeCertificates(holder: string, nowMs: number, but = ''): Promise<number> {
    const revoked = await this.#sql.run(
      'UPDATE certificates SET revoked_ms = ? WHERE device = ? AND serial <> ? AND revoked_ms IS NULL AND not_after_ms > ?',
      nowMs,
      holder,
      but,
      nowMs,
    )
    await this.#sql.touch()
    return revoked
  }
}

const applicant = (a: Applicant) =>
  [a.name, a.keyId, a.namespace, a.serviceAccount, a.jti, JSON.stringify(a.labels), a.address] as const

function withLabels<T extends { readonly labels: string }>(row: T): Omit<T, 'labels'> & { labels: Labels } {
  return { ...row, labels: JSON.parse(row.labels) as Labels }
}
const read = (row: Row): Enrollment => ({ ...withLabels(row), resync: row.resync === 1 })
