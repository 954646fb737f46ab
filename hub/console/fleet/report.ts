/** A device's last report, as the page shows it. */
import {
  compareQueues,
  compareServices,
  nameServiceState,
  type ReportedQueues,
  type ReportedServices,
} from '../../../model/fleet/report-details.ts'
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
    services: report.details ? describeServices(report.details.services) : null,
    queues: report.details ? describeQueues(report.details.queues) : null,
  }
}

type Described = NonNullable<DeviceDetail['report']>
function describeServices({ rows, more }: ReportedServices): Described['services'] {
  return { rows: rows.toSorted(compareServices).map((s) => ({ ...s, state: nameServiceState(s) })), more }
}
function describeQueues({ rows, more }: ReportedQueues): Described['queues'] {
  return { rows: rows.toSorted(compareQueues).map((q) => ({ ...q, sinceMs: q.sinceMs ?? null })), more }
}
