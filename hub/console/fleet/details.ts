/** What devices report, of the whole fleet: for questions (`where`) and sums. Read again as seldom as the list (rested.ts). */
import { MeshError } from '../../../core/errors.ts'
import type { Clock } from '../../../core/os/clock.ts'
import { Tally, takeLease } from '../../../core/lease.ts'
import { TimeSlice } from '../../../core/os/time-slice.ts'
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
const MAX_WAITING = 32
const MAX_ANSWERS = 64
const MAX_LARGEST = 10
const MAX_PURPOSES = 50

export class FleetDetails {
  readonly #clock: Clock
  readonly #rows: Rested<Details>
  /** To the newest questions, as long as the rows are the same. */
  readonly #answers = new Map<string, Promise<Details>>()
  #of: Details | undefined
  #turn: Promise<void> = Promise.resolve()
  readonly #waiting = new Tally()

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

  /**
   * Rejects with MESH_CONFIG_INVALID, naming the place, for what cannot be understood, and with MESH_CONTROL_SLOW_DOWN
   * when many wait: one question after the other is put to all rows, with as long a rest after it as it took.
   */
  async select({ where, labels }: Wanted): Promise<Details> {
    const question = where === undefined || where.trim() === '' ? undefined : parseQuestion(where, this.#clock.wallMs())
    const wanted = labels === undefined ? {} : parseLabelList(labels)
    const all = await this.read()
    const key = JSON.stringify([where, labels])
    if (this.#of !== all) this.#answers.clear()
    this.#of = all
    const known = this.#answers.get(key)
    if (known) return known
    if (this.#waiting.now >= MAX_WAITING)
      throw new MeshError('MESH_CONTROL_SLOW_DOWN', `${MAX_WAITING} questions about the fleet wait already`)
    const lease = takeLease(this.#waiting)
    const isTrue = (row: FleetRow): boolean => hasLabels(row.labels, wanted) && (question?.(row) ?? true)
    const answer = this.#turn.then(() => this.#filter(all, isTrue)).finally(() => lease[Symbol.dispose]())
    this.#turn = answer.then(
      ({ tookMs }) => this.#clock.sleep(tookMs),
      () => undefined,
    )
    const found = answer.then(({ rows }) => ({ ...all, rows }))
    this.#answers.set(key, found)
    if (this.#answers.size > MAX_ANSWERS) this.#answers.delete(this.#answers.keys().next().value!)
    return found
  }

  async #filter({ rows }: Details, isTrue: (row: FleetRow) => boolean) {
    const slice = new TimeSlice(this.#clock)
    const cpuMs = this.#clock.threadCpuMs()
    const found: FleetRow[] = []
    for (const row of rows) {
      if (slice.due) await slice.yield()
      if (isTrue(row)) found.push(row)
    }
    return { rows: found, tookMs: this.#clock.threadCpuMs() - cpuMs }
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
