/** `meshlet-hub watch`: what happens to devices, as it happens, beside a hub that runs. */
import { systemClock } from '../../../core/os/clock.ts'
import { formatSentence, MeshError } from '../../../core/errors.ts'
import type { ExitCode } from '../../../core/cli/exit.ts'
import { toPrintable } from '../../../core/printable.ts'
import type { Labels } from '../../registry/enrollments.ts'
import type { DeviceEventRow } from '../../registry/device-events.ts'
import { joinEvents, type EventGroup } from '../../reports/join-events.ts'
import type { Io } from '../io.ts'
import { withOperations, type HubOptions } from '../operations/open.ts'
import { formatDate } from '../table.ts'

export type WatchOptions = HubOptions & {
  readonly label: Labels
  readonly output: 'text' | 'json'
  /** Of before, first. */
  readonly last: number
}

/** The hub writes once a second. */
const LOOK_MS = 1_000
const AWAY_MS = 5_000

/** Until somebody stops it. */
export async function watchDevices(o: WatchOptions, io: Io): Promise<ExitCode> {
  const stop = new AbortController()
  const stopped = io.stopRequested().then(() => stop.abort())
  await withOperations(o, io, async ({ devices }) => {
    const before = await devices.events({ last: o.last }, o.label)
    let after = before.newest
    show(before.events, o, io)
    let isAway = false
    while (!stop.signal.aborted) {
      const found = await Promise.race([devices.events({ after }, o.label).catch(toAway), stopped])
      if (!found) break
      if (found instanceof MeshError !== isAway)
        io.err(isAway ? 'meshlet-hub: the hub answers again\n' : `meshlet-hub: ${formatSentence(found as MeshError)}\n`)
      isAway = found instanceof MeshError
      if (!(found instanceof MeshError)) {
        after = found.newest
        show(found.events, o, io)
        if (found.isFull) continue
      }
      await systemClock.sleep(isAway ? AWAY_MS : LOOK_MS, stop.signal).catch(() => undefined)
    }
  })
  await stopped
  return 0
}

/** A hub that starts anew is waited for; everything else ends it. */
function toAway(thrown: unknown): MeshError {
  if (thrown instanceof MeshError && thrown.code === 'MESH_HUB_UNREACHABLE') return thrown
  throw thrown
}

function show(events: readonly DeviceEventRow[], o: WatchOptions, io: Io): void {
  for (const group of joinEvents(events)) {
    const at = new Date(group.atMs).toISOString()
    io.out(o.output === 'json' ? `${JSON.stringify({ ...group, atMs: undefined, at })}\n` : `${formatGroup(group)}\n`)
  }
}

function formatGroup({ atMs, devices, deviceCount, count, event, reason }: EventGroup): string {
  const more = deviceCount > devices.length ? ` and ${deviceCount - devices.length} more` : ''
  const times = count > deviceCount ? ` (${count} times)` : ''
  return toPrintable(`${formatDate(atMs)}  ${devices.join(' ')}${more}  ${event}  ${reason}${times}`)
}
