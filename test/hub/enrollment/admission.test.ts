/** Requests of devices that come at once: what one of them does is whole before the next is looked at. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { DeviceService } from '../../../hub/enrollment/devices.ts'
import { revokeDevice } from '../../../hub/enrollment/operator.ts'
import { openRegistry } from '../../../hub/registry/registry.ts'
import { Tokens } from '../../../hub/tokens.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

async function made() {
  const [registry, clock] = [openRegistry(':memory:'), new SimClock()]
  const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const shared = { registry, clock, trustDomain: 'demo.mesh' }
  const tokens = new Tokens({ ...shared, key })
  const devices = new DeviceService({
    ...shared,
    tokens,
    controlTokens: undefined,
    log: silentLog,
    metrics: new Metrics(),
    enrollment: { approval: 'token', clones: 'older', graceDays: 1, pendingDays: 30 },
    certificates: { create: () => assert.fail('none is asked for') },
  })
  const gateway = { namespace: 'edge', serviceAccount: 'gateway', ttlSec: 600 }
  const one = await tokens.create({ ...gateway, nodes: 'gw-*', maxUses: 2 })
  const join = (n: number) =>
    devices.join({ keyId: `k${n}`, address: '' }, { token: one.token, name: `gw-${n}`, nonce: `n${n}`, ttlSec: 0 })
  const renew = (nonce: string, last: { counter: number; chain: string }) =>
    devices.renew({ keyId: 'k1', address: nonce }, { ...last, nonce, ttlSec: 0 })
  return { registry, clock, jti: one.jti, join, renew }
}
const listCodes = (done: readonly PromiseSettledResult<unknown>[]): string[] =>
  done.map((one) => (one.status === 'fulfilled' ? 'in' : (one.reason as { code: string }).code))

test('joins at once with a token for two: two are in', async () => {
  const m = await made()
  const done = await Promise.allSettled([1, 2, 3, 4].map((n) => m.join(n)))
  assert.deepEqual(listCodes(done).sort(), ['MESH_TOKEN_INVALID', 'MESH_TOKEN_INVALID', 'in', 'in'])
  assert.equal((await m.registry.token(m.jti))?.uses, 2)
})

test('two copies that renew at once: one is next, the other has diverged', async () => {
  const m = await made()
  const last = (await m.join(1)).renewed!
  const done = await Promise.allSettled([m.renew('here', last), m.renew('there', last)])
  assert.deepEqual(listCodes(done), ['in', 'MESH_DEVICE_CLONED'])
  assert.equal((await m.registry.enrollments.byName('gw-1'))?.counter, 2)
})

test('a token that is revoked after its signature was looked at opens nothing', async () => {
  const m = await made()
  const joined = m.join(1)
  await Promise.all([assert.rejects(joined, { code: 'MESH_TOKEN_INVALID' }), m.registry.revokeToken(m.jti, 1)])
  assert.deepEqual(await m.registry.enrollments.all(), [])
})

test('a renewal and a revocation at once: whichever is second knows of the first', async () => {
  const m = await made()
  const last = (await m.join(1)).renewed!
  const done = await Promise.allSettled([
    revokeDevice(m.registry, 'gw-1', m.clock.wallMs()),
    m.renew('here', last),
    m.join(1),
  ])
  assert.deepEqual(listCodes(done), ['in', 'MESH_DEVICE_REVOKED', 'MESH_DEVICE_REVOKED'])
})
