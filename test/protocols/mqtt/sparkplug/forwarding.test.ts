/** Sparkplug through a bridge: a host that goes and comes, an upstream broker that is away, messages that are missing. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import type { DurableQueue } from '../../../../protocols/mqtt/durability.ts'
import { word } from '../../../helpers/mqtt/peer.ts'
import { compress, describePayload, sparkplugPayload } from '../../../helpers/mqtt/sparkplug.ts'
import { FakeUpstream, type UpstreamConn } from '../../../helpers/mqtt/upstream.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { SimNetwork } from '../../../helpers/sim-network.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { type BridgeInput, bridgePolicy, Rig, rig, type RouteInput, tablesWith, UP } from '../bridge/rig.ts'

const STATE = 'spBv1.0/STATE/scada'
type Settings = NonNullable<RouteInput['sparkplug']>
const route = (sparkplug: Settings = { hostId: 'scada' }, over: Partial<RouteInput> = {}): RouteInput => ({
  match: 'spBv1.0/plant/#',
  direction: 'up',
  sparkplug,
  ...over,
})

class Site {
  readonly rig: Rig
  readonly #commands: { topic: string; payload: string }[] = []
  constructor(r: Rig, queue: DurableQueue) {
    this.rig = r
    r.local.broker.attach({
      filter: 'spBv1.0/+/NCMD/+',
      queue,
      origin: 'nobody',
      make: (message) => {
        this.#commands.push({ topic: message.topic, payload: describePayload(message.payload) })
        return message
      },
    })
  }
  static async start(t: TestContext, routes: readonly RouteInput[], ...bridges: readonly BridgeInput[]) {
    const r = await rig(t, routes, ...bridges)
    return new Site(r, await r.local.durability.createQueue('commands'))
  }
  /** `type node[/device] seq value` */
  async publish(...what: string[]): Promise<void> {
    for (const one of what) {
      const [type, name, seq, value] = one.split(' ')
      const payload = sparkplugPayload(seq === '-' ? undefined : Number(seq), {
        name: 't',
        value: Number(value ?? seq),
      })
      await this.rig.local.broker.publish(
        {
          topic: `spBv1.0/plant/${type}/${name}`,
          payload,
          qos: 0,
          retain: false,
          properties: new Uint8Array(0),
          expiresAtMs: undefined,
        },
        'test',
      )
    }
  }
  /** Accepted, and asked for STATE; what is retained there comes with the answer. */
  async connected(retained?: string, p: Parameters<FakeUpstream['accepted']>[0] = {}): Promise<UpstreamConn> {
    const conn = await this.rig.reconnected(p)
    const { subscriptions } = await conn.granted()
    assert.equal(subscriptions[0]!.filter, STATE)
    if (retained !== undefined) conn.publish(STATE, retained, { retain: true, qos: 1, packetId: 1 })
    await settle()
    return conn
  }
  /** Nodes that were asked for their births since the last call. */
  asked(): string[] {
    return this.#commands.splice(0).map(({ topic, payload }) => `${topic} ${payload}`)
  }
  total(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.rig.local.metrics.total(`mesh_mqtt_sparkplug_${name}`, labels)
  }
  get host() {
    return this.rig.bridge.status()[0]!.hosts?.[0]
  }
}
const online = (timestamp: number): string => JSON.stringify({ online: true, timestamp })
const offline = (timestamp: number): string => JSON.stringify({ online: false, timestamp })
let ids = 10
function say(conn: UpstreamConn, text: string, topic = STATE): void {
  conn.publish(topic, text, { retain: true, qos: 1, packetId: ids++ })
}
/** What was published, acknowledged: `type node seq name=value*`. */
async function seen(conn: UpstreamConn): Promise<string[]> {
  const got: string[] = []
  for (;;) {
    for (let i = 0; i < 4; i++) await settle()
    const packets = conn.received.splice(0)
    if (packets.length === 0) return got
    for (const packet of packets) {
      if (packet.type === 'puback') continue
      if (packet.type !== 'publish') {
        got.push(word(packet))
        continue
      }
      if (packet.qos === 1) conn.ack('puback', packet.packetId)
      got.push(`${packet.topic.replace('spBv1.0/plant/', '').replace('/', ' ')} ${describePayload(packet.payload)}`)
    }
  }
}

