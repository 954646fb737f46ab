import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../helpers/sim-clock.ts'
import { TestBroker } from '../../helpers/mqtt/broker.ts'
import { decodeForwarded, encodeProperties } from '../../../protocols/mqtt/codec/properties.ts'

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const

test('properties are passed on unaltered, expiry as what is left of it, subscription identifiers of every match', async () => {
  const t = new TestBroker()
  const c = t.open()
  await c.connect({ clientId: 'c', ...KEEP })
  await c.subscribe('a/#', { qos: 1, properties: { subscriptionIds: [7] } })
  await c.subscribe('a/+', { qos: 1, properties: { subscriptionIds: [9] } })
  c.stream.destroy()
  await settle()
  const pub = t.open()
  await pub.connect({ clientId: 'pub' })
  const properties = {
    payloadFormat: 1,
    contentType: 'json',
    responseTopic: 'r',
    correlationData: Buffer.from('id'),
    userProperties: [
      ['k', 'v'],
      ['k', 'w'],
    ],
  } as const
  pub.publish('a/b', '{}', { qos: 1, packetId: 1, messageExpirySec: 60, properties: encodeProperties(properties) })
  await t.clock.advance(20_500)
  const again = t.open()
  await again.connect({ clientId: 'c', ...KEEP })
  const got = await again.take('publish')
  assert.deepEqual([got.messageExpirySec, got.subscriptionIds.toSorted((a, b) => a - b)], [40, [7, 9]])
  assert.deepEqual(decodeForwarded(got.properties), properties)
})

test('[MQTT-3.3.2-5] a message that expired is not delivered and does not stay in the queue', async () => {
  const t = new TestBroker()
  const c = t.open()
  await c.connect({ clientId: 'c', ...KEEP })
  await c.subscribe('a', { qos: 1 })
  c.stream.destroy()
  const pub = t.open()
  await pub.connect({ clientId: 'pub' })
  pub.publish('a', 'old', { qos: 1, packetId: 1, messageExpirySec: 10 })
  pub.publish('a', 'new', { qos: 1, packetId: 2 })
  await t.clock.advance(10_000)
  const again = t.open()
  await again.connect({ clientId: 'c', ...KEEP })
  assert.deepEqual(await again.seen(), ['publish a new q1 #2'])
  assert.equal(t.durability.queue('session/c')!.depth, 1)
})

test('a clock that was set after a message came makes it neither expire nor carry an expiry; one that lost its time neither', async () => {
  for (const [before, after] of [
    [60_000, 1_700_000_000_000],
    [1_700_000_000_000, 60_000],
  ] as const) {
    const t = new TestBroker()
    t.clock.setWallMs(before)
    const c = t.open()
    await c.connect({ clientId: 'c', ...KEEP })
    await c.subscribe('a', { qos: 1 })
    c.stream.destroy()
    const pub = t.open()
    await pub.connect({ clientId: 'pub' })
    pub.publish('a', 'old', { qos: 1, packetId: 1, messageExpirySec: 10 })
    pub.publish('r', 'kept', { retain: true, messageExpirySec: 10 })
    await pub.seen()
    t.clock.setWallMs(after)
    const again = t.open()
    await again.connect({ clientId: 'c', ...KEEP })
    const got = await again.take('publish')
    assert.deepEqual([Buffer.from(got.payload).toString(), got.messageExpirySec], ['old', undefined])
    await again.subscribe('r', { qos: 0 })
    assert.deepEqual(await again.seen(), ['publish r kept q0 retain'])
  }
})

test('retained: the last one comes with RETAIN on subscribing, an empty one deletes it, and it survives a restart', async () => {
  for (const keep of [{}, KEEP]) {
    let t = new TestBroker()
    const pub = t.open()
    await pub.connect({ clientId: 'pub' })
    pub.publish('r/1', 'a', { qos: 1, packetId: 1, retain: true })
    pub.publish('r/1', 'b', { qos: 1, packetId: 2, retain: true })
    pub.publish('r/2', 'c', { retain: true })
    pub.publish('r/3', 'd', { retain: true })
    pub.publish('r/3', '', { retain: true })
    await pub.seen()
    t = t.restart()
    assert.equal(t.broker.stats.retained, 2)
    const sub = t.open()
    await sub.connect({ clientId: 'sub', ...keep })
    await sub.subscribe('r/+', { qos: 1 })
    assert.deepEqual((await sub.seen()).toSorted(), ['publish r/1 b q1 #1 retain', 'publish r/2 c q0 retain'])
  }
})

