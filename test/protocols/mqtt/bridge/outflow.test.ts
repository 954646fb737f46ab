import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../helpers/sim-clock.ts'
import { bridgePolicy, DOWN, rig, UP } from './rig.ts'

test('QoS 1 goes up in order under topic and QoS of the route, and is done at PUBACK', async (t) => {
  const r = await rig(t, [{ ...UP, stripPrefix: 'sensors/', addPrefix: 'site-7/' }])
  const conn = await r.upstream.accepted()
  await r.publish('sensors/a', '1')
  await r.publish('sensors/b', '2')
  await r.publish('other', 'x')
  assert.deepEqual(await conn.seen(), ['publish site-7/a 1 q1 #1', 'publish site-7/b 2 q1 #2'])
  const queue = r.local.durability.queue('up/cloud/edge-1/cloud')!
  assert.equal(queue.depth, 2)
  conn.ack('puback', 2)
  conn.ack('puback', 1)
  await settle()
  assert.equal(queue.depth, 0)
  assert.deepEqual(r.bridge.status(), [
    { cluster: 'cloud', state: 'connected', queued: 0, sent: 2, received: 0, setAside: 0, error: undefined },
  ])
})

test('QoS 2: PUBREL only once PUBREC is durable, done at PUBCOMP [MQTT-4.3.3-3, -4]', async (t) => {
  const r = await rig(t, [UP])
  const conn = await r.upstream.accepted()
  await r.publish('sensors/a', '1', { qos: 2 })
  assert.deepEqual(await conn.seen(), ['publish sensors/a 1 q2 #1'])
  r.local.durability.hold()
  conn.ack('pubrec', 1)
  assert.deepEqual(await conn.seen(), [])
  r.local.durability.resume()
  assert.deepEqual(await conn.seen(), ['pubrel #1'])
  assert.equal(r.local.durability.queue('up/cloud/edge-1/cloud')!.depth, 1)
  conn.ack('pubcomp', 1)
  await settle()
  assert.equal(r.local.durability.queue('up/cloud/edge-1/cloud')!.depth, 0)
})

test('after a broken connection what was not acknowledged goes again, in order, with DUP and the same packet id [MQTT-4.4.0-1, MQTT-3.3.1-1]', async (t) => {
  const r = await rig(t, [UP])
  let conn = await r.upstream.accepted()
  for (const n of ['1', '2', '3']) await r.publish('sensors/a', n, { qos: n === '3' ? 2 : 1 })
  await conn.seen()
  conn.ack('puback', 1)
  conn.ack('pubrec', 3)
  assert.deepEqual(await conn.seen(), ['pubrel #3'])
  r.upstream.cut()
  await settle()
  await r.publish('sensors/a', '4')
  conn = await r.reconnected({ sessionPresent: true })
  assert.deepEqual(await conn.seen(), ['publish sensors/a 2 q1 #2 dup', 'pubrel #3', 'publish sensors/a 4 q1 #4'])
})

test('after a restart of the agent what was not acknowledged goes on from the disk', async (t) => {
  const first = await rig(t, [UP])
  const before = await first.upstream.accepted()
  await first.publish('sensors/a', '1')
  await first.publish('sensors/a', '2')
  await before.seen()
  before.ack('puback', 1)
  await settle()
  const r = await first.restart([UP])
  t.after(() => r.bridge[Symbol.asyncDispose]())
  const conn = await r.upstream.accepted({ sessionPresent: true })
  await r.publish('sensors/a', '3')
  assert.deepEqual(await conn.seen(), ['publish sensors/a 2 q1 #2 dup', 'publish sensors/a 3 q1 #3'])
})

test("never more in flight than the peer's Receive Maximum [MQTT-3.3.4-9]", async (t) => {
  const r = await rig(t, [UP])
  const conn = await r.upstream.accepted({ properties: { receiveMaximum: 2 } })
  for (const n of ['1', '2', '3', '4']) await r.publish('sensors/a', n)
  assert.deepEqual(await conn.seen(), ['publish sensors/a 1 q1 #1', 'publish sensors/a 2 q1 #2'])
  conn.ack('puback', 1)
  assert.deepEqual(await conn.seen(), ['publish sensors/a 3 q1 #3'])
})

