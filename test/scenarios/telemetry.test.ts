/** Two agents with the filters that istiod sends to sidecars: what Prometheus reads from each of a request between them. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import type net from 'node:net'
import type { JsonObject } from '@bufbuild/protobuf'
import { freePorts } from '../../tools/free-ports.ts'
import { sample, type Sample } from '../helpers/control-plane/resources.ts'
import { ControlPlane } from './control-plane.ts'
import { ask, TestAgent, until } from './site.ts'
import { anyHost, httpManager, socketAddress, toCluster, webListener } from './web-listener.ts'

const T = 'type.googleapis.com/envoy'
const headers = { istio_headers: {} }
/** pilot/pkg/xds/filters/filters.go */
const exchange = (value: JsonObject): JsonObject => ({
  name: 'istio.metadata_exchange',
  typed_config: {
    '@type': 'type.googleapis.com/udpa.type.v1.TypedStruct',
    type_url: 'type.googleapis.com/io.istio.http.peer_metadata.Config',
    value,
  },
})
const stats = (more: JsonObject = {}): JsonObject => ({
  name: 'istio.stats',
  typed_config: { '@type': 'type.googleapis.com/stats.PluginConfig', ...more },
})
const tlsContext: JsonObject = {
  tls_certificate_sds_secret_configs: [{ name: 'default', sds_config: { ads: {} } }],
  combined_validation_context: {
    default_validation_context: {},
    validation_context_sds_secret_config: { name: 'ROOTCA', sds_config: { ads: {} } },
  },
}
const tls = (kind: 'UpstreamTlsContext' | 'DownstreamTlsContext', more: JsonObject = {}): JsonObject => ({
  name: 'envoy.transport_sockets.tls',
  typed_config: {
    '@type': `${T}.extensions.transport_sockets.tls.v3.${kind}`,
    common_tls_context: tlsContext,
    ...more,
  },
})
const cluster = (name: string, port: number, more: JsonObject = {}, endpoint: JsonObject = {}): Sample =>
  sample({
    '@type': `${T}.config.cluster.v3.Cluster`,
    name,
    type: 'STATIC',
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: socketAddress(port) }, ...endpoint }] }],
    },
    ...more,
  })
const service: JsonObject = {
  filter_metadata: {
    istio: { services: [{ host: 'orders.shop.svc.cluster.local', name: 'orders', namespace: 'shop' }] },
  },
}

