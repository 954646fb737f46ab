import { test } from 'node:test'
import assert from 'node:assert/strict'
import { deriveConnectionLimits } from '../../agent/connection-limits.ts'

const MIB = 1024 * 1024
const UNSAID = { maxConnections: undefined, maxConnectionsTotal: undefined, maxConnectionsPerSource: undefined }

for (const [mib, all] of [
  [32, 256],
  [96, 409],
  [256, 2_457],
  [1_024, 10_000],
  [1_048_576, 10_000],
] as const) {
  test(`with ${mib} MiB ${all} connections, half of them from one source`, () => {
    assert.deepEqual(deriveConnectionLimits(UNSAID, mib * MIB), {
      maxConnections: all,
      maxConnectionsTotal: all,
      maxConnectionsPerSource: Math.floor(all / 2),
    })
  })
}
test('what agent.yaml says counts', () => {
  const said = { maxConnections: 20_000, maxConnectionsTotal: 30_000, maxConnectionsPerSource: 7 }
  assert.deepEqual(deriveConnectionLimits(said, 96 * MIB), said)
  assert.deepEqual(deriveConnectionLimits({ ...UNSAID, maxConnectionsTotal: 9 }, 96 * MIB), {
    maxConnections: 409,
    maxConnectionsTotal: 9,
    maxConnectionsPerSource: 204,
  })
})
