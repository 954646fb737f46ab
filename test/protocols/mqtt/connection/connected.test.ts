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
