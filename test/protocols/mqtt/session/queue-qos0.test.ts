/** mqtt.queueQos0Messages: QoS 0 for kept sessions whose clients are away. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const
const policy = { queueQos0Messages: true }

async function site(): Promise<{ broker: TestBroker; pub: ReturnType<TestBroker['open']> }> {
  const broker = new TestBroker()
  broker.usePolicy(policy)
  const pub = broker.open({ policy })
  await pub.connect({ clientId: 'pub' })
  return { broker, pub }
}
async function sub(broker: TestBroker, more: object = KEEP): Promise<ReturnType<TestBroker['open']>> {
  const c = broker.open({ policy })
  await c.connect({ clientId: 'c', ...more })
  return c
}

test('what came with QoS 0, or is for a subscription of QoS 0, waits for a client that is away, in its order', async () => {
  const { broker, pub } = await site()
  const c = await sub(broker)
  await c.subscribe('a', { qos: 0 })
  await c.subscribe('b', { qos: 1 })
  pub.publish('a', 'here', { qos: 0 })
  assert.deepEqual(await c.seen(), ['publish a here q0'])
  c.disconnect()
  await c.seen()
  pub.publish('a', '1', { qos: 0 })
  pub.publish('b', '2', { qos: 1, packetId: 1 })
  pub.publish('a', '3', { qos: 2, packetId: 2 })
  pub.publish('b', '4', { qos: 0 })
  await pub.seen()
  const again = await sub(broker)
  assert.deepEqual(await again.seen(), ['publish a 1 q0', 'publish b 2 q1 #2', 'publish a 3 q0', 'publish b 4 q0'])
  pub.publish('a', 'live', { qos: 0 })
  assert.deepEqual(await again.seen(), ['publish a live q0'])
})

test('without the setting it does not, nor for a session that ends with its connection', async () => {
  const broker = new TestBroker()
  const pub = broker.open()
  await pub.connect({ clientId: 'pub' })
  const c = broker.open()
  await c.connect({ clientId: 'c', ...KEEP })
  await c.subscribe('a', { qos: 1 })
  c.disconnect()
  await c.seen()
  pub.publish('a', '1', { qos: 0 })
  const again = broker.open()
  await again.connect({ clientId: 'c', ...KEEP })
  assert.deepEqual(await again.seen(), [])
  const { broker: keeping } = await site()
  const short = await sub(keeping, {})
  await short.subscribe('a', { qos: 0 })
  assert.equal(keeping.durability.queues.size, 0)
})

test('QoS 0 that comes while its client is behind goes behind what waits', async () => {
  const { broker, pub } = await site()
  const c = await sub(broker)
  await c.subscribe('a', { qos: 1 })
  c.disconnect()
  await c.seen()
  for (const [i, text] of ['1', '2'].entries()) pub.publish('a', text, { qos: 1, packetId: i + 1 })
  pub.publish('a', '3', { qos: 0 })
  await pub.seen()
  const again = await sub(broker, { cleanStart: false, properties: { sessionExpirySec: 3600, receiveMaximum: 1 } })
  assert.deepEqual(await again.seen(), ['publish a 1 q1 #1'])
  pub.publish('a', '4', { qos: 0 })
  await pub.seen()
  again.ack('puback', 1)
  assert.deepEqual(await again.seen(), ['publish a 2 q1 #2'])
  again.ack('puback', 2)
  assert.deepEqual(await again.seen(), ['publish a 3 q0', 'publish a 4 q0'])
})

test('it waits over a restart, also for who has subscriptions of QoS 0 alone', async () => {
  const { broker, pub } = await site()
  const c = await sub(broker)
  await c.subscribe('a', { qos: 0 })
  c.disconnect()
  await c.seen()
  pub.publish('a', '1', { qos: 0 })
  pub.publish('a', '2', { qos: 1, packetId: 1 })
  await pub.seen()
  const restarted = await broker.stop()
  restarted.usePolicy(policy)
  assert.deepEqual(await (await sub(restarted)).seen(), ['publish a 1 q0', 'publish a 2 q0'])
})

test('what may have been sent is not sent again after a kill [MQTT-4.3.1-1]', async () => {
  const { broker, pub } = await site()
  const c = await sub(broker)
  await c.subscribe('a', { qos: 1 })
  c.disconnect()
  await c.seen()
  pub.publish('a', '1', { qos: 1, packetId: 1 })
  pub.publish('a', '2', { qos: 0 })
  await pub.seen()
  const again = await sub(broker, { cleanStart: false, properties: { sessionExpirySec: 3600, receiveMaximum: 1 } })
  assert.deepEqual(await again.seen(), ['publish a 1 q1 #1'])
  const killed = broker.restart()
  killed.usePolicy(policy)
  assert.deepEqual(await (await sub(killed)).seen(), ['publish a 1 q1 #1 dup'])
})

test('rules that change switch it on and off', async () => {
  const { broker, pub } = await site()
  const c = await sub(broker)
  await c.subscribe('a', { qos: 1 })
  c.disconnect()
  await c.seen()
  broker.usePolicy({})
  pub.publish('a', '1', { qos: 0 })
  await pub.seen()
  broker.usePolicy(policy)
  pub.publish('a', '2', { qos: 0 })
  await pub.seen()
  assert.deepEqual(await (await sub(broker)).seen(), ['publish a 2 q0'])
})
