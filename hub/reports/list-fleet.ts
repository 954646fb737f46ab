/** What operators ask about devices, for the command line and the API alike. */
import { CATALOGUE, type ErrorCode } from '../../core/errors.ts'
import type { Registry } from '../registry/registry.ts'
import type { Labels } from '../registry/enrollments.ts'
import type { DeviceEventRow } from '../registry/device-events.ts'
import type { HistoryPoint, StoredReport } from '../registry/reports.ts'
import { makeFleetRow, type FleetRow } from './fleet-row.ts'
import type { Question } from './where.ts'

export type FleetQuery = {
  /** A hub runs, and has said so of late. */
  readonly isHubThere: boolean
  /** Devices that have all of these. */
  readonly labels?: Labels
  readonly where?: Question | undefined
  /** The first so many, by name. */
  readonly most?: number | undefined
}
export type FleetList = {
  readonly rows: readonly FleetRow[]
  /** Of those that were asked for, more than `rows` where that is cut. */
  readonly found: number
}

export async function listFleet(registry: Registry, q: FleetQuery): Promise<FleetList> {
  const [devices, enrollments, reports] = await Promise.all([
    registry.devices(),
    registry.enrollments.all(),
    registry.reports.all(),
  ])
  const enrolled = new Map(enrollments.map((e) => [e.name, e]))
  const reported = new Map(reports.map((r) => [r.name, r]))
  const wanted = Object.entries(q.labels ?? {})
  const rows = devices
    .map((device) =>
      makeFleetRow({
        device,
        enrollment: enrolled.get(device.name),
        stored: reported.get(device.name),
        isHubThere: q.isHubThere,
      }),
    )
    .filter((row) => wanted.every(([key, value]) => Object.hasOwn(row.labels, key) && row.labels[key] === value))
    .filter((row) => q.where?.(row) ?? true)
  return { rows: rows.slice(0, q.most), found: rows.length }
}

export type DescribedDevice = {
  readonly row: FleetRow
  readonly stored: StoredReport | undefined
  readonly problems: readonly { readonly code: string; readonly text: string; readonly remedy: string }[]
  readonly minutes: readonly HistoryPoint[]
  readonly hours: readonly HistoryPoint[]
  readonly events: readonly DeviceEventRow[]
}
const MAX_EVENTS = 100

/** Undefined: there is none of that name. */
export async function describeDevice(
  registry: Registry,
  name: string,
  isHubThere: boolean,
): Promise<DescribedDevice | undefined> {
  const device = await registry.device(name)
  if (!device) return undefined
  const [enrollment, stored] = [await registry.enrollments.byName(name), await registry.reports.latest(name)]
  return {
    row: makeFleetRow({ device, enrollment, stored, isHubThere }),
    stored,
    problems: (stored?.report.problems ?? []).map((p) => ({ ...p, remedy: findRemedy(p.code) })),
    minutes: await registry.reports.history(name, 'minute', 0),
    hours: await registry.reports.history(name, 'hour', 0),
    events: await registry.deviceEvents.last({ device: name, most: MAX_EVENTS }),
  }
}

/** A newer device may have codes that are not known here. */
export function findRemedy(code: string): string {
  return Object.hasOwn(CATALOGUE, code) ? CATALOGUE[code as ErrorCode].remedy : ''
}
