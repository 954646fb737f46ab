import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../../core/errors.ts'
import { encode, publishPacket } from '../../../../protocols/mqtt/codec/encode.ts'
import type { Packet, Version } from '../../../../protocols/mqtt/codec/packet.ts'
import { PacketParser } from '../../../../protocols/mqtt/codec/parser.ts'
import { NO_PROPERTIES } from '../../../../protocols/mqtt/codec/properties.ts'
import { toReason } from '../../../../protocols/mqtt/codec/reason.ts'

type Side = 'server' | 'client'
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
function parse(bytes: Buffer, p: { side?: Side; version?: Version; maxPacketBytes?: number } = {}): Packet[] {
  const parser = new PacketParser({
    maxPacketBytes: p.maxPacketBytes ?? 1024 * 1024,
    side: p.side ?? 'server',
    version: p.version ?? 5,
  })
  parser.push(bytes)
  const out: Packet[] = []
  for (let packet = parser.next(); packet; packet = parser.next()) out.push(packet)
  return out
}

const CONNECT_5 = '10 0f 0004 4d515454 05 02 003c 00 0002 6162'
const CONNECT_4 = '10 0e 0004 4d515454 04 02 003c 0002 6162'
for (const [name, bytes, version, clientId] of [
  ['3.1.1', CONNECT_4, 4, 'ab'],
  ['5.0', CONNECT_5, 5, 'ab'],
] as const) {
  test(`a ${name} CONNECT gives its fields and settles the version`, () => {
    const parser = new PacketParser({ maxPacketBytes: 100, side: 'server' })
    parser.push(hex(bytes))
    const packet = parser.next()
    assert.ok(packet?.type === 'connect')
    assert.deepEqual(
      [packet.version, packet.clientId, packet.keepAliveSec, packet.cleanStart, parser.version],
      [version, clientId, 60, true, version],
    )
  })
}

