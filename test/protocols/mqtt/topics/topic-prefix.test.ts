import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TestBroker, WILL } from '../../../helpers/mqtt/broker.ts'
import { addPrefixToWill } from '../../../../protocols/mqtt/topics/topic-prefix.ts'
import type { Connect } from '../../../../protocols/mqtt/codec/packet.ts'
import { createMqttListenerSchema } from '../../../../model/mqtt-policy.ts'

type Open = NonNullable<Parameters<TestBroker['open']>[0]>
const BELOW: Open = { listener: 'plant', policy: { listener: { topicPrefix: 'plant/7/' } } }

async function site(t = new TestBroker(), below: Open = BELOW) {
  const [inside, outside] = [t.open(below), t.open()]
  await inside.connect({ clientId: 'inside' })
  await outside.connect({ clientId: 'outside' })
  return { t, inside, outside }
}

test('what a client publishes is below the prefix, with an alias, too, and it does not see the prefix', async () => {
  const { inside, outside } = await site()
  await outside.subscribe('#')
  await inside.subscribe('temp/+')
  inside.publish('temp/1', 'a', { topicAlias: 1 })
  inside.publish('', 'b', { topicAlias: 1 })
  assert.deepEqual(await outside.seen(), ['publish plant/7/temp/1 a q0', 'publish plant/7/temp/1 b q0'])
  assert.deepEqual(await inside.seen(), ['publish temp/1 a q0', 'publish temp/1 b q0'])
})
test('a client sees nothing that is not below the prefix, whatever it asks for', async () => {
  const { inside, outside } = await site()
  for (const filter of ['#', '+/#', '/#', 'plant/7/#', '$SYS/#', '../#']) await inside.subscribe(filter)
  for (const topic of ['a', 'plant/70/a', 'plant/7', 'other/plant/7/a']) outside.publish(topic, 'no')
  outside.publish('plant/7/a', 'yes')
  assert.deepEqual(await inside.seen(), ['publish a yes q0'])
})
test('retained messages, QoS 1 and 2, and shared subscriptions have the prefix', async () => {
  const { t, inside, outside } = await site()
  inside.publish('kept', 'x', { retain: true, qos: 1, packetId: 1 })
  assert.deepEqual(await inside.seen(), ['puback #1'])
  await inside.subscribe('kept', { qos: 1 })
  assert.deepEqual(await inside.seen(), ['publish kept x q1 #1 retain'])
  await outside.subscribe('plant/7/kept')
  assert.deepEqual(await outside.seen(), ['publish plant/7/kept x q0 retain'])
  const shared = t.open(BELOW)
  await shared.connect({ clientId: 'shared' })
  await shared.subscribe('$share/g/jobs/#', { qos: 1 })
  outside.publish('plant/7/jobs/1', 'j', { qos: 2, packetId: 1 })
  outside.publish('jobs/1', 'j')
  assert.deepEqual(await shared.seen(), ['publish jobs/1 j q1 #1'])
})
test('a will is published below the prefix', async () => {
  const t = new TestBroker()
  const { outside } = await site(t)
  await outside.subscribe('#')
  const c = t.open(BELOW)
  const will = { ...WILL, topic: 'gone' }
  await c.connect({ clientId: 'w', will })
  c.stream.destroy()
  assert.deepEqual(await outside.seen(), ['publish plant/7/gone x q0'])
})
test('UNSUBSCRIBE names what SUBSCRIBE named', async () => {
  const { inside, outside } = await site()
  await inside.subscribe('a')
  assert.deepEqual((await inside.unsubscribe('plant/7/a')).reasons, [0x11])
  assert.deepEqual((await inside.unsubscribe('a')).reasons, [0])
  outside.publish('plant/7/a', 'no')
  assert.deepEqual(await inside.seen(), [])
})
test('rules are about whole topics', async () => {
  const rules = [
    { action: 'publish', topics: ['plant/7/a'], effect: 'allow' },
    { action: 'subscribe', topics: ['plant/7/b'], effect: 'allow' },
  ] as const
  const { inside } = await site(new TestBroker(), {
    listener: 'plant',
    policy: { rules: [...rules], listener: { topicPrefix: 'plant/7/' } },
  })
  assert.deepEqual((await inside.subscribe('b')).reasons, [0])
  assert.deepEqual((await inside.subscribe('a')).reasons, [0x87])
  inside.publish('a', 'x', { qos: 1, packetId: 7 })
  inside.publish('b', 'x', { qos: 1, packetId: 8 })
  assert.deepEqual(await inside.seen(), ['puback #7', 'puback #8 0x87'])
})
test('a malformed filter is malformed with a prefix, too', async () => {
  for (const filter of ['', 'a#', '$share//a', '$share/g/']) {
    const { inside } = await site()
    const subscriptions = [{ filter, qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 }] as const
    inside.send({ type: 'subscribe', packetId: 1, subscriptions, properties: {} })
    assert.match((await inside.seen()).join(), /^disconnect 0x8[12]$/, filter)
  }
})
test('a kept session that comes by another listener is not shown what it subscribed to there', async () => {
  const t = new TestBroker()
  const kept = { clientId: 'k', cleanStart: false, properties: { sessionExpirySec: 100 } } as const
  const before = t.open({ listener: 'plant' })
  await before.connect(kept)
  await before.subscribe('#', { qos: 1 })
  before.stream.destroy()
  const { outside } = await site(t)
  outside.publish('secret', 'x', { qos: 1, packetId: 1 })
  outside.publish('plant/7/mine', 'y', { qos: 1, packetId: 2 })
  await outside.seen()
  const after = t.open(BELOW)
  assert.equal((await after.connect(kept)).sessionPresent, true)
  assert.deepEqual(
    (await after.seen()).map((one) => one.replace(/#\d+/, '#')),
    ['publish mine y q1 #'],
  )
})
test('what may be a prefix', () => {
  const isOne = (topicPrefix: string): boolean => createMqttListenerSchema().safeParse({ topicPrefix }).success
  assert.deepEqual(['a/', 'plant/7/', 'ä b/'].filter(isOne), ['a/', 'plant/7/', 'ä b/'])
  assert.deepEqual(
    ['', '/', 'a', '/a/', '$SYS/', '$share/g/', 'a/+/', '#/', 'a\0/', `${'a'.repeat(256)}/`].filter(isOne),
    [],
  )
})
test('a topic that no packet can carry with its prefix is refused, of a will, too', async () => {
  const { inside, outside } = await site()
  await outside.subscribe('#')
  const longest = 65_535 - Buffer.byteLength('plant/7/')
  inside.publish(`é${'x'.repeat(longest - 2)}`, 'fits')
  assert.equal((await outside.seen())[0]?.length, `publish plant/7/${'x'.repeat(longest - 1)} fits q0`.length)
  const tooLong = `é${'x'.repeat(longest - 1)}`
  inside.publish(tooLong, 'does not')
  assert.deepEqual(await inside.seen(), ['disconnect 0x90'])
  assert.deepEqual(await outside.seen(), [])
  for (const topic of [tooLong, 'short']) {
    const connect = { will: { topic } } as Connect
    const add = (): unknown => addPrefixToWill(connect, 'plant/7/')
    if (topic === tooLong) assert.throws(add, { code: 'MESH_MQTT_PROTOCOL' })
    else assert.deepEqual(add(), { will: { topic: 'plant/7/short' } })
  }
})
