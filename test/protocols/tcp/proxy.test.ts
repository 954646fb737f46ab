/** How a connection through tcp_proxy ends, and whom that is charged to. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { duplexPair, type Duplex } from 'node:stream'
import { MeshError } from '../../../core/errors.ts'
import { Metrics } from '../../../core/metrics.ts'
import { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import type { Cluster } from '../../../model/cluster.ts'
import type { TcpProxy } from '../../../model/listener.ts'
import type { Connection } from '../../../protocols/connection.ts'
import { DEFAULT_LIMITS } from '../../../protocols/context.ts'
import { hash64 } from '../../../protocols/xx-hash.ts'
import { serveTcp } from '../../../protocols/tcp/proxy.ts'
import type { ConnectOptions, Upstreams } from '../../../protocols/upstream-api.ts'
import { seededRandom } from '../../helpers/random.ts'
import type { StatsFilter } from '../../../model/telemetry.ts'
import { settle, SimClock } from '../../helpers/sim-clock.ts'
import { cluster, endpoint, tablesOf } from '../http/harness.ts'

function rig(
  clusters: readonly Cluster[] = [cluster()],
  failure?: MeshError | readonly (MeshError | undefined)[],
  stats?: StatsFilter,
  more: Partial<TcpProxy> = {},
  serverName = 'a.test',
) {
  const [client, near] = duplexPair()
  const [far, server] = duplexPair()
  for (const s of [client, server]) s.on('error', () => {}).resume()
  const clock = new SimClock()
  const aborted = new AbortController()
  const released: string[] = []
  const asked: ConnectOptions[] = []
  const conn = {
    stream: near,
    remote: { host: '10.0.0.2', port: 1 },
    originalDst: { host: '10.9.9.9', port: 9 },
    offered: { serverName },
    listener: { name: 'l', direction: 'outbound' },
    chain: { stats },
    aborted: aborted.signal,
    receivedBytes: 0,
    sentBytes: 0,
    cluster: '-',
  } as unknown as Connection
  const upstreams: Upstreams = {
    connect: async (_, options) => {
      asked.push(options)
      const fails = Array.isArray(failure) ? failure[asked.length - 1] : failure
      if (fails) throw fails
      return { stream: far, endpoint: endpoint('10.1.0.1', 80), alpn: '', release: (how) => released.push(how) }
    },
  }
  const tables = tablesOf(clusters)
  const ctx = {
    clock,
    random: seededRandom(1),
    limits: DEFAULT_LIMITS,
    metrics: new Metrics(),
    budget: new MemoryBudget({ maxBytes: 1 << 20 }),
    identity: { current: () => undefined, watch: assert.fail as never },
    tables: { get: () => tables, watch: assert.fail } as never,
  }
  const tcp = { clusters: [{ name: 'origin', weight: 1 }], idleMs: 5000, ...more } as unknown as TcpProxy
  const outcome = serveTcp(conn, tcp, ctx, upstreams)
  return { client, server, near, far, clock, aborted, released, asked, conn, outcome, metrics: ctx.metrics }
}
const breakOff = (stream: Duplex): void => {
  stream.destroy(new Error('reset'))
}

test('a cluster that nobody knows', async () => {
  const { outcome, asked } = rig([])
  assert.equal((await outcome).error?.code, 'MESH_NO_CLUSTER')
  assert.equal(asked.length, 0)
})
test('the cluster that the client names by SNI, where the chain says so; without a name the usual one', async () => {
  const more = { bySni: true }
  assert.equal((await rig(undefined, undefined, undefined, more).outcome).error?.code, 'MESH_NO_CLUSTER')
  const named = rig([cluster(undefined, { name: 'a.test' })], undefined, undefined, more)
  await settle()
  assert.equal(named.conn.cluster, 'a.test')
  named.client.end()
  named.server.end()
  await named.outcome
  const silent = rig(undefined, undefined, undefined, more, '')
  await settle()
  assert.equal(silent.conn.cluster, 'origin')
  silent.client.end()
  silent.server.end()
  await silent.outcome
})
test('a connection that cannot be made, and one that is not wanted any more', async () => {
  const failed = rig(undefined, new MeshError('MESH_CONNECT_FAILED', 'x'))
  assert.equal((await failed.outcome).error?.code, 'MESH_CONNECT_FAILED')
  const gone = rig(undefined, new MeshError('MESH_DRAINING', 'x'))
  gone.aborted.abort()
  assert.equal((await gone.outcome).error, undefined)
})
test('the cluster is told where the connection was going; bytes count both ways, and an end in order is no error', async () => {
  const r = rig()
  await settle()
  const { speaks, originalDst, host } = r.asked[0]!
  assert.deepEqual({ speaks, originalDst, host }, { speaks: 'tcp', originalDst: r.conn.originalDst, host: 'a.test' })
  assert.equal(r.conn.cluster, 'origin')
  r.client.end('hello')
  r.server.end('hi')
  assert.equal((await r.outcome).error, undefined)
  assert.deepEqual([r.conn.receivedBytes, r.conn.sentBytes], [5, 2])
  assert.deepEqual(r.released, ['ok'])
  assert.equal(r.far.destroyed, true)
})
for (const { name, end, code, charged } of [
  {
    name: 'the endpoint breaks off',
    end: (r: ReturnType<typeof rig>) => breakOff(r.far),
    code: 'MESH_UPSTREAM_RESET',
    charged: 'failed',
  },
  {
    name: 'the client breaks off',
    end: (r: ReturnType<typeof rig>) => breakOff(r.near),
    code: 'MESH_CLIENT_GONE',
    charged: 'ok',
  },
  { name: 'the agent ends it', end: (r: ReturnType<typeof rig>) => r.aborted.abort(), code: undefined, charged: 'ok' },
])
  test(`${name}: ${code ?? 'no error'}, and for the endpoint that is ${charged}`, async () => {
    const r = rig()
    await settle()
    end(r)
    assert.equal((await r.outcome).error?.code, code)
    assert.deepEqual(r.released, [charged])
  })
test('nothing moves for the idle time of the proxy', async () => {
  const r = rig()
  await settle()
  await r.clock.advance(4999)
  assert.deepEqual(r.released, [])
  await r.clock.advance(1)
  assert.equal((await r.outcome).error?.code, 'MESH_IDLE_TIMEOUT')
  assert.deepEqual(r.released, ['ok'])
})

const STATS: StatsFilter = { hostFallback: false, dropped: new Set(), tags: new Map(), expressions: [] }

test('istio_tcp_*: opened at once, bytes whenever somebody asks, closed at the end', async () => {
  const { client, server, metrics, outcome } = rig([cluster()], undefined, STATS)
  const total = (what: string): number => metrics.total(`istio_tcp_${what}_total`, { request_protocol: 'tcp' })
  await settle()
  assert.deepEqual(['connections_opened', 'connections_closed'].map(total), [1, 0])
  client.write('four')
  server.write('seven b')
  await settle()
  assert.deepEqual(['received_bytes', 'sent_bytes'].map(total), [4, 7])
  client.write('more')
  await settle()
  assert.deepEqual(['received_bytes', 'sent_bytes'].map(total), [8, 7])
  client.end()
  server.end()
  await outcome
  assert.deepEqual(['received_bytes', 'connections_opened', 'connections_closed'].map(total), [8, 1, 1])
})

test('istio_tcp_*: an endpoint that cannot be reached is told by its flag', async () => {
  const { metrics, outcome } = rig([cluster()], new MeshError('MESH_CONNECT_FAILED', 'no'), STATS)
  await outcome
  assert.equal(metrics.total('istio_tcp_connections_opened_total', { response_flags: 'UF' }), 1)
  assert.equal(metrics.total('istio_tcp_connections_closed_total', { response_flags: 'UF' }), 1)
})

test('a chain without the filter counts nothing for Istio', async () => {
  const { client, server, metrics, outcome } = rig()
  await settle()
  client.end()
  server.end()
  await outcome
  assert.doesNotMatch(metrics.text(), /istio_/)
})

const FAILED = new MeshError('MESH_CONNECT_FAILED', 'x')
test('where the SNI says the host, the filter says the port (sni_dynamic_forward_proxy)', async () => {
  const r = rig(undefined, undefined, undefined, { forwardPort: 8443 })
  await settle()
  assert.deepEqual([r.asked[0]!.host, r.asked[0]!.forwardPort], ['a.test', 8443])
})
for (const { name, failures, attempts, asked, code } of [
  { name: 'one is the default', failures: [FAILED, undefined], attempts: undefined, asked: 1, code: FAILED.code },
  { name: 'the second may succeed', failures: [FAILED, undefined], attempts: 3, asked: 2, code: undefined },
  { name: 'no more than so many', failures: [FAILED, FAILED, undefined], attempts: 2, asked: 2, code: FAILED.code },
  {
    name: 'none where another would end the same',
    failures: [new MeshError('MESH_NO_ENDPOINT', 'x'), undefined],
    attempts: 3,
    asked: 1,
    code: 'MESH_NO_ENDPOINT',
  },
])
  test(`max_connect_attempts: ${name}`, async () => {
    const r = rig(undefined, failures, undefined, attempts === undefined ? {} : { maxConnectAttempts: attempts })
    await settle()
    assert.equal(r.asked.length, asked)
    r.client.end()
    r.server.end()
    assert.equal((await r.outcome).error?.code, code)
  })
test('max_downstream_connection_duration: it ends, whatever it carries', async () => {
  const r = rig(undefined, undefined, undefined, { maxConnectionMs: 3_000 })
  await settle()
  await r.clock.advance(2_999)
  r.client.write('x')
  assert.equal(r.near.destroyed, false)
  await r.clock.advance(1)
  assert.equal((await r.outcome).error?.code, 'MESH_STREAM_DURATION')
  assert.equal(r.far.destroyed, true)
  assert.deepEqual(r.released, ['ok'])
})
test('hash_policy: the address of the client', async () => {
  const r = rig(undefined, undefined, undefined, { hashesSource: true })
  await settle()
  assert.equal(r.asked[0]!.hash, hash64('10.0.0.2'))
  r.aborted.abort()
  await r.outcome
})
