import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Reader } from '../../../../protocols/mqtt/codec/bytes.ts'
import { decode } from '../../../../protocols/mqtt/codec/decode.ts'
import type { Packet, Version } from '../../../../protocols/mqtt/codec/packet.ts'

/** Of one packet without its Remaining Length. */
function decoded(first: number, body: string, version: Version, side: 'server' | 'client'): Packet {
  const buf = Buffer.from(body.replaceAll(' ', ''), 'hex')
  return decode(new Reader().reset(buf, 0, buf.length), first, version, side)
}
const shown = (packet: Packet): unknown =>
  JSON.parse(JSON.stringify(packet, (_, value: unknown) => (Buffer.isBuffer(value) ? value.toString('hex') : value)))

test('PUBLISH: QoS, DUP and RETAIN come from the fixed header, the rest from the body', () => {
  const packet = decoded(0x3b, '0003 612f62 0102 07 02 0000000a 0101 6869', 5, 'server')
  assert.ok(packet.type === 'publish')
  const { topic, qos, dup, retain, packetId, messageExpirySec, topicAlias, payload, properties } = packet
  assert.deepEqual(
    [topic, qos, dup, retain, packetId, messageExpirySec, topicAlias],
    ['a/b', 1, true, true, 0x0102, 10, 0],
  )
  assert.deepEqual([Buffer.from(payload).toString(), Buffer.from(properties).toString('hex')], ['hi', '0101'])
})

for (const { name, first, body, version = 5, side = 'server', want } of [
  {
    name: 'SUBSCRIBE with all options',
    first: 0x82,
    body: '0005 02 0b07 0001 61 2d',
    want: {
      type: 'subscribe',
      packetId: 5,
      properties: { subscriptionIds: [7] },
      subscriptions: [{ filter: 'a', qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 2 }],
    },
  },
  {
    name: 'UNSUBSCRIBE of 3.1.1',
    first: 0xa2,
    body: '0005 0001 61 0001 62',
    version: 4,
    want: { type: 'unsubscribe', packetId: 5, filters: ['a', 'b'], properties: {} },
  },
  {
    name: 'PUBREC with a reason',
    first: 0x50,
    body: '0005 97',
    want: { type: 'pubrec', packetId: 5, reason: 0x97, properties: {} },
  },
  {
    name: 'DISCONNECT without a reason',
    first: 0xe0,
    body: '',
    want: { type: 'disconnect', reason: 0, properties: {} },
  },
  {
    name: 'DISCONNECT with an expiry',
    first: 0xe0,
    body: '04 05 11 00000009',
    want: { type: 'disconnect', reason: 4, properties: { sessionExpirySec: 9 } },
  },
  {
    name: 'CONNACK that ends after its reason',
    first: 0x20,
    body: '01 00',
    side: 'client',
    want: { type: 'connack', sessionPresent: true, reason: 0, properties: {} },
  },
  {
    name: 'UNSUBACK of 3.1.1',
    first: 0xb0,
    body: '0005',
    version: 4,
    side: 'client',
    want: { type: 'unsuback', packetId: 5, reasons: [], properties: {} },
  },
] as const) {
  test(`decode: ${name}`, () => assert.deepEqual(shown(decoded(first, body, version, side)), want))
}
