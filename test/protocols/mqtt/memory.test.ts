/**
 * Everything that waits in memory has one bound, whoever lets it wait: readers that do not read, packets that never
 * end, strangers.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import { Metrics } from '../../../core/metrics.ts'
import { encode } from '../../../protocols/mqtt/codec/encode.ts'
import { Doorstep } from '../../../protocols/mqtt/connection/doorstep.ts'
import { connectPacket, type MqttPeer } from '../../helpers/mqtt/peer.ts'
import { TestBroker } from '../../helpers/mqtt/broker.ts'
import { settle } from '../../helpers/sim-clock.ts'

const MIB = 1024 * 1024
const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const

function rig(maxBytes: number): { readonly t: TestBroker; readonly budget: MemoryBudget; readonly metrics: Metrics } {
  const metrics = new Metrics()
  const budget = new MemoryBudget({ maxBytes, metrics })
  return { t: new TestBroker({ budget }), budget, metrics }
}
/** Subscribed, and from then on it does not read. */
async function idle(t: TestBroker, name: string, qos: 0 | 1 = 0): Promise<MqttPeer> {
  const peer = t.open()
  await peer.connect({ clientId: name })
  await peer.subscribe('a/#', { qos })
  peer.stream.pause()
  return peer
}
async function flood(
  t: TestBroker,
  budget: MemoryBudget,
  messages: number,
  bytes: number,
  p: { qos?: 0 | 1; each?: () => Promise<void> } = {},
): Promise<number> {
  const pub = t.open()
  await pub.connect({ clientId: 'flood' })
  let most = 0
  for (let i = 0; i < messages; i++) {
    pub.publish('a/b', 'x'.repeat(bytes), p.qos ? { qos: 1, packetId: (i % 60_000) + 1 } : {})
    // Also for pauses of the publisher.
    await t.clock.advance(1_000)
    most = Math.max(most, budget.heldBytes)
    pub.received.length = 0
    await p.each?.()
  }
  return most
}

for (const qos of [0, 1] as const) {
  test(`what 15 subscribers do not read (QoS ${qos}) is there once, and not more than the budget allows; who reads gets everything`, async () => {
    const { t, budget } = rig(8 * MIB)
    const reader = t.open()
    await reader.connect({ clientId: 'reader' })
    await reader.subscribe('a/#')
    const slow: MqttPeer[] = []
    for (let i = 0; i < 15; i++) slow.push(await idle(t, `slow${i}`, qos))
    let got = 0
    const most = await flood(t, budget, 200, 256 * 1024, {
      qos,
      each: async () => {
        got += (await reader.seen()).length
      },
    })
    assert.equal(got, 200)
    assert.ok(most <= 8.5 * MIB, `${most} bytes were held`)
    assert.ok(reader.closed === false)
    for (const one of slow) one.stream.destroy()
    reader.stream.destroy()
    await settle()
    await settle()
    assert.ok(budget.heldBytes < 64, 'a PUBACK that just left, at most')
  })
}

test('one copy for all: what one more receiver adds is its place in the line and its socket', async () => {
  const { t, budget } = rig(200 * MIB)
  for (let i = 0; i < 15; i++) await idle(t, `slow${i}`)
  await flood(t, budget, 40, MIB / 2)
  assert.ok(
    budget.heldBytes < 20 * MIB + 15 * MIB,
    `${budget.heldBytes / MIB} MiB are held of 20 MiB that were published to 15`,
  )
})

test('QoS 0 of the slowest receivers goes first, then the connection that holds the most; a kept session loses nothing', async () => {
  const { t, budget, metrics } = rig(4 * MIB)
  const kept = t.open()
  await kept.connect({ clientId: 'kept', ...KEEP })
  await kept.subscribe('a/#', { qos: 1 })
  kept.stream.pause()
  const zero = await idle(t, 'zero', 0)
  const one = await idle(t, 'one', 1)
  const pub = t.open()
  await pub.connect({ clientId: 'pub' })
  for (let i = 0; metrics.total('mesh_memory_given_up_total', { what: 'connection' }) === 0; i++) {
    assert.ok(i < 400, 'the budget was never used up')
    pub.publish('a/b', 'x'.repeat(64 * 1024), { qos: 1, packetId: i + 1 })
    await t.clock.advance(1_000)
    pub.received.length = 0
  }
  assert.ok(metrics.total('mesh_memory_given_up_total', { what: 'message' }) > 0)
  assert.equal(
    t.metrics.total('mesh_mqtt_messages_dropped_total', { reason: 'memory' }),
    metrics.total('mesh_memory_given_up_total', { what: 'message' }),
  )
  await settle()
  one.stream.resume()
  await settle()
  assert.deepEqual([zero.closed, one.closed, pub.closed], [false, true, false])
  assert.ok(budget.heldBytes <= 4 * MIB)
  assert.equal(t.durability.queue('session/kept')?.firstSeq, 1)
})

