import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../helpers/sim-clock.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import type { MqttPeer } from '../../../helpers/mqtt/peer.ts'

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const

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

test('a shared group goes on in turn when members come and go, and a kept one gets what no connected one can', async () => {
  const t = new TestBroker()
  const pub = t.open()
  await pub.connect({ clientId: 'pub' })
  const open = async (clientId: string, p = {}): Promise<MqttPeer> => {
    const c = t.open()
    await c.connect({ clientId, ...p })
    await c.subscribe('$share/g/a', { qos: 1 })
    return c
  }
  const members = [await open('m1'), await open('m2'), await open('m3')]
  const round = async (texts: string[]): Promise<number[]> => {
    for (const text of texts) pub.publish('a', text)
    await pub.seen()
    return await Promise.all(members.map(async (m) => (await m.seen()).length))
  }
  assert.deepEqual(await round(['1', '2', '3']), [1, 1, 1])
  await members[1]!.unsubscribe('$share/g/a')
  assert.deepEqual(await round(['4', '5', '6', '7']), [2, 0, 2])
  const kept = await open('kept', { cleanStart: false, properties: { sessionExpirySec: 100 } })
  for (const one of [...members, kept]) one.stream.destroy()
  await pub.seen()
  pub.publish('a', 'later', { qos: 1, packetId: 1 })
  assert.deepEqual(await pub.seen(), ['puback #1'])
  assert.equal(t.durability.queue('session/kept')!.depth, 1)
})
