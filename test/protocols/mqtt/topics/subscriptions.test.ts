import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../helpers/sim-clock.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'

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
