import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type FieldList,
  HpackDecoder,
  HpackError,
  RepeatedFieldsError,
} from '../../../../../protocols/http/codec/hpack/decoder.ts'
import { EOS, huffman, huffmanOf, indexed, integer, literal, plain, sizeUpdate } from './writer.ts'

const LIMITS = { maxTableBytes: 4096, maxListBytes: 65_536, maxFields: 100 }
const CODE_OF_A = '00011'

function decode(decoder: HpackDecoder, ...parts: readonly Buffer[]): FieldList {
  const block = Buffer.concat(parts)
  return decoder.decode(block, 0, block.length)
}
const decodeOnce = (...parts: readonly Buffer[]): FieldList => decode(new HpackDecoder(LIMITS), ...parts)
const bytes = (...octets: readonly number[]): Buffer => Buffer.from(octets)
/** Octets of a Huffman string as they stand, however wrong. */
function coded(...octets: readonly number[]): Buffer {
  return Buffer.concat([integer(0x80, 7, octets.length), bytes(...octets)])
}

const ERRORS: readonly (readonly [what: string, block: Buffer, says: RegExp])[] = [
  ['index 0', indexed(0), /no table has an entry 0/],
  ['an index behind the static table', indexed(62), /no table has an entry 62/],
  ['an index behind the dynamic table', Buffer.concat([literal('indexing', 1, plain('a')), indexed(63)]), /entry 63/],
  ['a large index', indexed(1_000_000), /entry 1000000/],
  ['a name at an index that nothing has', literal('without', 62, plain('a')), /entry 62/],
  ['a never-indexed name at an index that nothing has', literal('never', 70, plain('a')), /entry 70/],
  ['an integer that goes on after its octets', bytes(0xff, 0x80, 0x80, 0x80, 0x80, 0x00), /too many octets/],
  ['an integer of zeros without end', bytes(0xff, ...Array.from({ length: 1000 }, () => 0x80)), /too many octets/],
  ['an integer above 32 bits', bytes(0xff, 0xff, 0xff, 0xff, 0xff, 0x1f), /too many octets/],
  ['an integer above 53 bits', bytes(0x0f, ...Array.from({ length: 9 }, () => 0xff), 0x01), /too many octets/],
  ['a cut index', bytes(0xff), /ends within/],
  ['a cut index that had begun', bytes(0xff, 0x80), /ends within/],
  ['a literal that ends after its first octet', bytes(0x40), /ends within/],
  ['a literal without value', Buffer.concat([bytes(0x40), plain('a')]), /ends within/],
  ['an indexed name without value', bytes(0x41), /ends within/],
  ['a string beyond its block', literal('without', 1, bytes(0x02, 0x61)), /beyond its block/],
  ['a name beyond its block', bytes(0x00, 0x05, 0x61), /beyond its block/],
  ['a string of 256 MiB', literal('without', 1, bytes(0x7f, 0xff, 0xff, 0xff, 0x7f)), /beyond its block/],
  ['EOS as a symbol', literal('without', 1, huffmanOf([EOS])), /no Huffman code/],
  ['EOS between symbols', literal('without', 1, huffmanOf([97, EOS, 97])), /no Huffman code/],
  ['EOS in a name', literal('without', huffmanOf([97, EOS]), plain('a')), /no Huffman code/],
  ['eight bits of padding', literal('without', 1, coded(0xff)), /no Huffman code/],
  ['padding of 11 bits', literal('without', 1, huffmanOf([97], '1'.repeat(11))), /no Huffman code/],
  ['padding of zeros', literal('without', 1, huffmanOf([97], '000')), /no Huffman code/],
  ['padding with a zero at its end', literal('without', 1, huffmanOf([97], '110')), /no Huffman code/],
  ['a cut code of 30 bits', literal('without', 1, coded(0xff, 0xff, 0xff)), /no Huffman code/],
  ['a table size above ours', sizeUpdate(4097), /above the limit/],
  ['a huge table size', sizeUpdate(2 ** 31), /too many octets/],
  ['a size update behind an indexed field', Buffer.concat([indexed(2), sizeUpdate(0)]), /behind a field/],
  ['a size update behind a literal', Buffer.concat([literal('never', 1, plain('')), sizeUpdate(10)]), /behind a field/],
  ['an entry that a size update has evicted', Buffer.concat([sizeUpdate(0), indexed(62)]), /entry 62/],
]
for (const [what, block, says] of ERRORS) {
  test(`decoding error: ${what}`, () => {
    const isThis = (err: unknown): boolean => err instanceof HpackError && says.test(err.message)
    assert.throws(() => decodeOnce(block), isThis)
    // What lies behind the block must not complete it.
    const longer = Buffer.concat([block, Buffer.alloc(64, 0x61)])
    assert.throws(() => new HpackDecoder(LIMITS).decode(longer, 0, block.length), isThis)
  })
}

