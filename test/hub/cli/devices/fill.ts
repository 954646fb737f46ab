import { openSqlite } from '../../../../hub/registry/sqlite.ts'
import { OpenRegistry } from '../../../../hub/registry/registry.ts'
import type { Report } from '../../../../model/fleet/report.ts'
import { REPORT } from '../../../helpers/control-plane/report.ts'

export const IDENTITY = 'spiffe://cluster.local/ns/edge/sa/gateway'
export type Filled = {
  readonly name: string
  readonly connected: boolean
  readonly report?: Partial<Report>
  readonly labels?: Record<string, string>
}

const POINT = {
  connected: true,
  connects: 1,
  rttMs: 40,
  bytes: 900,
  spool: 3,
  requests: 12,
  failures: 1,
  drops: 0,
  problems: 1,
}

/** Devices as a running hub has written them. */
export async function fill(folder: string, devices: readonly Filled[]): Promise<void> {
  await using registry = new OpenRegistry(openSqlite(`${folder}/state/registry.db`))
  const nowMs = Date.now()
  for (const [i, { name, connected, report, labels }] of devices.entries()) {
    await registry.addToken({
      jti: `j${i}`,
      namespace: 'edge',
      serviceAccount: 'gateway',
      createdMs: 0,
      expiresMs: nowMs + 9e8,
      maxUses: null,
      nodes: name,
    })
    if (labels)
      await registry.enrollments.enroll(
        {
          name,
          keyId: `key-${i}`,
          namespace: 'edge',
          serviceAccount: 'gateway',
          jti: `j${i}`,
          labels,
          address: '10.0.0.7',
        },
        nowMs,
      )
    await registry.claimName({
      name,
      nodeId: 'n',
      spiffeUri: IDENTITY,
      ip: '10.0.0.7',
      holder: labels ? `key:key-${i}` : `k${i}`,
      jti: `j${i}`,
      nowMs: nowMs - 60_000,
    })
    const change = {
      name,
      connectedMs: connected ? nowMs - 5_000 : null,
      lastSeenMs: nowMs - 60_000,
      inForce: 'v1',
      inForceMs: nowMs,
      refused: undefined,
    }
    await registry.devicesChanged([change], nowMs)
    if (report)
      await registry.reports.write(
        [{ name, atMs: nowMs, restarts: 1, expected: REPORT.content, report: { ...REPORT, ...report } }],
        [{ ...POINT, name, atMs: nowMs }],
      )
    await registry.deviceEvents.add([{ atMs: nowMs, device: name, event: 'connected', reason: 'over the relay' }])
  }
}
