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

test('upgradeOutgoingQos: everybody gets the QoS that was granted, whatever a message came with', async () => {
  const broker = new TestBroker()
  const policy = { upgradeOutgoingQos: true }
  broker.usePolicy(policy)
  const open = async (clientId: string, isKept: boolean): Promise<ReturnType<TestBroker['open']>> => {
    const peer = broker.open({ policy })
    await peer.connect({ clientId, ...(isKept ? { cleanStart: false, properties: { sessionExpirySec: 60 } } : {}) })
    return peer
  }
  const [pub, kept, short] = [await open('pub', true), await open('kept', true), await open('short', false)]
  for (const peer of [kept, short]) for (const qos of [0, 1, 2] as const) await peer.subscribe(`q${qos}`, { qos })
  for (const topicQos of [0, 1, 2])
    for (const [packetId, qos] of [
      [undefined, 0],
      [1, 1],
      [2, 2],
    ] as const)
      pub.publish(`q${topicQos}`, String(qos), {
        qos,
        ...(packetId === undefined ? {} : { packetId: packetId + topicQos * 2 }),
      })
  assert.deepEqual(await pub.seen(), ['puback #1', 'pubrec #2', 'puback #3', 'pubrec #4', 'puback #5', 'pubrec #6'])
  for (const peer of [kept, short]) {
    const got = (await peer.seen()).map((word) => word.replace(/ #\d+/, ''))
    const want = [0, 1, 2].flatMap((granted) => [0, 1, 2].map((qos) => `publish q${granted} ${qos} q${granted}`))
    assert.deepEqual(got.sort(), want.sort())
  }
  kept.disconnect()
  await kept.seen()
  pub.publish('q1', 'away', { qos: 0 })
  pub.publish('kept/a', 'r', { qos: 0, retain: true })
  await pub.seen()
  const again = await open('kept', true)
  assert.ok((await again.seen()).some((word) => word.startsWith('publish q1 away q1')))
  await short.seen()
  await short.subscribe('kept/#', { qos: 1 })
  assert.ok((await short.seen()).some((word) => /^publish kept\/a r q1 .*retain/.test(word)))
})
