import { test } from 'node:test'
import assert from 'node:assert/strict'
import { encodeRebirthRequest, markHistorical, readSeq } from '../../../../protocols/mqtt/sparkplug/payload.ts'
import { compress, describePayload, field, sparkplugPayload } from '../../../helpers/mqtt/sparkplug.ts'
import { seededRandom } from '../../../helpers/random.ts'

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex')
const hexOf = (payload: Uint8Array | undefined): string | undefined => payload && Buffer.from(payload).toString('hex')
const MAX = 1_000_000
const marked = (payload: Uint8Array, maxBytes = MAX): Uint8Array | undefined => {
  const after = markHistorical(payload, maxBytes)
  return after === 'unreadable' ? undefined : typeof after === 'string' ? Buffer.from(after) : after
}
const seqOf = (payload: Uint8Array, maxBytes = MAX) => readSeq(payload, maxBytes)
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
    assert.equal(hexOf(marked(bytes(before))), after?.replaceAll(' ', ''))
  })

test('metrics inside a template stay, the metric that holds it is marked', () => {
  const inner = [...field(2, field(10, 1))]
  const before = Buffer.from(field(2, field(18, inner)))
  assert.equal(hexOf(marked(before)), hexOf(Buffer.from(field(2, [...field(18, inner), 0x28, 1]))))
})

test('a metric that grows from 126 bytes to 128 has a length of two bytes', () => {
  for (const length of [124, 125, 126, 127, 128, 16_379, 16_382, 16_384]) {
    const content = field(1, [...Buffer.alloc(length - (length > 129 ? 3 : 2), 'x')])
    const after = marked(Buffer.from([...field(2, content), ...field(3, 9)]))
    assert.equal(hexOf(after), hexOf(Buffer.from([...field(2, [...content, 0x28, 1]), ...field(3, 9)])), `${length}`)
  }
})

test('the sequence number is read: none, the last one, above 255', () => {
  assert.equal(seqOf(sparkplugPayload(undefined, { name: 'a', value: 1 })), undefined)
  assert.equal(seqOf(sparkplugPayload(255, { name: 'a', value: 1 })), 255)
  assert.equal(seqOf(bytes('18 01 18 02')), 2)
  assert.equal(seqOf(bytes('18 80 02')), 'unreadable')
  assert.equal(seqOf(bytes('1a 00')), 'unreadable')
  assert.equal(seqOf(Buffer.from('ONLINE')), 'unreadable')
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
      const after = marked(damaged)
      if (!after) continue
      assert.equal(
        describePayload(after),
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
  assert.equal(marked(many)?.length, 400_000)
})

for (const algorithm of ['GZIP', 'DEFLATE', undefined] as const)
  test(`compressed with ${algorithm ?? 'what nobody names'}: the inner payload is marked and its number read, what is around it stays`, () => {
    const inner = sparkplugPayload(7, { name: 'a', value: 300 }, { name: 'b', value: 1 })
    const before = compress(inner, algorithm)
    const after = marked(before)!
    assert.equal(describePayload(after), '7 a=300* b=1*')
    assert.equal(seqOf(after), 7)
    const outer = (payload: Uint8Array): string => describePayload(payload, { isInflated: false })
    assert.equal(outer(after), outer(before))
    assert.equal(hexOf(marked(after)), hexOf(after), 'marked once more it is the same')
  })
test('compressed: the number outside counts where there is none inside', () => {
  const inner = sparkplugPayload(undefined, { name: 'a', value: 1 })
  assert.equal(seqOf(Buffer.concat([compress(inner, 'GZIP'), Buffer.from(field(3, 9))])), 9)
  assert.equal(seqOf(Buffer.concat([compress(sparkplugPayload(4), 'GZIP'), Buffer.from(field(3, 9))])), 4)
})
test('compressed: what is larger than may be looked at, what does not inflate, and a body without the word for it', () => {
  const bomb = compress(Buffer.alloc(50_000_000), 'DEFLATE')
  assert.ok(bomb.length < 60_000)
  assert.deepEqual([markHistorical(bomb, MAX), readSeq(bomb, MAX)], ['too-large', 'too-large'])
  const inner = sparkplugPayload(7, { name: 'a', value: 1 })
  assert.deepEqual(
    [inner.length, inner.length - 1].map((max) => readSeq(compress(inner, 'GZIP'), max)),
    [7, 'too-large'],
  )
  const cut = Buffer.from([...field(4, [...Buffer.from('SPBV1.0_COMPRESSED')]), ...field(5, [0x1f, 0x8b, 8, 0])])
  assert.deepEqual([markHistorical(cut, MAX), readSeq(cut, MAX)], ['unreadable', 'unreadable'])
  const text = compress(Buffer.from('no payload'), 'GZIP')
  assert.deepEqual([markHistorical(text, MAX), readSeq(text, MAX)], ['unreadable', 'unreadable'])
  const other = Buffer.from([...field(4, [...Buffer.from('a-schema')]), ...field(5, [1, 2]), ...field(3, 5)])
  assert.deepEqual([hexOf(marked(other)), seqOf(other)], [hexOf(other), 5])
})
test('compressed and cut or changed at every offset: no throw', () => {
  const whole = compress(sparkplugPayload(7, { name: 'a', value: 300 }), 'GZIP')
  const random = seededRandom(12)
  for (let at = 0; at < whole.length; at++)
    for (const damaged of [whole.subarray(0, at), Buffer.from(whole)]) {
      if (damaged.length === whole.length) damaged[at] = Math.floor(random.float() * 256)
      marked(damaged)
      seqOf(damaged)
    }
})

test('groups in groups end the reading, not the process', () => {
  assert.equal(marked(Buffer.alloc(1_000_000, 0x33)), undefined)
})
