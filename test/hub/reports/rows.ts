import { makeFleetRow, type FleetRow } from '../../../hub/reports/fleet-row.ts'
import { REPORT } from '../../helpers/control-plane/report.ts'

export const NOW_MS = 1_700_000_600_000

/** A device that is connected and well, but for what is said. */
export function row(over: Partial<FleetRow> = {}): FleetRow {
  const made = makeFleetRow({
    device: {
      name: 'gw-1',
      nodeId: 'sidecar~10.0.0.7~gw-1.edge~edge.svc.cluster.local',
      spiffeUri: 'spiffe://cluster.local/ns/edge/sa/gateway',
      joinedMs: NOW_MS - 86_400_000,
      lastSeenMs: NOW_MS - 60_000,
      lastIp: '10.0.0.7',
      connectedMs: NOW_MS - 3_600_000,
      inForce: 'abc',
      inForceMs: NOW_MS - 3_600_000,
      refused: null,
      serial: '7b',
      notAfterMs: NOW_MS + 86_400_000,
    },
    enrollment: undefined,
    stored: { name: 'gw-1', atMs: NOW_MS - 60_000, restarts: 2, expected: REPORT.content, report: REPORT },
    isHubThere: true,
  })
  return { ...made, ...over }
}
