/** The fleet in numbers, of what an operator sees. */
import type { DeviceRow, DeviceState, Overview } from '../schemas.ts'
import { DEVICE_STATES } from '../schemas.ts'
import { SILENT_MS } from './rows.ts'

const MAX_WRONG = 50
const MAX_GROUPS = 200
const MAX_REVISIONS = 20
const DAY_MS = 86_400_000
/** Who should see to it first. */
const WORST: Readonly<Record<string, number>> = { suspended: 0, pending: 1, connected: 2, gone: 3 }

export function summarizeFleet(rows: readonly DeviceRow[], nowMs: number): Omit<Overview, 'hub' | 'rollout'> {
  const wrong = rows.filter((row) => row.wrong.length > 0)
  const states = Object.fromEntries(DEVICE_STATES.map((state) => [state, 0])) as Record<DeviceState, number>
  for (const row of rows) states[row.state]++
  const ends = (row: DeviceRow): number => (row.state === 'revoked' ? Infinity : (row.notAfterMs ?? Infinity))
  const endWithin = (ms: number): number => rows.filter((row) => ends(row) > nowMs && ends(row) - nowMs <= ms).length
  return {
    nowMs,
    total: rows.length,
    states,
    wrong: wrong
      .toSorted((a, b) => Number(b.cloned) - Number(a.cloned) || (WORST[a.state] ?? 4) - (WORST[b.state] ?? 4))
      .slice(0, MAX_WRONG),
    wrongTotal: wrong.length,
    silent: rows.filter((r) => r.state === 'gone' && r.sinceMs !== null && nowMs - r.sinceMs > SILENT_MS).length,
    refusing: rows.filter((r) => r.refused !== null).length,
    cloned: rows.filter((r) => r.cloned).length,
    pending: states.pending,
    ending: { ended: rows.filter((r) => ends(r) <= nowMs).length, day: endWithin(DAY_MS), week: endWithin(7 * DAY_MS) },
    revisions: countRevisions(rows),
    sites: placeSites(rows),
    namespaces: countBy(rows, (row) => row.namespace),
  }
}

function countRevisions(rows: readonly DeviceRow[]): Overview['revisions'] {
  const counts = new Map<string, number>()
  for (const { revision } of rows) if (revision !== null) counts.set(revision, (counts.get(revision) ?? 0) + 1)
  return [...counts]
    .map(([revision, devices]) => ({ revision, devices }))
    .sort((a, b) => b.devices - a.devices)
    .slice(0, MAX_REVISIONS)
}

/** Sites where their devices say that they are; those without a site, by place. */
function placeSites(rows: readonly DeviceRow[]): Overview['sites'] {
  const places = new Map<string, { lat: number; lon: number; count: number }>()
  const keyOf = (row: DeviceRow): string | undefined => {
    const { site, lat, lon } = row.labels
    return site ?? (parsePlace(row) && `${lat},${lon}`)
  }
  for (const row of rows) {
    const [key, place] = [keyOf(row), parsePlace(row)]
    if (key === undefined || !place) continue
    const sum = places.get(key) ?? { lat: 0, lon: 0, count: 0 }
    places.set(key, { lat: sum.lat + place.lat, lon: sum.lon + place.lon, count: sum.count + 1 })
  }
  return countBy(rows, keyOf).map((group) => {
    const { lat = 0, lon = 0, count = 0 } = places.get(group.name) ?? {}
    return { ...group, lat: count === 0 ? null : lat / count, lon: count === 0 ? null : lon / count }
  })
}

/** Labels may not begin with a sign (Kubernetes): `33.9S`. Undefined: there is no place, or none on this earth. */
export function parsePlace({ labels }: Pick<DeviceRow, 'labels'>): { lat: number; lon: number } | undefined {
  const lat = parseDegrees(labels['lat'], 90, /^(\d{1,3}(?:\.\d{1,8})?)([NS]?)$/)
  const lon = parseDegrees(labels['lon'], 180, /^(\d{1,3}(?:\.\d{1,8})?)([EW]?)$/)
  return lat === undefined || lon === undefined ? undefined : { lat, lon }
}
function parseDegrees(text: string | undefined, most: number, form: RegExp): number | undefined {
  const [, digits, side = ''] = form.exec(text ?? '') ?? []
  const degrees = Number(digits) * (side === 'S' || side === 'W' ? -1 : 1)
  return Math.abs(degrees) <= most ? degrees : undefined
}

type Group = { readonly name: string; readonly total: number; readonly connected: number; readonly wrong: number }
function countBy(rows: readonly DeviceRow[], keyOf: (row: DeviceRow) => string | undefined): readonly Group[] {
  const groups = new Map<string, { total: number; connected: number; wrong: number }>()
  for (const row of rows) {
    const key = keyOf(row)
    if (key === undefined) continue
    const group = groups.get(key) ?? { total: 0, connected: 0, wrong: 0 }
    group.total++
    if (row.state === 'connected') group.connected++
    if (row.wrong.length > 0) group.wrong++
    groups.set(key, group)
  }
  return [...groups]
    .map(([name, group]) => ({ name, ...group }))
    .sort((a, b) => b.wrong - a.wrong || (a.name < b.name ? -1 : 1))
    .slice(0, MAX_GROUPS)
}
