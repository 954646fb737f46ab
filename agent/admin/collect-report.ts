/** What this device tells its hub of itself: the same that its own status says, in short. */
import os from 'node:os'
import { REPORT_LIMITS, type Quantities, type Report } from '../../model/fleet/report.ts'
import type { Revision } from '../../control-sync/revision-in-force.ts'
import { createDetailsCollector, type DetailsParts } from '../fleet/report-details.ts'
import type { AgentStatus } from './status.ts'
import type { StatusParts } from './status-parts.ts'

type ReportParts = DetailsParts &
  Pick<StatusParts, 'metrics' | 'clock' | 'identity' | 'facts' | 'configuration'> & {
    readonly status: () => AgentStatus
    /** By chance, of this process. */
    readonly run: number
  }

/** Messages that somebody does not get. */
const DROPS = [
  'mesh_mqtt_messages_dropped_total',
  'mesh_mqtt_spool_dropped_total',
  'mesh_mqtt_spool_lost_messages_total',
  'mesh_mqtt_bridge_dropped_total',
]

/** The result collects a report of the moment. */
export function createReportCollector(p: ReportParts): (revision: Revision) => Report {
  const startedAtMs = toSeconds(p.clock.wallMs())
  const platform = `${os.platform()}/${os.arch()} ${os.release()}`
  const collectDetails = createDetailsCollector(p)
  let spoolSinceMs: number | undefined
  return (revision) => {
    const status = p.status()
    spoolSinceMs = status.spool.messages === 0 ? undefined : (spoolSinceMs ?? toSeconds(p.clock.wallMs()))
    const { certificate } = status
    return {
      run: p.run,
      startedAtMs,
      version: p.facts.version,
      platform,
      state: status.state,
      ...revision,
      refused: p.configuration.applier.rejected.slice(0, REPORT_LIMITS.entries).map(({ kind, name, issues }) => ({
        kind,
        name,
        reason: issues.map((i) => `${i.path}: ${i.problem}`).join('; '),
      })),
      certificate: certificate && { serial: certificate.serial, notAfterMs: Date.parse(certificate.notAfter) },
      clockTrusted: !p.identity.certificateClock.clockIsWrong,
      bridges: status.bridge.map(({ cluster, state, error }) => ({ cluster, state, error: error ?? '' })),
      problems: status.problems.map(({ code, text }) => ({ code, text })),
      quantities: countQuantities(p, status, spoolSinceMs),
      details: collectDetails(),
    }
  }
}

function countQuantities(
  { metrics }: ReportParts,
  { control, spool, bridge, mqtt, http }: AgentStatus,
  spoolSinceMs: number | undefined,
): Quantities {
  const failures = ['5xx', 'none'].reduce(
    (sum, of) => sum + metrics.total('mesh_http_requests_total', { class: of }),
    0,
  )
  return {
    rttMs: control.rttMs,
    connections: control.connections,
    requests: http.requests,
    failures,
    drops: DROPS.reduce((sum, name) => sum + metrics.total(name), 0),
    spoolMessages: spool.messages,
    spoolBytes: spool.bytes,
    spoolMaxBytes: spool.maxBytes,
    spoolSinceMs,
    bridged: bridge.reduce((sum, { queued }) => sum + queued, 0),
    mqttClients: mqtt.connections,
    bytes: control.bytes,
  }
}

const toSeconds = (ms: number): number => Math.round(ms / 1_000) * 1_000
