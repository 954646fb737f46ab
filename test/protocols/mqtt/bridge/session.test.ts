import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../helpers/sim-clock.ts'
import { bridgePolicy, DOWN, rig, Rig, tablesWith, UP } from './rig.ts'

test('a broker of 3.1.1 is met with 3.1.1, whichever way it says so', async (t) => {
  for (const answer of ['20 02 00 01', '20 03 00 84 00']) {
    const r = await rig(t, [UP, DOWN])
    const first = await r.upstream.next()
    await first.take('connect')
    first.raw(answer)
    const conn = await r.upstream.next()
    const connect = await conn.take('connect')
    assert.deepEqual([connect.version, connect.cleanStart], [4, false])
    conn.connack(0)
    await conn.granted()
    await r.publish('sensors/a', '1', { properties: Buffer.from([3, 0, 1, 65]) })
    assert.deepEqual(await conn.seen(), ['publish sensors/a 1 q1 #1'])
  }
})

test('waits grow while the upstream is away, and a refusal shows', async (t) => {
  const r = await rig(t, [UP])
  const first = await r.upstream.next()
  await first.take('connect')
  first.connack(0x87)
  await settle()
  assert.equal(r.bridge.status()[0]!.state, 'refused')
  assert.match(r.bridge.status()[0]!.error ?? '', /0x87/)
  r.upstream.refuse()
  await r.clock.advance(3_600_000)
  const tries = r.upstream.network.dials
  assert.ok(tries > 12 && tries < 60, `${tries} tries in an hour`)
  assert.equal(r.bridge.status()[0]!.state, 'waiting')
  r.upstream.restore()
  await r.reconnected()
  await settle()
  assert.equal(r.bridge.status()[0]!.state, 'connected')
  assert.deepEqual(r.upstream.releases.slice(0, 1), ['ok'])
})

/** Connects, and is left by the broker after so long; how long the next connection took. */
async function kickedAfter(r: Rig, livedMs: number): Promise<number> {
  const conn = await r.reconnected()
  conn.isAlive = true
  await r.clock.advance(livedMs)
  conn.end()
  const fromMs = r.clock.monotonicMs()
  await r.nextConnection()
  return r.clock.monotonicMs() - fromMs
}
test('[P-83] a broker that kicks after CONNACK is met with growing waits; only a minute makes a connection a good one', async (t) => {
  const r = await rig(t, [{ ...UP }], { reconnectMinMs: 1_000, reconnectMaxMs: 60_000 })
  const first = await r.upstream.accepted()
  first.end()
  const kicks: number[] = []
  for (let i = 0; i < 12; i++) kicks.push(await kickedAfter(r, 0))
  assert.ok(Math.max(...kicks.slice(4)) > 5_000, String(kicks))
  assert.ok(
    kicks.every((ms) => ms >= 1_000 && ms <= 60_100),
    String(kicks),
  )
  assert.ok((await kickedAfter(r, 60_000)) <= 3_100)
})

test('a cluster that is not there yet is connected to at once when it comes', async (t) => {
  const r = await rig(t, [{ ...UP, cluster: 'later' }])
  await settle()
  assert.match(r.bridge.status()[0]!.error ?? '', /later/)
  r.tables.swap(tablesWith('other'))
  await settle()
  assert.equal(r.upstream.connections.length, 0)
  r.tables.swap(tablesWith('later'))
  await settle()
  await r.upstream.accepted()
})

test('an upstream that is changed or replaced is tried at once', async (t) => {
  const r = await rig(t, [UP])
  r.upstream.refuse()
  r.upstream.cut()
  await r.clock.advance(600_000)
  r.upstream.restore()
  const known = r.upstream.connections.length
  r.tables.swap(tablesWith('cloud'))
  await settle()
  assert.equal(r.upstream.connections.length, known + 1)
})

test('lazy: connects once enough waits, and leaves when nothing has passed for a while', async (t) => {
  const r = await rig(t, [UP], { start: 'lazy', lazyMessages: 3, idleSec: 60 })
  for (const n of ['1', '2']) await r.publish('sensors/a', n)
  await r.clock.advance(60_000)
  assert.deepEqual([r.upstream.connections.length, r.bridge.status()[0]!.state], [0, 'idle'])
  await r.publish('sensors/a', '3')
  const conn = await r.upstream.accepted()
  conn.isAlive = true
  assert.equal((await conn.seen()).length, 3)
  await r.clock.advance(59_000)
  for (const id of [1, 2]) conn.ack('puback', id)
  await r.clock.advance(60_000)
  assert.equal(conn.closed, false, 'one is not acknowledged')
  conn.ack('puback', 3)
  await r.publish('sensors/a', '4')
  await r.clock.advance(30_000)
  conn.ack('puback', 4)
  await r.clock.advance(120_000)
  assert.deepEqual([(await conn.seen()).at(-1), r.bridge.status()[0]!.state], ['disconnect 0x0', 'idle'])
  await r.publish('sensors/a', '5')
  await r.clock.advance(600_000)
  assert.deepEqual([r.upstream.connections.length, r.bridge.unreached()], [1, []])
})
test('once: not again after the first connection has ended; a broker of 3.1.1 is no end', async (t) => {
  const r = await rig(t, [UP], { start: 'once' })
  const first = await r.upstream.next()
  await first.take('connect')
  first.raw('20 02 00 01')
  const conn = await r.upstream.accepted()
  await settle()
  conn.end()
  await r.clock.advance(600_000)
  assert.deepEqual([r.upstream.connections.length, r.bridge.status()[0]!.state], [2, 'ended'])
})

