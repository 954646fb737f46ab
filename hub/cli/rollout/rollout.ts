/** `meshlet-hub rollout start|status|list|pause|resume|abort|undo` */
import type { ExitCode } from '../../../core/cli/exit.ts'
import { toPrintable, toPrintableAll } from '../../../core/printable.ts'
import type { RolloutItem } from '../../console/rollout-schemas.ts'
import type { Labels } from '../../registry/enrollments.ts'
import { describeRollout } from '../../reports/rollout-status.ts'
import { isActive } from '../../rollout/machine.ts'
import { formatScope } from '../../rollout/scope.ts'
import type { Io } from '../io.ts'
import { withOperations, type HubOptions } from '../operations/open.ts'
import type { RolloutChange } from '../operations/operations.ts'
import { formatDate, formatTable } from '../table.ts'

export type StartOptions = HubOptions & {
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
type Said = HubOptions & { readonly why?: string }

/** Rejects with MESH_CONFIG_INVALID, as all that follow. */
export async function start(o: StartOptions, io: Io): Promise<ExitCode> {
  const { to, label: labels, device, waves, halt, soak: soakSec, away: awaySec, now, why } = o
  const wish = { to, labels, device, waves, halt, soakSec, awaySec, now, why }
  io.out(`${describe(await withOperations(o, io, ({ rollouts }) => rollouts.start(wish)))}\n`)
  return 0
}

export async function change(what: RolloutChange, o: Said, io: Io): Promise<ExitCode> {
  io.out(`${describe(await withOperations(o, io, ({ rollouts }) => rollouts.change(what, o.why)))}\n`)
  return 0
}

export async function printStatus(o: HubOptions & { readonly json: boolean }, io: Io): Promise<ExitCode> {
  const status = await withOperations(o, io, ({ rollouts }) => rollouts.status())
  if (o.json) {
    io.out(`${JSON.stringify(status)}\n`)
    return 0
  }
  const { rollout, devices, inForce, folder, folders } = toPrintableAll(status)
  for (const { scope, revision } of inForce) io.out(`in force for ${formatScope(scope)}: ${revision}\n`)
  if (rollout) io.out(`${describe(describeRollout(rollout))}\n`)
  if (devices)
    io.out(
      `${devices.begun} device(s) are to have it, ${devices.have} have it, ${devices.refuse} refuse something, ${devices.away} are away\n`,
    )
  if (folder.held !== '') io.out(`the folder's revision ${folder.revision} waits: ${folder.held}\n`)
  for (const { host, behind, revision, seenMs } of folders)
    if (behind !== '' && revision !== folder.revision)
      io.out(`the folder of hub ${host} ${behind} (${formatDate(seenMs)}); make it equal to ${folder.revision}\n`)
  if (folder.problems.length > 0)
    io.out(`the folder is no revision, ${folder.problems.length} mistake(s): meshlet-hub revision check\n`)
  return 0
}

export async function printRollouts(o: HubOptions & { readonly json: boolean }, io: Io): Promise<ExitCode> {
  const rows = await withOperations(o, io, ({ rollouts }) => rollouts.list())
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

function describe(r: RolloutItem): string {
  const wave = isActive(r)
    ? `, wave ${r.wave} of ${r.waveCount} (${r.waves}), soaked for ${Math.round(r.soakedMs / 1_000)} of ${r.soakMs / 1_000} s`
    : ''
  return toPrintable(
    `rollout ${r.id} to ${r.to} for ${r.scope}: ${r.state}${wave}${r.reason === '' ? '' : `: ${r.reason}`}`,
  )
}