test('a message larger than the peer takes is set aside and counted, and does not stop the others (MQTT 5.0 §3.2.2.3.6)', async (t) => {
  const r = await rig(t, [UP])
  const conn = await r.upstream.accepted({ properties: { maximumPacketBytes: 100 } })
  await r.publish('sensors/a', 'x'.repeat(100))
  await r.publish('sensors/a', 'small')
  assert.deepEqual(await conn.seen(), ['publish sensors/a small q1 #2'])
  assert.equal(r.local.metrics.total('mesh_mqtt_bridge_set_aside_total'), 1)
  assert.equal(r.bridge.status()[0]!.setAside, 1)
  const aside = [...r.local.durability.queue('aside/cloud/edge-1/cloud')!.entries.values()]
  assert.deepEqual(
    aside.map(({ message }) => [message.topic, message.payload.length]),
    [['sensors/a', 100]],
  )
})

test('what the peer refuses for good is given up and counted; when it is full it is asked again later', async (t) => {
  const r = await rig(t, [UP])
  let conn = await r.upstream.accepted()
  await r.publish('sensors/a', '1')
  await r.publish('sensors/a', '2')
  await conn.seen()
  conn.ack('puback', 1, 0x87)
  conn.ack('puback', 2, 0x97)
  await settle()
  assert.equal(r.dropped('refused'), 1)
  assert.equal(r.local.durability.queue('up/cloud/edge-1/cloud')!.depth, 1)
  assert.equal(conn.closed, true)
  conn = await r.reconnected({ sessionPresent: true })
  assert.deepEqual(await conn.seen(), ['publish sensors/a 2 q1 #2 dup'])
})

test('retain and QoS are lowered to what the peer can (MQTT 5.0 §3.2.2.3.4, §3.2.2.3.5); expired messages are not sent', async (t) => {
  const r = await rig(t, [UP])
  r.upstream.refuse()
  await r.publish('sensors/old', 'x', { expiresAtMs: r.clock.wallMs() + 1_000 })
  await r.publish('sensors/a', '1', { qos: 2, retain: true })
  r.upstream.restore()
  await r.clock.advance(5_000)
  const conn = await r.upstream.accepted({ properties: { retainAvailable: 0, maximumQos: 1 } })
  assert.deepEqual(await conn.seen(), ['publish sensors/a 1 q1 #2'])
  assert.equal(r.dropped('expired'), 1)
})

test('[MQTT-3.2.2-5] a peer that has lost our session after PUBREC gets the message anew, also over a restart', async (t) => {
  const first = await rig(t, [UP])
  const conn = await first.upstream.accepted()
  await first.publish('sensors/a', '1', { qos: 2 })
  assert.deepEqual(await conn.seen(), ['publish sensors/a 1 q2 #1'])
  conn.ack('pubrec', 1)
  assert.deepEqual(await conn.seen(), ['pubrel #1'])
  conn.end()
  await first.clock.advance(5_000)
  const again = await first.upstream.accepted({ sessionPresent: false })
  assert.deepEqual(await again.seen(), ['publish sensors/a 1 q2 #1'])
  const r = await first.restart([UP])
  t.after(() => r.bridge[Symbol.asyncDispose]())
  const third = await r.upstream.accepted({ sessionPresent: true })
  assert.deepEqual(await third.seen(), ['publish sensors/a 1 q2 #1 dup'])
})

