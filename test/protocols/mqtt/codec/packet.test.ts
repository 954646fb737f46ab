import { test } from 'node:test'
import assert from 'node:assert/strict'
import { DUP, publishFlags, RETAIN, TYPE } from '../../../../protocols/mqtt/codec/packet.ts'

test('the flags of PUBLISH: DUP is bit 3, QoS bits 2 and 1, RETAIN bit 0 (MQTT 5.0 §3.3.1)', () => {
  assert.deepEqual(
    [publishFlags(0, 0), publishFlags(1, 0), publishFlags(2, RETAIN), publishFlags(1, DUP | RETAIN)],
    [0b0000, 0b0010, 0b0101, 0b1011],
  )
})

test('packet types are numbered as in MQTT 5.0 §2.1.2', () => {
  const names = 'connect connack publish puback pubrec pubrel pubcomp subscribe suback unsubscribe unsuback pingreq'
  assert.deepEqual(
    Object.entries(TYPE),
    `${names} pingresp disconnect auth`.split(' ').map((name, i) => [name, (i + 1) << 4]),
  )
})
