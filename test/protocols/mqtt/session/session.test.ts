import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const

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
  // One by the shared subscription, and one by all others.
  const got = [await c.take('publish'), await c.take('publish')].map(({ qos, subscriptionIds }) => [
    qos,
    new Set(subscriptionIds).size,
  ])
  assert.deepEqual(
    got.toSorted((a, b) => b[1]! - a[1]!),
    [
      [2, 1_000],
      [1, 0],
    ],
  )
})

test('what still waits when a subscription ends is delivered with the QoS that was granted [MQTT-3.8.4-8]', async () => {
  const t = new TestBroker()
  const pub = t.open()
  await pub.connect({ clientId: 'pub' })
  let c = t.open()
  await c.connect({ clientId: 'c', ...KEEP })
  await c.subscribe('a', { qos: 1 })
  c.disconnect()
  await c.seen()
  for (const [i, text] of ['1', '2'].entries()) pub.publish('a', text, { qos: 2, packetId: i + 1 })
  await pub.seen()
  for (const packetId of [1, 2]) pub.ack('pubrel', packetId)
  c = t.open()
  await c.connect({ clientId: 'c', cleanStart: false, properties: { sessionExpirySec: 3600, receiveMaximum: 1 } })
  assert.deepEqual(await c.seen(), ['publish a 1 q1 #1'])
  await c.unsubscribe('a')
  c.ack('puback', 1)
  assert.deepEqual(await c.seen(), ['publish a 2 q1 #2'])
  c.stream.destroy()
  c = t.open()
  await c.connect({ clientId: 'c', ...KEEP })
  assert.deepEqual(await c.seen(), ['publish a 2 q1 #2 dup'])
})
