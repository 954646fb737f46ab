/** How rollouts stand, for the command line and the API alike. */
import type { RolloutItem } from '../console/rollout-schemas.ts'
import type { Registry } from '../registry/registry.ts'
import type { FolderState, HubFolder, RolloutRecord } from '../registry/rollout/rollouts.ts'
import type { Assignment } from '../rollout/desired.ts'
import { readFleet } from '../rollout/fleet.ts'
import { hasBegunFor, isActive, type DeviceView } from '../rollout/machine.ts'
import { formatScope, isWithin } from '../rollout/scope.ts'

export type RolloutStatus = {
  /** That is under way, or was the last; null: there was none. */
  readonly rollout: RolloutRecord | null
  /** Of the waves that have begun; null: none is under way. */
  readonly devices: WaveCounts | null
  readonly inForce: readonly Assignment[]
  readonly folder: FolderState
  /** Of several hubs. */
  readonly folders: readonly HubFolder[]
}
export type WaveCounts = {
  readonly begun: number
  readonly have: number
  readonly refuse: number
  readonly away: number
}

export async function readRolloutStatus(registry: Registry): Promise<RolloutStatus> {
  const newest = (await registry.rollouts.active()) ?? (await registry.rollouts.list(1))[0]
  return {
    rollout: newest ?? null,
    devices: newest && isActive(newest) ? countWaves(newest, await readFleet(registry)) : null,
    inForce: await registry.rollouts.assignments(),
    folder: await registry.rollouts.folder(),
    folders: [...(await registry.rollouts.folders()).values()],
  }
}

function countWaves(rollout: RolloutRecord, devices: readonly DeviceView[]): WaveCounts {
  const begun = devices.filter((d) => isWithin(rollout.scope, d) && hasBegunFor(rollout, d.name))
  return {
    begun: begun.length,
    have: begun.filter(({ revision }) => revision === rollout.to).length,
    refuse: begun.filter(({ refused }) => refused !== undefined).length,
    away: begun.filter(({ connected }) => !connected).length,
  }
}

export const describeAssignment = ({ scope, revision }: RolloutRecord['before'][number]) => ({
  scope: formatScope(scope),
  revision,
})

export function describeRollout(r: RolloutRecord): RolloutItem {
  const { id, to, state, waves, halt, soakMs, awayMs, soakedMs, reason, startedMs, endedMs, by } = r
  return {
    id,
    to,
    scope: formatScope(r.scope),
    state,
    waves,
    halt,
    soakMs,
    awayMs,
    wave: r.wave + 1,
    waveCount: r.upTo.length,
    soakedMs,
    reason,
    startedMs,
    endedMs,
    by,
    before: r.before.map(describeAssignment),
  }
}
