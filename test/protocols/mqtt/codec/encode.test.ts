import { test } from 'node:test'
import assert from 'node:assert/strict'
import { encode, publishPacket } from '../../../../protocols/mqtt/codec/encode.ts'
import type { Packet } from '../../../../protocols/mqtt/codec/packet.ts'
import { NO_PROPERTIES } from '../../../../protocols/mqtt/codec/properties.ts'

const ack = (type: 'puback' | 'pubrel', reason: number): Packet => ({
  type,
  packetId: 7,
  reason,
  properties: NO_PROPERTIES,
})
const subscription = { filter: 'a', qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 2 } as const
for (const { name, packet, v5, v4 } of [
  {
    name: 'CONNECT',
    packet: {
      type: 'connect',
      version: 5,
      cleanStart: true,
      keepAliveSec: 60,
      clientId: 'ab',
      username: 'u',
      password: Buffer.from('p'),
      will: undefined,
      properties: { receiveMaximum: 9 },
    },
    v5: '10 18 0004 4d515454 05 c2 003c 03 210009 0002 6162 0001 75 0001 70',
    v4: undefined,
  },
  {
    name: 'CONNACK',
    packet: { type: 'connack', sessionPresent: true, reason: 0, properties: { assignedClientId: 'x' } },
    v5: '20 07 01 00 04 12000178',
    v4: '20 02 01 00',
  },
  {
    name: 'PUBLISH',
    packet: publishPacket({ topic: 't', payload: Buffer.from('x'), qos: 1, dup: true, packetId: 2, topicAlias: 3 }),
    v5: '3a 0a 0001 74 0002 03 230003 78',
    v4: '3a 06 0001 74 0002 78',
  },
  { name: 'PUBACK without a reason', packet: ack('puback', 0), v5: '40 02 0007', v4: '40 02 0007' },
  { name: 'PUBACK with a reason', packet: ack('puback', 0x97), v5: '40 03 0007 97', v4: '40 02 0007' },
  { name: 'PUBREL', packet: ack('pubrel', 0), v5: '62 02 0007', v4: '62 02 0007' },
  {
    name: 'SUBSCRIBE',
    packet: { type: 'subscribe', packetId: 1, properties: { subscriptionIds: [5] }, subscriptions: [subscription] },
    v5: '82 09 0001 02 0b05 0001 61 2e',
    v4: '82 06 0001 0001 61 02',
  },
  {
    name: 'SUBACK',
    packet: { type: 'suback', packetId: 1, reasons: [1, 0x80], properties: NO_PROPERTIES },
    v5: '90 05 0001 00 01 80',
    v4: '90 04 0001 01 80',
  },
  {
    name: 'UNSUBACK',
    packet: { type: 'unsuback', packetId: 1, reasons: [0x11], properties: NO_PROPERTIES },
    v5: 'b0 04 0001 00 11',
    v4: 'b0 02 0001',
  },
  { name: 'PINGRESP', packet: { type: 'pingresp' }, v5: 'd0 00', v4: 'd0 00' },
  {
    name: 'DISCONNECT',
    packet: { type: 'disconnect', reason: 0x8e, properties: NO_PROPERTIES },
    v5: 'e0 01 8e',
    v4: 'e0 00',
  },
] satisfies { name: string; packet: Packet; v5: string; v4: string | undefined }[]) {
  test(`encode: ${name}`, () => {
    assert.equal(encode(packet, 5).toString('hex'), v5.replaceAll(' ', ''))
    if (v4) assert.equal(encode(packet, 4).toString('hex'), v4.replaceAll(' ', ''))
  })
}