test('retain handling 1 sends only to a new subscription, 2 never; retain as published decides what a live message carries', async () => {
  for (const keep of [{}, KEEP]) {
    const t = new TestBroker()
    const c = t.open()
    await c.connect({ clientId: 'c', ...keep })
    c.publish('r', 'x', { qos: 1, packetId: 1, retain: true })
    await c.seen()
    await c.subscribe('r', { qos: 1, retainHandling: 2 })
    assert.deepEqual(await c.seen(), [])
    await c.subscribe('r', { qos: 1, retainHandling: 1 })
    assert.deepEqual(await c.seen(), [])
    await c.unsubscribe('r')
    await c.subscribe('r', { qos: 1, retainHandling: 1 })
    assert.deepEqual(await c.seen(), ['publish r x q1 #1 retain'])
    c.ack('puback', 1)
    c.publish('r', 'live', { qos: 1, packetId: 2, retain: true })
    assert.deepEqual((await c.seen()).toSorted(), ['puback #2', 'publish r live q1 #2'])
    await c.subscribe('r', { qos: 1, retainHandling: 2, retainAsPublished: true })
    c.publish('r', 'live', { qos: 1, packetId: 3, retain: true })
    assert.deepEqual((await c.seen()).toSorted(), ['puback #3', 'publish r live q1 #3 retain'])
  }
})

test('a limit on retained messages is told to MQTT 5 and counted for the others', async () => {
  const t = new TestBroker()
  const c = t.open({ policy: { limits: { maxRetainedMessages: 1 } } })
  await c.connect()
  for (const [i, topic] of ['a', 'a', 'b'].entries()) c.publish(topic, 'x', { qos: 1, packetId: i + 1, retain: true })
  assert.deepEqual(await c.seen(), ['puback #1', 'puback #2', 'puback #3 0x97'])
  assert.equal(t.broker.stats.retained, 1)
})

test("[MQTT-3.8.3-3] No Local keeps a client's own messages from it", async () => {
  const t = new TestBroker()
  const [a, b] = [t.open(), t.open()]
  await a.connect({ clientId: 'a' })
  await b.connect({ clientId: 'b' })
  await a.subscribe('x', { noLocal: true })
  a.publish('x', 'mine')
  b.publish('x', 'yours')
  assert.deepEqual(await a.seen(), ['publish x yours q0'])
})

test('[MQTT-4.8.2-4] a shared subscription gives each message to one member, and to a connected one before one that is away', async () => {
  const t = new TestBroker()
  const [a, b, pub] = [t.open(), t.open(), t.open()]
  await a.connect({ clientId: 'a', ...KEEP })
  await b.connect({ clientId: 'b', ...KEEP })
  await pub.connect({ clientId: 'pub' })
  await a.subscribe('$share/g/x', { qos: 1 })
  await b.subscribe('$share/g/x', { qos: 1 })
  for (let i = 1; i <= 4; i++) pub.publish('x', String(i), { qos: 1, packetId: i })
  assert.deepEqual([(await a.seen()).length, (await b.seen()).length], [2, 2])
  b.stream.destroy()
  await settle()
  for (let i = 5; i <= 8; i++) pub.publish('x', String(i), { qos: 1, packetId: i })
  assert.equal((await a.seen()).length, 4)
})

test("[MQTT-3.3.4-9] P-27: never more in flight than the client's Receive Maximum, for kept and for passing sessions", async () => {
  for (const sessionExpirySec of [0, 3600]) {
    const t = new TestBroker()
    const [sub, pub] = [t.open(), t.open()]
    await sub.connect({ clientId: 'sub', properties: { receiveMaximum: 2, sessionExpirySec } })
    await sub.subscribe('a', { qos: 1 })
    await pub.connect({ clientId: 'pub' })
    for (let i = 1; i <= 5; i++) pub.publish('a', String(i), { qos: 1, packetId: i })
    assert.deepEqual(await sub.seen(), ['publish a 1 q1 #1', 'publish a 2 q1 #2'])
    sub.ack('puback', 2)
    assert.deepEqual(await sub.seen(), ['publish a 3 q1 #3'])
    for (const id of [1, 3]) sub.ack('puback', id)
    assert.deepEqual(await sub.seen(), ['publish a 4 q1 #4', 'publish a 5 q1 #5'])
  }
})

test('[MQTT-3.1.2-24] a message larger than the client takes is not sent and counts as delivered', async () => {
  const t = new TestBroker()
  const c = t.open()
  await c.connect({ clientId: 'c', properties: { maximumPacketBytes: 50, sessionExpirySec: 10 } })
  await c.subscribe('a', { qos: 1 })
  c.publish('a', 'x'.repeat(43), { qos: 1, packetId: 1 })
  c.publish('a', 'x'.repeat(42), { qos: 1, packetId: 2 })
  assert.deepEqual((await c.seen()).map((s) => s.split(' ')[0]!).toSorted(), ['puback', 'puback', 'publish'])
  assert.equal(t.metrics.total('mesh_mqtt_messages_dropped_total', { reason: 'too-large' }), 1)
})

