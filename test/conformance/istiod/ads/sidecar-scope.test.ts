/**
 * What a Sidecar resource makes of a node in mode NONE (docs/istio.md advises one), and the names under which services
 * answer.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { freePorts } from '../../../../tools/free-ports.ts'
import { App, serviceEntry } from '../rig/app.ts'
import { Istiod } from '../rig/istiod.ts'
import { MeshAgent, request, type Answer } from '../rig/mesh-agent.ts'

const VIP = '10.96.0.10'
/** Loopback addresses of their own, as docs/istio.md and `bind` want them. */
const HTTP_BIND = '127.0.0.53'
const TCP_BIND = '127.0.0.54'
const ALL_BIND = '127.0.0.55'

const sidecar = (egress: readonly string[]): string => `---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: edge, namespace: edge}
spec:
  workloadSelector: {labels: {app: edge}}
  egress:
${egress.map((e) => `  - ${e}\n`).join('')}`
const ORDERS = 'shop/orders.shop.svc.cluster.local'

async function startRig(t: TestContext) {
  const [port, bytesPort, otherPort, wrongPort, openPort] = (await freePorts(5)) as [
    number,
    number,
    number,
    number,
    number,
  ]
  const app = await App.start(t, 'orders')
  const istiod = await Istiod.create(t)
  istiod.write(
    'orders',
    serviceEntry('orders', { port, vip: VIP, endpoints: [app] }) +
      Object.entries({ bytes: bytesPort, open: openPort, other: otherPort })
        .map(([name, its]) => serviceEntry(name, { port: its, endpoints: [app] }))
        .join(''),
  )
  istiod.write(
    'sidecar',
    sidecar([
      `{port: {number: ${port}, protocol: HTTP, name: http}, bind: ${HTTP_BIND}, hosts: ["${ORDERS}"]}`,
      `{port: {number: ${bytesPort}, protocol: TCP, name: tcp}, bind: ${TCP_BIND}, hosts: ["shop/bytes.shop.svc.cluster.local"]}`,
      `{port: {number: ${wrongPort}, protocol: HTTP, name: wrong}, bind: ${ALL_BIND}, hosts: ["${ORDERS}"]}`,
      '{hosts: ["shop/open.shop.svc.cluster.local"]}',
    ]),
  )
  await istiod.start()
  const edge = await MeshAgent.create(t, istiod)
  await edge.start()
  return { port, bytesPort, otherPort, wrongPort, openPort, istiod, edge }
}

test('a Sidecar', { timeout: 120_000 }, async (t) => {
  const { port, bytesPort, otherPort, wrongPort, openPort, istiod, edge } = await startRig(t)
  const { listeners, config, problems } = await edge.status(
    'endpoints are there',
    (s) => s.config.resources['endpoint sets'] === 3,
  )
  const at = (name: string): string | undefined => listeners.find((l) => l.name === name)?.state

  await t.test('a port that the service itself has, at an address of its own', async () => {
    assert.equal(at(`${HTTP_BIND}_${port}`), 'listening')
    assert.equal(
      (await request({ host: HTTP_BIND, port, path: '/', headers: { host: 'orders.shop.svc.cluster.local' } })).body,
      'orders',
    )
  })
  await t.test('protocol TCP there makes it a TCP proxy, though the service is HTTP', async () => {
    assert.equal(at(`${TCP_BIND}_${bytesPort}`), 'listening')
    const before = await edge.metric('mesh_http_requests_total')
    assert.equal(
      (await request({ host: TCP_BIND, port: bytesPort, path: '/', headers: { host: 'whoever.example' } })).body,
      'orders',
    )
    assert.equal(await edge.metric('mesh_http_requests_total'), before, 'no HTTP of ours')
  })
  await t.test('a port that the service has not: istiod sends no listener, and nothing is wrong here', () => {
    assert.deepEqual(
      listeners.filter((l) => l.address.includes(`:${wrongPort}`)),
      [],
    )
    assert.deepEqual([problems, config.rejected], [[], []])
  })
  await t.test(
    "an entry without a port: a listener on 127.0.0.1, and only what it names is in the proxy's table",
    async () => {
      assert.equal(at(`127.0.0.1_${openPort}`), 'listening')
      assert.equal((await edge.get(`http://open.shop.svc.cluster.local:${openPort}/`)).body, 'orders')
      assert.equal((await edge.get(`http://orders.shop.svc.cluster.local:${port}/`)).status, 503)
    },
  )
  await t.test('what nothing names does not come at all', async () => {
    assert.equal((await edge.agent.get('/config_dump'))!.text.includes('other.shop'), false)
  })
  await t.test('without the Sidecar everything is there again', async () => {
    istiod.remove('sidecar')
    await edge.until(`http://other.shop.svc.cluster.local:${otherPort}/`, (a) => a.body === 'orders')
    await edge.until(`http://orders.shop.svc.cluster.local:${port}/`, (a) => a.body === 'orders')
    const now = await edge.status(
      'its listeners are gone',
      (s) => !s.listeners.some((l) => l.address.startsWith(HTTP_BIND)),
    )
    assert.deepEqual(now.problems, [])
  })
})

