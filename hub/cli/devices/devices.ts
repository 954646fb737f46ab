/** `meshlet-hub devices` and `devices forget` */
import { MeshError } from '../../../core/errors.ts'
import type { ExitCode } from '../../../core/cli/exit.ts'
import { toPrintable } from '../../../core/printable.ts'
import { NOBODY_HAD_IT } from '../../enrollment/decisions.ts'
import type { Labels } from '../../registry/enrollments.ts'
import { formatCsv } from '../../reports/csv.ts'
import { FIELDS } from '../../reports/fields.ts'
import type { FleetRow } from '../../reports/fleet-row.ts'
import type { Io } from '../io.ts'
import { withOperations, type HubOptions } from '../operations/open.ts'
import { formatDate, formatTable } from '../table.ts'

export type DevicesOptions = HubOptions & {
  readonly json: boolean
  readonly label: Labels
  readonly where?: string
  readonly output?: 'table' | 'json' | 'csv'
  readonly limit?: number
}

/** Rejects with MESH_CONFIG_INVALID where `--where` cannot be understood. */
export async function printDevices(o: DevicesOptions, io: Io): Promise<ExitCode> {
  const asked = { where: o.where, labels: o.label, most: o.limit }
  const { rows, found, hub } = await withOperations(o, io, ({ devices }) => devices.list(asked))
  const form = o.output ?? (o.json ? 'json' : 'table')
  if (form === 'json') io.out(`${JSON.stringify(rows.map(describeRow))}\n`)
  else if (form === 'csv') io.out(formatCsv(CSV_COLUMNS, rows.map(describeCells)))
  else printTable(rows, io)
  if (rows.length < found) io.err(`meshlet-hub: ${rows.length} of ${found} devices are shown (--limit)\n`)
  if (form === 'table' && !hub.isThere && rows.length > 0)
    io.err(
      `meshlet-hub: no hub ${hub.why}, so nobody knows who is connected; SINCE is when they were last seen: systemctl status meshlet-hub\n`,
    )
  return 0
}

function printTable(rows: readonly FleetRow[], io: Io): void {
  io.out(
    formatTable(
      ['NODE', 'STATE', 'SINCE', 'CONFIGURATION', 'TAKEN', 'CERTIFICATE', 'ENDS', 'PROBLEMS', 'ADDRESS', 'IDENTITY'],
      rows.map((d) => [
        d.name,
        d.state,
        formatDate(d.since),
        describeRevision(d),
        formatDate(d.taken ?? null),
        d.serial?.slice(0, 12) ?? '-',
        formatDate(d.certificateEnds ?? null),
        d.problems === undefined ? '-' : String(d.problems),
        d.address,
        d.identity,
      ]),
    ),
  )
  for (const d of rows)
    if (d.refusal !== undefined) io.out(`${toPrintable(d.name)} refused: ${formatWords(d.refusal)}\n`)
}

function describeRevision({ revision, refused, current }: FleetRow): string {
  if (revision === undefined) return '-'
  return `${revision.slice(0, 12)}${refused > 0 ? ', newer refused' : current === false ? ', not whole' : ''}`
}

/** Times as ISO 8601; what is not known is left out. */
function describeRow(row: FleetRow): Record<string, unknown> {
  const described = Object.entries(row).map(([name, value]) => [name, TIMES.has(name) ? formatIso(value) : value])
  return Object.fromEntries(described) as Record<string, unknown>
}
const TIMES = new Set<string>([
  'since',
  'seen',
  'joined',
  'certificateEnds',
  'taken',
  'reported',
  'started',
  'spoolSince',
] satisfies (keyof FleetRow)[])
const formatIso = (value: unknown): unknown => (typeof value === 'number' ? new Date(value).toISOString() : value)

const CSV_COLUMNS = [...FIELDS.keys(), 'labels']
function describeCells(row: FleetRow): string[] {
  const cells = [...FIELDS.values()].map(({ type, read }) => {
    const value = read(row)
    const all = (Array.isArray(value) ? (value as unknown[]) : [value]).filter((one) => one !== undefined)
    return all.map((one) => String(type === 'time' ? formatIso(one) : one)).join(' ')
  })
  const labels = Object.entries(row.labels).map(([key, value]) => `${key}=${value}`)
  return [...cells, labels.join(' ')]
}

/** What a device sent, safe for a terminal. */
export function formatWords(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]/gu, ' ').slice(0, 500)
}

/** Rejects with MESH_CONFIG_INVALID when the name is not known. */
export async function forget(name: string, o: HubOptions, io: Io): Promise<ExitCode> {
  const detail = await withOperations(o, io, ({ devices }) => devices.decide('forget', name))
  if (detail === NOBODY_HAD_IT)
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `no node ${JSON.stringify(name)} is known; meshlet-hub devices shows them`,
    )
  io.out(`forgotten: ${name}; the next device with a join token for this name gets it\n`)
  return 0
}