for (const { name, bytes, code = 'MESH_MQTT_PROTOCOL', reason = 0x81, says, side, version, max } of [
  { name: '[MQTT-1.5.5-1] a Remaining Length of five bytes', bytes: '30 ffffffff7f', says: 'MQTT-1.5.5-1' },
  { name: '[MQTT-1.5.5-1] a Remaining Length that is not the shortest', bytes: 'c0 8000', says: 'MQTT-1.5.5-1' },
  { name: '[MQTT-2.1.3-1] reserved flags', bytes: 'c1 00', says: 'MQTT-2.1.3-1' },
  { name: '[MQTT-2.1.3-1] SUBSCRIBE without flag 2', bytes: '80 00', says: 'MQTT-2.1.3-1' },
  { name: 'a packet type that a server never gets', bytes: '20 02 0000', reason: 0x82, says: 'packet type 2' },
  { name: '[MQTT-1.5.4-1] a surrogate in a topic', bytes: '30 06 0003 eda080 00', says: 'MQTT-1.5.4-1' },
  { name: '[MQTT-1.5.4-2] U+0000 in a topic', bytes: '30 04 0001 00 00', says: 'MQTT-1.5.4-2' },
  { name: '[MQTT-3.3.1-4] QoS 3', bytes: '36 00', says: 'MQTT-3.3.1-4' },
  { name: '[MQTT-3.3.1-2] DUP with QoS 0', bytes: '38 04 0001 61 00', says: 'MQTT-3.3.1-2' },
  { name: '[MQTT-3.3.2-2] a wildcard in a topic name', bytes: '30 04 0001 23 00', reason: 0x90, says: 'MQTT-3.3.2-2' },
  { name: '[MQTT-2.2.1-3] packet id 0', bytes: '32 06 0001 61 0000 00', says: 'MQTT-2.2.1-3' },
  { name: 'an empty topic without alias', bytes: '30 03 0000 00', reason: 0x82, says: 'no Topic Alias' },
  { name: '[MQTT-3.3.2-8] Topic Alias 0', bytes: '30 07 0001 61 03 230000', reason: 0x94, says: 'MQTT-3.3.2-8' },
  {
    name: '[MQTT-3.3.4-6] a Subscription Identifier from a client',
    bytes: '30 06 0001 61 02 0b01',
    reason: 0x82,
    says: 'MQTT-3.3.4-6',
  },
  { name: 'the same property twice', bytes: '30 08 0001 61 04 01010101', reason: 0x82, says: 'more than once' },
  { name: 'a property of another packet', bytes: '30 06 0001 61 02 2501', says: 'PUBLISH' },
  { name: 'an unknown property', bytes: '30 06 0001 61 02 7f01', says: '0x7f' },
  { name: 'properties that go beyond the packet', bytes: '30 04 0001 61 05', says: 'Property Length' },
  {
    name: '[MQTT-3.3.2-14] a wildcard in a Response Topic',
    bytes: '30 08 0001 61 04 08 0001 2b',
    reason: 0x82,
    says: 'MQTT-3.3.2-14',
  },
  { name: '[MQTT-3.8.3-2] SUBSCRIBE without a filter', bytes: '82 03 0001 00', reason: 0x82, says: 'MQTT-3.8.3-2' },
  {
    name: '[MQTT-3.8.3-4] No Local on a shared subscription',
    bytes: '82 10 0001 00 000a 2473686172652f672f61 04',
    reason: 0x82,
    says: 'MQTT-3.8.3-4',
  },
  { name: '[MQTT-3.8.3-5] reserved subscription options', bytes: '82 07 0001 00 0001 61 40', says: 'MQTT-3.8.3-5' },
  { name: '[MQTT-3.10.3-2] UNSUBSCRIBE without a filter', bytes: 'a2 03 0001 00', reason: 0x82, says: 'MQTT-3.10.3-2' },
  {
    name: '[MQTT-3.1.2-3] the reserved connect flag',
    bytes: '10 0f 0004 4d515454 05 03 003c 00 0002 6162',
    says: 'MQTT-3.1.2-3',
  },
  {
    name: '[MQTT-3.1.2-11] Will QoS without a will',
    bytes: '10 0f 0004 4d515454 05 0a 003c 00 0002 6162',
    says: 'MQTT-3.1.2-11',
  },
  { name: '[MQTT-3.1.2-12] Will QoS 3', bytes: '10 0f 0004 4d515454 05 1e 003c 00 0002 6162', says: 'MQTT-3.1.2-12' },
  {
    name: '[MQTT-3.1.2-13] Will Retain without a will',
    bytes: '10 0f 0004 4d515454 05 22 003c 00 0002 6162',
    says: 'MQTT-3.1.2-13',
  },
  {
    name: '[MQTT-3.1.2-22] a 3.1.1 password without a user name',
    bytes: '10 0e 0004 4d515454 04 42 003c 0002 6162',
    says: 'MQTT-3.1.2-22',
  },
  {
    name: '[MQTT-3.1.2-1] another protocol name',
    bytes: '10 0f 0004 4d515455 05 02 003c 00 0002 6162',
    reason: 0x84,
    says: 'MQTT-3.1.2-1',
  },
  {
    name: 'bytes behind the last field',
    bytes: '10 10 0004 4d515454 05 02 003c 00 0002 6162 00',
    says: 'follow the last field',
  },
  {
    name: 'Receive Maximum 0',
    bytes: '10 12 0004 4d515454 05 02 003c 03 210000 0002 6162',
    reason: 0x82,
    says: '0x21',
  },
  { name: 'a reason code that PUBACK has not', bytes: '40 03 0001 92', reason: 0x82, says: 'PUBACK' },
  { name: 'a reason code that PUBREL has not', bytes: '62 03 0001 80', reason: 0x82, says: 'PUBREL' },
  { name: 'a reason code that nobody has defined', bytes: 'e0 01 42', reason: 0x82, says: 'DISCONNECT' },
  {
    name: '[MQTT-4.7.3-1] an empty Response Topic',
    bytes: '30 07 0001 61 03 080000',
    reason: 0x82,
    says: 'MQTT-4.7.3-1',
  },
  {
    name: '[MQTT-4.7.3-1] an empty Response Topic of a will',
    bytes: '10 19 0004 4d515454 05 06 003c 00 0002 6162 03 080000 0001 77 0001 78',
    reason: 0x82,
    says: 'MQTT-4.7.3-1',
  },
  { name: 'AUTH in 3.1.1', bytes: 'f0 00', version: 4 as const, reason: 0x82, says: '3.1.1' },
  {
    name: 'a 3.1.1 PUBACK that is too long',
    bytes: '40 03 0001 00',
    version: 4 as const,
    says: 'follow the last field',
  },
  { name: '[MQTT-3.2.2-1] CONNACK flags', bytes: '20 02 0200', side: 'client' as const, says: 'MQTT-3.2.2-1' },
  {
    name: 'a packet larger than allowed, before its body has come',
    bytes: '30 ffff7f',
    code: 'MESH_MQTT_PACKET_TOO_LARGE',
    reason: 0x95,
    says: '2097155',
    max: 1024,
  },
]) {
  test(`refused: ${name}`, () => {
    assert.throws(
      () =>
        parse(hex(bytes), { ...(side && { side }), ...(version && { version }), ...(max && { maxPacketBytes: max }) }),
      (err) => {
        assert.ok(err instanceof MeshError)
        assert.deepEqual([err.code, toReason(err)], [code, reason], err.message)
        assert.ok(err.message.includes(says), err.message)
        return true
      },
    )
  })
}

