import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type DecodedBlock, HpackDecoder, HpackError } from '../../../../protocols/http/codec/hpack-decoder.ts'
import { EOS, huffman, huffmanOf, indexed, integer, literal, plain, sizeUpdate } from './hpack-writer.ts'

const LIMITS = { maxTableBytes: 4096, maxListBytes: 65_536, maxFields: 100 }
const CODE_OF_A = '00011'

function decode(decoder: HpackDecoder, ...parts: readonly Buffer[]): DecodedBlock {
  const block = Buffer.concat(parts)
  return decoder.decode(block, 0, block.length)
}
const decodeOnce = (...parts: readonly Buffer[]): DecodedBlock => decode(new HpackDecoder(LIMITS), ...parts)
const bytes = (...octets: readonly number[]): Buffer => Buffer.from(octets)
/** Octets of a Huffman string as they stand, however wrong. */
const coded = (...octets: readonly number[]): Buffer => Buffer.concat([integer(0x80, 7, octets.length), bytes(...octets)])

const ERRORS: readonly { readonly what: string; readonly block: Buffer; readonly says: RegExp }[] = [
  { what: 'index 0', block: indexed(0), says: /no table has an entry 0/ },
  { what: 'an index behind the static table', block: indexed(62), says: /no table has an entry 62/ },
  { what: 'an index behind the dynamic table', block: Buffer.concat([literal('indexing', 1, plain('a')), indexed(63)]), says: /entry 63/ },
  { what: 'a large index', block: indexed(1_000_000), says: /entry 1000000/ },
  { what: 'a name at an index that nothing has', block: literal('without', 62, plain('a')), says: /entry 62/ },
  { what: 'a never-indexed name at an index that nothing has', block: literal('never', 70, plain('a')), says: /entry 70/ },
  { what: 'an integer that goes on after its octets', block: bytes(0xff, 0x80, 0x80, 0x80, 0x80, 0x00), says: /too many octets/ },
  { what: 'an integer of zeros without end', block: bytes(0xff, ...Array.from({ length: 1000 }, () => 0x80)), says: /too many octets/ },
  { what: 'an integer above 32 bits', block: bytes(0xff, 0xff, 0xff, 0xff, 0xff, 0x1f), says: /too many octets/ },
  { what: 'an integer above 53 bits', block: bytes(0x0f, ...Array.from({ length: 9 }, () => 0xff), 0x01), says: /too many octets/ },
  { what: 'a cut index', block: bytes(0xff), says: /ends within/ },
  { what: 'a cut index that had begun', block: bytes(0xff, 0x80), says: /ends within/ },
  { what: 'a literal that ends after its first octet', block: bytes(0x40), says: /ends within/ },
  { what: 'a literal without value', block: Buffer.concat([bytes(0x40), plain('a')]), says: /ends within/ },
  { what: 'an indexed name without value', block: bytes(0x41), says: /ends within/ },
  { what: 'a string beyond its block', block: literal('without', 1, bytes(0x02, 0x61)), says: /beyond its block/ },
  { what: 'a name beyond its block', block: bytes(0x00, 0x05, 0x61), says: /beyond its block/ },
  { what: 'a string of 256 MiB', block: literal('without', 1, bytes(0x7f, 0xff, 0xff, 0xff, 0x7f)), says: /beyond its block/ },
  { what: 'EOS as a symbol', block: literal('without', 1, huffmanOf([EOS])), says: /no Huffman code/ },
  { what: 'EOS between symbols', block: literal('without', 1, huffmanOf([97, EOS, 97])), says: /no Huffman code/ },
  { what: 'EOS in a name', block: literal('without', huffmanOf([97, EOS]), plain('a')), says: /no Huffman code/ },
  { what: 'eight bits of padding', block: literal('without', 1, coded(0xff)), says: /no Huffman code/ },
  { what: 'padding of 11 bits', block: literal('without', 1, huffmanOf([97], '1'.repeat(11))), says: /no Huffman code/ },
  { what: 'padding of zeros', block: literal('without', 1, huffmanOf([97], '000')), says: /no Huffman code/ },
  { what: 'padding with a zero at its end', block: literal('without', 1, huffmanOf([97], '110')), says: /no Huffman code/ },
  { what: 'a cut code of 30 bits', block: literal('without', 1, coded(0xff, 0xff, 0xff)), says: /no Huffman code/ },
  { what: 'a table size above ours', block: sizeUpdate(4097), says: /above the limit/ },
  { what: 'a huge table size', block: sizeUpdate(2 ** 31), says: /too many octets/ },
  { what: 'a size update behind an indexed field', block: Buffer.concat([indexed(2), sizeUpdate(0)]), says: /behind a field/ },
  { what: 'a size update behind a literal', block: Buffer.concat([literal('never', 1, plain('a')), sizeUpdate(100)]), says: /behind a field/ },
  { what: 'an entry that a size update has evicted', block: Buffer.concat([sizeUpdate(0), indexed(62)]), says: /entry 62/ },
]
for (const { what, block, says } of ERRORS) {
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
    assert.deepEqual(fields, ['1', '2', '3', '4', '5', '6'].slice(0, count).flatMap((n) => ['x-abc', n]))
    assert.deepEqual(decode(decoder, indexed(62)), { fields: ['x-abc', '6'], oversized: false, problem: undefined })
  })
}

