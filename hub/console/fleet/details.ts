/** What devices report, of the whole fleet: for questions (`where`) and sums. Read again as seldom as the list (rested.ts). */
import type { Clock } from '../../../core/os/clock.ts'
import { hasLabels, parseLabelList } from '../../enrollment/labels.ts'
import { HUB_GONE_MS } from '../../registry/replicas.ts'
import type { Registry } from '../../registry/registry.ts'
import type { FleetRow } from '../../reports/fleet-row.ts'
import { listFleet } from '../../reports/list-fleet.ts'
import { parseQuestion } from '../../reports/where.ts'
import type { DataUse } from '../fleet-schemas.ts'
import { Rested } from './rested.ts'

export type Details = { readonly isHubThere: boolean; readonly rows: readonly FleetRow[] }
type Wanted = { readonly where?: string | undefined; readonly labels?: string | undefined }
const MAX_LARGEST = 10
const MAX_PURPOSES = 50

export class FleetDetails {
  readonly #clock: Clock
  readonly #rows: Rested<Details>

  constructor(registry: Registry, clock: Clock) {
    this.#clock = clock
    this.#rows = new Rested(clock, async () => {
      const [nowMs, aliveMs = 0] = [clock.wallMs(), await registry.aliveMs()]
      const isHubThere = Math.abs(nowMs - aliveMs) < HUB_GONE_MS
      return { isHubThere, rows: (await listFleet(registry, { isHubThere })).rows }
    })
  }

  read(): Promise<Details> {
    return this.#rows.read()
  }

  /** Rejects with MESH_CONFIG_INVALID, naming the place, for what cannot be understood. */
  async select({ where, labels }: Wanted): Promise<Details> {
    const question = where === undefined || where.trim() === '' ? undefined : parseQuestion(where, this.#clock.wallMs())
    const wanted = labels === undefined ? {} : parseLabelList(labels)
    const { isHubThere, rows } = await this.read()
    const found = rows.filter((row) => hasLabels(row.labels, wanted) && (question?.(row) ?? true))
    return { isHubThere, rows: found }
  }
}

/** @param sees of a name */
export async function countDataUse(registry: Registry, sees: (name: string) => boolean): Promise<DataUse> {
  const sums = new Map<string, { purpose: string; sent: number; received: number }>()
  const devices: { name: string; bytes: number }[] = []
  for (const { name, report } of await registry.reports.all()) {
    if (!sees(name)) continue
    let bytes = 0
    for (const { purpose, sent, received } of report.quantities.bytes) {
      bytes += sent + received
      const sum = sums.get(purpose) ?? { purpose, sent: 0, received: 0 }
      sum.sent += sent
      sum.received += received
      sums.set(purpose, sum)
    }
    devices.push({ name, bytes })
  }
  return {
    devices: devices.length,
    purposes: [...sums.values()].sort((a, b) => b.sent + b.received - a.sent - a.received).slice(0, MAX_PURPOSES),
    largest: devices.sort((a, b) => b.bytes - a.bytes).slice(0, MAX_LARGEST),
  }
}