test('3.1.1 has no rule for the shortest Remaining Length', () =>
  assert.deepEqual(parse(hex('c0 8000'), { version: 4 }), [{ type: 'pingreq' }]))

test('another protocol level is a packet of its own, so that it can be answered in its form [MQTT-3.1.2-2]', () => {
  assert.deepEqual(parse(hex('10 0f 0004 4d515454 06 02 003c 00 0002 6162')), [
    { type: 'unsupported-connect', level: 6 },
  ])
  assert.deepEqual(parse(hex('10 10 0006 4d5149736470 04 02 003c 0002 6162')), [
    { type: 'unsupported-connect', level: 4 },
  ])
})

for (const [name, bytes, version, more] of [
  ['MQTT 3.1', '10 10 0006 4d5149736470 03 02 003c 0002 6162', 4, { is31: true }],
  [
    "a bridge of MQTT 3.1 (mosquitto's try_private)",
    '10 10 0006 4d5149736470 83 02 003c 0002 6162',
    4,
    { isBridge: true, is31: true },
  ],
  [
    "a bridge of MQTT 3.1.1 (mosquitto's try_private)",
    '10 0e 0004 4d515454 84 02 003c 0002 6162',
    4,
    { isBridge: true },
  ],
] as const) {
  test(`CONNECT of ${name}`, () => {
    const [packet] = parse(hex(bytes), { version: 4 })
    assert.ok(packet?.type === 'connect')
    const { isBridge, is31 } = packet
    assert.deepEqual([packet.version, packet.clientId], [version, 'ab'])
    assert.deepEqual({ isBridge, is31 }, { isBridge: undefined, is31: undefined, ...more })
  })
}

test('MQTT 3.1 repeats SUBSCRIBE and PUBREL with DUP, which nobody else may', () => {
  const parser = new PacketParser({ maxPacketBytes: 100, side: 'server' })
  parser.push(hex('10 10 0006 4d5149736470 03 02 003c 0002 6162 8a 06 0001 0001 61 01 6a 02 0001'))
  assert.deepEqual(
    [parser.next(), parser.next(), parser.next()].map((packet) => packet?.type),
    ['connect', 'subscribe', 'pubrel'],
  )
  assert.throws(() => parse(hex('6a 02 0001'), { version: 4 }), /MQTT-2.1.3-1/)
})

