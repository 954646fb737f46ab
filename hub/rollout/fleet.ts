/** What the registry knows of all devices, as a rollout looks at them. */
import type { Registry } from '../registry/registry.ts'
import type { DeviceView } from './machine.ts'
import type { DeviceOf } from './scope.ts'

/** By name, of the devices that report: requests and failures as they counted them, and what they cannot open. */
export type FleetReports = ReadonlyMap<string, Pick<DeviceView, 'traffic' | 'failed'>>
export const NO_REPORTS: FleetReports = new Map()

/** Problems that a revision makes though every resource of it was taken: ports, addresses and files of the device. */
const OF_CONFIGURATION = new Set([
  'MESH_PORT_IN_USE',
  'MESH_PORT_FORBIDDEN',
  'MESH_ADDRESS_MISSING',
  'MESH_LISTENER_TLS',
])

/** All that have connected or joined. */
export async function listDevices(registry: Registry): Promise<readonly DeviceOf[]> {
  return await registry.fleet.names()
}

export async function readFleet(registry: Registry, reports = NO_REPORTS): Promise<readonly DeviceView[]> {
  const rows = await registry.fleet.states()
  return rows.map(({ name, labels, isConnected, inForce, refused }) => ({
    name,
    labels,
    connected: isConnected,
    revision: inForce ?? undefined,
    refused: refused ?? undefined,
    traffic: reports.get(name)?.traffic,
    failed: reports.get(name)?.failed ?? [],
  }))
}

export async function readReports(registry: Registry): Promise<FleetReports> {
  const reports = new Map<string, Pick<DeviceView, 'traffic' | 'failed'>>()
  for (const { name, report } of await registry.reports.all()) {
    const { requests, failures } = report.quantities
    const failed = report.problems
      .filter(({ code }) => OF_CONFIGURATION.has(code))
      .map(({ code, text }) => `${code} ${text}`)
    reports.set(name, { traffic: { startedMs: report.startedAtMs, requests, failures }, failed })
  }
  return reports
}
