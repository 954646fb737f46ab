/** All packets of one connection take effect and are answered in the order they came, whatever waits for the disk. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { encode, publishPacket } from '../../../../protocols/mqtt/codec/encode.ts'
import type { Packet, Version } from '../../../../protocols/mqtt/codec/packet.ts'
import { NO_PROPERTIES } from '../../../../protocols/mqtt/codec/properties.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { settle, SimClock } from '../../../helpers/sim-clock.ts'
import { connectPacket, type MqttPeer } from '../../../helpers/mqtt/peer.ts'

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const
const subscribe = (packetId: number, filter: string, qos: 0 | 1 | 2): Packet => ({
  type: 'subscribe',
  packetId,
  properties: NO_PROPERTIES,
  subscriptions: [{ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
})
const unsubscribe = (packetId: number, filter: string): Packet => ({
  type: 'unsubscribe',
  packetId,
  properties: NO_PROPERTIES,
  filters: [filter],
})
const publish = (topic: string, text: string, qos: 0 | 1 | 2 = 0, packetId = 0): Packet =>
  publishPacket({ topic, payload: Buffer.from(text), qos, packetId })
const PING: Packet = { type: 'pingreq' }
async function kept(t: TestBroker, version: Version = 5): Promise<MqttPeer> {
  const c = t.open({ version })
  await c.connect({ clientId: 'c', ...(version === 5 ? KEEP : { cleanStart: false }) })
  return c
}

for (const qos of [0, 1, 2] as const) {
  test(`SUBSCRIBE and PUBLISH (QoS ${qos}) in one segment: the client gets its own message`, async () => {
    const t = new TestBroker()
    const c = await kept(t)
    c.send(subscribe(1, 'a', 2), publish('a', 'own', qos, qos === 0 ? 0 : 9))
    const seen = await c.seen()
    assert.ok(
      seen.some((word) => word.startsWith('publish a own')),
      seen.join(', '),
    )
  })
}

test('[MQTT-3.10.4-2] UNSUBSCRIBE and PUBLISH in one segment, behind a SUBSCRIBE that waits for the disk: nothing comes', async () => {
  const t = new TestBroker()
  const c = await kept(t)
  await c.subscribe('a')
  t.durability.hold()
  c.send(subscribe(7, 'b', 1), unsubscribe(8, 'a'), publish('a', 'after'))
  assert.deepEqual(await c.seen(), [])
  t.durability.resume()
  assert.deepEqual(await c.seen(), ['suback 1', 'unsuback'])
})

test('a segment cut at every byte has the same effect as in one piece', async () => {
  const bytes = Buffer.concat(
    [subscribe(1, 'a', 1), publish('a', 'one', 1, 2), unsubscribe(3, 'a'), publish('a', 'two', 1, 4), PING].map((p) =>
      encode(p, 5),
    ),
  )
  for (let at = 0; at <= bytes.length; at++) {
    const t = new TestBroker()
    const c = await kept(t)
    c.stream.write(bytes.subarray(0, at))
    c.stream.write(bytes.subarray(at))
    const seen = await c.seen()
    assert.equal(seen.at(-1), 'pingresp', `cut at ${at}`)
    // SUBACK and PUBACK have no order among each other.
    const want = ['pingresp', 'puback #2', 'puback #4', 'publish a one q1 #1', 'suback 1', 'unsuback']
    assert.deepEqual(seen.toSorted(), want, `cut at ${at}`)
  }
})

test('PINGRESP comes behind what was asked for before: acknowledgements that wait for the disk, SUBACK, retained messages', async () => {
  const t = new TestBroker()
  const other = t.open()
  await other.connect({ clientId: 'other' })
  other.publish('r/1', 'kept', { qos: 1, retain: true, packetId: 1 })
  await other.seen()
  const c = await kept(t)
  await c.subscribe('own', { qos: 1 })
  t.durability.hold()
  c.send(publish('own', 'x', 1, 1), subscribe(2, 'r/#', 1), PING)
  assert.deepEqual(await c.seen(), [])
  t.durability.commit()
  await c.seen().then((seen) => assert.ok(!seen.includes('pingresp'), seen.join(', ')))
  t.durability.resume()
  assert.deepEqual(await c.seen(), ['publish r/1 kept q1 #2 retain', 'pingresp'])
})

test('3.1.1: a SUBSCRIBE behind a message that waits for room acts behind it', async () => {
  const t = new TestBroker()
  const sub = t.open()
  await sub.connect({ clientId: 'sub', ...KEEP })
  await sub.subscribe('q', { qos: 1 })
  const c = await kept(t, 4)
  t.durability.refuse('MESH_STORAGE_FULL')
  c.send(publish('q', 'before', 1, 1), subscribe(2, 'q', 0))
  await c.seen()
  t.durability.refuse(undefined)
  await t.clock.advance(20_000)
  assert.deepEqual(await c.seen(), ['puback #1', 'suback 0'])
  assert.deepEqual(await sub.seen(), ['publish q before q1 #1'])
})

test('PINGREQs behind something that waits are not taken without end, and each is answered', async () => {
  const t = new TestBroker()
  const c = await kept(t)
  await c.subscribe('a', { qos: 1 })
  t.durability.hold()
  c.send(publish('a', 'x', 1, 1), ...Array.from({ length: 5_000 }, () => PING), unsubscribe(2, 'a'))
  await c.seen()
  assert.equal(t.durability.pending, 1, 'what is behind the first of them has not acted')
  t.durability.resume()
  const seen = await c.seen()
  assert.equal(seen.filter((word) => word === 'pingresp').length, 5_000)
  assert.equal(seen.at(-1), 'unsuback')
})

const WILL = {
  topic: 'will',
  payload: Buffer.from('lost'),
  qos: 0,
  retain: false,
  properties: Buffer.alloc(0),
  delaySec: 0,
  messageExpirySec: undefined,
} as const
const DISCONNECT: Packet = { type: 'disconnect', reason: 0, properties: NO_PROPERTIES }
async function watched(t: TestBroker): Promise<MqttPeer> {
  const watcher = t.open()
  await watcher.connect({ clientId: 'watcher' })
  await watcher.subscribe('#')
  return watcher
}

for (const version of [4, 5] as const)
  test(`version ${version}: a client sends and ends at once: what waits behind the disk counts, DISCONNECT as well`, async () => {
    const t = new TestBroker()
    const watcher = await watched(t)
    const c = t.open({ version })
    await c.connect({ will: WILL, ...(version === 5 ? KEEP : { cleanStart: false }) })
    t.durability.hold()
    c.send(subscribe(1, 'b', 1), publish('a', 'last'), DISCONNECT)
    c.stream.end()
    assert.deepEqual(await watcher.seen(), [])
    t.durability.resume()
    assert.deepEqual(await watcher.seen(), ['publish a last q0'])
  })

/** Each look at its clock is a millisecond later, as on a busy machine. */
function createBusyBroker(): TestBroker {
  const clock = new SimClock()
  const from = clock.monotonicMs.bind(clock)
  let looks = 0
  return new TestBroker({ clock: Object.assign(clock, { monotonicMs: () => from() + looks++ }) })
}