test('nothing is collected behind the first field that did not fit', () => {
  const decoder = new HpackDecoder({ ...LIMITS, maxListBytes: 200 })
  const { fields } = decode(decoder, literal('without', 1, plain('a')), literal('without', 1, plain('b'.repeat(300))), indexed(2))
  assert.deepEqual(fields, [':authority', 'a'])
})

test('a bomb (one entry of 4 kB, referred to by each octet) costs no more than its octets', () => {
  const decoder = new HpackDecoder({ ...LIMITS, maxFields: 1_000_000 })
  decode(decoder, literal('indexing', 1, plain('b'.repeat(4000))))
  const bomb = Buffer.alloc(1_000_000, 0x80 | 62)
  const before = process.memoryUsage().heapUsed
  const { fields, oversized } = decode(decoder, bomb)
  assert.equal(oversized, true)
  assert.equal(fields.length, 2 * Math.floor(65_536 / 4042))
  assert.ok(process.memoryUsage().heapUsed - before < 4_000_000, 'the values are one string')
})

const PROBLEMS: readonly { readonly what: string; readonly name: string; readonly value: string; readonly says: RegExp | undefined }[] = [
  { what: 'an empty name', name: '', value: 'a', says: /without a name/ },
  { what: 'a colon alone', name: ':', value: 'a', says: /without a name/ },
  { what: 'a capital letter', name: 'Host', value: 'a', says: /"Host" is no lower-case token/ },
  { what: 'a capital letter at the end', name: 'hosT', value: 'a', says: /"hosT"/ },
  { what: 'a capital letter in a pseudo-header field', name: ':Path', value: 'a', says: /":Path"/ },
  { what: 'a second colon', name: '::path', value: 'a', says: /"::path"/ },
  { what: 'a colon within', name: 'a:b', value: 'a', says: /"a:b"/ },
  { what: 'a space in a name', name: 'a b', value: 'a', says: /"a\\x20b"/ },
  { what: 'LF in a name', name: 'a\nb', value: 'a', says: /"a\\x0ab"/ },
  { what: 'bytes that a search for usual names takes for "host"', name: 'HOST', value: 'a', says: /"HOST"/ },
  { what: 'bytes that a search for usual names takes for "x-real-ip"', name: 'x\rreal\rip', value: 'a', says: /"x\\x0dreal\\x0dip"/ },
  { what: 'a byte above ASCII in a name', name: 'caf\xe9', value: 'a', says: /"caf\\xe9"/ },
  { what: 'a long name', name: 'A'.repeat(3000), value: 'a', says: /^.{20,200}$/ },
  { what: 'LF in a value', name: 'x-a', value: 'a\nb', says: /CR, LF or NUL in the value of "x-a"/ },
  { what: 'CR in a value', name: 'x-a', value: 'a\rb', says: /CR, LF or NUL/ },
  { what: 'NUL in a value', name: ':path', value: '/\0', says: /value of ":path"/ },
  { what: 'LF at the end of a long value', name: 'x-a', value: `${'a'.repeat(500)}\n`, says: /CR, LF or NUL/ },
  { what: 'NUL at the beginning of a long value', name: 'x-a', value: `\0${'a'.repeat(500)}`, says: /CR, LF or NUL/ },
  { what: 'CR in a long value', name: 'x-a', value: `${'a'.repeat(500)}\r${'a'.repeat(50)}`, says: /CR, LF or NUL/ },
  { what: 'a space before a value', name: 'x-a', value: ' a', says: /whitespace at an end of the value of "x-a"/ },
  { what: 'a tab behind a value', name: 'x-a', value: 'a\t', says: /whitespace/ },
  { what: 'a value that is a space', name: 'x-a', value: ' ', says: /whitespace/ },
  { what: 'nothing: an empty value', name: 'x-a', value: '', says: undefined },
  { what: 'nothing: whitespace within a value', name: 'x-a', value: 'a \t b', says: undefined },
  { what: 'nothing: bytes above ASCII in a value', name: 'x-a', value: '\x80\xff', says: undefined },
  { what: 'nothing: every character of a token', name: "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz", value: 'a', says: undefined },
  { what: 'nothing: a pseudo-header field that nobody knows', name: ':x', value: 'a', says: undefined },
]
for (const { what, name, value, says } of PROBLEMS) {
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
    const { fields } = decodeOnce(...['x-a', 'x-b', 'x-a'].map((name) => literal('without', plain(name), huffman('the same'))))
    assert.deepEqual(fields, ['x-a', 'the same', 'x-b', 'the same', 'x-a', 'the same'])
  }
})

test('literals that a cache holds are told from longer, shorter and different ones', () => {
  const texts = ['', 'a', 'aa', 'ab', 'a\0', ...Array.from({ length: 300 }, (_, i) => 'z'.repeat(i)), ...Array.from({ length: 3000 }, (_, i) => `/${i}`)]
  for (let round = 0; round < 3; round++) {
    for (const text of texts) {
      assert.deepEqual(decodeOnce(literal('without', plain(`n${text}`), plain(text))).fields, [`n${text}`, text])
      assert.deepEqual(decodeOnce(literal('without', 4, huffman(text))).fields, [':path', text])
    }
  }
})