/** It answers a few messages of each turn. */
async function readSlowly(reader: MqttPeer, qos: 1 | 2): Promise<number> {
  let got = 0
  for (const packet of reader.received.splice(0))
    if (packet.type === 'publish') {
      got++
      reader.ack(qos === 1 ? 'puback' : 'pubrec', packet.packetId)
    } else if (packet.type === 'pubrel') reader.ack('pubcomp', packet.packetId)
  await settle()
  return got
}
for (const { qos, version, kib } of [
  { qos: 1, version: 4, kib: 64 },
  { qos: 1, version: 5, kib: 256 },
  { qos: 2, version: 4, kib: 256 },
  { qos: 2, version: 5, kib: 64 },
] as const)
  test(`a publisher that is faster than its receiver (QoS ${qos}, MQTT ${version}, ${kib} KiB) is read from slowly, and neither is cut`, async () => {
    const { t, budget, metrics } = rig(4 * MIB)
    const limits = { maxInflight: 2 }
    const reader = t.open({ policy: { limits } })
    await reader.connect({ clientId: 'reader' })
    await reader.subscribe('a/#', { qos })
    const pub = t.open({ version, policy: { limits } })
    await pub.connect({ clientId: 'pub' })
    const messages = (16 * 1024) / kib
    for (let i = 1; i <= messages; i++) pub.publish('a/b', 'x'.repeat(kib * 1024), { qos, packetId: i })
    const [answered, closed] = [new Set<number>(), (): boolean => pub.closed || reader.closed]
    let [got, most] = [0, 0]
    for (let turn = 0; got < messages && turn < 3_000 && !closed(); turn++) {
      got += await readSlowly(reader, qos)
      for (const packet of pub.received.splice(0)) if ('packetId' in packet) answered.add(packet.packetId)
      most = Math.max(most, budget.heldBytes)
      await t.clock.advance(10)
    }
    assert.deepEqual(
      [got, answered.size, reader.closed, pub.closed, metrics.total('mesh_memory_given_up_total')],
      [messages, messages, false, false, 0],
    )
    assert.ok(most < 4 * MIB, `${most} bytes were held`)
    assert.ok(t.metrics.total('mesh_mqtt_receiver_waits_total') > 0)
    reader.stream.destroy()
    pub.stream.destroy()
    await settle()
    await settle()
    assert.ok(budget.heldBytes < 64, `${budget.heldBytes} bytes are held`)
    assert.equal(t.clock.pendingTimers, 0)
  })

test('nobody waits longer than two seconds for a receiver that does not read', async () => {
  const { t, budget } = rig(4 * MIB)
  await idle(t, 'idle', 1)
  const pub = t.open()
  await pub.connect({ clientId: 'pub' })
  const publish = (): void => pub.publish('a/b', 'x'.repeat(64 * 1024), { qos: 1, packetId: 1 })
  for (let i = 0; i < 100 && !budget.isTight; i++) {
    publish()
    await settle()
  }
  const waits = (): number => t.metrics.total('mesh_mqtt_receiver_waits_total')
  for (const ms of [1_000, 1_000, 250]) {
    publish()
    await t.clock.advance(ms)
  }
  const before = waits()
  assert.ok(before > 0, 'at first it may be one that reads')
  for (let i = 0; i < 5; i++) {
    publish()
    await settle()
  }
  assert.equal(waits(), before)
})

test('a client that receives its own messages takes its acknowledgements while it is read from slowly', async () => {
  const { t, metrics } = rig(4 * MIB)
  const limits = { maxInflight: 10 }
  const own = t.open({ policy: { limits } })
  await own.connect({ clientId: 'own' })
  await own.subscribe('a/#', { qos: 1 })
  let [sent, answered, got] = [0, 0, 0]
  // More than half of the budget at first.
  for (let turn = 0; got < 128 && turn < 3_000 && !own.closed; turn++) {
    while (sent < 128 && sent - answered < (turn === 0 ? 56 : 10))
      own.publish('a/b', 'x'.repeat(64 * 1024), { qos: 1, packetId: ++sent })
    answered += own.received.filter(({ type }) => type === 'puback').length
    got += await readSlowly(own, 1)
    await t.clock.advance(10)
  }
  assert.deepEqual([got, own.closed, metrics.total('mesh_memory_given_up_total')], [128, false, 0])
})

