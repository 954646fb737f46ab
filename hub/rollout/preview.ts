/** Who would be in which wave of a rollout, before it starts: started under the same id, it has the same waves. */
import { randomUUID } from 'node:crypto'
import type { Registry } from '../registry/registry.ts'
import { decideRevision } from './desired.ts'
import { listDevices, readFleet } from './fleet.ts'
import { parseHalt } from './halt.ts'
import { MAX_ID_CHARS, type RolloutPlan } from './operate.ts'
import { isWithin } from './scope.ts'
import { findWave, parseWaves, planWaves } from './waves.ts'

export type WavePreview = {
  readonly percent: number
  readonly devices: number
  readonly away: number
  /** By name, the first of them. */
  readonly names: readonly string[]
}
export type RolloutPreview = {
  readonly id: string
  readonly to: string
  readonly waves: readonly WavePreview[]
  /** What these devices are to have now, the most first; null: nothing yet. */
  readonly from: readonly { readonly revision: string | null; readonly devices: number }[]
}
const MAX_NAMES = 100

/** Rejects with MESH_CONFIG_INVALID: no such revision, waves or gates that cannot be read. */
export async function planRollout(registry: Registry, plan: RolloutPlan): Promise<RolloutPreview> {
  const { id: to } = await registry.revisions.find(plan.to)
  const shares = parseWaves(plan.now === true ? '100%' : plan.waves)
  parseHalt(plan.halt)
  const id = plan.id ?? randomUUID().slice(0, MAX_ID_CHARS)
  const devices = (await listDevices(registry)).filter((device) => isWithin(plan.scope, device))
  const there = new Set((await readFleet(registry)).filter(({ connected }) => connected).map(({ name }) => name))
  const desired = await registry.rollouts.desired()
  const waves = planWaves(id, shares, devices)
  const found = shares.map((percent) => ({ percent, devices: 0, away: 0, names: [] as string[] }))
  const from = new Map<string | null, number>()
  for (const device of devices) {
    const wave = found[findWave(waves, device.name)]!
    wave.devices++
    if (!there.has(device.name)) wave.away++
    if (wave.names.length < MAX_NAMES) wave.names.push(device.name)
    const has = decideRevision(desired, device) ?? null
    from.set(has, (from.get(has) ?? 0) + 1)
  }
  return {
    id,
    to,
    waves: found,
    from: [...from].map(([revision, count]) => ({ revision, devices: count })).sort((a, b) => b.devices - a.devices),
  }
}
