import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Reader, decodeUtf8, countVarIntBytes, Writer, writeVarInt } from '../../../../protocols/mqtt/codec/bytes.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const reader = (text: string): Reader => new Reader().reset(hex(text), 0, hex(text).length)

for (const [value, bytes] of [
  [0, '00'],
  [127, '7f'],
  [128, '8001'],
  [16_383, 'ff7f'],
  [16_384, '808001'],
  [2_097_151, 'ffff7f'],
  [2_097_152, '80808001'],
  [268_435_455, 'ffffff7f'],
] as const) {
  test(`Variable Byte Integer ${value} is ${bytes}`, () => {
    const buf = Buffer.alloc(4)
    const end = writeVarInt(buf, 0, value)
    assert.equal(buf.toString('hex', 0, end), bytes)
    assert.equal(countVarIntBytes(value), end)
    const r = reader(bytes)
    assert.deepEqual([r.varInt(), r.left], [value, 0])
  })
}

test('a reader stops at its end, whatever lies behind it in the buffer', () => {
  const buf = hex('01 0203 04050607 ff ff ff ff')
  const whole = new Reader().reset(buf, 0, 7)
  assert.deepEqual([whole.u8(), whole.u16(), whole.u32(), whole.left], [1, 0x0203, 0x04050607, 0])
  for (const [end, read] of [
    [0, (r: Reader) => r.u8()],
    [1, (r: Reader) => r.u16()],
    [3, (r: Reader) => r.u32()],
    [2, (r: Reader) => r.binary()],
    [2, (r: Reader) => r.string()],
  ] as const)
    assert.throws(() => read(new Reader().reset(hex('0004 61626364'), 0, end)), { code: 'MESH_MQTT_PROTOCOL' })
})

test('strings and binary data are what their length says', () => {
  const r = reader('0003 61c3bc 0002 ff00 61')
  assert.deepEqual([r.string(), r.binary().toString('hex'), r.left], ['aü', 'ff00', 1])
  assert.throws(() => decodeUtf8(hex('c3'), 0, 1), /MQTT-1.5.4-1/)
  assert.throws(() => decodeUtf8(hex('6100'), 0, 2), /MQTT-1.5.4-2/)
})

test('a writer that has to grow keeps what it has', () => {
  const w = new Writer(2)
  w.u8(1)
  w.u16(0x0203)
  w.u32(0x04050607)
  w.varInt(200)
  w.string('ü')
  w.raw(hex('0a0b'))
  assert.equal(w.getBytes().toString('hex'), '01020304050607c8010002c3bc0a0b')
  assert.equal(w.length, 15)
  assert.throws(() => w.varInt(268_435_456), RangeError)
})
