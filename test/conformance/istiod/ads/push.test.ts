/**
 * What a change of Istio YAML does to running traffic: outbound services, endpoints and routes, inbound policies and
 * mTLS modes.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { freePorts } from '../../../../tools/free-ports.ts'
import { until } from '../../programs.ts'
import { App, serviceEntry } from '../rig/app.ts'
import { ingressYaml, meshCall, peerAuthentication, plainCall } from '../rig/inbound.ts'
import { certificateOf } from '../rig/istioctl.ts'
import { Istiod } from '../rig/istiod.ts'
import { MeshAgent } from '../rig/mesh-agent.ts'

const virtualService = (host: string, http: string): string => `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: orders, namespace: shop}
spec:
  hosts: [${host}]
  http:
${http}`

async function startOutbound(t: TestContext) {
  const [port, otherPort] = (await freePorts(2)) as [number, number]
  const [one, two, other] = [
    await App.start(t, 'one'),
    await App.start(t, 'two', '127.0.0.3'),
    await App.start(t, 'other'),
  ]
  const istiod = await Istiod.create(t, { mesh: 'outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n' })
  istiod.write('orders', serviceEntry('orders', { port, endpoints: [one] }))
  await istiod.start()
  const edge = await MeshAgent.create(t, istiod)
  await edge.start()
  const host = 'orders.shop.svc.cluster.local'
  const url = `http://${host}:${port}/`
  const otherUrl = `http://other.shop.svc.cluster.local:${otherPort}/`
  await edge.until(url, (a) => a.body === 'one')
  return { port, otherPort, one, two, other, istiod, edge, host, url, otherUrl }
}
type Outbound = Awaited<ReturnType<typeof startOutbound>>

test('outbound pushes', { timeout: 180_000 }, async (t) => {
  const rig = await startOutbound(t)
  await servicesAndEndpoints(t, rig)
  await routesAndTimeouts(t, rig)
  await retriesAndFaults(t, rig)
  await t.test('after all this nothing is refused and istiod has seen no nack', async () => {
    assert.deepEqual((await rig.edge.status('a status')).config.rejected, [])
    assert.equal(await rig.istiod.metric('pilot_total_xds_rejects'), 0)
  })
})

async function servicesAndEndpoints(
  t: TestContext,
  { port, otherPort, one, two, other, istiod, edge, url, otherUrl }: Outbound,
): Promise<void> {
  await t.test('a service more', async () => {
    assert.equal((await edge.get(otherUrl)).status, 502, 'not in the registry')
    istiod.write('other', serviceEntry('other', { port: otherPort, endpoints: [other] }))
    await edge.until(otherUrl, (a) => a.body === 'other')
  })
  await t.test('a service less', async () => {
    istiod.remove('other')
    await edge.until(otherUrl, (a) => a.status === 502)
    const s = await edge.status(
      'cluster, endpoints and listener are gone',
      ({ listeners }) => !listeners.some((l) => l.address.endsWith(`:${otherPort}`)),
    )
    assert.deepEqual(s.problems, [])
    // The port's own table is given up once its listener is gone.
    await edge.agent.process.until(
      'nothing of it is left',
      async () => !(await edge.agent.get('/config_dump'))!.text.includes('other.shop'),
    )
  })
  await t.test('an endpoint changed, one more, one less', async () => {
    istiod.write('orders', serviceEntry('orders', { port, endpoints: [two] }))
    await edge.until(url, (a) => a.body === 'two')
    istiod.write('orders', serviceEntry('orders', { port, endpoints: [one, two] }))
    const seen = new Set<string>()
    await until('both answer', async () => seen.add((await edge.get(url)).body).size === 2)
    istiod.write('orders', serviceEntry('orders', { port, endpoints: [one] }))
    await until('only the first is left', async () => {
      const bodies = new Set<string>()
      for (let i = 0; i < 20; i++) bodies.add((await edge.get(url)).body)
      return [...bodies].join() === 'one'
    })
  })
}

async function routesAndTimeouts(
  t: TestContext,
  { otherPort, one, other, istiod, edge, host, url }: Outbound,
): Promise<void> {
  await t.test('VirtualService: a route by header, the rest elsewhere', async () => {
    istiod.write('other', serviceEntry('other', { port: otherPort, endpoints: [other] }))
    istiod.write(
      'routes',
      virtualService(
        host,
        `  - match: [{headers: {x-try: {exact: new}}}]
    route: [{destination: {host: other.shop.svc.cluster.local, port: {number: ${otherPort}}}}]
    rewrite: {uri: /rewritten}
  - route: [{destination: {host: ${host}}}]
`,
      ),
    )
    await edge.until(url, (a) => a.body === 'other', { headers: { 'x-try': 'new' } })
    assert.equal(other.seen.at(-1)?.url, '/rewritten')
    assert.equal((await edge.get(url)).body, 'one')
  })
  await t.test('VirtualService: timeout', async () => {
    one.behaviour = (req, res) => {
      if (req.url !== '/late') return false
      setTimeout(() => {
        res.end('late')
      }, 1_000)
      return true
    }
    istiod.write('routes', virtualService(host, `  - {route: [{destination: {host: ${host}}}], timeout: 0.3s}\n`))
    await edge.until(`${url}late`, (a) => a.status === 504)
    assert.equal((await edge.get(url)).body, 'one')
  })
}

async function retriesAndFaults(t: TestContext, { one, istiod, edge, host, url }: Outbound): Promise<void> {
  await t.test('VirtualService: retries, and none where the configuration forbids them', async () => {
    let failures = 2
    one.behaviour = (_, res) => {
      if (failures-- <= 0) return false
      res.writeHead(503).end('not now')
      return true
    }
    istiod.write(
      'routes',
      virtualService(
        host,
        `  - {route: [{destination: {host: ${host}}}], retries: {attempts: 3, perTryTimeout: 2s, retryOn: 5xx, backoff: 10ms}}\n`,
      ),
    )
    await edge.until(url, (a) => {
      failures = 2
      return a.body === 'one'
    })
    const before = one.seen.length
    failures = 2
    assert.deepEqual([(await edge.get(url)).body, one.seen.length - before], ['one', 3])
    istiod.write(
      'routes',
      virtualService(host, `  - {route: [{destination: {host: ${host}}}], retries: {attempts: 0}}\n`),
    )
    await until('one try only', async () => {
      failures = 1
      return (await edge.get(url)).status === 503
    })
    failures = 0
    assert.equal((await edge.get(url)).body, 'one')
    one.behaviour = () => false
  })
  await t.test("VirtualService: fault injection, which agent.yaml's own listener has from istiod", async () => {
    istiod.write(
      'routes',
      virtualService(
        host,
        `  - {route: [{destination: {host: ${host}}}], fault: {abort: {httpStatus: 418, percentage: {value: 100}}}}\n`,
      ),
    )
    await edge.until(url, (a) => a.status === 418)
    istiod.remove('routes')
    await edge.until(url, (a) => a.body === 'one')
  })
}

const authorization = (action: string, rules: string): string => `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: edge, namespace: edge}
spec:
  selector: {matchLabels: {app: edge}}
  action: ${action}
  rules:
${rules}`

test('inbound pushes', { timeout: 180_000 }, async (t) => {
  const [port] = (await freePorts(1)) as [number]
  const app = await App.start(t, 'app', '127.0.0.1')
  const istiod = await Istiod.create(t)
  istiod.write('edge', ingressYaml({ http: { port, protocol: 'HTTP', to: app.port } }))
  await istiod.start()
  const edge = await MeshAgent.create(t, istiod)
  await edge.start()
  const [shop, guest] = [await certificateOf(istiod, 'shop', 'orders'), await certificateOf(istiod, 'guests', 'nobody')]
  await edge.status('the inbound port is open', ({ listeners }) =>
    listeners.some((l) => l.address.endsWith(`:${port}`) && l.state === 'listening'),
  )

  await t.test(
    'PERMISSIVE is the default: plain text and mTLS, and the caller is told to the application',
    async () => {
      assert.equal((await plainCall(port, '/')).body, 'app')
      const answer = await meshCall(shop, port, '/')
      assert.deepEqual([answer.body, answer.peer], ['app', 'URI:spiffe://cluster.local/ns/edge/sa/gateway'])
      assert.match(
        String(app.seen.at(-1)?.headers['x-forwarded-client-cert']),
        /^By=spiffe:\/\/cluster\.local\/ns\/edge\/sa\/gateway;Hash=[0-9a-f]{64};Subject="";URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/orders$/,
      )
    },
  )
  await t.test('STRICT refuses plain text, PERMISSIVE takes it again', async () => {
    istiod.write('peers', peerAuthentication('STRICT'))
    await until('plain text is refused', async () => (await plainCall(port, '/')).status === 0)
    assert.equal((await meshCall(shop, port, '/')).body, 'app')
    istiod.write('peers', peerAuthentication('PERMISSIVE'))
    await until('plain text is taken again', async () => (await plainCall(port, '/')).body === 'app')
  })
  await t.test('AuthorizationPolicy DENY by identity and path', async () => {
    istiod.write(
      'policy',
      authorization(
        'DENY',
        `  - from: [{source: {principals: ["cluster.local/ns/guests/sa/nobody"]}}]
    to: [{operation: {paths: ["/private*"]}}]
`,
      ),
    )
    await until('the guest is refused', async () => (await meshCall(guest, port, '/private/a')).status === 403)
    assert.equal((await meshCall(guest, port, '/public')).body, 'app')
    assert.equal((await meshCall(shop, port, '/private/a')).body, 'app')
  })
  await t.test('AuthorizationPolicy ALLOW: who is not named is refused, plain text too', async () => {
    istiod.write('policy', authorization('ALLOW', '  - from: [{source: {namespaces: [shop]}}]\n'))
    await until('the guest is refused', async () => (await meshCall(guest, port, '/public')).status === 403)
    assert.equal((await meshCall(shop, port, '/')).body, 'app')
    assert.equal((await plainCall(port, '/')).status, 403)
    istiod.remove('policy')
    await until('open again', async () => (await meshCall(guest, port, '/')).body === 'app')
  })
  await t.test('nothing is blocked or refused', async () => {
    assert.deepEqual(await edge.problems(), [])
    assert.equal(await istiod.metric('pilot_total_xds_rejects'), 0)
  })
})