test('packets that have their turn later count, whether the client has ended or not', async () => {
  const t = createBusyBroker()
  const watcher = await watched(t)
  const c = t.open()
  await c.connect({ will: WILL })
  const texts = Array.from({ length: 500 }, (_, i) => `${i}`)
  c.send(...texts.map((text) => publish('a', text)), DISCONNECT)
  c.stream.end()
  for (let i = 0; i < 100; i++) await settle()
  assert.deepEqual(
    await watcher.seen(),
    texts.map((text) => `publish a ${text} q0`),
  )
})

test('CONNECT, PUBLISH and DISCONNECT of a client that does not wait for CONNACK', async () => {
  const t = new TestBroker()
  const watcher = await watched(t)
  const c = t.open()
  c.stream.write(
    Buffer.concat(
      [connectPacket({ will: WILL }), publish('a', 'at once'), DISCONNECT].map((packet) => encode(packet, 5)),
    ),
  )
  c.stream.end()
  assert.deepEqual(await watcher.seen(), ['publish a at once q0'])
})

test('a client that ended is gone after five seconds while the disk stands still, without its will after DISCONNECT', async () => {
  const t = createBusyBroker()
  const watcher = await watched(t)
  const c = t.open()
  await c.connect({ will: WILL, ...KEEP })
  t.durability.hold()
  c.send(...Array.from({ length: 400 }, () => publish('a', 'x')), subscribe(1, 'b', 1), DISCONNECT)
  c.stream.end()
  await t.clock.advance(4_999)
  assert.equal(c.closed, false)
  await t.clock.advance(1)
  assert.equal(c.closed, true)
  t.durability.resume()
  assert.deepEqual((await watcher.seen()).slice(400), [])
})