test('a PUBLISH that is too large is told by its head where that is asked for, cut at every offset', () => {
  const large = encode(publishPacket({ topic: 'a/b', payload: Buffer.alloc(90, 'x'), qos: 1, packetId: 5 }), 5)
  const bytes = Buffer.concat([hex('d0 00'), large, hex('d0 00')])
  for (let at = 0; at <= bytes.length; at++) {
    const parser = new PacketParser({ maxPacketBytes: 20, side: 'client', version: 5, large: 'skip' })
    const seen: unknown[] = []
    for (const piece of [bytes.subarray(0, at), bytes.subarray(at)]) {
      parser.push(piece)
      for (let packet = parser.next(); packet; packet = parser.next())
        seen.push(
          packet.type === 'publish' ? [packet.topic, packet.qos, packet.packetId, packet.oversizedBytes] : packet.type,
        )
    }
    assert.deepEqual(seen, ['pingresp', ['a/b', 1, 5, large.length], 'pingresp'], `cut at ${at}`)
  }
})

test('U+FEFF in front of a topic is a character like any other [MQTT-1.5.4-3]', () => {
  const [packet] = parse(hex('30 07 0004 efbbbf61 00'))
  assert.ok(packet?.type === 'publish')
  assert.equal(packet.topic, '\ufeffa')
})

test('what is forwarded of a PUBLISH is everything but alias, expiry and subscription ids, byte by byte', () => {
  // 01 payload format, 23 alias, 26 user property, 02 expiry, 09 correlation data
  const [packet] = parse(hex('30 1b 0001 61 16 0101 230003 26 0001 6b 0001 76 02 0000000a 09 0002 beef 00'))
  assert.ok(packet?.type === 'publish')
  assert.deepEqual(
    [packet.topicAlias, packet.messageExpirySec, Buffer.from(packet.properties).toString('hex')],
    [3, 10, '010126' + '00016b' + '000176' + '090002beef'],
  )
})

test('a packet in one chunk is not copied: its payload is a view of the chunk', () => {
  const chunk = encode(publishPacket({ topic: 'a', payload: Buffer.from('payload') }), 4)
  const [packet] = parse(chunk, { version: 4 })
  assert.ok(packet?.type === 'publish')
  assert.equal(packet.payload.buffer, chunk.buffer)
})

test('a stream cut at every offset gives the same packets', () => {
  const packets: Packet[] = [
    publishPacket({ topic: 'a/b', payload: Buffer.from('x'.repeat(200)), qos: 1, packetId: 9, messageExpirySec: 5 }),
    {
      type: 'subscribe',
      packetId: 3,
      properties: NO_PROPERTIES,
      subscriptions: [{ filter: 'ü/#', qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 2 }],
    },
    { type: 'puback', packetId: 4, reason: 0x97, properties: NO_PROPERTIES },
    { type: 'pingreq' },
  ]
  const bytes = Buffer.concat(packets.map((p) => encode(p, 5)))
  const whole = JSON.stringify(parse(bytes))
  for (let cut = 0; cut <= bytes.length; cut++) {
    const parser = new PacketParser({ maxPacketBytes: 1000, side: 'server', version: 5 })
    const out: Packet[] = []
    for (const part of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
      parser.push(part)
      for (let packet = parser.next(); packet; packet = parser.next()) out.push(packet)
    }
    assert.equal(JSON.stringify(out), whole, `cut at ${cut}`)
  }
})

test('a packet in many chunks takes no more memory than its length', () => {
  const parser = new PacketParser({ maxPacketBytes: 1 << 20, side: 'server' })
  const packet = encode(publishPacket({ topic: 't', payload: Buffer.alloc(256 * 1024) }), 4)
  let most = 0
  for (let at = 0; at < packet.length; at += 64 * 1024) {
    parser.push(packet.subarray(at, at + 64 * 1024))
    const last = parser.next()
    most = Math.max(most, parser.heldBytes, last?.type === 'publish' ? last.payload.buffer.byteLength : 0)
  }
  assert.equal(most, packet.length)
})

test('what has come and was not given is held: whole packets, and the beginning of one', () => {
  const parser = new PacketParser({ maxPacketBytes: 1024, side: 'server' })
  const ping = Buffer.from('c000', 'hex')
  parser.push(Buffer.concat([ping, ping, ping, Buffer.from('30', 'hex')]))
  assert.equal(parser.heldBytes, 7)
  parser.next()
  assert.equal(parser.heldBytes, 5)
  parser.push(ping.subarray(0, 1))
  assert.equal(parser.heldBytes, 6, 'what is left is copied in front of what came')
})
