import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { Current } from '../../../../core/current.ts'
import { silentLog } from '../../../../core/log.ts'
import { EMPTY_TABLES, type Tables } from '../../../../model/tables.ts'
import { type Bridge, createBridge } from '../../../../protocols/mqtt/bridge/bridge.ts'
import { publishPacket } from '../../../../protocols/mqtt/codec/encode.ts'
import type { StoredMessage } from '../../../../protocols/mqtt/durability.ts'
import { policyOf, TestBroker } from '../../../helpers/mqtt/broker.ts'
import { FakeUpstream } from '../../../helpers/mqtt/upstream.ts'
import { seededRandom } from '../../../helpers/random.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { SimNetwork } from '../../../helpers/sim-network.ts'

type RouteInput = {
  match: string
  direction: 'up' | 'down'
  cluster?: string
  maxQos?: 0 | 1 | 2
  stripPrefix?: string
  addPrefix?: string
  clientId?: string
}
const routesOf = (routes: readonly RouteInput[]) =>
  policyOf({ routes: routes.map((r) => ({ cluster: 'cloud', ...r })) }).routes
const UP: RouteInput = { match: 'sensors/#', direction: 'up' }
const DOWN: RouteInput = { match: 'commands/#', direction: 'down' }
const tablesWith = (...names: string[]): Tables => ({
  ...EMPTY_TABLES,
  cluster: (name) => (names.includes(name) ? ({ name } as never) : undefined),
})

class Rig {
  readonly local: TestBroker
  readonly upstream: FakeUpstream
  readonly tables = new Current<Tables>(tablesWith('cloud'))
  readonly bridge: Bridge
  constructor(local = new TestBroker(), upstream = new FakeUpstream(new SimNetwork())) {
    this.local = local
    this.upstream = upstream
    const { clock, metrics, broker, durability } = local
    this.bridge = createBridge({
      ctx: { clock, metrics, log: silentLog, random: seededRandom(3), tables: this.tables },
      broker,
      durability,
      upstreams: upstream.upstreams,
      node: 'edge-1',
    })
  }
  get clock() {
    return this.local.clock
  }
  async publish(topic: string, text: string, p: Partial<StoredMessage> = {}): Promise<void> {
    await this.local.broker.publish(
      {
        topic,
        payload: Buffer.from(text),
        qos: 1,
        retain: false,
        properties: new Uint8Array(0),
        expiresAtMs: undefined,
        ...p,
      },
      'test',
    )
  }
  /** The agent is killed and started again; the upstream sees its connection break. */
  async restart(routes: readonly RouteInput[]): Promise<Rig> {
    const durable = this.local.restart()
    await this.bridge[Symbol.asyncDispose]()
    const next = new Rig(durable, this.upstream)
    await next.bridge.apply(routesOf(routes))
    return next
  }
  dropped(reason: string): number {
    return this.local.metrics.total('mesh_mqtt_bridge_dropped_total', { reason })
  }
}
async function rig(t: TestContext, routes: readonly RouteInput[]): Promise<Rig> {
  const made = new Rig()
  await made.upstream.listen()
  t.after(() => made.bridge[Symbol.asyncDispose]())
  await made.bridge.apply(routesOf(routes))
  return made
}

