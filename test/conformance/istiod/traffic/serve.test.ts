/** The main way against a real istiod: token, certificate, configuration, traffic; and istiod's own view of it. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { freePorts } from '../../../../tools/free-ports.ts'
import { App, serviceEntry } from '../rig/app.ts'
import { istioctl, proxyStatus } from '../rig/istioctl.ts'
import { Istiod } from '../rig/istiod.ts'
import { MeshAgent, request } from '../rig/mesh-agent.ts'

const HARMLESS =
  /tracing|transport_socket_connect_timeout|max_connections_to_accept_per_socket_event|max_direct_response_body_size_bytes$/

async function startRig(t: TestContext) {
  const [servicePort] = (await freePorts(1)) as [number]
  const orders = await App.start(t, 'orders')
  const istiod = await Istiod.create(t)
  istiod.write('orders', serviceEntry('orders', { port: servicePort, endpoints: [orders] }))
  await istiod.start()
  const edge = await MeshAgent.create(t, istiod)
  await edge.start()
  const url = `http://orders.shop.svc.cluster.local:${servicePort}/`
  return { servicePort, orders, istiod, edge, url }
}
type Rig = Awaited<ReturnType<typeof startRig>>

test('enrol, sync, serve', { timeout: 120_000 }, async (t) => {
  const rig = await startRig(t)
  await certificateAndConfiguration(t, rig)
  await traffic(t, rig)
  await viewsOfIstio(t, rig)
})

async function certificateAndConfiguration(t: TestContext, { servicePort, istiod, edge }: Rig): Promise<void> {
  await t.test('the token became a certificate for the name it stands for', async () => {
    const { certificate } = await edge.status('a certificate', (s) => s.certificate !== undefined)
    assert.equal(certificate?.spiffeId, 'spiffe://cluster.local/ns/edge/sa/gateway')
    const stored = JSON.parse(fs.readFileSync(path.join(edge.stateFolder, 'identity/identity.json'), 'utf8')) as {
      chainPem: string
      rootsPem: string
    }
    const pems = stored.chainPem.match(/-----BEGIN[^]*?-----END CERTIFICATE-----\n/g) ?? []
    assert.equal(
      new X509Certificate(stored.rootsPem).fingerprint256,
      new X509Certificate(istiod.ca.rootPem).fingerprint256,
    )
    assert.ok(new X509Certificate(pems[0]!).checkIssued(new X509Certificate(pems[1]!)), 'leaf, then what signed it')
  })
  await t.test(
    'everything that istiod sends is understood and in force: nothing refused, blocked or dangling, every port open',
    async () => {
      const { config, problems, listeners } = await edge.status(
        'routes are there',
        (s) => s.config.resources['route tables'] === 2,
      )
      assert.deepEqual(problems, [])
      assert.deepEqual(config.rejected, [])
      // The service, BlackHole, Passthrough and InboundPassthrough; the port of the service and the explicit proxy;
      // both their route tables.
      assert.deepEqual(config.resources, { clusters: 4, 'endpoint sets': 1, listeners: 2, 'route tables': 2 })
      assert.deepEqual(listeners.map((l) => `${l.name} ${l.address} ${l.state}`).sort(), [
        `127.0.0.1_${servicePort} 127.0.0.1:${servicePort} listening`,
        `http-proxy 127.0.0.1:${edge.proxyPort} listening`,
      ])
    },
  )
}

async function traffic(t: TestContext, { servicePort, orders, edge, url }: Rig): Promise<void> {
  await t.test('what is ignored of it has no meaning for traffic', async () => {
    const { config } = await edge.status('a status')
    assert.deepEqual(
      config.ignored.map((i) => i.field).filter((field) => !HARMLESS.test(field)),
      [],
    )
  })
  await t.test('a request by mesh name, through the explicit proxy and through the port of the service', async () => {
    assert.equal((await edge.get(url)).body, 'orders')
    assert.equal(
      (
        await request({
          port: servicePort,
          path: '/',
          headers: { host: `orders.shop.svc.cluster.local:${servicePort}` },
        })
      ).body,
      'orders',
    )
    assert.equal(orders.seen.length, 2)
  })
  await t.test(
    'an unknown host (ALLOW_ANY leads to where the connection was going, which is nowhere): one answer, no way round to itself',
    async () => {
      const before = await edge.metric('mesh_http_requests_total')
      assert.equal((await edge.get('http://nobody.example.org/')).status, 503)
      assert.equal((await edge.metric('mesh_http_requests_total')) - before, 1)
    },
  )
}

async function viewsOfIstio(t: TestContext, { servicePort, orders, istiod, edge }: Rig): Promise<void> {
  await t.test(
    'istiod lists the node, everything sent is acknowledged: /debug/syncz and istioctl proxy-status',
    async () => {
      const status = await istiod.until('all acknowledged', async () => {
        const { resources = {} } = (await istiod.syncz()).find((s) => s.proxy === 'edge-1.edge') ?? {}
        return Object.keys(resources).length === 4 && Object.values(resources).every((r) => r.sent === r.acked)
          ? resources
          : undefined
      })
      assert.ok(Object.values(status).every((r) => !r.lastError))
      const { code, out, err } = await proxyStatus(t, istiod)
      assert.equal(code, 0, err)
      const row = out.split('\n').find((l) => l.startsWith('edge-1.edge')) ?? out
      assert.equal(row.match(/SYNCED/g)?.length, 4, out)
      assert.doesNotMatch(row, /STALE|NOT SENT|IGNORED.*IGNORED/)
    },
  )
  await t.test('istioctl proxy-config reads what the admin port shows', async () => {
    const page = async (name: string, what: string): Promise<string> => {
      const file = path.join(edge.agent.folder, what)
      fs.writeFileSync(file, (await edge.agent.get(name))!.text)
      const { code, out, err } = await istioctl(t, ['proxy-config', what, '--file', file])
      assert.equal(code, 0, err)
      return out.replace(/ +/g, ' ')
    }
    assert.match(
      await page('/config_dump', 'listeners'),
      new RegExp(`^127\\.0\\.0\\.1 ${servicePort} ALL Route: ${servicePort}$`, 'm'),
    )
    assert.match(
      await page('/config_dump', 'clusters'),
      new RegExp(`^orders\\.shop\\.svc\\.cluster\\.local ${servicePort} - outbound EDS $`, 'm'),
    )
    assert.match(
      await page('/config_dump', 'routes'),
      new RegExp(
        `^${servicePort} orders\\.shop\\.svc\\.cluster\\.local:${servicePort} orders\\.shop\\.svc\\.cluster\\.local\\.`,
        'm',
      ),
    )
    assert.match(
      await page('/clusters?format=json', 'endpoints'),
      new RegExp(
        `^127\\.0\\.0\\.2:${orders.port} HEALTHY OK outbound\\|${servicePort}\\|\\|orders\\.shop\\.svc\\.cluster\\.local$`,
        'm',
      ),
    )
    const secrets = await page('/config_dump', 'secret')
    assert.match(secrets, /^default Cert Chain ACTIVE true /m)
    assert.match(secrets, /^ROOTCA CA ACTIVE true /m)
    assert.match(
      await page('/config_dump', 'bootstrap'),
      /"id": "sidecar~127\.0\.0\.9~edge-1\.edge~edge\.svc\.cluster\.local"/,
    )
    assert.match(await page('/config_dump', 'all'), /listener\/127\.0\.0\.1_/)
  })
}
