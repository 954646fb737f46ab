/**
 * Connections that are open when a certificate that they rest on expires. The handshakes are real, everything else is
 * simulated.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import http2 from 'node:http2'
import type { Address } from '../../core/os/network.ts'
import { MqttPeer } from '../helpers/mqtt/peer.ts'
import { settle } from '../helpers/sim-clock.ts'
import { GET, OK, Peer } from './http/harness.ts'

import { CODECS, HOUR, isClosed, mesh, MINUTE, rig, SECOND, until } from './expiring-nodes.ts'

for (const { whose, lives, code, reason } of [
  { whose: 'our', lives: { server: HOUR }, code: 'MESH_IDENTITY_EXPIRED', reason: '0x98' },
  { whose: "the client's", lives: { client: HOUR }, code: 'MESH_PEER_EXPIRED', reason: '0x87' },
] as const) {
  test(`strict, ${whose} certificate expires: an idle HTTP/1.1 connection is closed, and not a second before`, async (t) => {
    const r = await rig(t, CODECS.http1, lives)
    const stream = (await r.open()).resume()
    await r.w.clock.advance(HOUR - SECOND)
    await settle()
    assert.equal(isClosed(stream)(), false)
    await r.w.clock.advance(SECOND)
    await until('closed', isClosed(stream))
    assert.equal(r.server.ended({ peer: 'client', code, how: 'asked' }), 1)
    stream.end()
    await until('reported', () => r.server.metrics.total('mesh_connections_failed_total', { code }) === 1)
  })

  test(`strict, ${whose} certificate expires: the answer that is under way goes out, says that it is the last one, and the connection is closed`, async (t) => {
    const r = await rig(t, CODECS.http1, lives)
    const client = new Peer(await r.open())
    await client.send(GET)
    await until('it has arrived', () => r.origin.connections.length === 1)
    await r.w.clock.advance(HOUR + 10 * SECOND)
    assert.equal(client.closed, false)
    await r.origin.answer(OK)
    await until('the answer', () => client.ended)
    assert.match(client.received, /^HTTP\/1\.1 200 OK\r\n[^]*connection: close\r\n[^]*hi$/i)
  })

  test(`strict, ${whose} certificate expires: what takes too long is cut off`, async (t) => {
    const r = await rig(t, CODECS.http1, lives)
    const client = new Peer(await r.open())
    await client.send(GET)
    await until('it has arrived', () => r.origin.connections.length === 1)
    await r.w.clock.advance(HOUR + 29 * SECOND)
    assert.equal(client.closed, false)
    await r.w.clock.advance(2 * SECOND)
    await until('cut', () => client.closed)
    assert.equal(r.server.ended({ code, how: 'cut' }), 1)
    await until('the endpoint is not waited for', () => r.origin.last.closed)
  })

  test(`strict, ${whose} certificate expires: HTTP/2 gets GOAWAY, and its streams come to their end`, async (t) => {
    const r = await rig(t, CODECS.http2, lives)
    const stream = await r.open()
    const session = http2.connect('http://server', { createConnection: () => stream })
    let goaway: number | undefined
    session
      .on('goaway', (e) => {
        goaway = e
      })
      .on('error', () => {})
    t.after(() => session.destroy())
    const call = session.request({ ':path': '/', ':authority': 'a' })
    let status: unknown
    call
      .on('response', (h) => {
        status = h[':status']
      })
      .on('error', () => {})
      .resume()
    await until('it has arrived', () => r.origin.connections.length === 1)
    await r.w.clock.advance(HOUR)
    await until('GOAWAY', () => goaway === 0)
    await r.origin.answer(OK)
    await until('the answer', () => status === 200)
    await until('closed', isClosed(stream))
  })

  test(`strict, ${whose} certificate expires: MQTT 5 hears why`, async (t) => {
    const r = await rig(t, CODECS.mqtt, lives)
    const client = new MqttPeer(await r.open())
    await client.connect()
    await r.w.clock.advance(HOUR)
    await until('a packet', () => client.received.length > 0)
    assert.deepEqual(await client.seen(), [`disconnect ${reason}`])
    await until('closed', () => client.closed)
  })

  test(`strict, ${whose} certificate expires: a stream of bytes is cut off when its time is over`, async (t) => {
    const r = await rig(t, CODECS.tcp, lives)
    const client = new Peer(await r.open())
    await until('through', () => r.origin.connections.length === 1)
    await r.w.clock.advance(HOUR + 29 * SECOND)
    await client.send('x')
    await until('it flows', () => r.origin.last.received === 'x')
    await r.w.clock.advance(2 * SECOND)
    await until('cut', () => client.closed && r.origin.last.closed)
    assert.deepEqual([r.server.ended({ code, how: 'asked' }), r.server.ended({ code, how: 'cut' })], [1, 1])
    await until('reported', () => r.server.metrics.total('mesh_connections_failed_total', { code }) === 1)
  })
}

test('a renewal that comes before a stream of bytes is cut off lets it go on', async (t) => {
  const r = await rig(t, CODECS.tcp, { server: HOUR })
  const client = new Peer(await r.open())
  await r.w.clock.advance(HOUR + 20 * SECOND)
  assert.equal(r.server.ended({ how: 'asked' }), 1)
  r.server.identity.swap(r.w.issue('server', 24 * HOUR))
  await r.w.clock.advance(22 * HOUR)
  assert.equal(client.closed, false)
  assert.equal(r.server.ended({ how: 'cut' }), 0)
  await r.w.clock.advance(HOUR - 10 * SECOND)
  assert.equal(client.closed, false, 'it is asked again before it is cut off')
  await r.w.clock.advance(25 * SECOND)
  await until('until that one has expired', () => client.closed)
})
test('a renewal in time touches nothing', async (t) => {
  const r = await rig(t, CODECS.http1, { server: HOUR })
  const stream = (await r.open()).resume()
  await r.w.clock.advance(HOUR / 2)
  r.server.identity.swap(r.w.issue('server', 2 * HOUR))
  await r.w.clock.advance(50 * MINUTE)
  assert.deepEqual([isClosed(stream)(), r.server.ended()], [false, 0])
})
test('a clock that is set to a later day is noticed within a minute', async (t) => {
  const r = await rig(t, CODECS.http1, { server: HOUR })
  const stream = (await r.open()).resume()
  await r.w.clock.advance(5 * SECOND)
  r.w.clock.setWallMs(r.w.startMs + 2 * HOUR)
  await r.w.clock.advance(MINUTE)
  await until('closed', isClosed(stream))
  assert.equal(r.server.ended(), 1)
})

test('site-grace: open connections share the grace of new ones, and it ends when the control plane is back', async (t) => {
  const r = await rig(t, CODECS.tcp, { client: HOUR, settings: { mode: 'site-grace' } })
  const client = new Peer(await r.open())
  await r.w.clock.advance(3 * HOUR - MINUTE)
  assert.deepEqual([client.closed, r.server.ended()], [false, 0])
  r.server.connected = true
  await r.w.clock.advance(2 * MINUTE)
  await until('the grace is over', () => client.closed)
  assert.equal(r.server.ended({ code: 'MESH_PEER_EXPIRED', how: 'cut' }), 1)
})
test('site-grace: when the hours are over it is as strict', async (t) => {
  const r = await rig(t, CODECS.tcp, { server: HOUR, settings: { mode: 'site-grace' } })
  const client = new Peer(await r.open())
  await r.w.clock.advance(3 * HOUR - MINUTE)
  assert.equal(client.closed, false)
  await r.w.clock.advance(2 * MINUTE)
  await until('over', () => client.closed)
})
for (const { trustDomains, want } of [
  { trustDomains: [], want: true },
  { trustDomains: ['other.test'], want: false },
]) {
  test(`site-grace is ${want ? 'not for peers of another trust domain' : 'also for aliases of the trust domain'}`, async (t) => {
    const r = await rig(t, CODECS.tcp, { settings: { mode: 'site-grace', trustDomains } })
    r.client.identity.swap(
      mesh.issue('a', 'b', {
        spiffeUri: 'spiffe://other.test/ns/a/sa/b',
        notBeforeMs: r.w.startMs - 120_000,
        ttlSec: 3_720,
      }),
    )
    const client = new Peer(await r.open())
    await r.w.clock.advance(HOUR + MINUTE)
    await until('decided', () => client.closed === want)
    assert.equal(r.server.ended({ how: 'cut' }), want ? 1 : 0)
    assert.deepEqual(
      r.server.ctx.identity.validity!.peerVerification()!.graceTrustDomains,
      ['mesh.test', ...trustDomains],
      'a new connection is asked the same',
    )
  })
}

test('serve-local: plain text from elsewhere ends with our certificate, what stays on this machine does not', async (t) => {
  const r = await rig(t, CODECS.tcp, { server: HOUR, settings: { mode: 'serve-local' }, plain: true })
  const far = new Peer(await r.open())
  const { network } = r.w
  const dial = network.dial.bind(network)
  network.dial = async (to: Address, signal: AbortSignal) => dial(to, signal, { from: to.host })
  const near = new Peer(await r.open())
  await r.w.clock.advance(HOUR + 31 * SECOND)
  await until('ended', () => far.closed)
  assert.equal(near.closed, false)
})
test("strict: plain text is nobody's certificate", async (t) => {
  const r = await rig(t, CODECS.tcp, { server: HOUR, plain: true })
  const client = new Peer(await r.open())
  await r.w.clock.advance(2 * HOUR)
  assert.deepEqual([client.closed, r.server.ended()], [false, 0])
})
test('openConnections: end: with our certificate, and not with the one that the peer showed', async (t) => {
  const peers = await rig(t, CODECS.tcp, { server: 48 * HOUR, client: HOUR, settings: { openConnections: 'end' } })
  const lasting = new Peer(await peers.open())
  await peers.w.clock.advance(2 * HOUR)
  assert.deepEqual([lasting.closed, peers.server.ended()], [false, 0])
  const ours = await rig(t, CODECS.tcp, { server: HOUR, settings: { openConnections: 'end' } })
  const ending = new Peer(await ours.open())
  await ours.w.clock.advance(HOUR + MINUTE)
  await until('cut', () => ending.closed)
})
test('openConnections: keep', async (t) => {
  const r = await rig(t, CODECS.tcp, { server: HOUR, client: HOUR, settings: { openConnections: 'keep' } })
  const client = new Peer(await r.open())
  await r.w.clock.advance(HOUR + 10 * MINUTE)
  assert.deepEqual([client.closed, r.server.ended()], [false, 0])
})
test('endWithinMs: 0 cuts at once', async (t) => {
  const r = await rig(t, CODECS.tcp, { server: HOUR, settings: { endWithinMs: 0 } })
  const client = new Peer(await r.open())
  await r.w.clock.advance(HOUR)
  await until('cut', () => client.closed)
})

test('one timer, however many connections there are, and none where nothing can expire', async (t) => {
  const r = await rig(t, CODECS.tcp, { server: 48 * HOUR })
  const before = r.w.clock.pendingTimers
  await r.open()
  const one = r.w.clock.pendingTimers - before
  for (let i = 0; i < 20; i++) await r.open()
  await until('all are served', () => r.server.path.connections === 21 && r.origin.connections.length === 21)
  assert.deepEqual([one, r.w.clock.pendingTimers - before], [1, 1])
  const plain = await rig(t, CODECS.tcp, { plain: true, clientSettings: { openConnections: 'keep' } })
  const none = plain.w.clock.pendingTimers
  await plain.open()
  await until('through', () => plain.origin.connections.length === 1)
  assert.equal(plain.w.clock.pendingTimers, none)
})
