import { test } from 'node:test'
import assert from 'node:assert/strict'
import { encodeRebirthRequest, markHistorical, readSeq } from '../../../../protocols/mqtt/sparkplug/payload.ts'
import { describePayload, field, sparkplugPayload } from '../../../helpers/mqtt/sparkplug.ts'
import { seededRandom } from '../../../helpers/random.ts'

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex')
const hexOf = (payload: Uint8Array | undefined): string | undefined => payload && Buffer.from(payload).toString('hex')
const same = (hex: string): readonly [string, string] => [hex, hex]

/** Metrics are field 2 (tag 12), is_historical is field 5 (tag 28). */
const MARKED: Readonly<Record<string, readonly [string, string | undefined]>> = {
  'an empty payload has no metrics': same(''),
  'a timestamp and a sequence number alone stay': same('08 01 18 05'),
  'a metric without anything': ['12 00', '12 02 28 01'],
  'a metric with an alias and a value': ['12 04 10 07 50 2a', '12 06 10 07 50 2a 28 01'],
  'it says that it is not': ['12 04 28 00 50 2a', '12 04 50 2a 28 01'],
  'it says so already': ['12 04 50 2a 28 01', '12 04 50 2a 28 01'],
  'it says so twice, and the last one counts': ['12 06 28 01 50 2a 28 00', '12 04 50 2a 28 01'],
  'a Boolean of more bytes than it needs': ['12 05 28 80 00 50 2a', '12 04 50 2a 28 01'],
  'each of several, with what is between': [
    '12 02 50 01 18 05 12 02 50 02',
    '12 04 50 01 28 01 18 05 12 04 50 02 28 01',
  ],
  'fields that nobody knows stay where they are': [
    'aa 06 01 ff 12 07 aa 06 02 61 62 50 2a b0 06 09',
    'aa 06 01 ff 12 09 aa 06 02 61 62 50 2a 28 01 b0 06 09',
  ],
  'fixed32 and fixed64 of a float and a double': [
    '12 0e 65 00 00 80 3f 69 00 00 00 00 00 00 f0 3f',
    '12 10 65 00 00 80 3f 69 00 00 00 00 00 00 f0 3f 28 01',
  ],
  'a group, which proto2 has': ['33 08 01 34 12 02 50 01', '33 08 01 34 12 04 50 01 28 01'],
  'a group in a metric': ['12 06 a3 06 08 01 a4 06', '12 08 a3 06 08 01 a4 06 28 01'],
  'a length that ends behind the payload': ['12 05 50 2a', undefined],
  'a metric that is no message': ['10 01', undefined],
  'is_historical that is no Boolean': ['12 02 2a 00', undefined],
  'a field in a metric that ends behind it': ['12 02 0a 05 50 2a 00 00 00', undefined],
  'a varint without an end': ['08 ff ff ff ff ff ff ff ff ff ff 01', undefined],
  'field number 0': ['00 01', undefined],
  'the end of a group that has not begun': ['34', undefined],
  'a wire type that there is not': ['0e', undefined],
  text: [Buffer.from('ONLINE').toString('hex'), undefined],
  JSON: [Buffer.from('{"a":1}').toString('hex'), undefined],
}
for (const [name, [before, after]] of Object.entries(MARKED))
  test(`marked as historical: ${name}`, () => {
    assert.equal(hexOf(markHistorical(bytes(before))), after?.replaceAll(' ', ''))
  })

test('metrics inside a template stay, the metric that holds it is marked', () => {
  const inner = [...field(2, field(10, 1))]
  const before = Buffer.from(field(2, field(18, inner)))
  assert.equal(hexOf(markHistorical(before)), hexOf(Buffer.from(field(2, [...field(18, inner), 0x28, 1]))))
})

test('a metric that grows from 126 bytes to 128 has a length of two bytes', () => {
  for (const length of [124, 125, 126, 127, 128, 16_379, 16_382, 16_384]) {
    const content = field(1, [...Buffer.alloc(length - (length > 129 ? 3 : 2), 'x')])
    const marked = markHistorical(Buffer.from([...field(2, content), ...field(3, 9)]))
    assert.equal(hexOf(marked), hexOf(Buffer.from([...field(2, [...content, 0x28, 1]), ...field(3, 9)])), `${length}`)
  }
})

test('the sequence number is read: none, the last one, above 255', () => {
  assert.equal(readSeq(sparkplugPayload(undefined, { name: 'a', value: 1 })), undefined)
  assert.equal(readSeq(sparkplugPayload(255, { name: 'a', value: 1 })), 255)
  assert.equal(readSeq(bytes('18 01 18 02')), 2)
  assert.equal(readSeq(bytes('18 80 02')), 'unreadable')
  assert.equal(readSeq(bytes('1a 00')), 'unreadable')
  assert.equal(readSeq(Buffer.from('ONLINE')), 'unreadable')
})

test('a Rebirth Request has a timestamp and Node Control/Rebirth as Boolean with the value true, and no sequence number', () => {
  const name = Buffer.from('Node Control/Rebirth').toString('hex')
  // timestamp 1700000000000 = 80 d0 95 ff bc 31
  assert.equal(
    hexOf(encodeRebirthRequest(1_700_000_000_000)),
    `0880d095ffbc31` + `1221` + `0a14${name}` + `1880d095ffbc31` + `200b` + `7001`,
  )
})

test('cut at every offset and with every byte changed: no throw, and what is taken reads as before', () => {
  const whole = sparkplugPayload(7, { name: 'temperature', value: 300 }, { name: 'b', value: 1, isHistorical: false })
  const random = seededRandom(11)
  for (let at = 0; at <= whole.length; at++) {
    for (const damaged of [whole.subarray(0, at), Buffer.from(whole)]) {
      if (damaged.length === whole.length && at < whole.length) damaged[at] = Math.floor(random.float() * 256)
      const marked = markHistorical(damaged)
      if (!marked) continue
      assert.equal(
        describePayload(marked),
        describePayload(damaged)
          .split(' ')
          .map((word, i) => (i > 0 && word.includes('=') && !word.endsWith('*') ? `${word}*` : word))
          .join(' '),
      )
    }
  }
})

test('a payload of a hundred thousand empty metrics takes a bounded time and size', () => {
  const many = Buffer.from(Array.from({ length: 100_000 }, () => [0x12, 0]).flat())
  assert.equal(markHistorical(many)?.length, 400_000)
})

test('groups in groups end the reading, not the process', () => {
  assert.equal(markHistorical(Buffer.alloc(1_000_000, 0x33)), undefined)
})
