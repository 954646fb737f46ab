import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../helpers/sim-clock.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'

test('a policy that changed while the connection stays counts for the next packet', async () => {
  const t = new TestBroker()
  const c = t.open()
  await c.connect()
  c.publish('a', 'x', { qos: 1, packetId: 1 })
  await settle()
  const { createMqttPolicySchema } = await import('../../../../model/mqtt-policy.ts')
  const mqtt = createMqttPolicySchema().parse({ rules: [{ action: 'publish', topics: ['b'], effect: 'allow' }] })
  c.conn.chain = { codec: { kind: 'mqtt', mqtt, transport: 'tcp' } } as never
  c.publish('a', 'x', { qos: 1, packetId: 2 })
  assert.deepEqual(await c.seen(), ['puback #1', 'puback #2 0x87'])
})

test('subscription identifiers: CONNACK says where they are not taken, and a SUBSCRIBE with one ends the connection with 0xa1 (MQTT 5.0 §3.2.2.3.12)', async () => {
  const t = new TestBroker()
  assert.equal((await t.open().connect({ clientId: 'a' })).properties.subscriptionIdAvailable, undefined)
  const c = t.open({ policy: { listener: { subscriptionIdentifiers: false } } })
  assert.equal((await c.connect({ clientId: 'b' })).properties.subscriptionIdAvailable, 0)
  await c.subscribe('a')
  const subscriptions = [{ filter: 'b', qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 }] as const
  c.send({ type: 'subscribe', packetId: 2, subscriptions, properties: { subscriptionIds: [7] } })
  assert.deepEqual(await c.seen(), ['disconnect 0xa1'])
})
