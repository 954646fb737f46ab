import type { Report } from '../../../model/fleet/report.ts'

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