async function application(t: TestContext): Promise<{ readonly port: number; readonly seen: string[] }> {
  const seen: string[] = []
  const server = http.createServer((req, res) => {
    seen.push(...Object.keys(req.headers))
    res.end('hello')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { port: (server.address() as net.AddressInfo).port, seen }
}

type Ports = { readonly outer: number; readonly inner: number; readonly app: number }

/** To the application, for clients with a certificate. */
const inbound = ({ inner, app }: Ports): Sample[] => [
  cluster(`inbound|${app}||`, app, { metadata: service }),
  webListener(
    inner,
    [
      {
        transport_socket: tls('DownstreamTlsContext', { require_client_certificate: true }),
        filters: [
          httpManager(
            [anyHost(toCluster(`inbound|${app}||`))],
            [
              exchange({
                downstream_discovery: [headers, { workload_discovery: {} }],
                downstream_propagation: [headers],
              }),
              stats({ disable_host_header_fallback: true }),
            ],
          ),
        ],
      },
    ],
    { traffic_direction: 'INBOUND' },
  ),
]

const outbound = ({ outer, inner }: Ports): Sample[] => [
  cluster(
    'outbound|80||orders.shop.svc.cluster.local',
    inner,
    { metadata: service, transport_socket: tls('UpstreamTlsContext') },
    { metadata: { filter_metadata: { istio: { workload: 'orders-v1;shop;orders;v1;north' } } } },
  ),
  webListener(outer, [
    {
      filters: [
        httpManager(
          [anyHost(toCluster('outbound|80||orders.shop.svc.cluster.local'))],
          [exchange({ upstream_discovery: [headers], upstream_propagation: [headers] }), stats()],
        ),
      ],
    },
  ]),
]

/** The labels of the one line of istio_requests_total. */
async function readLabels(agent: TestAgent): Promise<Record<string, string>> {
  const { body } = await agent.ask('/stats/prometheus')
  const [found = '', ...more] = body.split('\n').filter((l) => l.startsWith('istio_requests_total{'))
  assert.deepEqual([more, found.endsWith('} 1')], [[], true], found)
  return Object.fromEntries([...found.matchAll(/(\w+)="([^"]*)"/g)].map((m) => [m[1]!, m[2]!]))
}

const PRINCIPAL = 'spiffe://cluster.local/ns/edge/sa/gateway'
const LABELS = {
  source_workload: 'gateway',
  source_canonical_service: 'gw',
  source_canonical_revision: '2',
  source_workload_namespace: 'edge',
  source_principal: PRINCIPAL,
  source_app: 'gw',
  source_version: '2',
  source_cluster: 'Kubernetes',
  destination_workload: 'orders-v1',
  destination_principal: PRINCIPAL,
  destination_app: 'orders',
  destination_version: 'v1',
  destination_service: 'orders.shop.svc.cluster.local',
  destination_canonical_service: 'orders',
  destination_canonical_revision: 'v1',
  destination_service_name: 'orders',
  destination_service_namespace: 'shop',
  destination_cluster: 'Kubernetes',
  request_protocol: 'http',
  response_code: '200',
  grpc_response_status: '',
  response_flags: '-',
}

test('a request between two agents, in the metrics of both; no application sees who told whom what', async (t) => {
  const [outer = 0, inner = 0] = await freePorts(2)
  const app = await application(t)
  const ports = { outer, inner, app: app.port }
  const plane = await ControlPlane.start(t)
  const there = await ControlPlane.start(t)
  there.push(...inbound(ports))
  plane.push(...outbound(ports))
  const edge = new TestAgent(
    t,
    `node: {name: gateway, namespace: edge, labels: {app: gw, version: "2"}}\n${plane.yaml}`,
  )
  // Of the same mesh: one CA.
  const identity = /^identity:.*$/m
  const cloud = new TestAgent(
    t,
    `node: {name: orders-v1, namespace: shop, labels: {app: orders, version: v1}}\n${there.yaml.replace(identity, identity.exec(plane.yaml)![0])}`,
  )
  for (const agent of [edge, cloud]) {
    await agent.start()
    await agent.connected()
    await until('its port is open', () => agent.status().listeners.some((l) => l.state === 'listening'))
    assert.deepEqual(agent.problems(), [])
  }
  const answer = await fetch(`http://127.0.0.1:${outer}/`)
  assert.equal(await answer.text(), 'hello')
  assert.deepEqual(
    [...answer.headers.keys(), ...app.seen].filter((name) => name.includes('peer')),
    [],
  )

  // Both show the one certificate of this test, whose namespace goes before what a peer says of itself.
  assert.deepEqual(await readLabels(edge), {
    ...LABELS,
    reporter: 'source',
    destination_workload_namespace: 'edge',
    connection_security_policy: 'unknown',
  })
  assert.deepEqual(await readLabels(cloud), {
    ...LABELS,
    reporter: 'destination',
    destination_workload_namespace: 'shop',
    connection_security_policy: 'mutual_tls',
  })
})

test('telemetry.ports: metrics and readiness, and nothing that changes or tells more', async (t) => {
  const [one = 0, other = 0] = await freePorts(2)
  const plane = await ControlPlane.start(t)
  const edge = new TestAgent(
    t,
    `node: {name: edge, namespace: edge}\ntelemetry: {address: 127.0.0.1, ports: [${one}, ${other}]}\n${plane.yaml}`,
  )
  await edge.start()
  await edge.connected()
  for (const port of [one, other]) {
    const metrics = await ask(port, '/stats/prometheus')
    assert.deepEqual([metrics.status, /^mesh_connections_open /m.test(metrics.body)], [200, true])
    assert.deepEqual(await ask(port, '/healthz/ready?detail').then((a) => [a.status, a.body]), [200, 'LIVE\n'])
    for (const page of ['/', '/status', '/config_dump', '/drain']) assert.equal((await ask(port, page)).status, 404)
    assert.equal((await ask(port, '/drain', 'POST')).status, 404)
    assert.equal((await ask(port, '/quitquitquit')).status, 405)
  }
  assert.equal((await ask(one, '/quitquitquit', 'POST')).body, 'OK\n')
  assert.equal(await edge.agent.stopRequested, 'quitquitquit')
  await edge.stop()
  await assert.rejects(ask(one, '/healthz/ready'))
})