test('100 halves of a CONNECT of 900 kB are refused at their head, and nobody is kept out', async () => {
  const { t, budget } = rig(8 * MIB)
  const half = encode(
    connectPacket({
      password: Buffer.alloc(60_000),
      will: {
        topic: 'w',
        payload: Buffer.alloc(64_000),
        qos: 0,
        retain: false,
        properties: Buffer.alloc(0),
        delaySec: 0,
        messageExpirySec: undefined,
      },
    }),
    5,
  )
  const strangers = Array.from({ length: 100 }, () => t.open())
  for (const s of strangers) s.stream.write(half.subarray(0, 60_000))
  await settle()
  assert.equal(budget.heldBytes, 0)
  await settle()
  assert.ok(strangers.every((s) => s.closed))
  const c = t.open()
  assert.equal((await c.connect({ clientId: 'c' })).reason, 0)
})

test('a CONNECT with a password and a will that fit is taken, and packets behind it may be as large as ever', async () => {
  const { t } = rig(8 * MIB)
  const c = t.open()
  await c.connect({
    clientId: 'c',
    username: 'u',
    password: Buffer.alloc(30_000),
    will: {
      topic: 'w',
      payload: Buffer.alloc(30_000),
      qos: 0,
      retain: false,
      properties: Buffer.alloc(0),
      delaySec: 0,
      messageExpirySec: undefined,
    },
  })
  await c.subscribe('a')
  c.publish('a', 'x'.repeat(900_000))
  assert.equal((await c.take('publish')).payload.length, 900_000)
  const tight = t.open({ policy: { limits: { maxConnectBytes: 100 } } })
  tight.send(connectPacket({ clientId: 'x'.repeat(100) }))
  await settle()
  await settle()
  assert.equal(tight.closed, true)
})

test('halves of small CONNECTs: the oldest strangers go when the budget is used up, and their memory with them', async () => {
  const { t, budget, metrics } = rig(MIB)
  const head = encode(connectPacket({ password: Buffer.alloc(60_000) }), 5)
  const strangers: MqttPeer[] = []
  let most = 0
  for (let i = 0; i < 60; i++) {
    const s = t.open()
    strangers.push(s)
    s.stream.write(head.subarray(0, 50_000))
    await settle()
    most = Math.max(most, budget.heldBytes)
  }
  await settle()
  assert.ok(most < 1.2 * MIB, `${most} bytes were held`)
  assert.deepEqual([strangers[0]!.closed, strangers.at(-1)!.closed], [true, false])
  assert.ok(metrics.total('mesh_memory_given_up_total', { what: 'unfinished-connect' }) > 0)
})

test('halves of large packets count, and the connection that holds the most goes', async () => {
  const { t, budget } = rig(4 * MIB)
  const small = t.open()
  await small.connect({ clientId: 'small' })
  const large: MqttPeer[] = []
  for (let i = 0; i < 10; i++) {
    const peer = t.open()
    large.push(peer)
    await peer.connect({ clientId: `large${i}` })
    peer.stream.write(Buffer.concat([Buffer.from([0x30, 0x80, 0x80, 0x3c]), Buffer.alloc(600_000)]))
    await settle()
    await settle()
  }
  assert.ok(budget.heldBytes <= 4 * MIB, `${budget.heldBytes} bytes are held`)
  assert.ok(large.some((peer) => peer.closed) && large.some((peer) => !peer.closed))
  assert.equal(small.closed, false)
  for (const peer of large) peer.stream.destroy()
  await settle()
  await settle()
  assert.equal(budget.heldBytes, 0)
})

test('of connections without CONNECT the oldest of the address with the most gives way, and a CONNECT that comes is served', async () => {
  const t = new TestBroker()
  const policy = { limits: { maxPendingConnects: 3 } }
  const other = t.open({ policy, host: '10.0.0.2' })
  const silent = Array.from({ length: 9 }, () => t.open({ policy, host: '10.0.0.1' }))
  await settle()
  assert.deepEqual(
    [other.closed, silent.map((s) => s.closed)],
    [false, [true, true, true, true, true, true, true, false, false]],
  )
  assert.equal((await other.connect({ clientId: 'other' })).reason, 0)
  const next = t.open({ policy, host: '10.0.0.3' })
  assert.equal((await next.connect({ clientId: 'next' })).reason, 0)
  assert.equal(t.metrics.total('mesh_mqtt_pending_connects'), 2)
  for (const s of silent) s.stream.destroy()
  await settle()
  assert.equal(t.metrics.total('mesh_mqtt_pending_connects'), 0)
})

test('a place at the doorstep is given back once, whoever ends it', () => {
  const d = new Doorstep()
  const ended: string[] = []
  const one = d.enter('a', 1, () => ended.push('one'))
  const two = d.enter('b', 1, () => ended.push('two'))
  one[Symbol.dispose]()
  assert.deepEqual([d.size, ended], [1, ['one']])
  two[Symbol.dispose]()
  two[Symbol.dispose]()
  assert.equal(d.size, 0)
})

