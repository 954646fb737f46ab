import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Publish } from '../../../../protocols/mqtt/codec/packet.ts'
import { copyRetained, markCopy, readMark } from '../../../../protocols/mqtt/topics/marks.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import type { MqttPeer } from '../../../helpers/mqtt/peer.ts'

const message = {
  topic: 'a',
  payload: Buffer.from('x'),
  qos: 1,
  retain: false,
  properties: Buffer.of(0x01, 1),
  expiresAtMs: undefined,
} as const

test('a mark comes off as it was put on', () => {
  assert.equal(readMark(message), undefined)
  assert.equal(readMark({ ...message, properties: Buffer.alloc(0) }), undefined)
  for (const id of [undefined, 1, 268_435_455]) {
    const copy = readMark(copyRetained(message, id))
    assert.deepEqual(
      [copy?.isRetained, copy?.ids, copy?.message],
      [true, id === undefined ? [] : [id], { ...message, retain: true }],
    )
  }
  for (const by of ['own', '$share/g/a', `$share/${'g'.repeat(300)}/ü/#`] as const) {
    const copy = readMark(markCopy(message, by))
    assert.deepEqual([copy?.isRetained, copy?.by, copy?.ids, copy?.message], [false, by, undefined, message])
  }
  assert.equal(markCopy(message, 'alone'), message)
})

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const
/** `payload QoS ids`, in the order in which they came. */
async function got(peer: MqttPeer): Promise<string[]> {
  for (let i = 0; i < 4; i++) await settle()
  const all = peer.received.splice(0).filter((one): one is Publish => one.type === 'publish')
  return all.map(
    ({ payload, qos, subscriptionIds }) =>
      `${Buffer.from(payload).toString()} q${qos} ${subscriptionIds.toSorted((a, b) => a - b).join(',')}`,
  )
}

for (const isKept of [true, false])
  for (const order of [
    ['local', 'not'],
    ['not', 'local'],
  ] as const)
    test(`[MQTT-3.8.3-3] what it has published itself a client gets by the filters without No Local alone (${isKept ? 'kept' : 'not kept'}, ${order.join(' before ')})`, async () => {
      const broker = new TestBroker()
      const c = broker.open()
      await c.connect({ clientId: 'c', ...(isKept ? KEEP : {}) })
      for (const which of order)
        if (which === 'local') await c.subscribe('a/#', { qos: 1, properties: { subscriptionIds: [1] } })
        else
          await c.subscribe('a/+', {
            qos: 2,
            noLocal: true,
            retainAsPublished: true,
            properties: { subscriptionIds: [2] },
          })
      const other = broker.open()
      await other.connect({ clientId: 'other' })
      await other.subscribe('a/b', { qos: 2, properties: { subscriptionIds: [9] } })
      c.publish('a/b', 'own too', { qos: 1, packetId: 2 })
      c.publish('a/b', 'at most once', { qos: 0 })
      c.publish('a/b/c', 'deeper', { qos: 2, packetId: 3 })
      other.publish('a/b', 'of another', { qos: 2, packetId: 4 })
      const words = await got(c)
      assert.deepEqual(words.sort(), ['at most once q0 1', 'deeper q1 1', 'of another q2 1,2', 'own too q1 1'])
      assert.equal((await got(other)).length, 3)
    })

test('so it is also for what waits, over a restart, and where the filters have changed meanwhile', async () => {
  let broker = new TestBroker()
  let c = broker.open()
  await c.connect({ clientId: 'c', ...KEEP, properties: { ...KEEP.properties, receiveMaximum: 1 } })
  await c.subscribe('#', { qos: 2, noLocal: true, properties: { subscriptionIds: [7] } })
  await c.subscribe('a', { qos: 1, properties: { subscriptionIds: [8] } })
  c.publish('a', '1', { qos: 1, packetId: 1 })
  c.publish('a', '2', { qos: 2, packetId: 2 })
  c.publish('b', 'nobody', { qos: 2, packetId: 3 })
  assert.deepEqual(await got(c), ['1 q1 8'])
  c.stream.destroy()
  broker = broker.restart()
  c = broker.open()
  await c.connect({ clientId: 'c', ...KEEP })
  assert.deepEqual(await got(c), ['1 q1 8', '2 q1 8'])
  c.ack('puback', 1)
  c.ack('puback', 2)
  await c.unsubscribe('a')
  c.publish('a', '3', { qos: 1, packetId: 5 })
  assert.deepEqual(await got(c), [])
})

for (const isKept of [true, false])
  test(`what comes by a shared subscription has its identifier and QoS, beside one that the client has alone, and by another (${isKept ? 'kept' : 'not kept'})`, async () => {
    const broker = new TestBroker()
    const c = broker.open()
    await c.connect({ clientId: 'c', ...(isKept ? KEEP : {}) })
    await c.subscribe('a', { qos: 1, properties: { subscriptionIds: [1] } })
    await c.subscribe('$share/g/a', { qos: 2, properties: { subscriptionIds: [2] } })
    await c.subscribe('$share/h/+', { qos: 1, properties: { subscriptionIds: [3] } })
    await c.subscribe('#', { qos: 2, noLocal: true, properties: { subscriptionIds: [4] } })
    const other = broker.open()
    await other.connect({ clientId: 'other' })
    other.publish('a', 'x', { qos: 2, packetId: 1 })
    assert.deepEqual((await got(c)).sort(), ['x q1 3', 'x q2 1,4', 'x q2 2'])
    c.publish('a', 'own', { qos: 2, packetId: 1 })
    c.publish('b', 'own too', { qos: 2, packetId: 2 })
    assert.deepEqual((await got(c)).sort(), ['own q1 1', 'own q1 3', 'own q2 2', 'own too q1 3'])
  })

test('of a member that had also subscribed alone, what came by the shared subscription is handed over (§4.8.2)', async () => {
  const broker = new TestBroker()
  const c = broker.open()
  await c.connect({ clientId: 'c', ...KEEP })
  await c.subscribe('a', { qos: 1 })
  await c.subscribe('$share/g/a', { qos: 1 })
  c.stream.destroy()
  const other = broker.open()
  await other.connect({ clientId: 'other' })
  other.publish('a', '1', { qos: 1, packetId: 1 })
  await got(other)
  const next = broker.open()
  await next.connect({ clientId: 'next', ...KEEP })
  await next.subscribe('a', { qos: 1, properties: { subscriptionIds: [7] } })
  await next.subscribe('$share/g/a', { qos: 1, properties: { subscriptionIds: [8] } })
  const over = broker.open()
  await over.connect({ clientId: 'c', cleanStart: true })
  assert.deepEqual(await got(next), ['1 q1 8'], 'once, and by the group')
})
