/** Requests in Istio's standard metrics, and who the two sides tell each other they are. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Cluster } from '../../../../model/cluster.ts'
import type { HttpConnectionManager, Listener } from '../../../../model/listener.ts'
import type { MetadataExchange, StatsFilter, TelemetrySettings } from '../../../../model/telemetry.ts'
import { formatPeerMetadata } from '../../../../protocols/telemetry/peer.ts'
import { cluster, endpoint, Harness, manager, ORIGIN, route, type Client } from '../harness.ts'

const STATS: StatsFilter = { hostFallback: true, dropped: new Set(), tags: new Map() }
const NONE: MetadataExchange = { clientBy: [], serverByHeaders: false, tellsServer: undefined, tellsClient: false }
const OWN = {
  name: 'gateway-vm',
  namespace: 'edge',
  canonicalService: 'gateway',
  canonicalRevision: 'v2',
  cluster: 'Kubernetes',
  app: 'gw',
  version: '2',
}
const PEER = { ...OWN, name: 'orders-v1', namespace: 'shop', canonicalService: 'orders', app: 'orders' }
const SETTINGS: TelemetrySettings = {
  workload: OWN,
  nodeId: () => 'sidecar~10.0.0.1~gateway-vm.edge~x',
  maxSeries: 100,
}
const METADATA = formatPeerMetadata(OWN)

class Counted extends Harness {
  constructor(clusters?: readonly Cluster[], settings: TelemetrySettings = SETTINGS) {
    super(clusters)
    Object.assign(this.ctx, { telemetry: settings })
  }
  open(direction: Listener['direction'], http: Partial<HttpConnectionManager>): Client {
    return this.connect(manager([route()], { stats: STATS, ...http }), {
      listener: { name: 'l', direction } as Listener,
    })
  }
  requests(by: Record<string, string> = {}): number {
    return this.metrics.total('istio_requests_total', by)
  }
}
const service: Partial<Cluster> = {
  mesh: {
    service: { host: 'orders.shop.svc', name: 'orders', namespace: 'shop' },
    isExternal: false,
    withoutExchange: false,
  },
}
const mesh = (more: Partial<Cluster> = service): Cluster =>
  cluster([endpoint(ORIGIN.host, ORIGIN.port, { workload: 'orders-v1;shop;orders;v1;cluster-1' })], more)
const GET = 'GET / HTTP/1.1\r\nhost: orders\r\n\r\n'
const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi'

test('outbound: the service from the cluster, the workload from the endpoint, sizes and time', async () => {
  await using h = new Counted([mesh()])
  const origin = await h.origin()
  const client = h.open('outbound', {})
  await client.send('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc')
  await h.clock.advance(40)
  await origin.answer(OK)
  assert.match(await client.take(), /hi$/)
  assert.equal(
    h.requests({
      reporter: 'source',
      source_workload: 'gateway-vm',
      source_workload_namespace: 'edge',
      source_canonical_revision: 'v2',
      destination_workload: 'orders-v1',
      destination_workload_namespace: 'shop',
      destination_canonical_service: 'orders',
      destination_cluster: 'cluster-1',
      destination_service: 'orders.shop.svc',
      destination_service_name: 'orders',
      destination_service_namespace: 'shop',
      request_protocol: 'http',
      response_code: '200',
      response_flags: '-',
      connection_security_policy: 'unknown',
    }),
    1,
  )
  const text = h.metrics.text()
  assert.match(text, /istio_request_bytes_sum\{[^}]*\} 3\n/)
  assert.match(text, /istio_response_bytes_sum\{[^}]*\} 2\n/)
  assert.match(text, /istio_request_duration_milliseconds_sum\{[^}]*\} 40\n/)
})

test('nothing is counted without the filter, and nothing exchanged', async () => {
  await using h = new Counted([mesh()])
  const origin = await h.origin()
  const client = h.connect(manager())
  await client.send(GET)
  assert.doesNotMatch(await origin.last.take(), /x-envoy-peer/)
  await origin.answer(OK)
  await client.take()
  assert.doesNotMatch(h.metrics.text(), /istio_/)
})

for (const [what, request, answer, expected] of [
  ['no route', 'GET /none HTTP/1.1\r\nhost: x\r\n\r\n', undefined, { response_code: '404', response_flags: 'NR' }],
  [
    'an error of the application',
    GET,
    'HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n',
    { response_code: '500', response_flags: '-' },
  ],
] as const)
  test(`what became of it: ${what}`, async () => {
    await using h = new Counted([mesh()])
    const origin = await h.origin()
    const only = route(undefined, { match: { ...route().match, path: { kind: 'exact', value: '/' } } })
    const client = h.connect(manager([only], { stats: STATS }))
    await client.send(request)
    if (answer !== undefined) await origin.answer(answer)
    await client.take()
    assert.equal(h.requests(expected), 1, h.metrics.text())
  })

const GRPC = 'POST /a.B/c HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n'
for (const [what, answer, status] of [
  [
    'trailers',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: grpc-status\r\n\r\n0\r\ngrpc-status: 5\r\n\r\n',
    '5',
  ],
  ['headers', 'HTTP/1.1 200 OK\r\ngrpc-status: 16\r\ncontent-length: 0\r\n\r\n', '16'],
  ['the HTTP status', 'HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n', '14'],
  ['what is no number', 'HTTP/1.1 200 OK\r\ngrpc-status: evil\r\ncontent-length: 0\r\n\r\n', '-1'],
] as const)
  test(`gRPC: its status from ${what}`, async () => {
    await using h = new Counted([mesh()])
    const origin = await h.origin()
    const client = h.open('outbound', {})
    await client.send(GRPC)
    await origin.answer(answer)
    await client.take()
    assert.equal(h.requests({ request_protocol: 'grpc', grpc_response_status: status }), 1, h.metrics.text())
  })

test('inbound: the client is who it says in its header, request by request; the application sees none of it', async () => {
  await using h = new Counted([mesh()])
  const origin = await h.origin()
  const client = h.open('inbound', { exchange: { ...NONE, clientBy: ['headers'], tellsClient: true } })
  await client.send(
    `GET / HTTP/1.1\r\nhost: x\r\nx-envoy-peer-metadata-id: id\r\nx-envoy-peer-metadata: ${formatPeerMetadata(PEER)}\r\n\r\n`,
  )
  assert.doesNotMatch(await origin.last.take(), /x-envoy-peer/)
  await origin.answer(OK)
  const answer = await client.take()
  assert.match(answer, /x-envoy-peer-metadata-id: sidecar~10\.0\.0\.1~gateway-vm\.edge~x\r\n/)
  assert.ok(answer.includes(`x-envoy-peer-metadata: ${METADATA}\r\n`), answer)
  assert.equal(
    h.requests({
      reporter: 'destination',
      source_workload: 'orders-v1',
      source_workload_namespace: 'shop',
      source_app: 'orders',
      destination_workload: 'gateway-vm',
      destination_service: 'orders.shop.svc',
      connection_security_policy: 'none',
    }),
    1,
    h.metrics.text(),
  )
  await client.send(GET)
  await origin.answer(OK)
  assert.doesNotMatch(await client.take(), /x-envoy-peer/, 'who does not say who he is is told nothing')
  assert.equal(h.requests({ source_workload: 'unknown' }), 1)
})

test('baggage counts where the filter says so, and stays for the application', async () => {
  await using h = new Counted([mesh()])
  const origin = await h.origin()
  const request = 'GET / HTTP/1.1\r\nhost: x\r\nbaggage: k8s.namespace.name=shop,k8s.deployment.name=orders-v1\r\n\r\n'
  for (const [clientBy, name] of [
    [['baggage'], 'orders-v1'],
    [['headers'], 'unknown'],
  ] as const) {
    const client = h.open('inbound', { exchange: { ...NONE, clientBy } })
    await client.send(request)
    assert.match(await origin.last.take(), /baggage: k8s/)
    await origin.answer(OK)
    await client.take()
    assert.equal(h.requests({ source_workload: name }), 1)
  }
})

test('outbound: we say who we are, the server says who it is, the client hears nothing of it', async () => {
  await using h = new Counted([mesh()])
  const origin = await h.origin()
  const client = h.open('outbound', { exchange: { ...NONE, serverByHeaders: true, tellsServer: 'all' } })
  await client.send('GET / HTTP/1.1\r\nhost: x\r\nx-envoy-peer-metadata: Zm9yZ2Vk\r\n\r\n')
  const sent = await origin.last.take()
  assert.deepEqual(
    [...sent.matchAll(/x-envoy-peer-metadata: (.*)\r\n/g)].map((m) => m[1]),
    [METADATA],
    'once, and not what the application says',
  )
  assert.match(sent, /x-envoy-peer-metadata-id: sidecar~/)
  await origin.answer(
    OK.replace(
      '\r\n\r\n',
      `\r\nx-envoy-peer-metadata-id: i\r\nx-envoy-peer-metadata: ${formatPeerMetadata(PEER)}\r\n\r\n`,
    ),
  )
  assert.doesNotMatch(await client.take(), /x-envoy-peer/)
  assert.equal(
    h.requests({ destination_workload: 'orders-v1', destination_app: 'orders', destination_version: '2' }),
    1,
  )
})

for (const [what, tellsServer, mark, told] of [
  ['a service of the mesh', 'mesh', {}, true],
  ['one outside of the mesh', 'mesh', { isExternal: true }, false],
  ['one outside, where all are told', 'all', { isExternal: true }, true],
  ['one that is not to be told', 'all', { withoutExchange: true }, false],
] as const)
  test(`who is told who we are: ${what}`, async () => {
    await using h = new Counted([mesh({ mesh: { isExternal: false, withoutExchange: false, ...mark } })])
    const origin = await h.origin()
    await h.open('outbound', { exchange: { ...NONE, tellsServer } }).send(GET)
    assert.equal(/x-envoy-peer-metadata/.test(await origin.last.take()), told)
    await origin.answer(OK)
  })

test('hosts and peers that nobody knows end in one series', async () => {
  await using h = new Counted([cluster()], { ...SETTINGS, maxSeries: 2 })
  const origin = await h.origin()
  const client = h.open('outbound', {})
  for (let i = 0; i < 5; i++) {
    await client.send(`GET / HTTP/1.1\r\nhost: h${i}.example\r\n\r\n`)
    await origin.answer(OK)
    await client.take()
  }
  assert.equal(h.requests(), 5)
  assert.equal(h.requests({ destination_service: 'h1.example' }), 1)
  assert.equal(h.requests({ destination_service: 'unknown', reporter: 'source' }), 3)
  assert.equal(h.metrics.total('mesh_telemetry_series_dropped_total'), 3)
})

test('another push with other labels is counted by them from its first request on', async () => {
  await using h = new Counted([mesh()])
  const origin = await h.origin()
  const client = h.open('outbound', {})
  const send = async (): Promise<void> => {
    await client.send(GET)
    await origin.answer(OK)
    await client.take()
  }
  await send()
  client.conn.chain = {
    ...client.conn.chain,
    codec: {
      kind: 'http',
      http: manager([route()], {
        stats: { ...STATS, tags: new Map([['requests_total', new Map([['site', 'north']])]]) },
      }),
    },
  }
  await send()
  await send()
  assert.deepEqual([h.requests({ site: 'north' }), h.requests()], [2, 3])
})

test('a header that is longer than any metadata tells nothing, and is not the next one', async () => {
  await using h = new Counted([mesh()])
  const origin = await h.origin()
  const client = h.open('inbound', { exchange: { ...NONE, clientBy: ['headers'] } })
  for (const said of ['A'.repeat(5_000), 'A'.repeat(5_001), formatPeerMetadata(PEER), formatPeerMetadata(PEER)]) {
    await client.send(`GET / HTTP/1.1\r\nhost: x\r\nx-envoy-peer-metadata: ${said}\r\n\r\n`)
    await origin.answer(OK)
    await client.take()
  }
  assert.deepEqual([h.requests({ source_workload: 'unknown' }), h.requests({ source_workload: 'orders-v1' })], [2, 2])
})
