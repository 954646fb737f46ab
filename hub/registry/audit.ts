/** Who did what and when, for everything that decides who belongs to the fleet. Never changed, bounded by count. */
import type { Sql } from './sql.ts'

export type AuditEvent =
  | 'token.created'
  | 'token.revoked'
  | 'device.joined'
  | 'device.pending'
  | 'device.approved'
  | 'device.denied'
  | 'device.returned'
  | 'device.resynced'
  | 'device.cloned'
  | 'device.revoked'
  | 'device.forgotten'
  | 'device.command'
  | 'tunnel.asked'
  | 'tunnel.ended'
  | 'roots.changed'
  | 'hub.backup'
  | 'hub.restored'
  | 'console.link'
  | 'console.login'
  | 'console.ended'
  | 'revision.taken'
  | 'rollout.started'
  | 'rollout.wave'
  | 'rollout.paused'
  | 'rollout.resumed'
  | 'rollout.halted'
  | 'rollout.completed'
  | 'rollout.aborted'
  | 'rollout.superseded'
  | 'rollout.undone'
  | 'store.migrated'
export type AuditEntry = {
  readonly atMs: number
  /** `operator:USER`, `device:NAME`, `key:ID` or `hub`. */
  readonly actor: string
  readonly event: AuditEvent
  /** Name of the device, id of the token, the revision or the rollout, or the file. */
  readonly subject: string
  /** Where it came from; empty for commands beside the hub. */
  readonly address: string
  readonly detail: string
  /** Of what it is about: operators of it may see the entry. Left out: it concerns all. */
  readonly namespace?: string | undefined
}
export type AuditRow = Omit<AuditEntry, 'namespace'> & { readonly id: number }
export type AuditQuery = {
  /** Of these alone. */
  readonly subject?: string | undefined
  /** One event, or those that begin so: `device.` */
  readonly event?: string | undefined
  readonly actor?: string | undefined
  readonly sinceMs?: number | undefined
  readonly untilMs?: number | undefined
  /** Undefined: of all, and of none. */
  readonly namespaces?: readonly string[] | undefined
  /** Older, or newer, than this entry. */
  readonly before?: number | undefined
  readonly after?: number | undefined
  readonly most: number
}

/** The oldest make room: half a gigabyte at most. */
const MAX_ROWS = 1_000_000
const MAX_DETAIL_CHARS = 500

export class AuditLog {
  readonly #sql: Sql
  constructor(sql: Sql) {
    this.#sql = sql
  }

  async add({ atMs, actor, event, subject, address, detail, namespace = '' }: AuditEntry): Promise<void> {
    await this.#sql.run(
      'INSERT INTO audit (at_ms, actor, event, subject, address, detail, namespace) VALUES (?, ?, ?, ?, ?, ?, ?)',
      atMs,
      actor,
      event,
      subject,
      address,
      detail.slice(0, MAX_DETAIL_CHARS),
      namespace,
    )
    await this.#sql.run('DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?', MAX_ROWS)
  }

  /** Oldest first. @param q.subject of these alone. @param q.most the newest so many */
  async list(q: { readonly subject?: string | undefined; readonly most: number }): Promise<readonly AuditRow[]> {
    const [where, params] = q.subject === undefined ? ['', []] : ['WHERE subject = ?', [q.subject]]
    const rows = await this.#sql.all<AuditRow>(
      `SELECT id, at_ms AS "atMs", actor, event, subject, address, detail FROM audit ${where} ORDER BY id DESC LIMIT ?`,
      ...params,
      q.most,
    )
    return rows.reverse()
  }

  /** Newest first. */
  async page(q: AuditQuery): Promise<readonly AuditRow[]> {
    const where: string[] = ['id > ?']
    const params: (string | number)[] = [q.after ?? 0]
    const narrow = (condition: string, ...values: readonly (string | number)[]): void => {
      where.push(condition)
      params.push(...values)
    }
    if (q.before !== undefined) narrow('id < ?', q.before)
    if (q.subject !== undefined) narrow('subject = ?', q.subject)
    if (q.event !== undefined)
      if (q.event.endsWith('.')) narrow('substr(event, 1, ?) = ?', q.event.length, q.event)
      else narrow('event = ?', q.event)
    if (q.actor !== undefined) narrow('actor = ?', q.actor)
    if (q.sinceMs !== undefined) narrow('at_ms >= ?', q.sinceMs)
    if (q.untilMs !== undefined) narrow('at_ms < ?', q.untilMs)
    if (q.namespaces) narrow(`namespace IN (${q.namespaces.map(() => '?').join(', ') || 'NULL'})`, ...q.namespaces)
    return this.#sql.all<AuditRow>(
      `SELECT id, at_ms AS "atMs", actor, event, subject, address, detail FROM audit WHERE ${where.join(' AND ')} ORDER BY id DESC LIMIT ?`,
      ...params,
      q.most,
    )
  }
  /** 0: there is none yet. */
  async newestId(): Promise<number> {
    const [row] = await this.#sql.all<{ id: number | null }>('SELECT max(id) AS id FROM audit')
    return row?.id ?? 0
  }
}
