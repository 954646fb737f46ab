import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Policy } from '../../../../model/policy.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { cluster, forwardTo, GET, Harness, manager, OK, ORIGIN, route } from '../harness.ts'

test('requests sent ahead are answered in order, each after the one before', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send(
    'GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\nGET /3 HTTP/1.1\r\nhost: a\r\n\r\n',
  )
  for (const path of ['/1', '/2', '/3']) {
    assert.match(await origin.last.take(), new RegExp(`^GET ${path} HTTP/1.1\r\n[^]*\r\n\r\n$`))
    await origin.answer(OK)
    assert.match(await client.take(), /^HTTP\/1\.1 200 OK[^]*hi$/)
  }
})

test('a thousand requests in one read that are answered locally do not overflow the stack', async () => {
  await using h = new Harness([])
  const client = h.connect(manager([route({ kind: 'direct', status: 200, body: 'x' })]))
  await client.send(GET.repeat(1000))
  assert.equal((await client.take()).split('HTTP/1.1 200 OK').length, 1001)
})

test('a malformed request is answered with its code and the connection ends', async () => {
  await using h = new Harness()
  const client = h.connect()
  await client.send('GET / HTTP/1.1\nhost: a\n\n')
  assert.match(
    await client.take(),
    /^HTTP\/1\.1 400 Bad Request\r\nx-meshlet-error: MESH_MALFORMED_INPUT\r\n[^]*connection: close\r\n/,
  )
  client.stream.end()
  assert.equal((await client.outcome).error?.code, 'MESH_MALFORMED_INPUT')
  assert.equal(h.metrics.total('mesh_http_refused_messages_total'), 1)
})

test('a path that servers read in different ways is refused before routing', async () => {
  await using h = new Harness()
  const client = h.connect()
  await client.send('GET /a\\..\\b HTTP/1.1\r\nhost: a\r\n\r\n')
  assert.match(await client.take(), /MESH_MALFORMED_INPUT/)
})

test('the path that is forwarded is the normalised one', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  await h.connect().send('GET /a/../%62//c?x=//y HTTP/1.1\r\nhost: a\r\n\r\n')
  assert.match(await origin.last.take(), /^GET \/b\/c\?x=\/\/y HTTP/)
})

test('100 is sent once the request is to be forwarded, and the endpoint is not asked again (RFC 9110 §10.1.1)', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send('POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n')
  assert.equal(await client.take(), 'HTTP/1.1 100 Continue\r\n\r\n')
  await client.send('ab')
  assert.match(
    await origin.last.take(),
    /^POST \/ HTTP\/1\.1\r\nhost: a\r\nx-forwarded-proto: http\r\ncontent-length: 2\r\n\r\nab$/,
  )
})

test('a request that policy refuses is not told to continue', async () => {
  await using h = new Harness()
  const nobody: Policy = { action: 'allow', rules: [], shadow: undefined }
  const client = h.connect(manager([route()], { filters: [{ kind: 'rbac', name: 'rbac', policy: nobody }] }))
  await client.send('POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n')
  const answer = await client.take()
  assert.match(answer, /^HTTP\/1\.1 403 Forbidden\r\nx-meshlet-error: MESH_PEER_NOT_ALLOWED/)
  assert.match(answer, /connection: close/)
  assert.equal(h.metrics.total('mesh_http_denied_total'), 1)
})

test('an HTTP/1.0 client gets an answer without chunks that ends with the connection', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send('GET / HTTP/1.0\r\nhost: a\r\n\r\n')
  await origin.answer('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n')
  assert.match(await client.take(), /connection: close\r\n\r\nhi$/)
  assert.equal(client.ended, true)
})

test('chunks of a byte that come in one read go on together, with the end behind them', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  const chunks = (text: string): string => Array.from(text, (one) => `1\r\n${one}\r\n`).join('')
  await client.send(`POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n${chunks('ab')}`)
  assert.match(await origin.last.take(), /\r\n\r\n2\r\nab\r\n$/)
  await client.send(chunks('cdef'))
  assert.equal(await origin.last.take(), '4\r\ncdef\r\n')
  const large = 'x'.repeat(2_000)
  await client.send(`${chunks('gh')}7d0\r\n${large}\r\n${chunks('ij')}0\r\n\r\n`)
  assert.equal(await origin.last.take(), `2\r\ngh\r\n7d0\r\n${large}\r\n2\r\nij\r\n0\r\n\r\n`)
})