test('nothing goes before the host is online, births neither; then all goes in order, data as historical', async (t) => {
  const site = await Site.start(t, [route()])
  const conn = await site.connected()
  await site.publish('NBIRTH press 0', 'DBIRTH press/axis 1', 'DDATA press/axis 2', 'NDATA press 3')
  assert.deepEqual(await seen(conn), [])
  assert.deepEqual(site.host, { hostId: 'scada', state: 'unknown', awaySec: 0, held: 4 })
  say(conn, online(1_000))
  assert.deepEqual(await seen(conn), [
    'NBIRTH press 0 t=0',
    'DBIRTH press/axis 1 t=1',
    'DDATA press/axis 2 t=2*',
    'NDATA press 3 t=3*',
  ])
  await site.publish('NDATA press 4')
  assert.deepEqual(await seen(conn), ['NDATA press 4 t=4'])
  assert.deepEqual(site.host, { hostId: 'scada', state: 'online', awaySec: undefined, held: 0 })
  assert.equal(site.total('historical_total'), 2)
  assert.equal(site.rig.dropped('unrouted'), 0, 'STATE is for the bridge itself')
})

test('a host that goes offline stops it, what goes on meanwhile is stored; what is older than the last STATE does not count', async (t) => {
  const site = await Site.start(t, [route()])
  const conn = await site.connected(online(1_000))
  await site.publish('NBIRTH press 0', 'NDATA press 1')
  assert.deepEqual(await seen(conn), ['NBIRTH press 0 t=0', 'NDATA press 1 t=1'])
  say(conn, offline(999))
  await site.publish('NDATA press 2')
  assert.deepEqual(await seen(conn), ['NDATA press 2 t=2'])
  say(conn, offline(1_000))
  await settle()
  await site.publish('NDATA press 3')
  assert.deepEqual(await seen(conn), [])
  await site.rig.clock.advance(5_000)
  assert.deepEqual(site.host, { hostId: 'scada', state: 'offline', awaySec: 5, held: 1 })
  assert.equal(site.total('held_messages'), 1)
  say(conn, online(900))
  assert.deepEqual(await seen(conn), [])
  say(conn, online(2_000))
  assert.deepEqual(await seen(conn), ['NDATA press 3 t=3*'])
  assert.deepEqual(
    ['online', 'offline', 'stale', 'invalid'].map((state) => site.total('states_total', { state })),
    [2, 1, 2, 0],
  )
})

test('nodes are asked for their births when the host goes, so that what is stored begins with them, and when it comes', async (t) => {
  const site = await Site.start(t, [route({ hostId: 'scada', rebirthIntervalSec: 1 })])
  const conn = await site.connected(online(1_000))
  await site.publish('NBIRTH press 0', 'NBIRTH robot 0')
  await seen(conn)
  await site.rig.clock.advance(1_000)
  assert.deepEqual(site.asked(), [])
  say(conn, offline(1_000))
  await settle()
  await site.rig.clock.advance(1_000)
  const both = ['spBv1.0/plant/NCMD/press', 'spBv1.0/plant/NCMD/robot'].map(
    (topic) => `${topic} - Node Control/Rebirth=1`,
  )
  assert.deepEqual(site.asked(), both)
  await site.publish('NBIRTH press 0', 'NDATA press 1')
  await site.rig.clock.advance(1_000)
  say(conn, online(2_000))
  assert.deepEqual(await seen(conn), ['NBIRTH press 0 t=0', 'NDATA press 1 t=1*'])
  await site.rig.clock.advance(1_000)
  assert.deepEqual(site.asked(), both, 'once for the host, not once more for what was stored')
  assert.equal(site.total('rebirths_total', { reason: 'host' }), 4)
})