test('a slow reader keeps a bounded number of messages; the rest is dropped and counted', async () => {
  for (const [qos, reason] of [
    [0, 'slow-reader'],
    [1, 'queue-full'],
  ] as const) {
    const t = new TestBroker()
    const slow = t.open({ policy: { limits: { maxQueuedMessages: 10 } } })
    const pub = t.open()
    await slow.connect({ clientId: 'slow', properties: { receiveMaximum: 65_535 } })
    await slow.subscribe('a', { qos })
    await pub.connect({ clientId: 'pub' })
    slow.stream.pause()
    const size = 10_000
    for (let i = 1; i <= 100; i++) {
      pub.publish('a', 'x'.repeat(size), { qos, packetId: qos && i })
      if (i % 20 === 0) await pub.seen()
    }
    const dropped = t.metrics.total('mesh_mqtt_messages_dropped_total', { reason })
    assert.ok(dropped > 30 && dropped < 80, String(dropped))
    slow.stream.resume()
    assert.equal((await slow.seen()).length, 100 - dropped)
  }
})

test('P-12, P-13: a client that reads slowly gets every durable message once it reads again', async () => {
  const t = new TestBroker()
  const [slow, pub] = [t.open(), t.open()]
  await slow.connect({ clientId: 'slow', ...KEEP })
  await slow.subscribe('a', { qos: 1 })
  await pub.connect({ clientId: 'pub' })
  slow.stream.pause()
  for (let i = 1; i <= 100; i++) {
    pub.publish('a', 'x'.repeat(10_000), { qos: 1, packetId: i })
    if (i % 20 === 0) await pub.seen()
  }
  slow.stream.resume()
  assert.equal((await slow.seen()).length, 100)
})

test('the bridge: a route gets every matching message under its own topic and QoS, not those of its own origin', async () => {
  const t = new TestBroker()
  const queue = await t.durability.createQueue('up/cloud')
  const route = t.broker.attach({
    filter: 'a/#',
    queue,
    origin: 'cloud',
    maxQos: 1,
    rename: (topic) => `site/${topic}`,
  })
  const c = t.open()
  await c.connect()
  await c.subscribe('a/#', { qos: 2 })
  c.publish('a/1', 'two', { qos: 2, packetId: 1 })
  c.publish('a/2', 'zero')
  await c.seen()
  await t.broker.publish(
    {
      topic: 'a/3',
      payload: Buffer.from('down'),
      qos: 1,
      retain: false,
      properties: Buffer.alloc(0),
      expiresAtMs: undefined,
    },
    'cloud',
  )
  assert.deepEqual(await c.seen(), ['publish a/3 down q1 #2'])
  const queued = t.durability.queue('up/cloud')!
  assert.deepEqual(
    [...queued.entries.values()].map(({ message }) => [message.topic, message.qos]),
    [
      ['site/a/1', 1],
      ['site/a/2', 0],
    ],
  )
  route[Symbol.dispose]()
  c.publish('a/4', 'after', { qos: 1, packetId: 2 })
  await c.seen()
  assert.equal(queued.depth, 2)
  const stored = t.open()
  await stored.connect({ clientId: 'stored', ...KEEP })
  await stored.subscribe('a/#', { qos: 1 })
  t.durability.refuse('MESH_MQTT_QUOTA')
  await assert.rejects(
    t.broker.publish(
      {
        topic: 'a/3',
        payload: Buffer.alloc(1),
        qos: 1,
        retain: false,
        properties: Buffer.alloc(0),
        expiresAtMs: undefined,
      },
      'cloud',
    ),
    { code: 'MESH_MQTT_QUOTA' },
  )
})

test('a kept session with a thousand filters looks for them once per topic, as everybody does, and gets what each of them says', async () => {
  const t = new TestBroker()
  const c = t.open({ policy: { limits: { maxSubscriptionsPerSession: 2_000 } } })
  await c.connect({ clientId: 'c', ...KEEP })
  const filterOf = (i: number): string => Array.from({ length: 10 }, (_, bit) => ((i >> bit) & 1 ? '+' : 'x')).join('/')
  for (let i = 0; i < 1_000; i++)
    c.send({
      type: 'subscribe',
      packetId: 1,
      properties: { subscriptionIds: [i + 1] },
      subscriptions: [
        { filter: filterOf(i), qos: i === 999 ? 2 : 1, noLocal: false, retainAsPublished: false, retainHandling: 0 },
      ],
    })
  c.send({
    type: 'subscribe',
    packetId: 1,
    properties: {},
    subscriptions: [{ filter: '$share/g/x/#', qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
  })
  assert.equal((await c.seen()).length, 1_001)
  const pub = t.open()
  await pub.connect({ clientId: 'pub' })
  const topic = filterOf(0)
  pub.publish(topic, 'one', { qos: 2, packetId: 1 })
  const got = await c.take('publish')
  assert.deepEqual([got.qos, new Set(got.subscriptionIds).size], [2, 1_000])
})