test('settings that change on a running session take effect at once, and what waits stays', async (t) => {
  const r = await rig(t, [UP])
  const conn = await r.upstream.accepted()
  await r.publish('sensors/a', '1')
  await conn.seen()
  await r.bridge.apply(bridgePolicy([UP], { notifications: 'remote' }))
  assert.deepEqual(await conn.seen(), [
    'publish $SYS/broker/connection/edge-1/cloud/state 0 q0 retain',
    'disconnect 0x0',
  ])
  const next = await r.upstream.next()
  assert.equal((await next.take('connect')).will?.topic, '$SYS/broker/connection/edge-1/cloud/state')
  next.connack(0, { sessionPresent: true })
  assert.deepEqual(await next.seen(), [
    'publish $SYS/broker/connection/edge-1/cloud/state 1 q0 retain',
    'publish sensors/a 1 q1 #1 dup',
  ])
})

test('over WebSocket: the same conversation in frames', async (t) => {
  const r = new Rig()
  t.after(() => r.bridge[Symbol.asyncDispose]())
  await r.upstream.listenForFrames(r.clock)
  await r.bridge.apply(bridgePolicy([UP], { websocket: { path: '/x/mqtt' } }))
  const conn = await r.upstream.accepted()
  await r.publish('sensors/a', '1')
  assert.deepEqual(await conn.seen(), ['publish sensors/a 1 q1 #1'])
  conn.ack('puback', 1)
  await settle()
  assert.equal(r.bridge.status()[0]!.queued, 0)
})
test('through an HTTP proxy: the way, its credentials at each connection, and who is direct', async (t) => {
  const r = await rig(t, [UP], {
    httpProxy: {
      host: 'proxy.example',
      port: 3128,
      credentialsFile: '/run/credentials/proxy',
      noProxy: ['10.0.0.0/8'],
    },
  })
  const [through] = r.upstream.through
  assert.deepEqual([through?.address, through?.noProxy], [{ host: 'proxy.example', port: 3128 }, ['10.0.0.0/8']])
  assert.equal(through?.readCredentials?.(), 'what /run/credentials/proxy holds')
})

test('with sendProxyProtocol each connection begins with a header that names this agent; without it with none', async (t) => {
  const r = await rig(t, [UP], { sendProxyProtocol: 1 })
  ;(await r.upstream.accepted()).end()
  await r.reconnected()
  const [first, second] = r.upstream.headers
  assert.match(first ?? '', /^PROXY TCP4 [\d.]+ 10\.0\.0\.1 \d+ 1883\r\n$/)
  assert.match(second ?? '', /^PROXY TCP4 /)
  const plain = await rig(t, [UP])
  await plain.upstream.accepted()
  assert.deepEqual(plain.upstream.headers, [undefined])
})

test('after a boot each session waits before its first connection, whatever comes meanwhile, and ends at once', async (t) => {
  const made = new Rig()
  await made.upstream.listen()
  t.after(() => made.bridge[Symbol.asyncDispose]())
  made.firstWaitsMs.push(5_000, 9_000)
  await made.bridge.apply(bridgePolicy([UP, { ...UP, cluster: 'other', clientId: 'b' }]))
  made.tables.swap(tablesWith('cloud', 'other'))
  await made.clock.advance(4_999)
  assert.equal(made.upstream.connections.length, 0)
  await made.clock.advance(1)
  assert.equal(made.upstream.connections.length, 1)
  const first = await made.upstream.accepted()
  first.end()
  await made.clock.advance(3_999)
  const before = made.upstream.connections.length
  await made.clock.advance(1)
  assert.equal(made.upstream.connections.length, before + 1, 'the other one in its own time')
  made.firstWaitsMs.push(60_000)
  await made.bridge.apply(bridgePolicy([{ ...UP, clientId: 'late' }]))
  await made.bridge[Symbol.asyncDispose]()
})
