import { test } from 'node:test'
import assert from 'node:assert/strict'
import { decideRevision } from '../../../../hub/rollout/desired.ts'
import { REPORT } from '../../../helpers/control-plane/report.ts'
import { consoleRig, type ConsoleRig } from '../console-rig.ts'

const CLUSTER = (timeout: string) => `'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster
name: svc
type: STATIC
connect_timeout: ${timeout}
load_assignment: {cluster_name: svc, endpoints: []}
`
const SECRET = (rootsPem: string) => `'@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
name: key
validation_context: {trusted_ca: {inline_string: ${JSON.stringify(rootsPem)}}}
`

/** @returns ids of two revisions, of which the second is to be had */
async function takeTwo(rig: ConsoleRig): Promise<readonly [string, string]> {
  const { registry } = rig.hub
  rig.write('svc.yaml', CLUSTER('1s'))
  rig.write('same.yaml', CLUSTER('3s').replaceAll('svc', 'same'))
  await rig.taken()
  const first = (await registry.revisions.list())[0]!.id
  rig.write('svc.yaml', CLUSTER('2s'))
  rig.write('key.yaml', SECRET(rig.hub.rootsPem))
  await rig.taken()
  let second = first
  while (second === first) {
    await new Promise((resolve) => {
      setTimeout(resolve, 20)
    })
    second = decideRevision(await registry.rollouts.desired(), { name: 'gw-1', labels: {} })!
  }
  return [first, second]
}

test('what a device is to have and what it has, by resource, with hashes of both and what differs', async (t) => {
  const rig = await consoleRig(t)
  const { registry } = rig.hub
  const [first, second] = await takeTwo(rig)
  const of = { namespace: 'edge', serviceAccount: 'gw', jti: null, labels: {}, address: '10.0.0.1' }
  await registry.enrollments.enroll({ ...of, name: 'gw-1', keyId: 'k1' }, Date.now())
  const refused = [{ kind: 'cluster', name: 'svc', reason: '<b>no</b>' }]
  const report = { ...REPORT, revision: first, content: 'of-device', refused }
  await registry.reports.write([{ name: 'gw-1', atMs: 7, restarts: 0, expected: 'of-hub', report }], [])
  const viewer = await rig.login([{ namespace: 'edge', role: 'viewer' }])
  const path = '/api/v1/devices/gw-1/configuration'
  // What the rig reads is any JSON.
  const said = (await rig.ask({ path, cookie: viewer })).body as unknown as {
    desired: string
    running: string
    content: object
    resources: { type: string; name: string; state: string; desired: string; running: string; refused: string }[]
  }
  assert.deepEqual([said.desired, said.running], [second, first])
  assert.deepEqual(said.content, { expected: 'of-hub', running: 'of-device' })
  assert.deepEqual(
    said.resources.map(({ type, name, state }) => [type, name, state]),
    [
      ['Cluster', 'svc', 'changed'],
      ['Secret', 'key', 'added'],
      ['Cluster', 'same', 'same'],
    ],
  )
  const [changed, added, same] = said.resources
  assert.equal(changed!.refused, '<b>no</b>')
  assert.match(changed!.desired, /^[0-9a-f]{16}$/)
  assert.notEqual(changed!.desired, changed!.running)
  assert.equal(added!.running, null)
  assert.equal(same!.running, same!.desired)

  assert.equal((await rig.ask({ path: `${path}/diff?type=Cluster&name=svc`, cookie: viewer })).status, 403)
  const cookie = await rig.login([{ namespace: 'edge', role: 'operator' }])
  const diff = async (type: string, name: string) =>
    (await rig.ask({ path: `${path}/diff?type=${type}&name=${name}`, cookie })).body as {
      lines: string[]
      isHidden: boolean
    }
  const { lines } = await diff('Cluster', 'svc')
  assert.deepEqual(
    lines.filter((line) => /^[-+]/.test(line)).map((line) => line.replaceAll(' ', '')),
    ['-"connect_timeout":"1s",', '+"connect_timeout":"2s",'],
  )
  const secret = await diff('Secret', 'key')
  assert.deepEqual([secret.isHidden, secret.lines], [true, []])
  assert.ok((await diff('Cluster', 'same')).lines.every((line) => line.startsWith(' ')))
  assert.equal((await rig.ask({ path: `${path}/diff?type=Cluster&name=nosuch`, cookie })).status, 404)
})

test('a device whose revision is not known any more has all that it is to have, and says so', async (t) => {
  const rig = await consoleRig(t)
  rig.write('svc.yaml', CLUSTER('1s'))
  await rig.taken()
  const of = { namespace: 'edge', serviceAccount: 'gw', jti: null, labels: {}, address: '10.0.0.1' }
  await rig.hub.registry.enrollments.enroll({ ...of, name: 'gw-1', keyId: 'k1' }, Date.now())
  const cookie = await rig.login()
  const { body } = await rig.ask({ path: '/api/v1/devices/gw-1/configuration', cookie })
  assert.equal(body['isRunningKnown'], false)
  assert.equal(body['running'], null)
  assert.equal((body['resources'] as object[]).length, 1)
})

test('a resource of Istio is shown whatever its labels are called, and as it is where nobody knows what is in force', async (t) => {
  const rig = await consoleRig(t)
  const write = (place: string): void =>
    rig.write(
      'entry.yaml',
      `apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: plc, namespace: edge}
spec: {address: 10.0.0.7, labels: {place: ${place}, file: ${place}}}
`,
    )
  write('hall-1')
  await rig.taken()
  const { registry } = rig.hub
  const of = { namespace: 'edge', serviceAccount: 'gw', jti: null, labels: {}, address: '10.0.0.1' }
  await registry.enrollments.enroll({ ...of, name: 'gw-1', keyId: 'k1' }, Date.now())
  const cookie = await rig.login()
  const path = '/api/v1/devices/gw-1/configuration'
  const { resources } = (await rig.ask({ path, cookie })).body as { resources: { type: string; name: string }[] }
  const [{ type, name }] = resources as [{ type: string; name: string }]
  const query = new URLSearchParams({ type, name })
  const { lines } = (await rig.ask({ path: `${path}/diff?${query.toString()}`, cookie })).body as { lines: string[] }
  assert.deepEqual(
    lines.filter((line) => line.includes('hall-1')).map((line) => line.replaceAll(/ {2,}|,/g, '')),
    ['"place": "hall-1"', '"file": "hall-1"'],
  )
})