test('HEAD keeps the length of what it does not send', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send('HEAD / HTTP/1.1\r\nhost: a\r\n\r\n')
  await origin.answer('HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n')
  assert.match(await client.take(), /content-length: 99\r\n\r\n$/)
  await client.send(GET)
  assert.equal(origin.connections.length, 1)
})

test('an answer that lasts until the endpoint closes goes on in chunks', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send(GET)
  await origin.answer('HTTP/1.1 200 OK\r\n\r\nabc')
  origin.last.stream.end()
  assert.match(await client.take(), /transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n$/)
})

test("an answer that breaks off ends the client's connection instead of looking complete", async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send(GET)
  await origin.answer('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n')
  h.network.cut(ORIGIN)
  assert.doesNotMatch(await client.take(), /0\r\n\r\n$/)
  assert.equal(client.closed, true)
  assert.equal((await client.outcome).error?.code, 'MESH_UPSTREAM_RESET')
})

test("an answer before the request's end is passed on and the connection ends", async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc')
  await origin.answer('HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n')
  await client.take()
  assert.equal(client.ended, true)
  assert.equal(origin.last.closed, true)
})

test('draining: an idle connection ends at once, a busy one with its answer', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const [idle, busy] = [h.connect(), h.connect()]
  await busy.send(GET)
  h.drain()
  await settle()
  assert.equal(idle.ended, true)
  assert.equal(busy.ended, false)
  await origin.answer(OK)
  assert.match(await busy.take(), /connection: close\r\n\r\nhi$/)
  assert.equal(busy.ended, true)
})

test('a head that comes too slowly is answered with 408, however often a byte comes', async () => {
  await using h = new Harness([cluster()], { requestHeadMs: 1000 })
  const client = h.connect()
  for (const c of 'GET / HTTP') {
    await client.send(c)
    await h.clock.advance(110)
  }
  assert.match(await client.take(), /^HTTP\/1\.1 408 [^]*MESH_REQUEST_TIMEOUT/)
  assert.equal(h.metrics.total('mesh_http_limits_met_total', { limit: 'requestHeadMs' }), 1)
})

test("an idle connection ends after the connection's idle time, without an answer", async () => {
  await using h = new Harness()
  const client = h.connect(manager([route()], { connectionIdleMs: 2000 }))
  await h.clock.advance(1990)
  assert.equal(client.closed, false)
  await h.clock.advance(20)
  assert.equal(client.closed, true)
  assert.equal(client.received, '')
})

test("an exchange in which nothing moves ends after the stream's idle time", async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect(manager([route()], { streamIdleMs: 1000 }))
  await client.send(GET)
  await h.clock.advance(1010)
  assert.match(await client.take(), /^HTTP\/1\.1 504 [^]*MESH_IDLE_TIMEOUT/)
  assert.equal(origin.last.closed, true)
})

test('a client that leaves takes its request with it', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send(GET)
  client.stream.destroy()
  await settle()
  assert.equal((await client.outcome).error?.code, 'MESH_CLIENT_GONE')
  assert.equal(origin.last.closed, true)
})

test('a client that does not read stops the endpoint, and reading goes on from there', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send(GET)
  client.stream.pause()
  const megabytes = 4
  origin.last.stream.write(`HTTP/1.1 200 OK\r\ncontent-length: ${megabytes << 20}\r\n\r\n`)
  for (let i = 0; i < megabytes * 16; i++) origin.last.stream.write(Buffer.alloc(65_536, 120))
  await settle()
  await settle()
  assert.ok(origin.last.stream.writableLength > (megabytes - 1) << 20, 'nearly everything still waits at the endpoint')
  client.stream.resume()
  for (let i = 0; i < 400 && client.received.length < megabytes << 20; i++) await settle()
  assert.equal(client.received.split('\r\n\r\n')[1]!.length, megabytes << 20)
})

