import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TestBroker } from '../../helpers/mqtt/broker.ts'

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const

test('the bridge: a route gets every matching message under its own topic and QoS, not those of its own origin', async () => {
  const t = new TestBroker()
  const queue = await t.durability.createQueue('up/cloud')
  const route = t.broker.attach({
    filter: 'a/#',
    queue,
    origin: 'cloud',
    make: (message) => ({ ...message, topic: `site/${message.topic}`, qos: message.qos === 0 ? 0 : 1 }),
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