test('every octet survives both kinds of strings, and every padding up to seven bits is taken', () => {
  const all = String.fromCharCode(...Array.from({ length: 256 }, (_, c) => c))
  for (let from = 0; from < 256; from++) {
    const text = all.slice(from) + 'a'.repeat(from % 9)
    assert.deepEqual(decodeOnce(literal('without', 1, huffman(text))).fields, [':authority', text])
    assert.deepEqual(decodeOnce(literal('without', 1, plain(text))).fields, [':authority', text])
  }
  assert.equal(huffman('a').toString('hex'), '811f', CODE_OF_A)
})

test('a string longer than the scratch buffer', () => {
  for (const length of [10_000, 26_000, 60_000]) {
    const text = '0'.repeat(length) // five bits each: the most that an octet can become
    const decoder = new HpackDecoder({ ...LIMITS, maxListBytes: 100_000 })
    assert.equal(decode(decoder, literal('without', 1, huffman(text))).fields[1], text)
  }
})

test('integers up to four octets behind the prefix are read', () => {
  const text = 'x'.repeat(2 ** 14 + 127)
  assert.equal(decodeOnce(literal('without', 1, plain(text))).fields[1], text)
  // Leading zeros are no error as long as the octets are few (RFC 7541 §5.1).
  assert.deepEqual(decodeOnce(bytes(0x0f, 0x80, 0x80, 0x80, 0x00), plain('/x')).fields, ['accept-charset', '/x'])
})

test('several size updates at the beginning of a block, and ever again up to our limit', () => {
  const decoder = new HpackDecoder(LIMITS)
  decode(decoder, literal('indexing', 1, plain('a')))
  decode(decoder, sizeUpdate(0), sizeUpdate(4096), literal('indexing', 1, plain('b')))
  assert.equal(decoder.table.count, 1)
  assert.deepEqual(decode(decoder, sizeUpdate(100), indexed(62)).fields, [':authority', 'b'])
  decode(decoder, sizeUpdate(4096))
  assert.equal(decoder.table.maxBytes, 4096)
})

test('an entry above the table empties it, and is a field all the same (RFC 7541 §4.4)', () => {
  const decoder = new HpackDecoder(LIMITS)
  decode(decoder, sizeUpdate(100), literal('indexing', 1, plain('a')))
  assert.equal(decode(decoder, literal('indexing', 1, plain('b'.repeat(100)))).fields[1], 'b'.repeat(100))
  assert.deepEqual([decoder.table.count, decoder.table.bytes], [0, 0])
})

test('a name may come from the entry that its field evicts (RFC 7541 §4.4)', () => {
  const decoder = new HpackDecoder(LIMITS)
  decode(decoder, sizeUpdate(64), literal('indexing', plain('x-name'), plain('first')))
  assert.deepEqual(decode(decoder, literal('indexing', 62, plain('second'))).fields, ['x-name', 'second'])
  assert.deepEqual(decode(decoder, indexed(62)).fields, ['x-name', 'second'])
})

test('the table grows with its entries, not with its size', () => {
  const decoder = new HpackDecoder({ ...LIMITS, maxTableBytes: 65_536 })
  assert.equal(decoder.table.maxBytes, 4096, 'until the peer says that it uses more')
  decode(decoder, sizeUpdate(65_536))
  for (let i = 0; i < 5000; i++) decode(decoder, literal('indexing', plain('n'), plain(String(i).padStart(4, '0'))))
  const count = Math.floor(65_536 / 37)
  assert.equal(decoder.table.count, count)
  assert.deepEqual(decode(decoder, indexed(62), indexed(61 + count)).fields, ['n', '4999', 'n', String(5000 - count)])
})