test('an endpoint that does not read stops the client', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send(`PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: ${4 << 20}\r\n\r\n`)
  origin.last.stream.pause()
  for (let i = 0; i < 64; i++) client.stream.write(Buffer.alloc(65_536, 120))
  await settle()
  await settle()
  assert.ok(client.stream.writableLength > 3 << 20, 'nearly everything still waits at the client')
  origin.last.stream.resume()
  for (let i = 0; i < 400 && origin.last.received.length < 4 << 20; i++) await settle()
  assert.equal(origin.last.received.split('\r\n\r\n')[1]!.length, 4 << 20)
})

const WEBSOCKET =
  'GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: k\r\n\r\n'
const SWITCH =
  'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n'

test('a WebSocket is switched through where upgrades are permitted, with the bytes that came early', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect(manager([route()], { upgrades: ['websocket'] }))
  await client.send(`${WEBSOCKET}early`)
  assert.match(await origin.last.take(), /connection: upgrade\r\nupgrade: websocket\r\n\r\n$/)
  await origin.answer(`${SWITCH}hello`)
  assert.match(
    await client.take(),
    /^HTTP\/1\.1 101 Switching Protocols\r\nsec-websocket-accept: x\r\n[^]*upgrade: websocket\r\n\r\nhello$/,
  )
  assert.equal(await origin.last.take(), 'early')
  await client.send('ping')
  assert.equal(await origin.last.take(), 'ping')
  origin.last.stream.end('bye')
  assert.equal(await client.take(), 'bye')
  client.stream.end()
  assert.equal((await client.outcome).error, undefined)
})

for (const { name, path = '/ws', upgrade, http, want } of [
  { name: 'nobody permits', upgrade: 'websocket', http: manager([route()]), want: 403 },
  {
    name: 'the listener does not name',
    upgrade: 'foo',
    http: manager([route()], { upgrades: ['websocket'] }),
    want: 403,
  },
  {
    name: 'is one of several',
    upgrade: 'foo, websocket',
    http: manager([route()], { upgrades: ['websocket'] }),
    want: 403,
  },
  {
    name: 'the route forbids',
    upgrade: 'websocket',
    http: manager([route(forwardTo({ upgrades: new Map([['websocket', false]]) }))], { upgrades: ['websocket'] }),
    want: 403,
  },
  {
    name: 'comes to a direct response',
    upgrade: 'websocket',
    http: manager([route({ kind: 'direct', status: 200, body: 'x' })]),
    want: 403,
  },
  { name: 'comes where there is no route', path: '/ws', upgrade: 'websocket', http: manager([]), want: 404 },
]) {
  test(`an upgrade that ${name} is answered with ${want}, and the connection with it is over, as in Envoy`, async () => {
    await using h = new Harness()
    const client = h.connect(http)
    await client.send(`GET ${path} HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: ${upgrade}\r\n\r\n${GET}`)
    const answer = await client.take()
    assert.match(
      answer,
      new RegExp(
        `^HTTP/1\\.1 ${want} .*connection: close.*${want === 403 ? 'MESH_UPGRADE_NOT_PERMITTED' : 'MESH_NO_ROUTE'}`,
        's',
      ),
    )
    assert.equal(answer.split('HTTP/1.1').length, 2, 'what follows is not taken for a request')
  })
}

for (const upgrade of ['h2c', 'TLS/1.2', 'TLS/1.0, HTTP/1.1', 'HTTP/2.0']) {
  test(`a mere offer, ${upgrade}, is forwarded as the plain request it also is (RFC 9110 §7.8)`, async () => {
    await using h = new Harness()
    const origin = await h.origin()
    const client = h.connect()
    await client.send(`GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: ${upgrade}\r\n\r\n`)
    assert.doesNotMatch(await origin.last.take(), /upgrade/)
    await origin.answer('HTTP/1.1 204 No Content\r\n\r\n')
    assert.doesNotMatch(await client.take(), /connection: close/)
  })
}

test('an endpoint that switches protocols unasked is refused', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send(GET)
  await origin.answer(SWITCH)
  assert.match(await client.take(), /^HTTP\/1\.1 502 [^]*MESH_UPSTREAM_PROTOCOL/)
  assert.equal(origin.last.closed, true)
})

