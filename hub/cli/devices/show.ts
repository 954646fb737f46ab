/** `meshlet-hub device show NAME`: all that is known of one device, with what to do about what is wrong. */
import { systemClock } from '../../../core/os/clock.ts'
import { MeshError } from '../../../core/errors.ts'
import type { ExitCode } from '../../../core/cli/exit.ts'
import { toPrintableAll } from '../../../core/printable.ts'
import type { HistoryPoint } from '../../registry/reports.ts'
import type { FleetRow } from '../../reports/fleet-row.ts'
import type { DescribedDevice } from '../../reports/list-fleet.ts'
import type { Io } from '../io.ts'
import { withOperations, type HubOptions } from '../operations/open.ts'
import { formatDate } from '../table.ts'
import { describeDetails } from './details.ts'

type ShowOptions = HubOptions & { readonly output: 'text' | 'json' }
type Line = readonly [name: string, value: string]

/** Rejects with MESH_CONFIG_INVALID when the name is not known. */
export async function showDevice(name: string, o: ShowOptions, io: Io): Promise<ExitCode> {
  const found = await withOperations(o, io, ({ devices }) => devices.describe(name))
  if (!found)
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `no node ${JSON.stringify(name)} is known; meshlet-hub devices shows them`,
    )
  io.out(o.output === 'json' ? `${JSON.stringify(found)}\n` : formatDevice(toPrintableAll(found)))
  return 0
}

function formatDevice(d: DescribedDevice): string {
  const lines = [...describeIdentity(d.row), ...describeConfiguration(d), ...describeReport(d), ...describeHistory(d)]
  const problems = d.problems.map(({ code, text, remedy }) => `! ${code}: ${text}\n${remedy && `  ${remedy}\n`}`)
  const events = d.events.slice(-MAX_EVENTS).map((e) => `${formatDate(e.atMs)}  ${e.event}  ${e.reason}\n`)
  return [
    ...lines.map(([name, value]) => `${name.padEnd(14)}${value}\n`),
    '\n',
    ...(problems.length > 0 ? problems : [d.stored ? 'Nothing is wrong, as it says itself.\n' : NO_REPORT]),
    ...(events.length > 0 ? ['\n', ...events] : []),
  ].join('')
}
const MAX_EVENTS = 20
const NO_REPORT = 'It has not reported: devices on the relay do (control.address: wss://…).\n'

function describeIdentity(row: FleetRow): Line[] {
  const labels = Object.entries(row.labels).map(([key, value]) => `${key}=${value}`)
  const since = row.state === 'connected' ? `since ${formatDate(row.since)}` : `seen ${formatDate(row.seen)}`
  return [
    ['device', `${row.name}, ${row.state} ${since}, from ${row.address}`],
    [
      'identity',
      `${row.identity}${row.enrolled === undefined ? '' : `, ${row.enrolled}`}${row.cloned ? ', two copies of its key' : ''}`,
    ],
    ...(labels.length > 0 ? [['labels', labels.join(' ')] as const] : []),
    ['certificate', row.serial === undefined ? '-' : `${row.serial}, ends ${formatDate(row.certificateEnds ?? null)}`],
  ]
}

function describeConfiguration({ row, stored }: DescribedDevice): Line[] {
  const whole = row.current === true ? 'all that it was sent is in force' : 'not all that it was sent is in force'
  return [
    [
      'configuration',
      `${row.revision ?? '-'}, ${whole}${row.desired === row.revision ? '' : `; sent ${row.desired ?? '-'}`}`,
    ],
    ...(stored?.report.refused ?? []).map((r): Line => ['refused', `${r.kind} ${r.name}: ${r.reason}`]),
  ]
}

function describeReport({ stored }: DescribedDevice): Line[] {
  if (!stored) return []
  const { report, atMs, restarts } = stored
  const q = report.quantities
  const clock = report.clockTrusted ? '' : ', its clock is wrong'
  const spool =
    q.spoolMessages === 0
      ? 'empty'
      : `${q.spoolMessages} messages, ${q.spoolBytes} bytes of ${q.spoolMaxBytes}, since ${formatDate(q.spoolSinceMs ?? null)}`
  return [
    ['reported', `${formatDate(atMs)}, ${formatAge(systemClock.wallMs() - atMs)} ago`],
    [
      'process',
      `meshlet ${report.version} on ${report.platform}, ${report.state}, since ${formatDate(report.startedAtMs)}, ${restarts} restarts seen${clock}`,
    ],
    ['link', `${q.rttMs === undefined ? '-' : `${q.rttMs} ms`} there and back, ${q.connections} connections`],
    ['', q.bytes.map((b) => `${b.purpose} ${b.sent} out ${b.received} in`).join(' · ')],
    ['http', `${q.requests} requests, ${q.failures} failed`],
    ['mqtt', `${q.mqttClients} clients, ${q.drops} messages dropped, ${q.bridged} wait for upstream brokers`],
    ['spool', spool],
    ...report.bridges.map((b): Line => ['bridge', `${b.cluster}: ${b.state}${b.error && `; ${b.error}`}`]),
    ...describeDetails(report.details),
  ]
}

function describeHistory({ hours, minutes }: DescribedDevice): Line[] {
  const nowMs = systemClock.wallMs()
  const within = (points: readonly HistoryPoint[], ms: number): readonly HistoryPoint[] =>
    points.filter((p) => p.atMs >= nowMs - ms)
  return [
    ['last hour', summarize(within(minutes, 3_600_000))],
    ['last day', summarize(within(hours, 86_400_000))],
    ['last 30 days', summarize(within(hours, 30 * 86_400_000))],
  ]
}
function summarize(points: readonly HistoryPoint[]): string {
  const sum = (read: (p: HistoryPoint) => number): number => points.reduce((all, p) => all + read(p), 0)
  const most = (read: (p: HistoryPoint) => number): number => points.reduce((all, p) => Math.max(all, read(p)), 0)
  return `${sum((p) => p.connects)} connections, ${sum((p) => p.bytes)} bytes, ${sum((p) => p.requests)} requests, ${sum((p) => p.failures)} failed, spool at most ${most((p) => p.spool)}`
}

function formatAge(ms: number): string {
  const sec = Math.max(0, Math.round(ms / 1_000))
  if (sec < 100) return `${sec} s`
  if (sec < 6_000) return `${Math.round(sec / 60)} min`
  return sec < 172_800 ? `${Math.round(sec / 3_600)} h` : `${Math.round(sec / 86_400)} d`
}