for (const { what, limits, count } of [
  { what: 'maxFields', limits: { ...LIMITS, maxFields: 3 }, count: 3 },
  { what: 'maxListBytes', limits: { ...LIMITS, maxListBytes: 3 * 38 + 5 }, count: 3 },
  { what: 'maxListBytes to the byte', limits: { ...LIMITS, maxListBytes: 4 * 38 }, count: 4 },
]) {
  test(`a list above ${what} keeps what fitted and the table right`, () => {
    const decoder = new HpackDecoder(limits)
    const parts = ['1', '2', '3', '4', '5', '6'].map((n) => literal('indexing', plain('x-abc'), plain(n)))
    const { fields, oversized } = decode(decoder, ...parts)
    assert.equal(oversized, true)
    assert.deepEqual(
      fields,
      ['1', '2', '3', '4', '5', '6'].slice(0, count).flatMap((n) => ['x-abc', n]),
    )
    assert.deepEqual(decode(decoder, indexed(62)), { fields: ['x-abc', '6'], oversized: false, problem: undefined })
  })
}

test('nothing is collected behind the first field that did not fit', () => {
  const decoder = new HpackDecoder({ ...LIMITS, maxListBytes: 200 })
  const tooLong = literal('without', 1, plain('b'.repeat(300)))
  const { fields } = decode(decoder, literal('without', 1, plain('a')), tooLong, indexed(2))
  assert.deepEqual(fields, [':authority', 'a'])
})

test('a bomb (one entry of 4 kB, referred to by each octet) ends after twice the table', () => {
  const decoder = new HpackDecoder({ ...LIMITS, maxFields: 1_000_000 })
  decode(decoder, literal('indexing', 1, plain('b'.repeat(4000))))
  const bomb = Buffer.alloc(1_000_000, 0x80 | 62)
  const before = process.memoryUsage().heapUsed
  assert.throws(() => decode(decoder, bomb), RepeatedFieldsError)
  assert.ok(process.memoryUsage().heapUsed - before < 1_000_000, 'nothing is collected')
})

const PROBLEMS: readonly (readonly [what: string, name: string, value: string, says: RegExp | undefined])[] = [
  ['an empty name', '', 'a', /without a name/],
  ['a colon alone', ':', 'a', /without a name/],
  ['a capital letter', 'Host', 'a', /"Host" is no lower-case token/],
  ['a capital letter at the end', 'hosT', 'a', /"hosT"/],
  ['a capital letter in a pseudo-header field', ':Path', 'a', /":Path"/],
  ['a second colon', '::path', 'a', /"::path"/],
  ['a colon within', 'a:b', 'a', /"a:b"/],
  ['a space in a name', 'a b', 'a', /"a\\x20b"/],
  ['LF in a name', 'a\nb', 'a', /"a\\x0ab"/],
  ['bytes that a search for usual names takes for "host"', 'HOST', 'a', /"HOST"/],
  ['bytes that a search for usual names takes for "x-real-ip"', 'x\rreal\rip', 'a', /"x\\x0dreal\\x0dip"/],
  ['a byte above ASCII in a name', 'caf\xe9', 'a', /"caf\\xe9"/],
  ['a long name', 'A'.repeat(3000), 'a', /^.{20,200}$/],
  ['LF in a value', 'x-a', 'a\nb', /a control character in the value of "x-a"/],
  ['CR in a value', 'x-a', 'a\rb', /control character/],
  ['NUL in a value', ':path', '/\0', /value of ":path"/],
  ['LF at the end of a long value', 'x-a', `${'a'.repeat(500)}\n`, /control character/],
  ['NUL at the beginning of a long value', 'x-a', `\0${'a'.repeat(500)}`, /control character/],
  ['CR in a long value', 'x-a', `${'a'.repeat(500)}\r${'a'.repeat(50)}`, /control character/],
  ['another control character in a value', 'x-a', 'a\x01b', /control character/],
  ['DEL in a long value', 'x-a', `${'a'.repeat(500)}\x7f`, /control character/],
  ['a space before a value', 'x-a', ' a', /whitespace at an end of the value of "x-a"/],
  ['a tab behind a value', 'x-a', 'a\t', /whitespace/],
  ['a value that is a space', 'x-a', ' ', /whitespace/],
  ['nothing: an empty value', 'x-a', '', undefined],
  ['nothing: whitespace within a value', 'x-a', 'a \t b', undefined],
  ['nothing: bytes above ASCII in a value', 'x-a', '\x80\xff', undefined],
  ['nothing: every character of a token', "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz", 'a', undefined],
  ['nothing: a pseudo-header field that nobody knows', ':x', 'a', undefined],
]
for (const [what, name, value, says] of PROBLEMS) {
  test(`problem: ${what}`, () => {
    for (const text of [plain, huffman]) {
      for (const kind of ['without', 'indexing', 'never'] as const) {
        const decoder = new HpackDecoder(LIMITS)
        const field = literal(kind, text(name), text(value))
        // Often enough to come from every cache.
        for (let i = 0; i < 4; i++) {
          const { fields, problem } = decode(decoder, indexed(2), field, indexed(3))
          assert.deepEqual(fields, [':method', 'GET', name, value, ':method', 'POST'])
          if (says) assert.match(problem ?? 'none', says)
          else assert.equal(problem, undefined)
          assert.match(problem ?? '', /^[ -~…]*$/)
        }
        if (kind === 'indexing') assert.equal(decode(decoder, indexed(62)).problem !== undefined, says !== undefined)
      }
    }
  })
}