test('over a broken link: the host that stayed has its births, and is told current values after what was stored', async (t) => {
  const site = await Site.start(t, [route({ hostId: 'scada', rebirthIntervalSec: 1 })])
  let conn = await site.connected(online(1_000))
  await site.publish('NBIRTH press 0', 'NBIRTH idle 0')
  await seen(conn)
  site.rig.upstream.cut()
  await site.rig.clock.advance(900)
  assert.equal(site.asked().length, 2, 'the host may go, too, and nobody would know')
  await site.publish('NDATA press 1')
  await site.rig.clock.advance(1_000)
  conn = await site.connected(online(1_000), { sessionPresent: true })
  assert.deepEqual(await seen(conn), ['NDATA press 1 t=1*'])
  await site.rig.clock.advance(2_000)
  assert.deepEqual(site.asked(), ['spBv1.0/plant/NCMD/press - Node Control/Rebirth=1'])
  assert.equal(site.total('rebirths_total', { reason: 'replay' }), 1)
})

test('what was on its way when the link broke goes again as historical, with the same packet id', async (t) => {
  const site = await Site.start(t, [route()])
  let conn = await site.connected(online(1_000))
  await site.publish('NDATA press 1')
  assert.deepEqual(
    (await conn.seen()).map((line) => line.split(' ').at(-1)),
    ['#1', '#1'],
    'PUBACK of STATE, and it',
  )
  site.rig.upstream.cut()
  await settle()
  conn = await site.connected(online(1_000), { sessionPresent: true })
  const packet = conn.received.find((one) => one.type === 'publish')
  assert.ok(packet?.type === 'publish' && packet.dup)
  assert.equal(packet.packetId, 1)
  assert.equal(describePayload(packet.payload), '1 t=1*')
})

test('a broker that has lost the session gets it anew: for nobody numbers are missing by that', async (t) => {
  const site = await Site.start(t, [route()])
  let conn = await site.connected(online(1_000))
  await site.publish('NDATA press 1', 'NDATA press 2')
  await conn.seen()
  site.rig.upstream.cut()
  await settle()
  conn = await site.connected(online(1_000), { sessionPresent: false })
  await site.publish('NDATA press 3')
  assert.deepEqual(await seen(conn), ['NDATA press 1 t=1*', 'NDATA press 2 t=2*', 'NDATA press 3 t=3'])
  assert.equal(site.total('gaps_total'), 0)
})

test('what is stored may take its time: one node is asked once for it', async (t) => {
  const settings = { hostId: 'scada', rebirthIntervalSec: 1 }
  const site = await Site.start(t, [route(settings)], { replay: { messagesPerSec: 1 } })
  const conn = await site.connected()
  await site.publish('NDATA press 1', 'NDATA press 2', 'NDATA press 3')
  say(conn, online(1_000))
  for (let i = 0; i < 5; i++) {
    await seen(conn)
    await site.rig.clock.advance(1_000)
  }
  assert.equal(site.total('historical_total'), 3)
  assert.equal(site.asked().length, 1)
})

test('without a host it is the link alone: what waited for it is historical, what comes live is not', async (t) => {
  const site = await Site.start(t, [route({})])
  await site.rig.upstream.accepted()
  site.rig.upstream.cut()
  await settle()
  await site.publish('NBIRTH press 0', 'NDATA press 1')
  const conn = await site.rig.reconnected()
  assert.deepEqual(await seen(conn), ['NBIRTH press 0 t=0', 'NDATA press 1 t=1*'])
  await site.publish('NDATA press 2')
  assert.deepEqual(await seen(conn), ['NDATA press 2 t=2'])
  assert.equal(site.rig.bridge.status()[0]!.hosts, undefined)
})

test('a sequence number that is missing, and messages that the queue gave up, ask for births; `none` asks for nothing', async (t) => {
  for (const rebirth of ['gap', 'none'] as const) {
    const site = await Site.start(t, [route({ hostId: 'scada', rebirth, rebirthIntervalSec: 1 })])
    const conn = await site.connected(online(1_000))
    await site.publish('NBIRTH press 0', 'NDATA press 2')
    await seen(conn)
    await site.rig.clock.advance(1_000)
    const isAsked = rebirth === 'gap' ? ['spBv1.0/plant/NCMD/press - Node Control/Rebirth=1'] : []
    assert.deepEqual(site.asked(), isAsked)
    assert.equal(site.total('gaps_total'), 1)
    const queue = site.rig.local.durability.queue('up/cloud/edge-1/cloud')!
    queue.gap = { messages: 3, bytes: 30, fromMs: 1, toMs: 2 }
    await site.publish('NDATA press 3')
    await seen(conn)
    await site.rig.clock.advance(1_000)
    assert.deepEqual(site.asked(), isAsked)
    assert.equal(site.total('rebirths_total', { reason: 'gap' }), isAsked.length)
    say(conn, offline(1_000))
    await settle()
    await site.publish('NDATA press 4')
    say(conn, online(2_000))
    await seen(conn)
    await site.rig.clock.advance(5_000)
    assert.deepEqual(site.asked(), [], 'a host that comes and goes asks for nothing here')
  }
})

