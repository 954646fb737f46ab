import { test } from 'node:test'
import assert from 'node:assert/strict'
import { publishPacket } from '../../../../protocols/mqtt/codec/encode.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { DOWN, rig, UP } from './rig.ts'

test('a message from above is acknowledged once the local broker has it, and not before [MQTT-4.3.2-4]', async (t) => {
  const r = await rig(t, [{ ...DOWN, stripPrefix: 'commands/', addPrefix: 'do/' }])
  const conn = await r.upstream.accepted()
  await conn.granted()
  const client = r.local.open()
  await client.connect({ cleanStart: false, properties: { sessionExpirySec: 100 } })
  await client.subscribe('do/#', { qos: 1 })
  r.local.durability.hold()
  conn.publish('commands/valve', 'open', { qos: 1, packetId: 9 })
  assert.deepEqual(await conn.seen(), [])
  r.local.durability.resume()
  assert.deepEqual(await conn.seen(), ['puback #9'])
  assert.deepEqual(await client.seen(), ['publish do/valve open q1 #1'])
  assert.equal(r.bridge.status()[0]!.received, 1)
})

test('QoS 2 from above reaches the local side once, also over a restart [MQTT-4.3.3-10, -12]', async (t) => {
  const first = await rig(t, [DOWN])
  const before = await first.upstream.accepted()
  await before.granted()
  const client = first.local.open()
  await client.connect({ clientId: 'keeps', cleanStart: false, properties: { sessionExpirySec: 100 } })
  await client.subscribe('commands/#', { qos: 1 })
  client.stream.destroy()
  await settle()
  before.publish('commands/a', 'x', { qos: 2, packetId: 5 })
  assert.deepEqual(await before.seen(), ['pubrec #5'])
  const r = await first.restart([DOWN])
  t.after(() => r.bridge[Symbol.asyncDispose]())
  const conn = await r.upstream.accepted({ sessionPresent: true })
  await conn.granted()
  conn.publish('commands/a', 'x', { qos: 2, packetId: 5, dup: true })
  conn.ack('pubrel', 5)
  assert.deepEqual(await conn.seen(), ['pubrec #5', 'pubcomp #5'])
  assert.equal(r.local.durability.queue('session/keeps')!.depth, 1)
  conn.publish('commands/a', 'y', { qos: 2, packetId: 5 })
  assert.deepEqual(await conn.seen(), ['pubrec #5'])
  assert.equal(r.local.durability.queue('session/keeps')!.depth, 2)
})

for (const outcome of ['is written', 'is refused'] as const)
  test(`QoS 2 from above that comes again over a new connection, while it is being written for the old one and ${outcome}, is passed on once`, async (t) => {
    const r = await rig(t, [DOWN])
    const conn = await r.upstream.accepted()
    await conn.granted()
    const [keeps, passing] = [r.local.open(), r.local.open()]
    await keeps.connect({ clientId: 'keeps', cleanStart: false, properties: { sessionExpirySec: 100 } })
    await keeps.subscribe('commands/#', { qos: 1 })
    await passing.connect({ clientId: 'passing' })
    await passing.subscribe('commands/#', { qos: 2 })
    r.local.durability.hold()
    conn.publish('commands/a', 'x', { qos: 2, packetId: 5 })
    await settle()
    conn.stream.destroy()
    await r.local.clock.advance(5_000)
    const again = await r.upstream.accepted({ sessionPresent: true })
    again.publish('commands/a', 'x', { qos: 2, packetId: 5, dup: true })
    await settle()
    if (outcome === 'is refused') r.local.durability.fail()
    r.local.durability.resume()
    await r.local.clock.advance(2_000)
    assert.ok((await again.seen()).includes('pubrec #5'))
    assert.deepEqual(await keeps.seen(), ['publish commands/a x q1 #1'])
    assert.deepEqual(await passing.seen(), ['publish commands/a x q2 #1'])
  })

test('PUBREL that is repeated while the disk forgets its id asks it once', async (t) => {
  const r = await rig(t, [DOWN])
  const conn = await r.upstream.accepted()
  await conn.granted()
  conn.publish('commands/a', 'x', { qos: 2, packetId: 5 })
  assert.deepEqual(await conn.seen(), ['pubrec #5'])
  r.local.durability.hold()
  const { mock } = t.mock.method(r.local.durability, 'releaseInbound')
  for (let i = 0; i < 1_000; i++) conn.ack('pubrel', 5)
  assert.deepEqual(await conn.seen(), [])
  assert.equal(mock.callCount(), 1)
  r.local.durability.resume()
  assert.deepEqual(await conn.seen(), ['pubcomp #5'])
})

