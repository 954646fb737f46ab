/** What a report says that the one before did not. */
import type { Report, ReportedProblem } from '../../model/fleet/report.ts'
import type { DeviceEvent } from '../registry/device-events.ts'

type Found = Pick<DeviceEvent, 'event' | 'reason'>

export function findEvents(before: Report | undefined, now: Report): Found[] {
  return [
    ...findStart(before, now),
    ...findRevision(before, now),
    ...findProblems(before?.problems ?? [], now.problems),
    ...(before && before.clockTrusted !== now.clockTrusted ? [clockEvent(now.clockTrusted)] : []),
  ]
}

function findStart(before: Report | undefined, now: Report): Found[] {
  if (!before || before.run === now.run) return []
  const version = before.version === now.version ? now.version : `${before.version} → ${now.version}`
  return [{ event: 'started', reason: `anew, version ${version}` }]
}

function findRevision(before: Report | undefined, now: Report): Found[] {
  const found: Found[] = []
  if (now.revision !== '' && before?.revision !== now.revision)
    found.push({ event: 'revision', reason: `${now.revision} is in force` })
  const known = new Set(before?.refused.map(nameResource))
  const fresh = now.refused.filter((r) => !known.has(nameResource(r)))
  for (const refused of fresh)
    found.push({ event: 'config-refused', reason: `${nameResource(refused)}: ${refused.reason}` })
  if (now.refused.length === 0 && known.size > 0) found.push({ event: 'config-mended', reason: 'nothing is refused' })
  return found
}
const nameResource = ({ kind, name }: Report['refused'][number]): string => `${kind} ${name}`

/** By their codes: words hold counts and times that change. */
function findProblems(before: readonly ReportedProblem[], now: readonly ReportedProblem[]): Found[] {
  const [known, present] = [new Set(before.map((p) => p.code)), new Map(now.map((p) => [p.code, p.text]))]
  return [
    ...[...present]
      .filter(([code]) => !known.has(code))
      .map(([code, text]): Found => ({ event: 'problem', reason: `${code}: ${text}` })),
    ...[...known].filter((code) => !present.has(code)).map((code): Found => ({ event: 'problem-over', reason: code })),
  ]
}

const clockEvent = (isTrusted: boolean): Found =>
  isTrusted
    ? { event: 'clock-right', reason: 'the clock of the device is right again' }
    : { event: 'clock-wrong', reason: 'the clock of the device shows less than it must be' }
