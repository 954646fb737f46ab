/** What an operator says about devices; devices.test.ts has what follows for them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { approveDevice, denyDevice } from '../../../hub/enrollment/operator.ts'
import { openRegistry, type Registry } from '../../../hub/registry/registry.ts'

const applicant = (keyId: string) => ({
  name: 'gw-1',
  keyId,
  namespace: 'edge',
  serviceAccount: 'gateway',
  jti: null,
  labels: {},
  address: '10.0.0.1',
})
/** The key k1 has the name, the key k2 waits for it. */
async function made(): Promise<Registry['enrollments'] & { readonly registry: Registry }> {
  const registry = openRegistry(':memory:')
  await registry.enrollments.enroll(applicant('k1'), 1)
  await registry.enrollments.ask({ ...applicant('k2'), why: 'the name belongs to another key', askedMs: 1 })
  return Object.assign(registry.enrollments, { registry })
}

test('who wants the name of a device that was found twice does not get it by the word for the device', async () => {
  const m = await made()
  await m.markCloned('gw-1', { addresses: 'here and there', nowMs: 1, state: 'suspended' })
  await assert.rejects(approveDevice(m.registry, 'gw-1', 2), {
    code: 'MESH_CONFIG_INVALID',
    message: /two wait as gw-1: the device with the key k1, and k2 from 10\.0\.0\.1; --key says which/,
  })
  await assert.rejects(approveDevice(m.registry, 'gw-1', 2, 'k3'), { message: /nobody with the key "k3"/ })
  assert.match(await approveDevice(m.registry, 'gw-1', 2, 'k1'), /key k1, which was found twice/)
  const { keyId, state, clonedMs } = (await m.byName('gw-1'))!
  assert.deepEqual([keyId, state, clonedMs, await m.requests()], ['k1', 'active', null, []])
})

test('the other of the two may be meant', async () => {
  const m = await made()
  await m.markCloned('gw-1', { addresses: 'here and there', nowMs: 1, state: 'active' })
  assert.match(await approveDevice(m.registry, 'gw-1', 2, 'k2'), /key k2 from 10\.0\.0\.1/)
  assert.equal((await m.byName('gw-1'))?.keyId, 'k2')
})

test('who waits is denied, and the device that has the name goes on', async () => {
  const m = await made()
  assert.equal(await denyDevice(m.registry, 'gw-1'), 'k2')
  await assert.rejects(denyDevice(m.registry, 'gw-1'), {
    code: 'MESH_CONFIG_INVALID',
    message: /nobody waits as "gw-1"/,
  })
  assert.deepEqual([(await m.byName('gw-1'))?.keyId, await m.requests()], ['k1', []])
})