/**
 * The table of the service's port does not look at ports (ignore_port_in_host_matching); the proxy's has a name without
 * a port for port 80 only, as in a URL.
 */
for (const { capture, namespace, short } of [
  // Where the service is its bare name counts, too.
  { capture: 'explicit', namespace: 'shop', short: ['orders.shop.svc', 'orders.shop', 'orders'] },
  { capture: 'explicit', namespace: 'edge', short: ['orders.shop.svc', 'orders.shop'] },
  { capture: 'redirect', namespace: 'shop', short: ['orders.shop.svc', 'orders.shop', 'orders'] },
]) {
  test(`the names of a service for a node in ${namespace}, capture: ${capture}`, { timeout: 60_000 }, async (t) => {
    const [port] = (await freePorts(1)) as [number]
    const app = await App.start(t, 'orders')
    const istiod = await Istiod.create(t)
    istiod.write('orders', serviceEntry('orders', { port, vip: VIP, endpoints: [app] }))
    await istiod.start()
    const edge = await MeshAgent.create(t, istiod, { namespace, rest: `capture: ${capture}\n` })
    await edge.start()
    await edge.until(`http://orders.shop.svc.cluster.local:${port}/`, (a) => a.body === 'orders')
    // What is redirected to 15001 cannot be served (MESH_CAPTURE_UNAVAILABLE): the proxy is the way in.
    const atPort = (host: string): Promise<Answer>[] =>
      capture === 'explicit' ? [request({ port, path: '/', headers: { host } })] : []
    const byProxy = (host: string): Promise<Answer>[] => [
      request({ port: edge.proxyPort, path: '/', headers: { host } }),
      request({ port: edge.proxyPort, path: `http://${host}/`, headers: { host } }),
    ]
    const bodies = async (answers: Promise<Answer>[]): Promise<string[]> => [
      ...new Set((await Promise.all(answers)).map((a) => a.body)),
    ]
    const asked = (host: string): Promise<string[]> => bodies([...atPort(host), ...byProxy(host)])
    const known = [
      'orders.shop.svc.cluster.local',
      'ORDERS.shop.svc.cluster.local',
      'orders.shop.svc.cluster.local.',
      ...short,
      VIP,
    ]
    for (const name of known) {
      await t.test(`${name}:PORT, in every way`, async () => {
        assert.deepEqual(await asked(`${name}:${port}`), ['orders'])
      })
      await t.test(`${name}, which is port 80 to a proxy`, async () => {
        assert.deepEqual(await bodies(atPort(name)), capture === 'explicit' ? ['orders'] : [])
        assert.equal((await bodies(byProxy(name))).includes('orders'), false)
      })
    }
    await t.test('what is no name of it here is not taken for one', async () => {
      for (const name of ['orders.edge', 'orders.shop.svc.cluster', ...(short.includes('orders') ? [] : ['orders'])])
        assert.equal((await asked(name)).includes('orders'), false, name)
    })
  })
}
