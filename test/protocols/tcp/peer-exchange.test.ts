/** Two proxies in a row that have agreed on `istio-peer-exchange`: each counts whom it served, and no byte is lost. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { duplexPair, type Duplex } from 'node:stream'
import { Metrics } from '../../../core/metrics.ts'
import { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import type { TcpProxy } from '../../../model/listener.ts'
import { PEER_EXCHANGE } from '../../../model/telemetry.ts'
import { UNKNOWN_WORKLOAD, type Workload } from '../../../model/access-log/workload.ts'
import type { Connection } from '../../../protocols/connection.ts'
import { DEFAULT_LIMITS } from '../../../protocols/context.ts'
import { serveTcp } from '../../../protocols/tcp/proxy.ts'
import { MAX_PREAMBLE_BYTES } from '../../../protocols/telemetry/peer-preamble.ts'
import { seededRandom } from '../../helpers/random.ts'
import { settle, SimClock } from '../../helpers/sim-clock.ts'
import { cluster, endpoint, tablesOf } from '../http/harness.ts'

type Side = { readonly alpn?: string; readonly stream: Duplex }

/** One that is `name`. */
function proxy(name: string, direction: 'inbound' | 'outbound', near: Side, far: Side): { readonly metrics: Metrics } {
  const stats = { hostFallback: true, dropped: new Set(), tags: new Map(), expressions: [] }
  const conn = {
    stream: near.stream,
    tls: near.alpn === undefined ? undefined : { alpn: near.alpn, serverName: '' },
    remote: { host: '10.0.0.2', port: 1 },
    originalDst: undefined,
    offered: { serverName: '' },
    listener: { name: 'l', direction },
    chain: { stats },
    aborted: new AbortController().signal,
    receivedBytes: 0,
    sentBytes: 0,
    cluster: '-',
  } as unknown as Connection
  const tables = tablesOf([cluster(undefined, { exchangesPeers: true })])
  const metrics = new Metrics()
  const workload: Workload = { ...UNKNOWN_WORKLOAD, name, namespace: 'ns', app: name }
  const ctx = {
    clock: new SimClock(),
    random: seededRandom(1),
    limits: DEFAULT_LIMITS,
    metrics,
    budget: new MemoryBudget({ maxBytes: 1 << 20 }),
    telemetry: { workload, nodeId: () => `node-${name}`, maxSeries: 10 },
    identity: { current: () => undefined, watch: assert.fail as never },
    tables: { get: () => tables, watch: assert.fail } as never,
  }
  const tcp = { clusters: [{ name: 'origin', weight: 1 }], idleMs: 5000 } as unknown as TcpProxy
  void serveTcp(conn, tcp, ctx, {
    connect: async (_, options) => {
      assert.equal(options.exchangesPeers, true)
      return { stream: far.stream, endpoint: endpoint('10.1.0.1', 80), alpn: far.alpn ?? '', release: () => {} }
    },
  })
  return { metrics }
}

class Reader {
  text = ''
  constructor(stream: Duplex) {
    stream.on('data', (chunk: Buffer) => (this.text += chunk.toString('latin1'))).on('error', () => {})
  }
}
async function pass(): Promise<void> {
  for (let i = 0; i < 5; i++) await settle()
}
const opened = (metrics: Metrics, labels: Record<string, string>): number =>
  metrics.total('istio_tcp_connections_opened_total', labels)

for (const first of ['client', 'server'] as const)
  test(`both proxies learn who is there; the ${first} speaks first`, async () => {
    const [client, near] = duplexPair()
    const [out, into] = duplexPair()
    const [far, server] = duplexPair()
    const [toClient, toServer] = [new Reader(client), new Reader(server)]
    const alpn = PEER_EXCHANGE
    const source = proxy('shop', 'outbound', { stream: near }, { alpn, stream: out })
    const destination = proxy('bank', 'inbound', { alpn, stream: into }, { stream: far })
    await pass()
    if (first === 'client') client.write('hello')
    else server.write('welcome')
    await pass()
    if (first === 'client') server.write('welcome')
    else client.write('hello')
    await pass()
    assert.deepEqual([toServer.text, toClient.text], ['hello', 'welcome'])
    assert.equal(opened(destination.metrics, { source_workload: 'shop', source_app: 'shop' }), 1)
    assert.equal(opened(source.metrics, { destination_workload: 'bank', destination_app: 'bank' }), 1)
    client.end()
    server.end()
    await pass()
    assert.equal(destination.metrics.total('istio_tcp_connections_closed_total', { source_workload: 'shop' }), 1)
    assert.equal(destination.metrics.total('mesh_tcp_peer_exchange_total', { result: 'read' }), 1)
  })

test('a peer that does not say it is unknown, and its bytes go on', async () => {
  const [into, near] = duplexPair()
  const [far, server] = duplexPair()
  const [answer, seen] = [new Reader(into), new Reader(server)]
  const { metrics } = proxy('bank', 'inbound', { alpn: PEER_EXCHANGE, stream: near }, { stream: far })
  await pass()
  assert.equal(Buffer.from(answer.text.slice(0, 4), 'latin1').toString('hex'), '3d230467', 'we keep to what was agreed')
  assert.equal(opened(metrics, {}), 0, 'nobody knows yet')
  into.write('GET / HTTP/1.1')
  await pass()
  assert.equal(seen.text, 'GET / HTTP/1.1')
  assert.equal(opened(metrics, { source_workload: 'unknown' }), 1)
  assert.equal(metrics.total('mesh_tcp_peer_exchange_total', { result: 'missing' }), 1)
})

test('a peer that says too much is cut off, and counted', async () => {
  const [into, near] = duplexPair()
  const [far, server] = duplexPair()
  const seen = new Reader(server)
  new Reader(into)
  const { metrics } = proxy('bank', 'inbound', { alpn: PEER_EXCHANGE, stream: near }, { stream: far })
  await pass()
  const head = Buffer.from('3d23046700000000', 'hex')
  head.writeUInt32BE(MAX_PREAMBLE_BYTES + 1, 4)
  into.write(head)
  await pass()
  assert.deepEqual([seen.text, near.destroyed, far.destroyed], ['', true, true])
  assert.equal(metrics.total('mesh_tcp_peer_exchange_total', { result: 'refused' }), 1)
  assert.equal(metrics.total('istio_tcp_connections_closed_total'), 1)
})
