/**
 * istiod is away for the length of the test: the agent is killed and started again, and serves what is on disk,
 * outbound and inbound.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { freePorts } from '../../../../tools/free-ports.ts'
import { App, serviceEntry, SIDECAR_LABEL } from '../rig/app.ts'
import { EchoServer } from '../rig/echo.ts'
import { ingressYaml, meshCall, peerAuthentication, plainCall } from '../rig/inbound.ts'
import { certificateFolder, certificateOf } from '../rig/istioctl.ts'
import { Istiod } from '../rig/istiod.ts'
import { MeshAgent } from '../rig/mesh-agent.ts'

async function startRig(t: TestContext) {
  const [servicePort, echoPort, inboundPort] = (await freePorts(3)) as [number, number, number]
  const [orders, app] = [await App.start(t, 'orders'), await App.start(t, 'app', '127.0.0.1')]
  const istiod = await Istiod.create(t)
  await istiod.start()
  const server = await EchoServer.start(t, await certificateFolder(t, istiod, 'shop', 'echo'))
  istiod.write(
    'all',
    serviceEntry('orders', { port: servicePort, endpoints: [orders] }) +
      serviceEntry('echo', {
        port: echoPort,
        endpoints: [{ address: '127.0.0.1', port: server.http, labels: SIDECAR_LABEL, serviceAccount: 'echo' }],
      }) +
      ingressYaml({ http: { port: inboundPort, protocol: 'HTTP', to: app.port } }) +
      peerAuthentication('STRICT'),
  )
  const edge = await MeshAgent.create(t, istiod)
  await edge.start()
  const shop = await certificateOf(istiod, 'shop', 'client')

  const serves = async (): Promise<void> => {
    assert.equal((await edge.get(`http://orders.shop.svc.cluster.local:${servicePort}/`)).body, 'orders')
    assert.match(
      (await edge.get(`http://echo.shop.svc.cluster.local:${echoPort}/`)).body,
      /^ClientCertSerialNumber=/m,
      'over mutual TLS',
    )
    assert.equal((await meshCall(shop, inboundPort, '/')).body, 'app')
    assert.equal((await plainCall(inboundPort, '/')).status, 0, 'STRICT')
  }
  return { servicePort, echoPort, inboundPort, orders, istiod, edge, serves }
}

test('istiod stopped, the agent killed and started three times', { timeout: 180_000 }, async (t) => {
  const { servicePort, echoPort, inboundPort, orders, istiod, edge, serves } = await startRig(t)
  await edge.until(`http://echo.shop.svc.cluster.local:${echoPort}/`, (a) => a.status === 200)
  await edge.status('the inbound port is open', ({ listeners }) =>
    listeners.some((l) => l.address.endsWith(`:${inboundPort}`) && l.state === 'listening'),
  )
  await serves()
  const { generation } = (await edge.status('a status')).config
  await edge.saved()
  edge.token('')
  await istiod.stop()

  for (const round of [1, 2, 3]) {
    await t.test(`start ${round} without istiod`, async () => {
      await edge.kill()
      await edge.agent.start()
      await serves()
      const { config, control, problems } = await edge.status('it says that it is alone', (s) => s.problems.length > 0)
      assert.deepEqual([config.generation, config.stale], [generation, true])
      assert.notEqual(control.link, 'connected')
      assert.deepEqual(
        problems.map((p) => p.code),
        ['MESH_CONTROL_UNREACHABLE'],
      )
    })
  }
  await t.test(
    'istiod is back: the certificate at hand is enough, the configuration is confirmed as it was',
    async () => {
      await istiod.start()
      const { config } = await edge.status(
        'confirmed',
        (s) => s.control.link === 'connected' && !s.config.stale,
        60_000,
      )
      assert.equal(config.generation, generation)
      await serves()
      istiod.write('more', serviceEntry('more', { port: servicePort, namespace: 'more', endpoints: [orders] }))
      await edge.until(`http://more.more.svc.cluster.local:${servicePort}/`, (a) => a.body === 'orders')
      assert.deepEqual(await edge.problems(), [])
    },
  )
})
