/** Events that say the same are one line: of one device again and again, or of many devices at once. */
import type { DeviceEvent, DeviceEventKind } from '../registry/device-events.ts'

export type EventGroup = {
  /** Of the first. */
  readonly atMs: number
  readonly event: DeviceEventKind
  readonly reason: string
  /** Some of them, in the order in which they came. */
  readonly devices: readonly string[]
  readonly deviceCount: number
  readonly count: number
}

const MAX_NAMED = 3
/** So many devices with the same are told one by one. */
const MANY_DEVICES = 5

/** In the order of their first. */
export function joinEvents(events: readonly DeviceEvent[]): EventGroup[] {
  const alike = Map.groupBy(events, ({ event, reason }) => `${event}\n${reason}`)
  return [...alike.values()].flatMap((same) => {
    const byDevice = Map.groupBy(same, ({ device }) => device)
    return byDevice.size >= MANY_DEVICES
      ? [makeGroup(same, [...byDevice.keys()])]
      : [...byDevice].map(([device, own]) => makeGroup(own, [device]))
  })
}

function makeGroup(same: readonly DeviceEvent[], devices: readonly string[]): EventGroup {
  const { atMs, event, reason } = same[0]!
  return { atMs, event, reason, devices: devices.slice(0, MAX_NAMED), deviceCount: devices.length, count: same.length }
}
