/** Who may ask stands in authorize.test.ts and tenants.test.ts. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { DeviceEvent } from '../../../../hub/registry/device-events.ts'
import { consoleRig } from '../console-rig.ts'

const of = { serviceAccount: 'gw', jti: null, address: '10.0.0.1' }
const happened = (device: string): DeviceEvent => ({ atMs: 1, device, event: 'problem', reason: `of ${device}` })

test('who waits comes before who has joined, page by page, without what a renewal is proved by', async (t) => {
  const rig = await consoleRig(t)
  const { enrollments } = rig.hub.registry
  await enrollments.enroll({ ...of, name: 'gw-1', namespace: 'edge', keyId: 'k1', labels: { site: 'n' } }, 1)
  await enrollments.ask({ ...of, name: 'gw-9', namespace: 'edge', keyId: 'k9', labels: {}, why: 'new', askedMs: 1 })
  await enrollments.enroll({ ...of, name: 'gw-2', namespace: 'lab', keyId: 'k2', labels: {} }, 1)
  const cookie = await rig.login()
  const read = async (query: string) => {
    const { body, text } = await rig.ask({ path: `/api/v1/enrollments${query}`, cookie })
    assert.doesNotMatch(text, /"(?:nonce|chain|previousChain)"/)
    const { total, devices } = body as { total: number; devices: { name: string; state: string }[] }
    return [total, ...devices.map(({ name, state }) => `${name} ${state}`)]
  }
  assert.deepEqual(await read(''), [3, 'gw-9 pending', 'gw-1 active', 'gw-2 active'])
  assert.deepEqual(await read('?offset=1&limit=1'), [3, 'gw-1 active'])
})

test('events go on where one has stopped, of devices that one sees and has asked for', async (t) => {
  const rig = await consoleRig(t)
  const { enrollments, deviceEvents } = rig.hub.registry
  await enrollments.enroll({ ...of, name: 'gw-1', namespace: 'edge', keyId: 'k1', labels: { site: 'n' } }, 1)
  await enrollments.enroll({ ...of, name: 'gw-2', namespace: 'lab', keyId: 'k2', labels: {} }, 1)
  await deviceEvents.add(['gw-1', 'gw-2', 'gone', 'gw-1'].map(happened))
  const admin = await rig.login()
  const edge = await rig.login([{ namespace: 'edge', role: 'viewer' }])
  const read = async (query: string, cookie: string) => {
    const { body } = await rig.ask({ path: `/api/v1/device-events${query}`, cookie })
    const { newest, events } = body as { newest: number; events: { device: string }[] }
    return [newest, events.map(({ device }) => device).join(' ')]
  }
  assert.deepEqual(await read('?last=3', admin), [4, 'gw-2 gone gw-1'])
  assert.deepEqual(await read('?after=1', admin), [4, 'gw-2 gone gw-1'])
  assert.deepEqual(await read('?after=4', admin), [4, ''])
  assert.deepEqual(await read('?after=0&labels=site%3Dn', admin), [4, 'gw-1 gw-1'])
  assert.deepEqual(await read('?last=9', edge), [4, 'gw-1 gw-1'])
})

test('a device that has not connected has no record', async (t) => {
  const rig = await consoleRig(t)
  const { enrollments } = rig.hub.registry
  await enrollments.enroll({ ...of, name: 'gw-1', namespace: 'edge', keyId: 'k1', labels: {} }, 1)
  const { status, body } = await rig.ask({ path: '/api/v1/devices/gw-1/record', cookie: await rig.login() })
  assert.deepEqual([status, body['code']], [404, 'MESH_CONSOLE_NOT_FOUND'])
})

test('of a page only what it shows is read', async (t) => {
  const rig = await consoleRig(t)
  const { enrollments } = rig.hub.registry
  await enrollments.enroll({ ...of, name: 'gw-1', namespace: 'edge', keyId: 'k1', labels: {} }, 1)
  await enrollments.enroll({ ...of, name: 'gw-2', namespace: 'lab', keyId: 'k2', labels: {} }, 1)
  for (const whole of ['all', 'requests'] as const) t.mock.method(enrollments, whole, () => assert.fail('everything'))
  const cookie = await rig.login([{ namespace: 'lab', role: 'viewer' }])
  const { body } = await rig.ask({ path: '/api/v1/enrollments', cookie })
  assert.deepEqual([body['total'], (body['devices'] as { name: string }[])[0]!.name], [1, 'gw-2'])
})
