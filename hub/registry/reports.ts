/**
 * What devices say of themselves: the newest report of each, and a history of few numbers, by the minute for a day and
 * by the hour for 90 days. A device that says nothing has no points: what it said last holds on.
 */
import type { Report } from '../../model/fleet/report.ts'
import { nameServiceState, type ReportDetails } from '../../model/fleet/report-details.ts'
import type { Sql } from './sql.ts'

export type StoredReport = {
  readonly name: string
  /** When the hub got it. */
  readonly atMs: number
  /** How often the device has been seen to start anew. */
  readonly restarts: number
  /** Hash of what the hub had sent it then: the same as `report.content` where all of it is in force. */
  readonly expected: string
  /** `details` only where it was asked for by name. */
  readonly report: Report
  /** Of those; undefined: the device does not say. */
  readonly worst?: Worst | undefined
}
export type Worst = {
  /** Messages in its deepest queue. */
  readonly queue: number
  /** Services that have endpoints, none of which can be reached. */
  readonly down: number
}
export type HistoryStep = 'minute' | 'hour'
/** What is counted is what came in this step; `spool` and `problems` are the most, `rttMs` is the last. */
export type HistoryPoint = {
  readonly atMs: number
  readonly connected: boolean
  /** Times that it has connected. */
  readonly connects: number
  readonly rttMs: number | null
  readonly bytes: number
  readonly spool: number
  readonly requests: number
  readonly failures: number
  readonly drops: number
  readonly problems: number
}
export type HistoryChange = Omit<HistoryPoint, 'connected'> & {
  readonly name: string
  /** Null: nothing is known of it beside what was known before. */
  readonly connected: boolean | null
}

const STEP_MS: Readonly<Record<HistoryStep, number>> = { minute: 60_000, hour: 3_600_000 }
const KEPT_MS: Readonly<Record<HistoryStep, number>> = { minute: 86_400_000, hour: 90 * 86_400_000 }
const STEPS = ['minute', 'hour'] as const satisfies readonly HistoryStep[]
/** Of one device, whatever its clock and the hub's have done. */
const MAX_POINTS = 3_000
const PAGE = 1_000

export class Reports {
  readonly #sql: Sql
  constructor(sql: Sql) {
    this.#sql = sql
  }

  async latest(name: string): Promise<StoredReport | undefined> {
    const [row] = await this.#sql.all<Row & { readonly details: string }>(
      `SELECT ${COLUMNS}, details FROM reports WHERE name = ?`,
      name,
    )
    if (!row) return undefined
    const { details, ...rest } = row
    const stored = readRow(rest)
    if (details === '') return stored
    return { ...stored, report: { ...stored.report, details: JSON.parse(details) as ReportDetails } }
  }
  /** By name. */
  async all(): Promise<readonly StoredReport[]> {
    const found: StoredReport[] = []
    for (;;) {
      const page = await this.page(found.at(-1)?.name ?? '', PAGE)
      found.push(...page)
      if (page.length < PAGE) return found
    }
  }
  /** Those that follow the name. */
  async page(after: string, most: number): Promise<readonly StoredReport[]> {
    return (
      await this.#sql.all<Row>(`SELECT ${COLUMNS} FROM reports WHERE name > ? ORDER BY name LIMIT ?`, after, most)
    ).map(readRow)
  }
  /** Whose reports came last, the newest first. */
  newest(most: number): Promise<readonly { readonly name: string; readonly atMs: number }[]> {
    return this.#sql.all('SELECT name, at_ms AS "atMs" FROM reports ORDER BY at_ms DESC LIMIT ?', most)
  }
  /** Oldest first. */
  async history(name: string, step: HistoryStep, sinceMs: number): Promise<readonly HistoryPoint[]> {
    const rows = await this.#sql.all<Omit<HistoryPoint, 'connected'> & { connected: number | null }>(
      `SELECT at_ms AS "atMs", connected, connects, rtt_ms AS "rttMs", bytes, spool, requests, failures, drops, problems
      FROM report_history WHERE name = ? AND step = ? AND at_ms >= ? ORDER BY at_ms DESC LIMIT ?`,
      name,
      step,
      sinceMs,
      MAX_POINTS,
    )
    return rows.reverse().map(fillConnected())
  }

  /** In one transaction. */
  async write(reports: readonly StoredReport[], history: readonly HistoryChange[]): Promise<void> {
    await this.#sql.transaction(async (tx) => {
      for (const { name, atMs, restarts, expected, report } of reports)
        await tx.run(
          `INSERT INTO reports (name, at_ms, restarts, expected, report, details) VALUES (?, ?, ?, ?, ?, ?)
          ON CONFLICT (name) DO UPDATE SET at_ms = excluded.at_ms, restarts = excluded.restarts, expected = excluded.expected,
            report = excluded.report, details = excluded.details`,
          name,
          atMs,
          restarts,
          expected,
          ...writeReport(report),
        )
      for (const change of history) for (const step of STEPS) await addPoint(tx, step, change)
    })
  }

  /** @returns points that are gone */
  async prune(nowMs: number): Promise<number> {
    let gone = 0
    for (const step of STEPS)
      gone += await this.#sql.run(
        'DELETE FROM report_history WHERE step = ? AND at_ms < ?',
        step,
        nowMs - KEPT_MS[step],
      )
    return gone
  }
  async forget(name: string): Promise<void> {
    await this.#sql.run('DELETE FROM reports WHERE name = ?', name)
    await this.#sql.run('DELETE FROM report_history WHERE name = ?', name)
  }
}

