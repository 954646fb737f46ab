import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { FakeUpstream } from '../../../helpers/mqtt/upstream.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { SimNetwork } from '../../../helpers/sim-network.ts'
import { bridgePolicy, DOWN, Rig, type RouteInput, tablesWith, UP } from './rig.ts'

const SECOND_AT = { host: '10.0.0.2', port: 1883 }

/** A bridge to `cloud`, with `second` behind it. */
async function two(t: TestContext, routes: readonly RouteInput[]): Promise<{ r: Rig; second: FakeUpstream }> {
  const network = new SimNetwork()
  const [first, second] = [new FakeUpstream(network), new FakeUpstream(network, SECOND_AT)]
  const r = new Rig(new TestBroker(), first, { second })
  t.after(() => r.bridge[Symbol.asyncDispose]())
  await first.listen()
  await second.listen()
  r.tables.swap(tablesWith('cloud', 'second'))
  await r.bridge.apply(bridgePolicy(routes, { failover: ['second'] }))
  return { r, second }
}

test('while the first broker is away the next one has the session at once, and the first one again when it is back', async (t) => {
  const { r, second } = await two(t, [UP])
  const conn = await r.upstream.accepted()
  await r.publish('sensors/a', '1')
  await conn.seen()
  r.upstream.refuse()
  r.upstream.cut()
  await settle()
  // The first one is tried first, and then the second at once.
  await r.clock.advance(3_000)
  const other = await second.accepted()
  other.isAlive = true
  assert.deepEqual(await other.seen(), ['publish sensors/a 1 q1 #1'], 'it is no repetition for this one')
  other.ack('puback', 1)
  await r.clock.advance(120_000)
  assert.equal(other.closed, false)
  r.upstream.restore()
  await r.clock.advance(60_000)
  assert.equal((await other.seen()).at(-1), 'disconnect 0x0')
  await r.upstream.next()
  const back = await r.upstream.accepted({ sessionPresent: true })
  await r.publish('sensors/a', '2')
  assert.deepEqual(await back.seen(), ['publish sensors/a 2 q1 #2'])
})

test('roundRobin: all brokers are equal, and nobody leaves one for the first', async (t) => {
  const { r, second } = await two(t, [UP])
  await r.bridge.apply(bridgePolicy([UP], { failover: ['second'], roundRobin: true }))
  const conn = await latest(r.upstream)
  await conn.take('connect')
  conn.connack(0)
  await settle()
  conn.end()
  await settle()
  await r.clock.advance(3_000)
  const other = await second.accepted()
  other.isAlive = true
  const { length } = r.upstream.connections
  await r.clock.advance(600_000)
  assert.deepEqual([other.closed, r.upstream.connections.length], [false, length])
  other.end()
  await r.clock.advance(5_000)
  assert.ok(r.upstream.connections.length > length, 'the first is next when the second fails')
})

test('what one broker confirmed half does not make it take a later message for a repetition', async (t) => {
  const { r, second } = await two(t, [UP])
  const conn = await r.upstream.accepted()
  await r.publish('sensors/a', '1', { qos: 2 })
  assert.deepEqual(await conn.seen(), ['publish sensors/a 1 q2 #1'])
  r.upstream.refuse()
  r.upstream.cut()
  await r.clock.advance(3_000)
  const other = await second.accepted()
  other.isAlive = true
  assert.deepEqual(await other.seen(), ['publish sensors/a 1 q2 #1'])
  other.ack('pubrec', 1)
  await other.seen()
  other.ack('pubcomp', 1)
  r.upstream.restore()
  await r.clock.advance(60_000)
  await r.upstream.next()
  const back = await r.upstream.accepted({ sessionPresent: true })
  assert.deepEqual(await back.seen(), ['pubrel #1'])
})

