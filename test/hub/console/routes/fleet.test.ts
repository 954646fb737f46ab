import { test } from 'node:test'
import assert from 'node:assert/strict'
import { KEY_HOLDER } from '../../../../hub/registry/enrollments.ts'
import { REPORT } from '../../../helpers/control-plane/report.ts'
import { consoleRig, type ConsoleRig } from '../console-rig.ts'

async function addDevice({ hub }: ConsoleRig, name: string, namespace: string, site: string): Promise<void> {
  const nowMs = Date.now()
  const spiffeUri = `spiffe://demo.mesh/ns/${namespace}/sa/gw`
  const of = { namespace, serviceAccount: 'gw', jti: null, labels: { site }, address: '10.0.0.1' }
  await hub.registry.enrollments.enroll({ ...of, name, keyId: `k-${name}` }, nowMs)
  await hub.registry.claimName({
    name,
    nodeId: `sidecar~10.0.0.1~${name}.${namespace}~${namespace}.svc`,
    spiffeUri,
    ip: '10.0.0.1',
    holder: `${KEY_HOLDER}k-${name}`,
    jti: undefined,
    nowMs,
  })
}

test('devices are found by the questions of meshlet-hub devices --where, and a mistake is told in its place', async (t) => {
  const rig = await consoleRig(t)
  await addDevice(rig, 'gw-1', 'edge', 'north')
  await addDevice(rig, 'gw-2', 'edge', 'south')
  const report = { ...REPORT, problems: [{ code: 'MESH_CLOCK_WRONG', text: 'x' }] }
  await rig.hub.registry.reports.write([{ name: 'gw-1', atMs: Date.now(), restarts: 0, expected: '', report }], [])
  const cookie = await rig.login()
  const ask = (path: string, q: Record<string, string>) =>
    rig.ask({ path: `/api/v1/${path}?${new URLSearchParams(q).toString()}`, cookie })
  for (const [path, list] of [
    ['devices', 'devices'],
    ['fleet', 'rows'],
  ] as const) {
    const names = async (q: Record<string, string>) =>
      ((await ask(path, q)).body[list] as { name: string }[]).map(({ name }) => name)
    assert.deepEqual(await names({ where: 'problems>0' }), ['gw-1'])
    assert.deepEqual(await names({ where: 'problem=MESH_CLOCK_WRONG and label.site=south' }), [])
    assert.deepEqual(await names({ labels: 'site=south' }), ['gw-2'])
    assert.deepEqual(await names({ where: 'not label.site=north', labels: 'site=south' }), ['gw-2'])
    assert.deepEqual(await names({ where: '  ' }), ['gw-1', 'gw-2'])
    const wrong = await ask(path, { where: 'connected=false and nosuch=1' })
    assert.equal(wrong.status, 400)
    assert.match(String(wrong.body['message']), /column 21: there is no field "nosuch"/)
    assert.match(String((await ask(path, { labels: 'a b' })).body['message']), /"a b" is not KEY=VALUE/)
    assert.equal((await ask(path, { where: '('.repeat(200) })).status, 400, 'too deep')
    assert.equal((await ask(path, { where: 'x'.repeat(5_000) })).status, 400, 'too long')
  }
})

test('data use is summed by purpose, of what an operator sees', async (t) => {
  const rig = await consoleRig(t)
  await addDevice(rig, 'gw-1', 'edge', 'north')
  await addDevice(rig, 'gw-2', 'lab', 'north')
  const entry = { atMs: 1, restarts: 0, expected: '', report: REPORT }
  await rig.hub.registry.reports.write(
    ['gw-1', 'gw-2'].map((name) => ({ ...entry, name })),
    [],
  )
  const use = async (cookie: string) => (await rig.ask({ path: '/api/v1/data-use', cookie })).body
  const all = await use(await rig.login())
  assert.equal(all['devices'], 2)
  assert.deepEqual((all['purposes'] as object[])[0], { purpose: 'cluster', sent: 6_240, received: 182_466 })
  const lab = await use(await rig.login([{ namespace: 'lab', role: 'viewer' }]))
  assert.equal(lab['devices'], 1)
  assert.deepEqual(
    (lab['largest'] as { name: string }[]).map(({ name }) => name),
    ['gw-2'],
  )
})
