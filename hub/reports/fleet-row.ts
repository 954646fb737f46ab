/** One device as operators ask for it: what the registry, its streams and its last report say, in one row. */
import type { DeviceRow } from '../registry/rows.ts'
import type { Enrollment, Labels } from '../registry/enrollments.ts'
import type { StoredReport } from '../registry/reports.ts'

/** `unknown`: no hub runs that could know. */
export type Connection = 'connected' | 'gone' | 'unknown'
export type FleetRow = {
  readonly name: string
  readonly state: Connection
  /** Undefined: nobody knows. */
  readonly connected: boolean | undefined
  /** Since when it is connected, else when it was seen last; milliseconds since the epoch, as all times here. */
  readonly since: number
  /** Last sign of life that the hub has written down. */
  readonly seen: number
  readonly joined: number
  readonly address: string
  readonly identity: string
  readonly namespace: string
  readonly labels: Labels
  /** Of devices with a key of their own. */
  readonly enrolled: Enrollment['state'] | undefined
  readonly cloned: boolean
  readonly serial: string | undefined
  readonly certificateEnds: number | undefined
  /** Of the configuration: in force, sent last, whether all that was sent is in force, and how many resources are refused. */
  readonly revision: string | undefined
  readonly desired: string | undefined
  /** When it had taken all that it was sent, as its streams say. */
  readonly taken: number | undefined
  readonly current: boolean | undefined
  readonly refused: number
  /** What it says of its refusals, over any stream. */
  readonly refusal: string | undefined
  readonly reported: number | undefined
  readonly version: string | undefined
  readonly ready: boolean | undefined
  readonly started: number | undefined
  readonly restarts: number | undefined
  readonly clock: boolean | undefined
  readonly problems: number | undefined
  /** Codes. */
  readonly problem: readonly string[]
  readonly rttMs: number | undefined
  readonly bytes: number | undefined
  readonly requests: number | undefined
  readonly failures: number | undefined
  readonly drops: number | undefined
  readonly spool: number | undefined
  readonly spoolSince: number | undefined
  /** Messages in its deepest queue, and services that cannot be reached. */
  readonly queue: number | undefined
  readonly down: number | undefined
}

export type FleetSources = {
  readonly device: DeviceRow
  readonly enrollment: Enrollment | undefined
  readonly stored: StoredReport | undefined
  /** A hub runs, and has said so of late. */
  readonly isHubThere: boolean
}

export function makeFleetRow({ device, enrollment, stored, isHubThere }: FleetSources): FleetRow {
  const isConnected = device.connectedMs !== null
  const seen = Math.max(device.lastSeenMs, stored?.atMs ?? 0)
  return {
    name: device.name,
    state: !isHubThere ? 'unknown' : isConnected ? 'connected' : 'gone',
    connected: isHubThere ? isConnected : undefined,
    since: isHubThere && isConnected ? device.connectedMs : device.lastSeenMs,
    seen,
    joined: enrollment?.joinedMs ?? device.joinedMs,
    address: device.lastIp,
    identity: device.spiffeUri,
    namespace: /\/ns\/([^/]+)\//.exec(device.spiffeUri)?.[1] ?? '',
    labels: enrollment?.labels ?? {},
    enrolled: enrollment?.state,
    cloned: enrollment !== undefined && enrollment.clonedMs !== null,
    serial: device.serial ?? undefined,
    certificateEnds: device.notAfterMs ?? undefined,
    ...describeConfiguration(device, stored),
    ...describeReport(stored),
  }
}

function describeConfiguration(
  { inForce, inForceMs, refused }: DeviceRow,
  stored: StoredReport | undefined,
): Pick<FleetRow, 'revision' | 'desired' | 'taken' | 'current' | 'refused' | 'refusal'> {
  const report = stored?.report
  const told = refused ?? undefined
  return {
    revision: (report?.revision || inForce) ?? undefined,
    desired: report?.desired || undefined,
    taken: inForceMs ?? undefined,
    // Of a device without reports, what it has acknowledged.
    current: stored ? stored.expected === stored.report.content && report!.refused.length === 0 : told === undefined,
    refused: report?.refused.length ?? (told === undefined ? 0 : 1),
    refusal: told ?? report?.refused.map((r) => `${r.kind} ${r.name}: ${r.reason}`)[0],
  }
}

type Reported = Omit<
  FleetRow,
  | 'name'
  | 'state'
  | 'connected'
  | 'since'
  | 'seen'
  | 'joined'
  | 'address'
  | 'identity'
  | 'namespace'
  | 'labels'
  | 'enrolled'
  | 'cloned'
  | 'serial'
  | 'certificateEnds'
  | keyof ReturnType<typeof describeConfiguration>
>
function describeReport(stored: StoredReport | undefined): Reported {
  const report = stored?.report
  const q = report?.quantities
  return {
    reported: stored?.atMs,
    version: report?.version,
    ready: report && report.state === 'ready',
    started: report?.startedAtMs,
    restarts: stored?.restarts,
    clock: report?.clockTrusted,
    problems: report?.problems.length,
    problem: report?.problems.map(({ code }) => code) ?? [],
    rttMs: q?.rttMs,
    bytes: q?.bytes.reduce((sum, { sent, received }) => sum + sent + received, 0),
    requests: q?.requests,
    failures: q?.failures,
    drops: q?.drops,
    spool: q?.spoolMessages,
    spoolSince: q?.spoolSinceMs,
    queue: stored?.worst?.queue,
    down: stored?.worst?.down,
  }
}