test("the route's timeout is over when the protocol is switched", async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect(manager([route(forwardTo({ upgrades: new Map([['websocket', true]]), timeoutMs: 1000 }))]))
  await client.send(WEBSOCKET)
  await origin.answer(SWITCH)
  await h.clock.advance(2000)
  assert.equal(client.closed, false)
})

test('a tunnel in which nothing moves ends', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect(manager([route(forwardTo({ upgrades: new Map([['websocket', true]]), idleMs: 5000 }))]))
  await client.send(WEBSOCKET)
  await origin.answer(SWITCH)
  await h.clock.advance(5010)
  assert.equal((await client.outcome).error?.code, 'MESH_IDLE_TIMEOUT')
  assert.equal(origin.last.closed, true)
})

test('CONNECT is for explicit proxies only', async () => {
  await using h = new Harness()
  const client = h.connect()
  await client.send('CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n')
  assert.match(await client.take(), /^HTTP\/1\.1 501 [^]*MESH_UNSUPPORTED/)
})

test("CONNECT opens a tunnel to the cluster that the host's route names", async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect(manager([route()], { explicitProxy: true }))
  await client.send('CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\nhello')
  assert.equal(await client.take(), 'HTTP/1.1 200 OK\r\n\r\n')
  assert.equal(await origin.last.take(), 'hello')
  await origin.answer('there')
  assert.equal(await client.take(), 'there')
  client.stream.destroy()
  await settle()
  assert.equal(origin.last.closed, true)
  assert.equal(h.upstreams.clusterStatus()[0]!.connections, 0)
})

test('CONNECT does not pass by a route that has a policy of its own, because a tunnel has no path to ask it about', async () => {
  await using h = new Harness()
  await h.origin()
  const guarded: Policy = { action: 'deny', rules: [], shadow: undefined }
  const client = h.connect(
    manager([route(forwardTo(), { filters: new Map([['r', { off: false, policy: { value: guarded } }]]) })], {
      explicitProxy: true,
    }),
  )
  await client.send('CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n')
  assert.match(await client.take(), /^HTTP\/1\.1 404 [^]*MESH_NO_ROUTE/)
})

test("an explicit proxy takes the host from an absolute target and drops the proxy's credentials", async () => {
  await using h = new Harness()
  const origin = await h.origin()
  await h
    .connect(manager([route()], { explicitProxy: true }))
    .send('GET http://b.example/x HTTP/1.1\r\nhost: a\r\nproxy-authorization: Basic x\r\n\r\n')
  assert.equal(await origin.last.take(), 'GET /x HTTP/1.1\r\nhost: b.example\r\nx-forwarded-proto: http\r\n\r\n')
})

test('a delay fault waits, an abort fault answers', async () => {
  await using h = new Harness()
  const fault = {
    delay: { ms: 300, fraction: 1 },
    abort: { status: 418, grpcStatus: undefined, fraction: 1 },
    headers: [],
  }
  const client = h.connect(manager([route()], { filters: [{ kind: 'fault', name: 'f', fault }] }))
  await client.send(GET)
  await h.clock.advance(290)
  assert.equal(await client.take(), '')
  await h.clock.advance(20)
  assert.match(await client.take(), /^HTTP\/1\.1 418 \r\nx-meshlet-error: MESH_FAULT_INJECTED/)
})

test('after a change of configuration the next request is served by the new chain', async () => {
  await using h = new Harness([])
  const client = h.connect(manager([route({ kind: 'direct', status: 200, body: 'old' })]))
  await client.send(GET)
  assert.match(await client.take(), /old$/)
  client.conn.chain = {
    ...client.conn.chain,
    codec: { kind: 'http', http: manager([route({ kind: 'direct', status: 200, body: 'new' })]) },
  }
  await client.send(GET)
  assert.match(await client.take(), /new$/)
})

test('early hints leave before the answer (RFC 8297)', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send(GET)
  await origin.answer('HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n')
  assert.equal(await client.take(), 'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n')
  await origin.answer(OK)
  assert.match(await client.take(), /^HTTP\/1\.1 200 /)
})