test('of several problems the first is told', () => {
  const { problem } = decodeOnce(literal('without', plain('A'), plain('')), literal('without', plain('B'), plain('\n')))
  assert.match(problem!, /"A"/)
})

test('the same octets mean another field under another name', () => {
  for (let i = 0; i < 4; i++) {
    const parts = ['x-a', 'x-b', 'x-a'].map((name) => literal('without', plain(name), huffman('the same')))
    const { fields } = decodeOnce(...parts)
    assert.deepEqual(fields, ['x-a', 'the same', 'x-b', 'the same', 'x-a', 'the same'])
  }
})

test('literals that a cache holds are told from longer, shorter and different ones', () => {
  const texts = ['', 'a', 'aa', 'ab', 'a\0']
  for (let i = 0; i < 300; i++) texts.push('z'.repeat(i))
  for (let i = 0; i < 3000; i++) texts.push(`/${i}`)
  for (let round = 0; round < 3; round++) {
    for (const text of texts) {
      assert.deepEqual(decodeOnce(literal('without', plain(`n${text}`), plain(text))).fields, [`n${text}`, text])
      assert.deepEqual(decodeOnce(literal('without', 4, huffman(text))).fields, [':path', text])
    }
  }
})

test('a block that refers to an entry again and again is refused, whatever it refers to', () => {
  const value = 'v'.repeat(4000)
  const repeated = (count: number): Buffer[] => Array.from({ length: count }, () => indexed(62))
  const decoder = new HpackDecoder(LIMITS)
  assert.equal(decode(decoder, literal('indexing', 1, plain(value)), ...repeated(2)).fields.length, 6)
  assert.throws(() => decode(decoder, ...repeated(3)), RepeatedFieldsError)
  const names = Array.from({ length: 9 }, () => literal('without', 62, plain('')))
  const long = literal('indexing', plain('n'.repeat(1000)), plain(''))
  assert.throws(() => decodeOnce(long, ...names), RepeatedFieldsError)
})
test('names of the table may come as often as fields are permitted: crumbs of a cookie, values of a list', () => {
  const crumbs = Array.from({ length: 99 }, (_, i) => literal('without', 62, plain(`crumb-${i}`)))
  const long = literal('indexing', plain('x-list'), plain('v'.repeat(3000)))
  assert.equal(decodeOnce(long, ...crumbs).fields.length, 200)
})
test('every entry of a full table may come in each block', () => {
  const decoder = new HpackDecoder(LIMITS)
  const filled = Array.from({ length: 50 }, (_, i) => literal('indexing', plain(`x-field-${i}`), plain('v'.repeat(35))))
  decode(decoder, ...filled)
  const all = Array.from({ length: decoder.table.count }, (_, i) => indexed(62 + i))
  for (let i = 0; i < 3; i++) assert.equal(decode(decoder, ...all).fields.length, 2 * decoder.table.count)
})
