/** `meshlet-hub watch`: what happens to devices, as it happens, beside a hub that runs. */
import { systemClock } from '../../../core/os/clock.ts'
import type { ExitCode } from '../../../core/cli/exit.ts'
import { toPrintable } from '../../../core/printable.ts'
import type { Labels } from '../../registry/enrollments.ts'
import type { DeviceEventRow } from '../../registry/device-events.ts'
import { joinEvents, type EventGroup } from '../../reports/join-events.ts'
import { withState, type State } from '../open.ts'
import type { Io } from '../io.ts'
import { formatDate } from '../table.ts'

export type WatchOptions = {
  readonly config: string
  readonly label: Labels
  readonly output: 'text' | 'json'
  /** Of before, first. */
  readonly last: number
}

/** The hub writes once a second. */
const LOOK_MS = 1_000
const MOST = 10_000

/** Until somebody stops it. */
export async function watchDevices(o: WatchOptions, io: Io): Promise<ExitCode> {
  const stop = new AbortController()
  const stopped = io.stopRequested().then(() => stop.abort())
  await withState(o, async (state) => {
    const isWanted = await selectDevices(state, o.label)
    const before = await state.registry.deviceEvents.last({ most: o.last })
    let after = before.at(-1)?.id ?? 0
    show(before.filter(isWanted), o, io)
    while (!stop.signal.aborted) {
      const events = await state.registry.deviceEvents.after({ after, most: MOST })
      after = events.at(-1)?.id ?? after
      const wanted = events.length === 0 ? isWanted : await selectDevices(state, o.label)
      show(events.filter(wanted), o, io)
      await systemClock.sleep(LOOK_MS, stop.signal).catch(() => undefined)
    }
  })
  await stopped
  return 0
}

async function selectDevices({ registry }: State, labels: Labels): Promise<(event: DeviceEventRow) => boolean> {
  const wanted = Object.entries(labels)
  if (wanted.length === 0) return () => true
  const all = await registry.enrollments.all()
  const names = new Set(
    all.filter((e) => wanted.every(([key, value]) => e.labels[key] === value)).map(({ name }) => name),
  )
  return ({ device }) => names.has(device)
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
