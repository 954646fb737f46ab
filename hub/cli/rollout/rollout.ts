/** `meshlet-hub rollout start|status|list|pause|resume|abort|undo` */
import { systemClock } from '../../../core/os/clock.ts'
import type { ExitCode } from '../../../core/cli/exit.ts'
import { readFleet } from '../../rollout/fleet.ts'
import { hasBegunFor, isActive, type DeviceView } from '../../rollout/machine.ts'
import {
  abortRollout,
  pauseRollout,
  resumeRollout,
  startRollout,
  undoRollout,
  type Operator,
} from '../../rollout/operate.ts'
import { formatScope, isWithin, makeScope } from '../../rollout/scope.ts'
import type { Labels } from '../../registry/enrollments.ts'
import type { Registry } from '../../registry/registry.ts'
import type { RolloutRecord } from '../../registry/rollout/rollouts.ts'
import { nameOperator, withState } from '../open.ts'
import type { Io } from '../io.ts'
import { formatDate, formatTable } from '../table.ts'

export type StartOptions = {
  readonly config: string
  readonly to: string
  readonly label: Labels
  readonly device?: string
  readonly waves?: string
  readonly soak?: number
  readonly away?: number
  readonly halt?: string
  readonly now: boolean
  readonly why?: string
}
type Said = { readonly config: string; readonly why?: string }

/** Rejects with MESH_CONFIG_INVALID, as all that follow. */
export async function start(o: StartOptions, io: Io): Promise<ExitCode> {
  const rollout = await withState(o, async ({ registry, config: { rollout: policy } }) => {
    const plan = {
      to: o.to,
      scope: makeScope({ labels: o.label, device: o.device }),
      waves: o.waves ?? policy.waves,
      halt: o.halt ?? policy.halt,
      soakMs: (o.soak ?? policy.soakSec) * 1_000,
      awayMs: (o.away ?? policy.awaySec) * 1_000,
      now: o.now,
    }
    return await startRollout(registry, plan, saidBy(o, io))
  })
  io.out(`${describe(rollout)}\n`)
  return 0
}

const CHANGES = { pause: pauseRollout, resume: resumeRollout, abort: abortRollout, undo: undoRollout } as const

export async function change(what: keyof typeof CHANGES, o: Said, io: Io): Promise<ExitCode> {
  const rollout = await withState(o, ({ registry }) => CHANGES[what](registry, saidBy(o, io)))
  io.out(`${describe(rollout)}\n`)
  return 0
}

export async function printStatus(o: { readonly config: string; readonly json: boolean }, io: Io): Promise<ExitCode> {
  const { newest, assignments, folder, folders, devices } = await withState(o, async ({ registry }) => ({
    newest: (await registry.rollouts.active()) ?? (await registry.rollouts.list(1))[0],
    assignments: await registry.rollouts.assignments(),
    folder: await registry.rollouts.folder(),
    folders: [...(await registry.rollouts.folders()).values()],
    devices: await readFleet(registry),
  }))
  const waves = newest && isActive(newest) ? countWaves(newest, devices) : undefined
  if (o.json) {
    io.out(
      `${JSON.stringify({ rollout: newest ?? null, devices: waves ?? null, inForce: assignments, folder, folders })}\n`,
    )
    return 0
  }
  for (const { scope, revision } of assignments) io.out(`in force for ${formatScope(scope)}: ${revision}\n`)
  if (newest) io.out(`${describe(newest)}\n`)
  if (waves)
    io.out(
      `${waves.begun} device(s) are to have it, ${waves.have} have it, ${waves.refuse} refuse something, ${waves.away} are away\n`,
    )
  if (folder.held !== '') io.out(`the folder's revision ${folder.revision} waits: ${folder.held}\n`)
  for (const { host, behind, revision, seenMs } of folders)
    if (behind !== '' && revision !== folder.revision)
      io.out(`the folder of hub ${host} ${behind} (${formatDate(seenMs)}); make it equal to ${folder.revision}\n`)
  if (folder.problems.length > 0)
    io.out(`the folder is no revision, ${folder.problems.length} mistake(s): meshlet-hub revision check\n`)
  return 0
}

export async function printRollouts(o: { readonly config: string; readonly json: boolean }, io: Io): Promise<ExitCode> {
  const rows = await withState(o, ({ registry }: { registry: Registry }) => registry.rollouts.list(SHOWN))
  if (o.json) io.out(`${JSON.stringify(rows)}\n`)
  else
    io.out(
      formatTable(
        ['ROLLOUT', 'STARTED', 'ENDED', 'TO', 'FOR', 'STATE', 'BY', 'WHY'],
        rows.map((r) => [
          r.id,
          formatDate(r.startedMs),
          formatDate(r.endedMs),
          r.to,
          formatScope(r.scope),
          r.state,
          r.by,
          r.reason,
        ]),
      ),
    )
  return 0
}
const SHOWN = 100

const saidBy = (o: { readonly why?: string }, io: Io): Operator => ({
  actor: nameOperator(io),
  address: '',
  nowMs: systemClock.wallMs(),
  why: o.why,
})

function describe(r: RolloutRecord): string {
  const wave = isActive(r)
    ? `, wave ${r.wave + 1} of ${r.upTo.length} (${r.waves}), soaked for ${Math.round(r.soakedMs / 1_000)} of ${r.soakMs / 1_000} s`
    : ''
  return `rollout ${r.id} to ${r.to} for ${formatScope(r.scope)}: ${r.state}${wave}${r.reason === '' ? '' : `: ${r.reason}`}`
}

function countWaves(rollout: RolloutRecord, devices: readonly DeviceView[]) {
  const begun = devices.filter((d) => isWithin(rollout.scope, d) && hasBegunFor(rollout, d.name))
  return {
    begun: begun.length,
    have: begun.filter(({ revision }) => revision === rollout.to).length,
    refuse: begun.filter(({ refused }) => refused !== undefined).length,
    away: begun.filter(({ connected }) => !connected).length,
  }
}