const DISCONNECT_WITH_WILL: Packet = { type: 'disconnect', reason: 4, properties: NO_PROPERTIES }
for (const [name, tail, isWillHeard] of [
  ['DISCONNECT', [DISCONNECT], false],
  ['nothing', [], true],
  ['PUBLISH and DISCONNECT', [publish('b', 'x'), DISCONNECT], false],
  ['DISCONNECT that wants the will', [DISCONNECT_WITH_WILL], true],
  ['a packet that no client sends, and DISCONNECT', [{ type: 'pingresp' }, DISCONNECT], true],
] as const)
  test(`the disk stands still: SUBSCRIBE, ${name} and the end in one chunk are noticed, and the subscription is kept`, async () => {
    const t = new TestBroker()
    const watcher = await watched(t)
    const c = t.open()
    await c.connect({ clientId: 'c', will: WILL, ...KEEP })
    t.durability.hold()
    c.send(subscribe(1, 'own', 1), ...tail)
    c.stream.end()
    await t.clock.advance(4_999)
    assert.equal(t.broker.stats.connections, 2, 'what came before the end may still act')
    await t.clock.advance(1)
    await t.clock.advance(1_000)
    assert.equal(t.broker.stats.connections, 1)
    t.durability.resume()
    assert.deepEqual(await watcher.seen(), isWillHeard ? ['publish will lost q0'] : [])
    const again = await kept(t)
    again.publish('own', 'kept')
    assert.deepEqual(await again.seen(), ['publish own kept q0'])
  })

test('the disk stands still: a client that has left in the middle of a packet is noticed as well', async () => {
  const t = new TestBroker()
  const c = await kept(t)
  t.durability.hold()
  c.stream.write(Buffer.concat([encode(subscribe(1, 'own', 1), 5), Buffer.from('300a', 'hex')]))
  c.stream.end()
  await settle()
  await t.clock.advance(6_000)
  assert.equal(t.broker.stats.connections, 0)
  t.durability.resume()
})

test('the disk stands still: no more than so much is read behind what waits for it, and all of it acts afterwards', async () => {
  const t = new TestBroker()
  const c = await kept(t)
  t.durability.hold()
  c.send(subscribe(1, 'own', 1))
  for (let i = 1; i <= 200; i++) {
    c.send(publish('a', 'x'.repeat(1_000), 1, i))
    await settle()
  }
  assert.ok(t.budget.heldBytes < 100_000, `${t.budget.heldBytes} bytes are held`)
  t.durability.resume()
  const seen: string[] = []
  for (let i = 0; i < 40; i++) seen.push(...(await c.seen()))
  assert.equal(seen.filter((word) => word.startsWith('puback')).length, 200)
})

test('the disk stands still: of whole packets behind what waits no more than so much is read, and none is lost', async () => {
  const t = new TestBroker()
  const c = await kept(t)
  t.durability.hold()
  const [writes, each] = [200, 50]
  const count = writes * each
  // One write for each chunk that is read, as of a socket.
  for (let i = 0; i < writes; i++) {
    c.send(
      ...Array.from({ length: each }, (_, j) => subscribe(i * each + j + 1, `some/where/${j}`, (i % 3) as 0 | 1 | 2)),
    )
    await settle()
  }
  assert.ok(c.stream.writableLength > 100_000, `${c.stream.writableLength} bytes were not read`)
  assert.ok(t.budget.heldBytes < 100_000, `${t.budget.heldBytes} bytes are held`)
  t.durability.resume()
  const seen: string[] = []
  for (let i = 0; i < 200 && seen.length < count; i++) seen.push(...(await c.seen()))
  assert.equal(seen.filter((word) => word.startsWith('suback')).length, count)
})

const LONG = 'x'.repeat(640)
for (const [what, filterOf, taken] of [
  ['different filters', (i: number) => `f/${i}`, 1_024],
  ['one filter, with another QoS each time', () => 'f', 4_096],
  ['one filter of 640 characters', () => LONG, Math.ceil(4_096 / 11)],
] as const) {
  test(`the disk stands still: no more SUBSCRIBEs act than may wait for it, and each is answered (${what})`, async () => {
    const t = new TestBroker()
    const c = await kept(t)
    await c.subscribe('a', { qos: 1 })
    t.durability.hold()
    for (let i = 0; i < 6_000; i++) c.send(subscribe(i + 1, filterOf(i), (i % 3) as 0 | 1 | 2))
    await c.seen()
    assert.equal(t.durability.pending, taken)
    t.durability.resume()
    assert.equal((await c.seen()).filter((word) => word.startsWith('suback')).length, 6_000)
  })
}
