import { test } from 'node:test'
import assert from 'node:assert/strict'
import { consoleRig } from '../console-rig.ts'

const of = { namespace: 'edge', serviceAccount: 'gw', jti: null, labels: {}, address: '10.0.0.1' }

test('many that wait are let in at once; who is not there, changed meanwhile or is of another tenant is told and holds up nobody', async (t) => {
  const rig = await consoleRig(t)
  const { registry } = rig.hub
  const askedMs = Date.now()
  for (const name of ['gw-1', 'gw-2', 'gw-3'])
    await registry.enrollments.ask({ ...of, name, keyId: `k-${name}`, why: 'of the test', askedMs })
  await registry.enrollments.ask({ ...of, namespace: 'lab', name: 'lab-1', keyId: 'k-lab', why: 'x', askedMs })
  const cookie = await rig.login([{ namespace: 'edge', role: 'operator' }], 'operator:ann')
  const devices = [
    { name: 'gw-1', keyId: 'k-gw-1' },
    { name: 'gw-2', keyId: 'another' },
    { name: 'lab-1', keyId: 'k-lab' },
    { name: 'nosuch', keyId: 'x' },
    { name: 'gw-3', keyId: 'k-gw-3' },
  ]
  const said = await rig.ask({ method: 'POST', path: '/api/v1/enrolment/approve', body: { devices }, cookie })
  assert.deepEqual(said.body['approved'], ['gw-1', 'gw-3'])
  const failed = said.body['failed'] as { name: string; why: string }[]
  assert.deepEqual(
    failed.map(({ name }) => name),
    ['gw-2', 'lab-1', 'nosuch'],
  )
  assert.match(failed[0]!.why, /nobody with the key "another" waits/)
  assert.equal(failed[1]!.why, failed[2]!.why, "what is another tenant's is as if it were not there")
  assert.equal((await registry.enrollments.byName('gw-3'))?.state, 'active')
  assert.ok(await registry.enrollments.request({ name: 'lab-1' }))
  const noted = await registry.audit.page({ event: 'device.approved', most: 10 })
  assert.deepEqual(
    noted.map(({ subject, actor }) => [subject, actor]),
    [
      ['gw-3', 'operator:ann'],
      ['gw-1', 'operator:ann'],
    ],
  )
})

test('clones come with the addresses of both copies and the key that is to be decided about', async (t) => {
  const rig = await consoleRig(t)
  const { enrollments } = rig.hub.registry
  await enrollments.enroll({ ...of, name: 'gw-1', keyId: 'k1' }, Date.now())
  await enrollments.markCloned('gw-1', { addresses: '10.0.0.1, 198.51.100.3', nowMs: Date.now(), state: 'suspended' })
  const { body } = await rig.ask({ path: '/api/v1/enrolment', cookie: await rig.login() })
  const [clone] = body['clones'] as { keyId: string; cloneAddresses: string }[]
  assert.deepEqual([clone!.keyId, clone!.cloneAddresses], ['k1', '10.0.0.1, 198.51.100.3'])
})