test('a message over which the peer closes the connection again and again is set aside, and the others go on', async (t) => {
  const r = await rig(t, [UP])
  const first = await r.upstream.accepted()
  await r.publish('sensors/small', '1')
  await r.publish('sensors/large', 'x'.repeat(50_000))
  await r.publish('sensors/other', '2')
  let conn = first
  const seen: string[][] = []
  for (let i = 0; i < 12; i++) {
    const words = (await conn.seen()).map((word) => word.split(' ')[1]!)
    seen.push(words)
    for (const packet of words) {
      if (packet === 'sensors/large') break
      conn.ack('puback', packet === 'sensors/small' ? 1 : 3)
    }
    await settle()
    if (words.includes('sensors/other') && !words.includes('sensors/large')) break
    conn.end()
    conn = await r.reconnected({ sessionPresent: true })
  }
  assert.deepEqual(seen.at(-1), ['sensors/other'])
  assert.ok(
    seen.slice(3, -1).every((words) => words.length === 1),
    'one by one once it is known that something is wrong',
  )
  assert.deepEqual([r.bridge.status()[0]!.queued, r.bridge.status()[0]!.setAside], [0, 1])
})

test('a connection that breaks while the peer acknowledges is no reason to set anything aside', async (t) => {
  const r = await rig(t, [UP])
  let conn = await r.upstream.accepted()
  for (let i = 1; i <= 10; i++) {
    await r.publish('sensors/a', String(i))
    await r.publish('sensors/a', 'more')
    await conn.seen()
    conn.ack('puback', 2 * i - 1)
    await settle()
    conn.end()
    conn = await r.reconnected({ sessionPresent: true })
    await conn.seen()
    conn.ack('puback', 2 * i)
    await settle()
  }
  assert.deepEqual([r.bridge.status()[0]!.queued, r.bridge.status()[0]!.setAside], [0, 0])
})

for (const isRestarted of [false, true])
  test(`what has expired after it was begun ${isRestarted ? 'and a restart is completed with PUBREL, so that its packet id is free for another message [MQTT-4.3.3-10]' : 'is sent again all the same [MQTT-4.3.3-7]'}`, async (t) => {
    let r = await rig(t, [{ ...UP, ttlSec: 60 }])
    const conn = await r.upstream.accepted()
    await r.publish('sensors/a', '1', { qos: 2 })
    assert.deepEqual(await conn.seen(), ['publish sensors/a 1 q2 #1'])
    r.upstream.refuse()
    r.upstream.cut()
    await settle()
    if (isRestarted) {
      r = await r.restart([{ ...UP, ttlSec: 60 }])
      t.after(() => r.bridge[Symbol.asyncDispose]())
    }
    await r.publish('sensors/a', '2', { qos: 2 })
    await r.clock.advance(120_000)
    assert.equal(r.bridge.status()[0]!.queued, 2)
    r.upstream.restore()
    const again = await r.reconnected({ sessionPresent: true })
    if (!isRestarted) {
      assert.deepEqual(await again.seen(), ['publish sensors/a 1 q2 #1 dup'], 'of the second it knows nothing')
      again.ack('pubrec', 1)
    }
    assert.deepEqual(await again.seen(), ['pubrel #1'])
    again.ack('pubcomp', 1)
    await settle()
    assert.deepEqual([r.bridge.status()[0]!.queued, r.dropped('expired')], [0, isRestarted ? 2 : 1])
  })

test('a subscription has a packet id that no message in flight has, and no message that of a subscription', async (t) => {
  const r = await rig(t, [UP])
  const conn = await r.upstream.accepted()
  const queue = r.local.durability.queue('up/cloud/edge-1/cloud')!
  await r.publish('sensors/a', '1')
  queue.lastSeq = 32_000
  await r.publish('sensors/a', 'in the way')
  queue.entries.delete(32_000)
  assert.deepEqual(await conn.seen(), ['publish sensors/a 1 q1 #1', 'publish sensors/a in the way q1 #32001'])
  await r.bridge.apply(bridgePolicy([UP, DOWN]))
  const subscribe = await conn.take('subscribe')
  assert.equal(subscribe.packetId, 32_002)
  await r.publish('sensors/a', 'waits')
  assert.deepEqual(await conn.seen(), [])
  conn.send({ type: 'suback', packetId: 32_002, reasons: [2], properties: {} })
  assert.deepEqual(await conn.seen(), ['publish sensors/a waits q1 #32002'])
})
