/**
 * A node that registers itself (AUTO_REGISTER_GROUP): its WorkloadEntry comes, others find it by the service that
 * selects it, and it goes.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { freePorts } from '../../../../tools/free-ports.ts'
import { App } from '../rig/app.ts'
import { edgeGroup, edgeService, edgeSidecar } from '../rig/inbound.ts'
import { Istiod } from '../rig/istiod.ts'
import { CLOUD, MeshAgent, NODE_IP } from '../rig/mesh-agent.ts'

async function startRig(t: TestContext) {
  const [port] = (await freePorts(1)) as [number]
  const app = await App.start(t, 'app', '127.0.0.1')
  const istiod = await Istiod.create(t, { store: 'kube' })
  const http = { port, protocol: 'HTTP', to: app.port }
  istiod.write('group', edgeGroup() + edgeService({ http }) + edgeSidecar({ http }, '~/*'))
  await istiod.start()
  const entries = (): Promise<readonly string[]> =>
    istiod.objects('WorkloadEntry').then((all) => all.map((e) => e.name))
  const edge = await MeshAgent.create(t, istiod, { node: ['network: site-1', 'metadata: {AUTO_REGISTER_GROUP: gw}'] })
  const cloud = await MeshAgent.create(t, istiod, { ...CLOUD, node: ['network: site-1'] })
  await cloud.start()
  const url = `http://edge.edge.svc.cluster.local:${port}/`
  return { app, istiod, edge, cloud, entries, url }
}

test('auto-registration', { timeout: 180_000 }, async (t) => {
  const { app, istiod, edge, cloud, entries, url } = await startRig(t)
  assert.notEqual((await cloud.get(url)).status, 200)

  await t.test('the entry comes, with what the group and the node say', async () => {
    await edge.start()
    await istiod.until('registered', async () => (await entries()).length === 1)
    const [entry] = await istiod.objects('WorkloadEntry')
    assert.equal(entry?.name, `gw-${NODE_IP}-site-1`)
    assert.equal(entry.annotations?.['istio.io/autoRegistrationGroup'], 'gw')
    assert.deepEqual(
      { ...entry.Spec, labels: undefined },
      { address: NODE_IP, network: 'site-1', serviceAccount: 'gateway', labels: undefined },
    )
    assert.equal((entry.Spec as { labels: Record<string, string> }).labels['app'], 'edge')
  })
  await t.test("others reach it by the service's name, over mutual TLS", async () => {
    await cloud.until(url, (a) => a.body === 'app')
    assert.match(
      String(app.seen.at(-1)?.headers['x-forwarded-client-cert']),
      /URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client$/,
    )
  })
  await t.test('a short absence changes nothing', async () => {
    await edge.kill()
    await edge.start()
    await cloud.until(url, (a) => a.body === 'app')
    assert.deepEqual(await entries(), [`gw-${NODE_IP}-site-1`])
  })
  await t.test('a group that does not exist: istiod forbids the stream, and it is said', async () => {
    const lost = await MeshAgent.create(t, istiod, {
      name: 'edge-2',
      ip: '127.0.0.7',
      node: ['metadata: {AUTO_REGISTER_GROUP: nobody}'],
    })
    lost.agent.launch()
    const { problems } = await lost.status(
      'refused',
      (s) => s.problems.some((p) => p.code === 'MESH_CONTROL_REFUSED'),
      60_000,
    )
    assert.match(
      problems.find((p) => p.code === 'MESH_CONTROL_REFUSED')!.text,
      /cannot find WorkloadGroup edge\/nobody(;|$)/,
    )
    await lost.kill()
  })
  await t.test('ten seconds after it left the entry is gone', async () => {
    await edge.kill()
    await istiod.until('gone', async () => (await entries()).length === 0, 60_000)
    await cloud.until(url, (a) => a.status !== 200)
  })
})
