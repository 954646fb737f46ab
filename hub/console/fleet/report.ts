/** A device's last report, as the page shows it. */
import type { StoredReport } from '../../registry/reports.ts'
import { findRemedy } from '../../reports/list-fleet.ts'
import type { DeviceDetail } from '../schemas.ts'

export function describeReport({ atMs, restarts, report }: StoredReport): DeviceDetail['report'] {
  const { version, state, desired, clockTrusted, refused, bridges, problems, quantities: q } = report
  const { mqttClients, bridged } = q
  const { rttMs = null, connections, requests, failures, drops, spoolMessages, spoolBytes, spoolMaxBytes, bytes } = q
  return {
    atMs,
    restarts,
    version,
    state,
    desired,
    clockTrusted,
    refused,
    bridges,
    problems: problems.map((one) => ({ ...one, remedy: findRemedy(one.code) })),
    rttMs,
    connections,
    requests,
    failures,
    drops,
    mqttClients,
    bridged,
    spoolMessages,
    spoolBytes,
    spoolMaxBytes,
    bytes,
  }
}
