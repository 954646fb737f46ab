/** What a report costs the hub: read, compared with the one before, and written to the registry. */
import { DETAILS, REPORT } from '../../helpers/control-plane/report.ts'
import { sleep } from '../../conformance/programs.ts'
import type { Report } from '../../../model/fleet/report.ts'
import type { Device } from './device.ts'

/** The hub writes what came once a second. */
const WRITTEN_MS = 2_500
const { services, queues } = DETAILS
const FIRST: Report = { ...REPORT, details: DETAILS }
const COUNTS: Report = {
  ...FIRST,
  quantities: { ...REPORT.quantities, requests: 130_000 },
  details: { services, queues: { ...queues, rows: queues.rows.map((q) => ({ ...q, messages: q.messages + 70 })) } },
}
const DOWN: Report = {
  ...COUNTS,
  details: { ...COUNTS.details!, services: { ...services, rows: services.rows.map((s) => ({ ...s, healthy: 0 })) } },
}
const KINDS = { 'first report': FIRST, 'report of counts': COUNTS, 'report of services that are down': DOWN }

type Measured = {
  readonly devices: readonly Device[]
  measure(
    figures: Record<string, number>,
    what: string,
    act: (device: Device) => Promise<void>,
    settled: () => Promise<void>,
  ): Promise<void>
}

/** @param admin the hub's admin port */
export async function measureReports(figures: Record<string, number>, fleet: Measured, admin: number): Promise<void> {
  for (const [what, report] of Object.entries(KINDS)) {
    const wanted = (await countTaken(admin)) + fleet.devices.length
    await fleet.measure(
      figures,
      what,
      (device) => device.report(report),
      async () => {
        while ((await countTaken(admin)) < wanted) await sleep(200)
        await sleep(WRITTEN_MS)
      },
    )
  }
}

async function countTaken(admin: number): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${admin}/metrics`)
  return Number(/^mesh_hub_reports_total (\d+)/m.exec(await response.text())?.[1] ?? 0)
}