const COLUMNS = 'name, at_ms AS "atMs", restarts, expected, report'
type Row = Omit<StoredReport, 'report' | 'worst'> & { readonly report: string }
/** JSON leaves out what is undefined: so does this type's reader. */
function readRow(row: Row): StoredReport {
  const { worst, ...report } = JSON.parse(row.report) as Report & { readonly worst?: Worst }
  return { ...row, report, ...(worst && { worst }) }
}
function writeReport({ details, ...report }: Report): [report: string, details: string] {
  return details
    ? [JSON.stringify({ ...report, worst: findWorst(details) }), JSON.stringify(details)]
    : [JSON.stringify(report), '']
}
function findWorst({ services, queues }: ReportDetails): Worst {
  return {
    queue: queues.rows.reduce((most, { messages }) => Math.max(most, messages), 0),
    down: services.rows.filter((service) => nameServiceState(service) === 'down').length,
  }
}

async function addPoint(tx: Sql, step: HistoryStep, c: HistoryChange): Promise<void> {
  await tx.run(
    `INSERT INTO report_history (name, step, at_ms, connected, connects, rtt_ms, bytes, spool, requests, failures, drops, problems)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (name, step, at_ms) DO UPDATE SET
      connected = COALESCE(excluded.connected, report_history.connected),
      connects = report_history.connects + excluded.connects,
      rtt_ms = COALESCE(excluded.rtt_ms, report_history.rtt_ms),
      bytes = report_history.bytes + excluded.bytes,
      spool = CASE WHEN excluded.spool > report_history.spool THEN excluded.spool ELSE report_history.spool END,
      requests = report_history.requests + excluded.requests,
      failures = report_history.failures + excluded.failures,
      drops = report_history.drops + excluded.drops,
      problems = CASE WHEN excluded.problems > report_history.problems THEN excluded.problems ELSE report_history.problems END`,
    c.name,
    step,
    Math.floor(c.atMs / STEP_MS[step]) * STEP_MS[step],
    c.connected === null ? null : Number(c.connected),
    c.connects,
    c.rttMs,
    c.bytes,
    c.spool,
    c.requests,
    c.failures,
    c.drops,
    c.problems,
  )
}

/** A device that reports is connected, until something says that it is not. */
function fillConnected() {
  let last = true
  return (row: Omit<HistoryPoint, 'connected'> & { readonly connected: number | null }): HistoryPoint => {
    last = row.connected === null ? last : row.connected === 1
    return { ...row, connected: last }
  }
}
