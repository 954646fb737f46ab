import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'

const KEPT = { clientId: 'kept', properties: { sessionExpirySec: 1000 } }

test('a client that is kicked gets 0x98 and keeps its session', async () => {
  const t = new TestBroker()
  const peer = t.open()
  await peer.connect(KEPT)
  await peer.subscribe('a', { qos: 1 })
  assert.equal(t.broker.operations.kick('nobody'), false)
  assert.equal(t.broker.operations.kick('kept'), true)
  await peer.outcome
  assert.deepEqual(await peer.seen(), ['disconnect 0x98'])
  assert.equal(t.broker.operations.kick('kept'), false)
  assert.equal((await t.open().connect({ ...KEPT, cleanStart: false })).sessionPresent, true)
})

test('a session that is purged is gone, with its connection, its queue and what is on the disk', async () => {
  const t = new TestBroker()
  const peer = t.open()
  await peer.connect(KEPT)
  await peer.subscribe('a', { qos: 1 })
  assert.equal(await t.broker.operations.purgeSession('kept'), true)
  await peer.outcome
  assert.deepEqual(await peer.seen(), ['disconnect 0x98'])
  assert.equal(await t.broker.operations.purgeSession('kept'), false)
  const again = t.restart()
  assert.equal(again.broker.operations.sessions({ prefix: '', after: undefined, limit: 9 }).total, 0)
  assert.deepEqual(again.durability.queueNames(''), [])
})

test('a queue that is purged has nothing for its client, whose session goes on', async () => {
  const t = new TestBroker()
  const [peer, pub] = [t.open(), t.open()]
  await peer.connect(KEPT)
  await peer.subscribe('a', { qos: 1 })
  peer.disconnect()
  await peer.outcome
  await pub.connect({ clientId: 'pub' })
  for (const packetId of [1, 2, 3]) pub.publish('a', 'old', { qos: 1, packetId })
  await pub.seen()
  assert.equal(await t.broker.operations.purgeQueue('session/kept'), 3)
  assert.equal(await t.broker.operations.purgeQueue('session/nobody'), undefined)
  pub.publish('a', 'new', { qos: 1, packetId: 4 })
  await pub.take('puback')
  const back = t.open()
  assert.equal((await back.connect({ ...KEPT, cleanStart: false })).sessionPresent, true)
  assert.deepEqual(await back.seen(), ['publish a new q1 #4'])
})

test('retained messages that are purged are gone after a restart, and nobody is told', async () => {
  const t = new TestBroker()
  const pub = t.open()
  await pub.connect({ clientId: 'pub' })
  await pub.subscribe('#')
  for (const topic of ['a/1', 'a/2', 'b']) pub.publish(topic, 'x', { retain: true })
  await pub.seen()
  assert.equal(await t.broker.operations.purgeRetained('a/#'), 2)
  assert.deepEqual(await pub.seen(), [])
  const after = t.restart()
  assert.deepEqual([t.broker.stats.retained, [...after.durability.retained.keys()]], [1, ['b']])
})