test('a queue that overflows while the host is offline tells of one gap when it is there again', async (t) => {
  const site = await Site.start(t, [route({ hostId: 'scada' }, { whenFull: 'drop-oldest' })])
  const conn = await site.connected(online(1_000))
  say(conn, offline(1_000))
  await seen(conn)
  const queue = site.rig.local.durability.queue('up/cloud/edge-1/cloud')!
  for (let i = 1; i <= 3; i++) {
    queue.gap = { messages: i, bytes: i, fromMs: 1, toMs: 2 }
    await site.publish(`NDATA press ${i}`)
    assert.deepEqual(await seen(conn), [])
  }
  say(conn, online(2_000))
  const got = await seen(conn)
  assert.match(got[0]!, /^meshlet gap/)
  assert.deepEqual(got.slice(1), ['NDATA press 1 t=1*', 'NDATA press 2 t=2*', 'NDATA press 3 t=3*'])
})

test('a payload that is none of Sparkplug goes as it is, and is counted', async (t) => {
  const site = await Site.start(t, [route()])
  const conn = await site.connected()
  for (const type of ['NDATA', 'NBIRTH'])
    await site.rig.publish(`spBv1.0/plant/${type}/press`, 'no protobuf', { qos: 0 })
  await site.rig.publish('spBv1.0/plant/other', 'x')
  say(conn, online(1))
  await settle()
  assert.deepEqual(
    (await conn.seen()).filter((line) => line.startsWith('publish')).map((line) => line.split(' q')[0]),
    [
      'publish spBv1.0/plant/NDATA/press no protobuf',
      'publish spBv1.0/plant/NBIRTH/press no protobuf',
      'publish spBv1.0/plant/other x',
    ],
  )
  assert.equal(site.total('unreadable_total'), 2)
})

test('compressed payloads are marked, too; one that is larger than the route looks at goes as it is, and is counted', async (t) => {
  const site = await Site.start(t, [route({ hostId: 'scada', maxInflatedBytes: 200 })])
  const conn = await site.connected()
  for (const [seq, name] of [
    [1, 'a'],
    [2, 'b'.repeat(300)],
  ] as const)
    await site.rig.publish('spBv1.0/plant/NDATA/press', '', {
      payload: compress(sparkplugPayload(seq, { name, value: seq }), 'GZIP'),
    })
  say(conn, online(1_000))
  assert.deepEqual(await seen(conn), ['NDATA press 1 a=1*', `NDATA press 2 ${'b'.repeat(300)}=2`])
  assert.deepEqual(
    ['historical_total', 'inflated_too_large_total', 'unreadable_total', 'gaps_total'].map((name) => site.total(name)),
    [1, 1, 0, 0],
  )
})

test('routes that wait for no host are not held up, and a STATE that goes down as well is still heard', async (t) => {
  const site = await Site.start(t, [route(), UP, { match: 'spBv1.0/STATE/#', direction: 'down' }])
  const conn = await site.rig.reconnected()
  const filters = (await conn.granted()).subscriptions.map(({ filter }) => filter)
  assert.deepEqual(filters, ['spBv1.0/STATE/#', STATE])
  await site.publish('NDATA press 1')
  await site.rig.publish('sensors/a', '1')
  assert.deepEqual(
    (await conn.seen()).map((line) => line.split(' q')[0]),
    ['publish sensors/a 1'],
  )
  conn.publish(STATE, online(1), { retain: true })
  assert.deepEqual(await seen(conn), ['NDATA press 1 t=1*'])
  assert.equal(site.rig.dropped('unrouted'), 0)
  const retained: string[] = []
  await site.rig.local.broker.retained('#', ({ topic }) => retained.push(topic))
  assert.deepEqual(retained, [STATE])
})

