import type { Report } from '../../../model/fleet/report.ts'
import type { ReportDetails } from '../../../model/fleet/report-details.ts'

/** Of a device that is well. */
export const REPORT: Report = {
  run: 4_711,
  startedAtMs: 1_700_000_000_000,
  version: '0.9.0',
  platform: 'linux/arm64 node 26.0.0',
  state: 'ready',
  revision: '0011223344556677',
  desired: '0011223344556677',
  content: 'a'.repeat(24),
  refused: [],
  certificate: { serial: '7b9a2c4d5e6f708192a3b4c5d6e7f809', notAfterMs: 1_700_086_400_000 },
  clockTrusted: true,
  bridges: [{ cluster: 'outbound|8883||broker.cloud.svc.cluster.local', state: 'connected', error: '' }],
  problems: [],
  quantities: {
    rttMs: 48,
    connections: 3,
    requests: 120_331,
    failures: 12,
    drops: 0,
    spoolMessages: 0,
    spoolBytes: 0,
    spoolMaxBytes: 1_073_741_824,
    spoolSinceMs: undefined,
    bridged: 0,
    mqttClients: 17,
    bytes: [
      { purpose: 'cluster', sent: 3_120, received: 91_233 },
      { purpose: 'certificate', sent: 812, received: 2_911 },
      { purpose: 'report', sent: 1_310, received: 0 },
    ],
  },
}

const service = (name: string, over: Partial<ReportDetails['services']['rows'][number]> = {}) => ({
  name,
  endpoints: 3,
  healthy: 3,
  connections: 0,
  ...over,
})
/** Eight services and three queues of a device that is well, but for one service; by name. */
export const DETAILS: ReportDetails = {
  services: {
    rows: [
      service('inbound|8080||', { endpoints: 1, healthy: 1, connections: 2 }),
      service('outbound|443||telemetry.cloud.svc.cluster.local', { connections: 1 }),
      service('outbound|5432||historian.cloud.svc.cluster.local'),
      service('outbound|8080||orders.factory.svc.cluster.local', { healthy: 2, connections: 4 }),
      service('outbound|8080||pricing.factory.svc.cluster.local'),
      service('outbound|8080||stock.factory.svc.cluster.local', { connections: 3 }),
      service('outbound|8883||broker.cloud.svc.cluster.local', { endpoints: 2, healthy: 2, connections: 1 }),
      service('outbound|9090||metrics.cloud.svc.cluster.local'),
    ],
    more: 0,
  },
  queues: {
    rows: [
      {
        kind: 'session',
        name: 'hmi-1',
        state: 'away',
        messages: 412,
        bytes: 33_120,
        drops: 0,
        sinceMs: 1_700_000_060_000,
      },
      {
        kind: 'bridge',
        name: 'outbound|8883||broker.cloud.svc.cluster.local/gw-17',
        state: 'connected',
        messages: 0,
        bytes: 0,
        drops: 0,
        sinceMs: undefined,
      },
      {
        kind: 'session',
        name: 'plc-7',
        state: 'connected',
        messages: 3,
        bytes: 612,
        drops: 2,
        sinceMs: 1_700_000_090_000,
      },
    ],
    more: { queues: 0, messages: 0, bytes: 0, drops: 0 },
  },
}
