/** How far a rollout has come, for whoever watches it: its waves, and what stands against its gates. */
import type { Registry } from '../registry/registry.ts'
import type { RolloutRecord } from '../registry/rollout/rollouts.ts'
import { readFleet, readReports } from './fleet.ts'
import { formatGate, measureGate, parseHalt, type Evidence, type Gate } from './halt.ts'
import { collectEvidence, listCounted, NOTHING_WATCHED, type DeviceView, type Tracked } from './machine.ts'
import { isWithin } from './scope.ts'
import { findWave, parseWaves } from './waves.ts'

export type WaveProgress = {
  /** Of all devices of the rollout that have it once this wave has begun. */
  readonly percent: number
  readonly devices: number
  readonly have: number
  /** Connected, and refusing something. */
  readonly refuse: number
  readonly away: number
}
export type GateProgress = { readonly gate: string; readonly value: number; readonly limit: number } & Pick<
  Gate,
  'what' | 'unit'
>
export type RolloutProgress = {
  readonly waves: readonly WaveProgress[]
  readonly gates: readonly GateProgress[]
  /** Devices that the gates count. */
  readonly counted: number
  readonly traffic: Evidence['traffic']
  readonly before: Evidence['before']
}

/**
 * Of one that is under way. Who is away counts for `lost` at once here, while the rollout waits for `awayMs`; and how
 * other devices fare meanwhile is known to the hub alone that drives.
 */
export async function measureRollout(registry: Registry, rollout: RolloutRecord): Promise<RolloutProgress> {
  const devices = await readFleet(registry, await readReports(registry))
  const tracked = await registry.rollouts.tracked(rollout.id)
  const { lost, ...evidence } = collectEvidence(rollout, { ...NOTHING_WATCHED, tracked }, devices)
  const seen = { ...evidence, lost: [...new Set([...lost, ...listAway(rollout, tracked, devices)])] }
  return {
    waves: countWaves(rollout, devices),
    gates: parseHalt(rollout.halt).map((gate) => ({
      gate: formatGate(gate),
      what: gate.what,
      unit: gate.unit,
      value: measureGate(gate, seen),
      limit: gate.value,
    })),
    counted: seen.devices,
    traffic: seen.traffic,
    before: seen.before,
  }
}

function listAway(
  rollout: RolloutRecord,
  tracked: ReadonlyMap<string, Tracked>,
  devices: readonly DeviceView[],
): readonly string[] {
  const byName = new Map(devices.map((device) => [device.name, device]))
  return listCounted(rollout, tracked, byName)
    .map(([name]) => name)
    .filter((name) => byName.get(name)?.connected !== true)
}

export function countWaves(rollout: RolloutRecord, devices: readonly DeviceView[]): readonly WaveProgress[] {
  const waves = parseWaves(rollout.waves).map((percent) => ({ percent, devices: 0, have: 0, refuse: 0, away: 0 }))
  for (const device of devices) {
    const wave = isWithin(rollout.scope, device) ? waves[findWave(rollout, device.name)] : undefined
    if (!wave) continue
    wave.devices++
    if (device.revision === rollout.to) wave.have++
    if (!device.connected) wave.away++
    else if (device.refused !== undefined) wave.refuse++
  }
  return waves
}
