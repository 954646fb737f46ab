import { test } from 'node:test'
import assert from 'node:assert/strict'
import { KEY_HOLDER } from '../../../../hub/registry/enrollments.ts'
import { consoleRig } from '../console-rig.ts'
import type { DeviceDetail } from '../../../../hub/console/schemas.ts'
import { DETAILS, REPORT } from '../../../helpers/control-plane/report.ts'

const of = { namespace: 'edge', serviceAccount: 'gw', jti: null, labels: { site: '<b>north</b>' }, address: '10.0.0.1' }

test('a device is listed, shown and decided about; each decision is in the audit log with who took it', async (t) => {
  const rig = await consoleRig(t)
  const { registry } = rig.hub
  await registry.enrollments.enroll({ ...of, name: 'gw-1', keyId: 'k1' }, Date.now())
  await registry.addCertificate({
    serial: 'aa',
    spiffeUri: 'spiffe://demo.mesh/ns/edge/sa/gw',
    jti: null,
    device: `${KEY_HOLDER}k1`,
    ip: '',
    issuedMs: Date.now(),
    notAfterMs: Date.now() + 100_000,
  })
  const cookie = await rig.login()
  const { body: page } = await rig.ask({ path: '/api/v1/devices?search=site%3D&limit=1', cookie })
  assert.equal(page['total'], 1)
  const { body: detail } = await rig.ask({ path: '/api/v1/devices/gw-1', cookie })
  assert.deepEqual(
    (detail['certificates'] as { serial: string }[]).map(({ serial }) => serial),
    ['aa'],
  )
  assert.deepEqual(detail['may'], { operate: true, administer: true })
  const post = (verb: string, body = {}) =>
    rig.ask({ method: 'POST', path: `/api/v1/devices/gw-1/${verb}`, body, cookie })
  assert.deepEqual((await post('revoke')).body, { detail: '1 certificate(s)' })
  assert.equal(
    ((await rig.ask({ path: '/api/v1/devices/gw-1', cookie })).body['device'] as { state: string }).state,
    'revoked',
    'at once',
  )
  assert.equal((await post('approve')).status, 200)
  assert.equal((await post('approve')).status, 400, 'nobody waits any more')
  assert.equal((await post('deny')).status, 400)
  assert.equal((await post('forget')).status, 200)
  assert.equal((await post('forget')).status, 404)
  const log = await registry.audit.page({ most: 10, subject: 'gw-1' })
  assert.deepEqual(
    log.map(({ event, actor, address }) => [event, actor, address]),
    [
      ['device.forgotten', 'operator:tester', '127.0.0.1'],
      ['device.approved', 'operator:tester', '127.0.0.1'],
      ['device.revoked', 'operator:tester', '127.0.0.1'],
    ],
  )
})

test('what a device says of itself is shown with what to do about it', async (t) => {
  const rig = await consoleRig(t)
  const { registry } = rig.hub
  await registry.enrollments.enroll({ ...of, name: 'gw-1', keyId: 'k1' }, Date.now())
  const cookie = await rig.login()
  const reported = async () => (await rig.ask({ path: '/api/v1/devices/gw-1', cookie })).body['report']
  assert.equal(await reported(), null)
  const problems = [
    { code: 'MESH_CLOCK_WRONG', text: 'the clock shows 1970' },
    { code: 'toString', text: 'of a newer device' },
  ]
  const report = { ...REPORT, problems }
  await registry.reports.write([{ name: 'gw-1', atMs: 7, restarts: 2, expected: '', report }], [])
  const said = (await reported()) as NonNullable<DeviceDetail['report']>
  assert.equal(said.restarts, 2)
  assert.deepEqual(said.bytes, REPORT.quantities.bytes)
  assert.deepEqual([said.services, said.queues], [null, null], 'it names none')
  await registry.reports.write(
    [{ name: 'gw-1', atMs: 8, restarts: 2, expected: '', report: { ...report, details: DETAILS } }],
    [],
  )
  const { services, queues } = (await reported()) as typeof said
  assert.deepEqual(services?.rows[0], { ...DETAILS.services.rows[3], state: 'partly down' }, 'the worst first')
  assert.deepEqual(
    queues?.rows.map(({ name, sinceMs }) => [name, sinceMs === null]),
    [
      ['hmi-1', false],
      ['plc-7', false],
      ['outbound|8883||broker.cloud.svc.cluster.local/gw-17', true],
    ],
  )
  const change = { name: 'gw-1', connected: true, connects: 1, rttMs: 7, bytes: 9, spool: 0 }
  const counts = { requests: 0, failures: 0, drops: 0, problems: 0 }
  await registry.reports.write([], [{ ...change, ...counts, atMs: Date.now() }])
  const history = await rig.ask({ path: '/api/v1/devices/gw-1/history?step=hour', cookie })
  const [point] = history.body['points'] as { rttMs: number; bytes: number }[]
  assert.deepEqual([point!.rttMs, point!.bytes], [7, 9])
  const [known, unknown] = said.problems
  assert.ok(known!.remedy.length > 10)
  assert.equal(unknown!.remedy, '')
})

test('operators of a namespace find its entries in the audit log, whoever wrote them', async (t) => {
  const rig = await consoleRig(t)
  await rig.hub.registry.enrollments.enroll({ ...of, name: 'gw-1', keyId: 'k1' }, Date.now())
  await rig.ask({ method: 'POST', path: '/api/v1/devices/gw-1/revoke', body: {}, cookie: await rig.login() })
  const subjectsFor = async (namespace: string) => {
    const cookie = await rig.login([{ namespace, role: 'viewer' }])
    const { body } = await rig.ask({ path: '/api/v1/audit', cookie })
    return (body['entries'] as { subject: string }[]).map(({ subject }) => subject)
  }
  assert.deepEqual(await subjectsFor('edge'), ['gw-1'])
  assert.deepEqual(await subjectsFor('lab'), [])
})
