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

test('a limit on retained messages is told to MQTT 5 and counted for the others', async () => {
  const t = new TestBroker()
  const c = t.open({ policy: { limits: { maxRetainedMessages: 1 } } })
  await c.connect()
  for (const [i, topic] of ['a', 'a', 'b'].entries()) c.publish(topic, 'x', { qos: 1, packetId: i + 1, retain: true })
  assert.deepEqual(await c.seen(), ['puback #1', 'puback #2', 'puback #3 0x97'])
  assert.equal(t.broker.stats.retained, 1)
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