test('the session is a lasting one: clean start off, no expiry, client id of node and cluster [MQTT-3.1.2-4]', async (t) => {
  const r = await rig(t, [UP])
  const connect = await (await r.upstream.next()).take('connect')
  assert.deepEqual(
    [connect.version, connect.cleanStart, connect.clientId, connect.keepAliveSec, connect.properties.sessionExpirySec],
    [5, false, 'edge-1/cloud', 30, 0xffffffff],
  )
})
test('QoS 1 goes up in order under topic and QoS of the route, and is done at PUBACK', async (t) => {
  const r = await rig(t, [{ ...UP, stripPrefix: 'sensors/', addPrefix: 'site-7/' }])
  const conn = await r.upstream.accepted()
  await r.publish('sensors/a', '1')
  await r.publish('sensors/b', '2')
  await r.publish('other', 'x')
  assert.deepEqual(await conn.seen(), ['publish site-7/a 1 q1 #1', 'publish site-7/b 2 q1 #2'])
  const queue = r.local.durability.queue('up/cloud/edge-1/cloud')!
  assert.equal(queue.depth, 2)
  conn.ack('puback', 2)
  conn.ack('puback', 1)
  await settle()
  assert.equal(queue.depth, 0)
  assert.deepEqual(r.bridge.status(), [
    { cluster: 'cloud', state: 'connected', queued: 0, sent: 2, received: 0, error: undefined },
  ])
})
test('QoS 2: PUBREL only once PUBREC is durable, done at PUBCOMP [MQTT-4.3.3-3, -4]', async (t) => {
  const r = await rig(t, [UP])
  const conn = await r.upstream.accepted()
  await r.publish('sensors/a', '1', { qos: 2 })
  assert.deepEqual(await conn.seen(), ['publish sensors/a 1 q2 #1'])
  r.local.durability.hold()
  conn.ack('pubrec', 1)
  assert.deepEqual(await conn.seen(), [])
  r.local.durability.resume()
  assert.deepEqual(await conn.seen(), ['pubrel #1'])
  assert.equal(r.local.durability.queue('up/cloud/edge-1/cloud')!.depth, 1)
  conn.ack('pubcomp', 1)
  await settle()
  assert.equal(r.local.durability.queue('up/cloud/edge-1/cloud')!.depth, 0)
})
test('after a broken connection what was not acknowledged goes again, in order, with DUP and the same packet id [MQTT-4.4.0-1, MQTT-3.3.1-1]', async (t) => {
  const r = await rig(t, [UP])
  let conn = await r.upstream.accepted()
  for (const n of ['1', '2', '3']) await r.publish('sensors/a', n, { qos: n === '3' ? 2 : 1 })
  await conn.seen()
  conn.ack('puback', 1)
  conn.ack('pubrec', 3)
  assert.deepEqual(await conn.seen(), ['pubrel #3'])
  r.upstream.cut()
  await settle()
  await r.publish('sensors/a', '4')
  await r.clock.advance(500)
  conn = await r.upstream.accepted({ sessionPresent: true })
  assert.deepEqual(await conn.seen(), ['publish sensors/a 2 q1 #2 dup', 'pubrel #3', 'publish sensors/a 4 q1 #4'])
})
test('after a restart of the agent what was not acknowledged goes on from the disk', async (t) => {
  const first = await rig(t, [UP])
  const before = await first.upstream.accepted()
  await first.publish('sensors/a', '1')
  await first.publish('sensors/a', '2')
  await before.seen()
  before.ack('puback', 1)
  await settle()
  const r = await first.restart([UP])
  t.after(() => r.bridge[Symbol.asyncDispose]())
  const conn = await r.upstream.accepted({ sessionPresent: true })
  await r.publish('sensors/a', '3')
  assert.deepEqual(await conn.seen(), ['publish sensors/a 2 q1 #2 dup', 'publish sensors/a 3 q1 #3'])
})
test("never more in flight than the peer's Receive Maximum [MQTT-3.3.4-9]", async (t) => {
  const r = await rig(t, [UP])
  const conn = await r.upstream.accepted({ properties: { receiveMaximum: 2 } })
  for (const n of ['1', '2', '3', '4']) await r.publish('sensors/a', n)
  assert.deepEqual(await conn.seen(), ['publish sensors/a 1 q1 #1', 'publish sensors/a 2 q1 #2'])
  conn.ack('puback', 1)
  assert.deepEqual(await conn.seen(), ['publish sensors/a 3 q1 #3'])
})
test('a message larger than the peer takes is given up and counted, and does not stop the others (MQTT 5.0 §3.2.2.3.6)', async (t) => {
  const r = await rig(t, [UP])
  const conn = await r.upstream.accepted({ properties: { maximumPacketBytes: 100 } })
  await r.publish('sensors/a', 'x'.repeat(100))
  await r.publish('sensors/a', 'small')
  assert.deepEqual(await conn.seen(), ['publish sensors/a small q1 #2'])
  assert.equal(r.dropped('too-large'), 1)
})
test('what the peer refuses for good is given up and counted; when it is full it is asked again later', async (t) => {
  const r = await rig(t, [UP])
  let conn = await r.upstream.accepted()
  await r.publish('sensors/a', '1')
  await r.publish('sensors/a', '2')
  await conn.seen()
  conn.ack('puback', 1, 0x87)
  conn.ack('puback', 2, 0x97)
  await settle()
  assert.equal(r.dropped('refused'), 1)
  assert.equal(r.local.durability.queue('up/cloud/edge-1/cloud')!.depth, 1)
  assert.equal(conn.closed, true)
  await r.clock.advance(500)
  conn = await r.upstream.accepted({ sessionPresent: true })
  assert.deepEqual(await conn.seen(), ['publish sensors/a 2 q1 #2 dup'])
})
test('retain and QoS are lowered to what the peer can (MQTT 5.0 §3.2.2.3.4, §3.2.2.3.5); expired messages are not sent', async (t) => {
  const r = await rig(t, [UP])
  r.upstream.refuse()
  await r.publish('sensors/old', 'x', { expiresAtMs: r.clock.wallMs() + 1_000 })
  await r.publish('sensors/a', '1', { qos: 2, retain: true })
  r.upstream.restore()
  await r.clock.advance(5_000)
  const conn = await r.upstream.accepted({ properties: { retainAvailable: 0, maximumQos: 1 } })
  assert.deepEqual(await conn.seen(), ['publish sensors/a 1 q1 #2'])
  assert.equal(r.dropped('expired'), 1)
})
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
test('the bridge subscribes before it publishes, without getting back what it sent (MQTT 5.0 §3.8.3.1), under a packet id that no message in flight has', async (t) => {
  const r = await rig(t, [UP, { ...DOWN, maxQos: 1 }])
  await r.publish('sensors/a', '1')
  const conn = await r.upstream.accepted()
  const subscribe = await conn.granted()
  assert.deepEqual(subscribe.subscriptions, [
    { filter: 'commands/#', qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 1 },
  ])
  assert.ok(subscribe.packetId > 10_000)
  assert.deepEqual(await conn.seen(), ['publish sensors/a 1 q1 #1'])
})
test('connected is who has its subscriptions: what is published above from then on comes', async (t) => {
  const r = await rig(t, [DOWN])
  const conn = await r.upstream.accepted()
  await settle()
  assert.equal(r.bridge.status()[0]?.state, 'connecting')
  await conn.granted()
  await settle()
  assert.equal(r.bridge.status()[0]?.state, 'connected')
})
test('a message from above is acknowledged once the local broker has it, and not before [MQTT-4.3.2-4]', async (t) => {
  const r = await rig(t, [{ ...DOWN, stripPrefix: 'commands/', addPrefix: 'do/' }])
  const conn = await r.upstream.accepted()
  await conn.granted()
  const client = r.local.open()
  await client.connect({ cleanStart: false, properties: { sessionExpirySec: 100 } })
  await client.subscribe('do/#', { qos: 1 })
  r.local.durability.hold()
  conn.publish('commands/valve', 'open', { qos: 1, packetId: 9 })
  assert.deepEqual(await conn.seen(), [])
  r.local.durability.resume()
  assert.deepEqual(await conn.seen(), ['puback #9'])
  assert.deepEqual(await client.seen(), ['publish do/valve open q1 #1'])
  assert.equal(r.bridge.status()[0]!.received, 1)
})
test('QoS 2 from above reaches the local side once, also over a restart [MQTT-4.3.3-10, -12]', async (t) => {
  const first = await rig(t, [DOWN])
  const before = await first.upstream.accepted()
  await before.granted()
  const client = first.local.open()
  await client.connect({ clientId: 'keeps', cleanStart: false, properties: { sessionExpirySec: 100 } })
  await client.subscribe('commands/#', { qos: 1 })
  client.stream.destroy()
  await settle()
  before.publish('commands/a', 'x', { qos: 2, packetId: 5 })
  assert.deepEqual(await before.seen(), ['pubrec #5'])
  const r = await first.restart([DOWN])
  t.after(() => r.bridge[Symbol.asyncDispose]())
  const conn = await r.upstream.accepted({ sessionPresent: true })
  await conn.granted()
  conn.publish('commands/a', 'x', { qos: 2, packetId: 5, dup: true })
  conn.ack('pubrel', 5)
  assert.deepEqual(await conn.seen(), ['pubrec #5', 'pubcomp #5'])
  assert.equal(r.local.durability.queue('session/keeps')!.depth, 1)
  conn.publish('commands/a', 'y', { qos: 2, packetId: 5 })
  assert.deepEqual(await conn.seen(), ['pubrec #5'])
  assert.equal(r.local.durability.queue('session/keeps')!.depth, 2)
})
test('when the upstream has forgotten the session, its packet ids mean new messages', async (t) => {
  const r = await rig(t, [DOWN])
  let conn = await r.upstream.accepted()
  await conn.granted()
  conn.publish('commands/a', 'x', { qos: 2, packetId: 5 })
  assert.deepEqual(await conn.seen(), ['pubrec #5'])
  r.upstream.cut()
  await r.clock.advance(500)
  conn = await r.upstream.accepted({ sessionPresent: false })
  await conn.granted()
  assert.equal(r.local.durability.inbound('\0bridge/cloud/edge-1/cloud').size, 0)
})
test('what the local side has no room for is not acknowledged until it has, and order is kept', async (t) => {
  const r = await rig(t, [DOWN])
  const conn = await r.upstream.accepted()
  await conn.granted()
  const client = r.local.open()
  await client.connect({ cleanStart: false, properties: { sessionExpirySec: 100 } })
  await client.subscribe('commands/#', { qos: 1 })
  r.local.durability.refuse('MESH_MQTT_QUOTA')
  conn.publish('commands/a', '1', { qos: 1, packetId: 1 })
  await settle()
  r.local.durability.refuse(undefined)
  conn.publish('commands/a', '2', { qos: 1, packetId: 2 })
  assert.deepEqual(await conn.seen(), [])
  await r.clock.advance(1_000)
  assert.deepEqual(await conn.seen(), ['puback #1', 'puback #2'])
  assert.deepEqual(await client.seen(), ['publish commands/a 1 q1 #1', 'publish commands/a 2 q1 #2'])
})
test('[MQTT-4.6.0-6] nothing overtakes what the local side has no room for, also when it comes in the same bytes or at the next attempt', async (t) => {
  const r = await rig(t, [DOWN])
  const conn = await r.upstream.accepted()
  await conn.granted()
  const client = r.local.open()
  await client.connect({ cleanStart: false, properties: { sessionExpirySec: 100 } })
  await client.subscribe('commands/#', { qos: 1 })
  r.local.durability.refuse('MESH_MQTT_QUOTA', 10)
  conn.send(
    ...['too large for now', '2', '3'].map((text, i) =>
      publishPacket({ topic: 'commands/a', payload: Buffer.from(text), qos: 1, packetId: i + 1 }),
    ),
  )
  await settle()
  await r.clock.advance(2_500)
  assert.deepEqual([await conn.seen(), await client.seen()], [[], []])
  r.local.durability.refuse(undefined)
  await r.clock.advance(1_000)
  assert.deepEqual(await conn.seen(), ['puback #1', 'puback #2', 'puback #3'])
  assert.deepEqual(
    await client.seen(),
    ['too large for now', '2', '3'].map((text, i) => `publish commands/a ${text} q1 #${i + 1}`),
  )
})
test('a message that came from above is not sent back up, and one from another side is', async (t) => {
  const r = await rig(t, [{ match: '#', direction: 'up' }, DOWN])
  const conn = await r.upstream.accepted()
  await conn.granted()
  conn.publish('commands/a', 'x', { qos: 1, packetId: 1 })
  assert.deepEqual(await conn.seen(), ['puback #1'])
  await r.publish('commands/b', 'y')
  assert.deepEqual(await conn.seen(), ['publish commands/b y q1 #1'])
})
test('waits grow while the upstream is away, begin small again after a good connection, and a refusal shows', async (t) => {
  const r = await rig(t, [UP])
  const first = await r.upstream.next()
  await first.take('connect')
  first.connack(0x87)
  await settle()
  assert.equal(r.bridge.status()[0]!.state, 'refused')
  assert.match(r.bridge.status()[0]!.error ?? '', /0x87/)
  r.upstream.refuse()
  await r.clock.advance(60_000)
  const tries = r.upstream.network.dials
  assert.ok(tries > 5 && tries < 25, `${tries} tries in a minute`)
  assert.equal(r.bridge.status()[0]!.state, 'waiting')
  r.upstream.restore()
  for (let i = 0; i < 300 && r.upstream.connections.length === 1; i++) await r.clock.advance(100)
  await r.upstream.accepted()
  await settle()
  assert.equal(r.bridge.status()[0]!.state, 'connected')
  assert.deepEqual(r.upstream.releases.slice(0, 1), ['ok'])
})
test('after a good connection the next try comes soon, however long the waits were before', async (t) => {
  const r = await rig(t, [UP])
  await r.upstream.next()
  r.upstream.refuse()
  r.upstream.cut()
  await r.clock.advance(120_000)
  r.upstream.restore()
  for (let i = 0; i < 400 && r.upstream.connections.length === 1; i++) await r.clock.advance(100)
  const conn = await r.upstream.next()
  await conn.take('connect')
  conn.connack(0)
  await r.clock.advance(10_000)
  conn.end()
  await r.clock.advance(500)
  await r.upstream.next()
})
test('keep-alive: PINGREQ while idle, and a peer that answers nothing is left [MQTT-3.1.2-20]', async (t) => {
  const r = await rig(t, [UP])
  const conn = await r.upstream.accepted()
  await r.clock.advance(22_500)
  await conn.take('pingreq')
  conn.send({ type: 'pingresp' })
  await r.clock.advance(22_500)
  await conn.take('pingreq')
  assert.equal(conn.closed, false)
  await r.clock.advance(10_000)
  assert.equal(conn.closed, true)
})
test('a peer that never answers CONNECT is left after ten seconds', async (t) => {
  const r = await rig(t, [UP])
  const conn = await r.upstream.next()
  await r.clock.advance(9_999)
  assert.equal(conn.closed, false)
  await r.clock.advance(1)
  assert.equal(conn.closed, true)
})
test('garbage from the upstream ends the connection and nothing else', async (t) => {
  for (const bytes of [
    'ff ff ff ff ff',
    '20 02 00',
    '30 80 80 80 80 01',
    'd0 01 00',
    '40 02 00 00',
    'e0 00',
    '62 02 00 09',
  ]) {
    const r = await rig(t, [UP, DOWN])
    const conn = await r.upstream.next()
    await conn.take('connect')
    conn.raw(bytes)
    await r.clock.advance(10_000)
    assert.equal(conn.closed, true, bytes)
    await r.clock.advance(1_000)
    await r.upstream.next()
  }
})
test('apply: the same routes change nothing; other ones change subscriptions and up routes on the open connection', async (t) => {
  const r = await rig(t, [UP, DOWN])
  const conn = await r.upstream.accepted()
  await conn.granted()
  await r.bridge.apply(routesOf([DOWN, UP]))
  assert.deepEqual(await conn.seen(), [])
  await r.bridge.apply(
    routesOf([
      { ...UP, match: 'meters/#' },
      { ...DOWN, match: 'orders/#' },
    ]),
  )
  const unsubscribe = await conn.take('unsubscribe')
  assert.deepEqual(unsubscribe.filters, ['commands/#'])
  conn.send({ type: 'unsuback', packetId: unsubscribe.packetId, reasons: [0], properties: {} })
  assert.deepEqual(
    (await conn.granted()).subscriptions.map((s) => s.filter),
    ['orders/#'],
  )
  await r.publish('sensors/a', 'x')
  await r.publish('meters/a', 'y')
  assert.deepEqual(await conn.seen(), ['publish meters/a y q1 #1'])
  assert.equal(r.upstream.connections.length, 1)
})
test('routes that are gone end the session with DISCONNECT; what waited is sent when they come back', async (t) => {
  const r = await rig(t, [UP])
  const conn = await r.upstream.accepted()
  await r.publish('sensors/a', '1')
  await conn.seen()
  await r.bridge.apply([])
  assert.deepEqual([await conn.seen(), r.bridge.status()], [['disconnect 0x0'], []])
  await r.bridge.apply(routesOf([UP]))
  assert.deepEqual(await (await r.upstream.accepted({ sessionPresent: true })).seen(), [
    'publish sensors/a 1 q1 #1 dup',
  ])
})
test('a cluster that is not there yet is waited for', async (t) => {
  const r = await rig(t, [{ ...UP, cluster: 'later' }])
  await settle()
  assert.match(r.bridge.status()[0]!.error ?? '', /later/)
  r.tables.swap(tablesWith('later'))
  await r.clock.advance(30_000)
  await r.upstream.accepted()
})
test('routes with the same cluster and client id share a session; others have their own', async (t) => {
  const r = await rig(t, [UP, { ...UP, match: 'm/#' }, { ...UP, clientId: 'second' }])
  const ids = [await r.upstream.next(), await r.upstream.next()].map(async (c) => (await c.take('connect')).clientId)
  assert.deepEqual((await Promise.all(ids)).sort(), ['edge-1/cloud', 'second'])
  assert.equal(r.bridge.status().length, 2)
})