test('when the upstream has forgotten the session, its packet ids mean new messages', async (t) => {
  const r = await rig(t, [DOWN])
  let conn = await r.upstream.accepted()
  await conn.granted()
  conn.publish('commands/a', 'x', { qos: 2, packetId: 5 })
  assert.deepEqual(await conn.seen(), ['pubrec #5'])
  r.upstream.cut()
  conn = await r.reconnected({ sessionPresent: false })
  await conn.granted()
  assert.equal(r.local.durability.inbound('\0bridge/cloud/edge-1/cloud').size, 0)
})

test('what the local side has no room for is not acknowledged until it has, and order is kept', async (t) => {
  const r = await rig(t, [DOWN])
  const conn = await r.upstream.accepted()
  await conn.granted()
  const client = r.local.open()
  await client.connect({ cleanStart: false, properties: { sessionExpirySec: 100 } })
  await client.subscribe('commands/#', { qos: 1 })
  r.local.durability.refuse('MESH_MQTT_QUOTA')
  conn.publish('commands/a', '1', { qos: 1, packetId: 1 })
  await settle()
  r.local.durability.refuse(undefined)
  conn.publish('commands/a', '2', { qos: 1, packetId: 2 })
  assert.deepEqual(await conn.seen(), [])
  await r.clock.advance(1_000)
  assert.deepEqual(await conn.seen(), ['puback #1', 'puback #2'])
  assert.deepEqual(await client.seen(), ['publish commands/a 1 q1 #1', 'publish commands/a 2 q1 #2'])
})

test('[MQTT-4.6.0-6] nothing overtakes what the local side has no room for, also when it comes in the same bytes or at the next attempt', async (t) => {
  const r = await rig(t, [DOWN])
  const conn = await r.upstream.accepted()
  await conn.granted()
  const client = r.local.open()
  await client.connect({ cleanStart: false, properties: { sessionExpirySec: 100 } })
  await client.subscribe('commands/#', { qos: 1 })
  r.local.durability.refuse('MESH_MQTT_QUOTA', 10)
  conn.send(
    ...['too large for now', '2', '3'].map((text, i) =>
      publishPacket({ topic: 'commands/a', payload: Buffer.from(text), qos: 1, packetId: i + 1 }),
    ),
  )
  await settle()
  await r.clock.advance(2_500)
  assert.deepEqual([await conn.seen(), await client.seen()], [[], []])
  r.local.durability.refuse(undefined)
  await r.clock.advance(1_000)
  assert.deepEqual(await conn.seen(), ['puback #1', 'puback #2', 'puback #3'])
  assert.deepEqual(
    await client.seen(),
    ['too large for now', '2', '3'].map((text, i) => `publish commands/a ${text} q1 #${i + 1}`),
  )
})

test('a shared subscription as a down route delivers', async (t) => {
  const r = await rig(t, [{ ...DOWN, match: '$share/sites/commands/#' }])
  const conn = await r.upstream.accepted()
  assert.equal((await conn.granted()).subscriptions[0]!.filter, '$share/sites/commands/#')
  const client = r.local.open()
  await client.connect()
  await client.subscribe('commands/#', { qos: 1 })
  conn.publish('commands/a', 'x', { qos: 1, packetId: 3 })
  assert.deepEqual([await client.seen(), await conn.seen()], [['publish commands/a x q1 #1'], ['puback #3']])
  assert.equal(r.dropped('unrouted'), 0)
})

for (const qos of [0, 1, 2] as const) {
  test(`a message from above (QoS ${qos}) that is larger than we take is passed over, and both directions go on`, async (t) => {
    const r = await rig(t, [DOWN, UP])
    const conn = await r.upstream.accepted()
    await conn.granted()
    const client = r.local.open()
    await client.connect()
    await client.subscribe('commands/#', { qos: 1 })
    const large = publishPacket({
      topic: 'commands/large',
      payload: Buffer.alloc(1024 * 1024),
      qos,
      packetId: qos === 0 ? 0 : 7,
    })
    conn.send(large, publishPacket({ topic: 'commands/a', payload: Buffer.from('x'), qos: 1, packetId: 8 }))
    await r.publish('sensors/a', 'up')
    assert.deepEqual(await client.seen(), ['publish commands/a x q1 #1'])
    const seen = await conn.seen()
    const answers = qos === 0 ? [] : [qos === 1 ? 'puback #7' : 'pubrec #7']
    assert.deepEqual(new Set(seen), new Set([...answers, 'puback #8', 'publish sensors/a up q1 #1']))
    assert.equal(r.dropped('too-large'), 1)
  })
}