test('each broker has subscriptions and QoS 2 packet ids of its own', async (t) => {
  const { r, second } = await two(t, [DOWN])
  const conn = await r.upstream.accepted()
  await conn.granted()
  conn.publish('commands/a', 'x', { qos: 2, packetId: 7 })
  assert.deepEqual(await conn.seen(), ['pubrec #7'])
  r.upstream.refuse()
  r.upstream.cut()
  await r.clock.advance(3_000)
  const other = await second.accepted()
  assert.deepEqual(
    (await other.granted()).subscriptions.map((s) => s.filter),
    ['commands/#'],
  )
  other.publish('commands/a', 'y', { qos: 2, packetId: 7 })
  assert.deepEqual(await other.seen(), ['pubrec #7'])
  const { durability } = r.local
  assert.deepEqual(
    ['cloud', 'second'].map((name) => [...durability.inbound(`\0bridge/${name}/edge-1/cloud`)]),
    [[7], [7]],
  )
})

test('towards 3.1.1 a session that goes both ways says that it is a bridge, and goes on without where that is refused', async (t) => {
  const { r } = await two(t, [{ match: 'a/#', direction: 'both' }])
  const first = await r.upstream.next()
  assert.equal((await first.take('connect')).version, 5)
  first.raw('20 02 00 01')
  const asBridge = await r.upstream.next()
  const connect = await asBridge.take('connect')
  assert.deepEqual([connect.version, connect.isBridge], [4, true])
  asBridge.connack(1)
  const plain = await r.upstream.next()
  const last = await plain.take('connect')
  assert.deepEqual([last.version, last.isBridge], [4, undefined])
})

test('a broker that names another one is followed at once, where the settings know that one (MQTT 5.0 §4.11)', async (t) => {
  const { r, second } = await two(t, [UP])
  const apply = (serverReferences: Record<string, string>): Promise<void> =>
    r.bridge.apply(bridgePolicy([UP], { serverReferences }))
  await apply({ 'b.example:8883': 'second' })
  const conn = await latest(r.upstream)
  await conn.take('connect')
  conn.connack(0x9c, { properties: { serverReference: 'evil.example b.example:8883' } })
  await settle()
  const other = await second.accepted()
  await r.publish('sensors/a', '1')
  assert.deepEqual(await other.seen(), ['publish sensors/a 1 q1 #1'])
  other.ack('puback', 1)
  other.isAlive = true
  await r.clock.advance(600_000)
  assert.equal(other.closed, false, 'nobody goes back to be sent away again')
  other.send({ type: 'disconnect', reason: 0x9d, properties: { serverReference: 'evil.example' } })
  await settle()
  assert.equal(second.connections.length, 1, 'who is not known is not followed')
  await r.reconnected()
})
test('brokers that send a client back and forth are not followed for ever', async (t) => {
  const { r, second } = await two(t, [UP])
  await r.bridge.apply(bridgePolicy([UP], { serverReferences: { one: 'cloud', two: 'second' } }))
  let turns = 0
  for (let i = 0; i < 10; i++) {
    const [from, to] = i % 2 === 0 ? ([r.upstream, 'two'] as const) : ([second, 'one'] as const)
    if (i > 0 && from.isTaken) break
    const conn = i === 0 ? await latest(from) : await from.next()
    await conn.take('connect')
    conn.connack(0x9c, { properties: { serverReference: to } })
    await settle()
    turns++
  }
  assert.equal(turns, 4)
})
test('a reference without its reason code is none', async (t) => {
  const { r, second } = await two(t, [UP])
  await r.bridge.apply(bridgePolicy([UP], { serverReferences: { two: 'second' } }))
  const conn = await latest(r.upstream)
  await conn.take('connect')
  conn.connack(0x87, { properties: { serverReference: 'two' } })
  await settle()
  assert.equal(second.connections.length, 0)
})

/** Of the connections that the changes of a test have made. */
async function latest(upstream: FakeUpstream): Promise<Awaited<ReturnType<FakeUpstream['next']>>> {
  await settle()
  let conn = await upstream.next()
  while (!upstream.isTaken) conn = await upstream.next()
  return conn
}
