import { test } from 'node:test'
import assert from 'node:assert/strict'
import http2 from 'node:http2'
import type { Breakers } from '../../../model/cluster.ts'
import type { CallEvents } from '../../../protocols/http/message.ts'
import { settle } from '../../helpers/sim-clock.ts'
import { cluster, GET, Harness, OK, ORIGIN } from '../http/harness.ts'

const NARROW: Breakers = {
  maxConnections: 1,
  maxPendingRequests: 1,
  maxRequests: 10,
  maxRetries: 3,
  retryBudget: undefined,
}

test('at max_connections requests wait for the connection, at max_pending_requests they are refused', async () => {
  await using h = new Harness([cluster(undefined, { breakers: NARROW })])
  const origin = await h.origin()
  const clients = [h.connect(), h.connect(), h.connect()] as const
  for (const c of clients) await c.send(GET)
  assert.equal(origin.connections.length, 1)
  assert.match(await clients[2].take(), /^HTTP\/1\.1 503 [^]*MESH_UPSTREAM_OVERFLOW/)
  await origin.answer(OK)
  assert.match(await clients[0].take(), /200 OK/)
  await origin.answer(OK)
  assert.match(await clients[1].take(), /200 OK/)
  assert.equal(origin.connections.length, 1)
})
test('a request that gave up waiting leaves its place', async () => {
  await using h = new Harness([cluster(undefined, { breakers: NARROW })])
  await h.origin()
  const [first, second, third] = [h.connect(), h.connect(), h.connect()]
  await first.send(GET)
  await second.send(GET)
  second.stream.destroy()
  await settle()
  await third.send(GET)
  assert.equal(await third.take(), '')
  assert.deepEqual(
    h.upstreams.clusterStatus().map((c) => [c.activeRequests, c.pendingRequests, c.connections]),
    [[2, 1, 1]],
  )
})
test('a call that asks for a fresh connection is not served by one that was used, which makes way for it at max_connections', async () => {
  await using h = new Harness([cluster(undefined, { breakers: NARROW })])
  const origin = await h.origin()
  const client = h.connect()
  await client.send(GET)
  let calls = 0
  const events = {
    onCallPicked: () => {},
    onCall: () => calls++,
    onCallFailed: () => {},
  } as Partial<CallEvents> as CallEvents
  const pending = h.upstreams.startCall(
    h.tables.get().cluster('origin')!,
    { source: '10.0.0.9', speaks: 'http1', fresh: true, maxHostPicks: 1 },
    events,
  )
  await origin.answer(OK)
  assert.match(await client.take(), /200 OK/)
  await settle()
  assert.equal(origin.connections[0]!.stream.destroyed, true)
  assert.deepEqual([calls, origin.connections.length], [1, 2])
  assert.deepEqual(
    h.upstreams.clusterStatus().map((c) => [c.activeRequests, c.pendingRequests, c.connections]),
    [[1, 0, 1]],
  )
  pending?.cancel()
})
test('at max_requests nothing more is started', async () => {
  await using h = new Harness([cluster(undefined, { breakers: { ...NARROW, maxRequests: 1 } })])
  await h.origin()
  const [first, second] = [h.connect(), h.connect()]
  await first.send(GET)
  await second.send(GET)
  assert.match(await second.take(), /MESH_UPSTREAM_OVERFLOW/)
})
test("an idle connection ends after the cluster's idle time, a used one after its number of requests", async () => {
  await using h = new Harness([cluster(undefined, { idleMs: 1000, maxRequestsPerConnection: 2 })])
  const origin = await h.origin()
  const client = h.connect()
  await client.send(GET)
  await origin.answer(OK)
  await h.clock.advance(1010)
  assert.equal(origin.connections[0]!.closed, true)
  for (let i = 0; i < 3; i++) {
    await client.send(GET)
    await origin.answer(OK)
  }
  assert.equal(origin.connections.length, 3)
  assert.equal(origin.connections[1]!.closed, true)
})
test('an HTTP/2 connection ends by being idle, however many calls it has carried', async () => {
  await using h = new Harness([cluster(undefined, { protocol: 'http2', idleMs: 1000 })])
  await h.network.listen(ORIGIN, ({ stream }) => {
    const server = http2.createServer().on('stream', (s: http2.ServerHttp2Stream) => {
      s.respond({ ':status': 200 }, { endStream: true })
    })
    server.emit('connection', stream)
  })
  const client = h.connect()
  for (let i = 0; i < 3; i++) {
    await client.send(GET)
    for (let n = 0; n < 20; n++) await settle()
    assert.match(await client.take(), /200 OK/)
  }
  assert.equal(h.upstreams.clusterStatus()[0]!.connections, 1)
  await h.clock.advance(1_100)
  assert.equal(h.upstreams.clusterStatus()[0]!.connections, 0)
})
test('a connect that hangs ends with connect_timeout', async () => {
  await using h = new Harness()
  h.network.blackhole(ORIGIN)
  const client = h.connect()
  await client.send(GET)
  await h.clock.advance(1001)
  assert.match(await client.take(), /^HTTP\/1\.1 503 [^]*MESH_CONNECT_TIMEOUT/)
  assert.equal(h.upstreams.clusterStatus()[0]!.connections, 0)
})
test('counts come back to zero however requests end', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const clients = Array.from({ length: 6 }, () => h.connect())
  for (const c of clients) await c.send(GET)
  await origin.connections[0]!.send(OK)
  await origin.connections[1]!.send('garbage\r\n\r\n')
  origin.connections[2]!.stream.destroy()
  clients[3]!.stream.destroy()
  await origin.connections[4]!.send('HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n')
  origin.connections[4]!.stream.end()
  await origin.connections[5]!.send('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhixx')
  await settle()
  await settle()
  const [status] = h.upstreams.clusterStatus()
  assert.deepEqual(
    [status!.activeRequests, status!.pendingRequests, status!.connections, status!.endpoints[0]!.activeRequests],
    [0, 0, 1, 0],
  )
})
