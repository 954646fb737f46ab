import assert from 'node:assert/strict'
import { HUB_GONE_MS } from '../../../hub/registry/replicas.ts'
import { testRegistry } from './on-stores.ts'

const YEAR_MS = 365 * 86_400_000

testRegistry('a hub that died with its clock a year ahead does not make the devices of others look gone', async (r) => {
  const nowMs = 1_800_000_000_000
  const spiffeUri = 'spiffe://demo.mesh/ns/edge/sa/gateway'
  const who = {
    name: 'gw-1',
    keyId: 'k',
    namespace: 'edge',
    serviceAccount: 'gateway',
    jti: null,
    labels: {},
    address: '',
  }
  await r.enrollments.enroll(who, nowMs)
  await r.claimName({ name: 'gw-1', nodeId: 'gw-1', spiffeUri, ip: '', holder: 'key:k', jti: undefined, nowMs })
  await r.registerReplica({ id: 'dead', nowMs: nowMs + YEAR_MS, isAlone: false })
  await r.registerReplica({ id: 'alive', nowMs, isAlone: false })
  const change = {
    name: 'gw-1',
    connectedMs: nowMs,
    lastSeenMs: nowMs,
    inForce: 'a',
    inForceMs: nowMs,
    refused: undefined,
  }
  await r.devicesChanged([change], nowMs, 'alive')
  assert.deepEqual(
    (await r.fleet.states()).map(({ isConnected }) => isConnected),
    [true],
  )
  // One whose clock is ahead by less, and lives or died a moment ago, still counts.
  await r.registerReplica({ id: 'third', nowMs: nowMs + HUB_GONE_MS / 2, isAlone: false })
  await r.registerReplica({ id: 'fourth', nowMs, isAlone: false })
  assert.equal((await r.fleet.states())[0]!.isConnected, true)
})
