/** What the registry knows of all devices, as a rollout looks at them. */
import type { Registry } from '../registry/registry.ts'
import type { CountedTraffic, DeviceView } from './machine.ts'
import type { DeviceOf } from './scope.ts'

/** By name: requests and failures as the devices counted them, of those that report. */
export type FleetTraffic = ReadonlyMap<string, CountedTraffic>
export const NO_TRAFFIC: FleetTraffic = new Map()

/** All that have connected or joined. */
export async function listDevices(registry: Registry): Promise<readonly DeviceOf[]> {
  return await registry.fleet.names()
}

export async function readFleet(registry: Registry, traffic = NO_TRAFFIC): Promise<readonly DeviceView[]> {
  const rows = await registry.fleet.states()
  return rows.map(({ name, labels, isConnected, inForce, refused }) => ({
    name,
    labels,
    connected: isConnected,
    revision: inForce ?? undefined,
    refused: refused ?? undefined,
    traffic: traffic.get(name),
  }))
}

export async function readTraffic(registry: Registry): Promise<FleetTraffic> {
  const traffic = new Map<string, CountedTraffic>()
  for (const { name, report } of await registry.reports.all()) {
    const { requests, failures } = report.quantities
    traffic.set(name, { startedMs: report.startedAtMs, requests, failures })
  }
  return traffic
}
