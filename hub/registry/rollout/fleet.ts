/** All devices in one look: whether they are there, and what they have. */
import type { Labels } from '../enrollments.ts'
import { CONNECTIONS } from '../replicas.ts'
import type { Sql } from '../sql.ts'

export type FleetDevice = { readonly name: string; readonly labels: Labels }
export type FleetState = FleetDevice & {
  readonly isConnected: boolean
  /** Revision that it took as a whole. */
  readonly inForce: string | null
  readonly refused: string | null
}
type Row = {
  name: string
  labels: string | null
  connectedMs: number | null
  inForce: string | null
  refused: string | null
}

export class Fleet {
  readonly #sql: Sql
  constructor(sql: Sql) {
    this.#sql = sql
  }

  /** By name: those that have connected, and those that have joined and never did. */
  async names(): Promise<readonly FleetDevice[]> {
    const rows = await this.#sql.all<{ name: string; labels: string | null }>(
      `SELECT d.name AS name, e.labels AS labels FROM devices d LEFT JOIN enrollments e ON e.name = d.name
      UNION SELECT name, labels FROM enrollments WHERE state = 'active' ORDER BY name`,
    )
    return rows.map(({ name, labels }) => ({ name, labels: parseLabels(labels) }))
  }

  /** Revisions that devices have in force. */
  async revisions(): Promise<readonly string[]> {
    const rows = await this.#sql.all<{ id: string }>(
      'SELECT DISTINCT in_force AS id FROM devices WHERE in_force IS NOT NULL',
    )
    return rows.map(({ id }) => id)
  }

  /** Those that have connected and are not revoked. */
  async states(): Promise<readonly FleetState[]> {
    const rows = await this.#sql.all<Row>(
      `SELECT d.name AS name, e.labels AS labels, v.since_ms AS "connectedMs", d.in_force AS "inForce", d.refused AS refused
      FROM devices d LEFT JOIN (${CONNECTIONS}) v ON v.node = d.name LEFT JOIN enrollments e ON e.name = d.name
      WHERE e.state IS NULL OR e.state <> 'revoked' ORDER BY d.name`,
    )
    return rows.map(({ name, labels, connectedMs, inForce, refused }) => ({
      name,
      labels: parseLabels(labels),
      isConnected: connectedMs !== null,
      inForce,
      refused,
    }))
  }
}

const NO_LABELS: Labels = {}
const parseLabels = (text: string | null): Labels =>
  text === null || text === '{}' ? NO_LABELS : (JSON.parse(text) as Labels)
