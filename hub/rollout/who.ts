/** Which device has which revision, and which it is to have. */
import type { Registry } from '../registry/registry.ts'
import { decideRevision } from './desired.ts'
import { readFleet } from './fleet.ts'
import type { Labels } from '../registry/enrollments.ts'

export type DeviceRevision = {
  readonly name: string
  readonly labels: Labels
  readonly connected: boolean
  /** Null: none is known. */
  readonly desired: string | null
  readonly inForce: string | null
  readonly refused: string | null
}

/** By name. */
export async function listDeviceRevisions(registry: Registry): Promise<readonly DeviceRevision[]> {
  const desired = await registry.rollouts.desired()
  return (await readFleet(registry)).map((device) => ({
    name: device.name,
    labels: device.labels,
    connected: device.connected,
    desired: decideRevision(desired, device) ?? null,
    inForce: device.revision ?? null,
    refused: device.refused ?? null,
  }))
}
