import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Metrics } from '../../../../core/metrics.ts'
import { MemoryBudget } from '../../../../core/runtime/memory-budget.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const

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

test('[MQTT-3.1.2-24] no packet of any kind is larger than the client takes: without its SUBACK it is let go', async () => {
  const t = new TestBroker()
  const c = t.open()
  await c.connect({ properties: { maximumPacketBytes: 30 } })
  const request = { qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
  const filters = Array.from({ length: 40 }, (_, i) => ({ filter: `f/${i}`, ...request }))
  c.send({ type: 'subscribe', packetId: 1, properties: {}, subscriptions: filters.slice(0, 20) })
  assert.equal((await c.take('suback')).reasons.length, 20)
  c.send({ type: 'subscribe', packetId: 2, properties: {}, subscriptions: filters })
  assert.deepEqual(await c.seen(), ['disconnect 0x95'])
  assert.equal((await c.outcome).error?.code, 'MESH_MQTT_PACKET_TOO_LARGE')
})

test('[MQTT-3.1.2-27] a topic that repeats goes by its alias, at most as many as the client takes and the limit lets', async () => {
  const t = new TestBroker()
  const c = t.open({ policy: { limits: { maxTopicAliases: 2 } } })
  await c.connect({ clientId: 'c', properties: { topicAliasMaximum: 10, maximumPacketBytes: 1_000 } })
  await c.subscribe('topic/#')
  const pub = t.open()
  await pub.connect({ clientId: 'pub' })
  const say = async (...topics: readonly string[]): Promise<string[]> => {
    for (const topic of topics) pub.publish(`topic/${topic}`, topic)
    const came: string[] = []
    for (const _ of topics) {
      const { topic, topicAlias } = await c.take('publish')
      came.push(`${topic}=${topicAlias}`)
    }
    return came
  }
  assert.deepEqual(await say('a', 'b', 'c'), ['topic/a=0', 'topic/b=0', 'topic/c=0'], 'once is not worth one')
  assert.deepEqual(await say('a', 'b', 'c', 'a', 'b', 'c'), [
    'topic/a=1',
    'topic/b=2',
    'topic/c=0',
    '=1',
    '=2',
    'topic/c=0',
  ])
  const none = t.open()
  await none.connect({ clientId: 'none' })
  await none.subscribe('topic/#')
  for (let i = 0; i < 3; i++) pub.publish('topic/a', 'a')
  for (let i = 0; i < 3; i++) assert.equal((await none.take('publish')).topic, 'topic/a')
})

test('topics remembered for their aliases count against the memory budget, and are given back', async () => {
  const budget = new MemoryBudget({ maxBytes: 10_000_000, metrics: new Metrics() })
  const t = new TestBroker({ budget })
  const c = t.open()
  await c.connect({ clientId: 'c', properties: { topicAliasMaximum: 1_000 } })
  await c.subscribe('#')
  const pub = t.open()
  await pub.connect({ clientId: 'pub' })
  for (let i = 0; i < 500; i++) pub.publish(`${i}/${'x'.repeat(1_000)}`, 'x')
  for (let i = 0; i < 4; i++) await c.seen()
  const held = budget.heldBytes
  assert.ok(held > 20_000 && held < 200_000, `${held} bytes: as many as the limit of 32 lets`)
  c.stream.destroy()
  pub.stream.destroy()
  await pub.seen()
  assert.equal(budget.heldBytes, 0)
})