test('[tck-id-operational-behavior-edge-node-termination-host-offline-reconnect] where the host is offline, or says nothing, the next broker is tried; where it is online it stays', async (t) => {
  const network = new SimNetwork()
  const [first, second] = [new FakeUpstream(network), new FakeUpstream(network, { host: '10.0.0.2', port: 1883 })]
  await first.listen()
  await second.listen()
  const r = new Rig(new TestBroker(), first, { spare: second })
  t.after(() => r.bridge[Symbol.asyncDispose]())
  r.tables.swap(tablesWith('cloud', 'spare'))
  await r.bridge.apply(bridgePolicy([route()], { failover: ['spare'], reconnectMinMs: 1_000, reconnectMaxMs: 2_000 }))
  const subscribed = async (upstream: FakeUpstream): Promise<UpstreamConn> => {
    const conn = await upstream.accepted()
    await conn.granted()
    return conn
  }
  let conn = await subscribed(first)
  say(conn, offline(1))
  let other = await subscribed(second)
  assert.equal(conn.closed, true)
  assert.deepEqual((await conn.seen()).at(-1), 'disconnect 0x0')
  // It says nothing here: the first one is tried again.
  await r.clock.advance(12_500)
  conn = await subscribed(first)
  assert.equal(other.closed, true)
  say(conn, offline(1))
  other = await subscribed(second)
  say(other, online(5))
  await settle()
  for (const one of [conn, other]) one.isAlive = true
  await r.clock.advance(300_000)
  assert.equal(other.closed, false, 'it does not go back to where the host may be offline')
  assert.equal(r.bridge.status()[0]!.hosts![0]!.state, 'online')
})

test('what routes left over that were changed waits for the new host, and is historical', async (t) => {
  const site = await Site.start(t, [route({ hostId: 'old' })])
  let conn = await site.rig.reconnected()
  await conn.granted()
  await site.publish('NDATA press 1')
  await site.rig.publish('spBv1.0/plant/plain', 'x')
  await site.rig.bridge.apply(bridgePolicy([route(), { ...UP, priority: 3 }]))
  conn = await site.connected()
  assert.deepEqual(await seen(conn), [])
  say(conn, online(1))
  assert.deepEqual((await seen(conn))[0], 'NDATA press 1 t=1*')
})

test('another host, or the first one, counts at once on a running session', async (t) => {
  const site = await Site.start(t, [route({ rebirth: 'gap' })])
  let conn = await site.rig.reconnected()
  await settle()
  for (const hostId of ['other', 'scada']) {
    await site.rig.bridge.apply(bridgePolicy([route({ hostId, rebirth: 'gap' })]))
    await settle()
    assert.equal(conn.closed, true)
    conn = await site.rig.reconnected()
    const topic = `spBv1.0/STATE/${hostId}`
    const { subscriptions } = await conn.granted()
    assert.ok(subscriptions.some(({ filter }) => filter === topic))
    await site.publish(`NDATA ${hostId} 1`)
    assert.deepEqual(await seen(conn), [])
    assert.deepEqual([site.host?.hostId, site.host?.held], [hostId, 1])
    say(conn, online(1), topic)
    assert.deepEqual(
      (await seen(conn)).filter((line) => line.startsWith('NDATA')),
      [`NDATA ${hostId} 1 t=1*`],
    )
  }
})

test('when the last route of Sparkplug goes, nothing is left of it', async (t) => {
  const site = await Site.start(t, [route()])
  await site.connected(online(1))
  await site.rig.bridge.apply(bridgePolicy([UP]))
  const conn = await site.rig.reconnected({ sessionPresent: true })
  const unsubscribe = await conn.take('unsubscribe').catch(() => undefined)
  assert.deepEqual(unsubscribe?.filters ?? [STATE], [STATE])
  assert.equal(site.rig.bridge.status()[0]!.hosts, undefined)
})