test('over WebSocket a frame that comes before CONNECT is bounded, too, and a CONNECT in one is taken', async () => {
  const { t } = rig(8 * MIB)
  const head = [
    'GET /mqtt HTTP/1.1',
    'Host: 127.0.0.1',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Protocol: mqtt',
    '',
    '',
  ].join('\r\n')
  const begun = async (frame: Buffer): Promise<{ readonly peer: MqttPeer; readonly got: () => Buffer }> => {
    const peer = t.open({ transport: 'websocket' })
    peer.stream.removeAllListeners('data')
    const chunks: Buffer[] = []
    peer.stream.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
    })
    peer.stream.write(head)
    for (let i = 0; i < 30 && chunks.length === 0; i++) await settle()
    peer.stream.write(frame)
    for (let i = 0; i < 6; i++) await settle()
    return { peer, got: () => Buffer.concat(chunks) }
  }
  const masked = (length: number, payload: Buffer): Buffer => {
    const start = Buffer.alloc(14)
    start.set([0x82, 0xff])
    start.writeBigUInt64BE(BigInt(length), 2)
    return Buffer.concat([start, payload])
  }
  const half = await begun(masked(1_000_000, Buffer.alloc(200_000)))
  assert.deepEqual([half.got().includes('101'), half.peer.closed], [true, true])
  const connect = encode(connectPacket({ clientId: 'ws', password: Buffer.alloc(60_000) }), 5)
  const whole = await begun(masked(connect.length, connect))
  assert.deepEqual(
    [whole.peer.closed, t.metrics.total('mesh_mqtt_connects_total', { outcome: 'accepted' })],
    [false, 1],
  )
})

/** A masked frame (RFC 6455 §5.2) with the mask 0. */
const frame = (payload: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([0x82, 0x80 | payload.length, 0, 0, 0, 0]), payload])
const UPGRADE =
  'GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n'
for (const how of ['a reset', 'a half close', 'a close frame']) {
  test(`WebSocket: nothing is held after ${how}`, async () => {
    const { t, budget } = rig(8 * MIB)
    const peer = t.open({ transport: 'websocket' })
    // It would take HTTP for MQTT.
    peer.stream.removeAllListeners('data').resume()
    peer.stream.write(UPGRADE)
    for (let i = 0; i < 200 && t.broker.stats.connections === 0; i++) await new Promise(setImmediate)
    const packets = [encode(connectPacket({ version: 4, clientId: 'w' }), 4), encode({ type: 'pingreq' }, 4)]
    for (const packet of packets) {
      peer.stream.write(frame(packet))
      await settle()
    }
    assert.ok(budget.heldBytes > 0, 'the answer to the ping')
    if (how === 'a reset') peer.stream.destroy()
    else if (how === 'a half close') peer.stream.end()
    else peer.stream.write(Buffer.from([0x88, 0x80, 0, 0, 0, 0]))
    for (let i = 0; i < 4; i++) {
      await settle()
      await t.clock.advance(1_000)
    }
    peer.stream.destroy()
    await settle()
    assert.equal(t.broker.stats.connections, 0)
    assert.equal(budget.heldBytes, 0)
  })
}

test('WebSocket: halves of frames count, and the connection that holds the most goes', async () => {
  const { t, budget } = rig(4 * MIB)
  for (let i = 0; i < 10; i++) {
    const peer = t.open({ transport: 'websocket' })
    peer.stream.removeAllListeners('data').resume()
    peer.stream.write(UPGRADE)
    for (let n = 0; n < 200 && t.broker.stats.connections <= i - t.outcomes.length; n++) await settle()
    peer.stream.write(frame(encode(connectPacket({ version: 4, clientId: `w${i}` }), 4)))
    await settle()
    peer.stream.write(Buffer.concat([Buffer.from('82ff00000000000f000000000000', 'hex'), Buffer.alloc(600_000)]))
    for (let n = 0; n < 4; n++) await settle()
  }
  assert.ok(budget.heldBytes > 1_200_000 && budget.heldBytes <= 4 * MIB, `${budget.heldBytes} bytes are held`)
  assert.ok(t.outcomes.length > 0 && t.outcomes.length < 10, `${t.outcomes.length} of 10 are over`)
})

test('a will that its own slow client subscribed to is held by nobody after it has left', async () => {
  const { t, budget } = rig(8 * MIB)
  const peer = t.open()
  await peer.connect({
    clientId: 'own',
    will: {
      topic: 'a/will',
      payload: Buffer.from('gone'),
      qos: 0,
      retain: false,
      properties: new Uint8Array(),
      delaySec: 0,
      messageExpirySec: undefined,
    },
  })
  await peer.subscribe('a/#', { qos: 0 })
  peer.stream.pause()
  await flood(t, budget, 40, 256 * 1024)
  peer.stream.destroy()
  await settle()
  await settle()
  assert.ok(budget.heldBytes < 64, `${budget.heldBytes} bytes`)
})
