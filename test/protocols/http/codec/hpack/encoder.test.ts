import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HpackDecoder } from '../../../../../protocols/http/codec/hpack/decoder.ts'
import { HpackEncoder } from '../../../../../protocols/http/codec/hpack/encoder.ts'
import { joinCookie } from '../../../../../protocols/http/codec/hpack/sensitive.ts'
import { huffman, indexed, literal, plain, sizeUpdate } from './writer.ts'

const LIMITS = { maxTableBytes: 4096, maxListBytes: 65_536, maxFields: 100 }

function encode(encoder: HpackEncoder, fields: readonly string[]): Buffer {
  const out = Buffer.alloc(encoder.bound(fields))
  return out.subarray(0, encoder.encode(fields, out, 0))
}
function encodes(encoder: HpackEncoder, fields: readonly string[], ...parts: readonly Buffer[]): void {
  assert.equal(encode(encoder, fields).toString('hex'), Buffer.concat(parts).toString('hex'))
}
function receive(...parts: readonly Buffer[]): string[] {
  const block = Buffer.concat(parts)
  return new HpackDecoder(LIMITS).decode(block, 0, block.length).fields
}

test('what the static table has goes as an index, with an indexed name where only the name is there', () => {
  const encoder = new HpackEncoder()
  const known = [':method', 'GET', ':path', '/', ':status', '500', 'accept-encoding', 'gzip, deflate']
  encodes(encoder, known, ...[2, 4, 14, 16].map(indexed))
  encodes(encoder, [':status', '302'], literal('without', 8, plain('302')))
  encodes(encoder, ['via', '1.1 a'], literal('without', 60, plain('1.1 a')))
})

test('a field enters the table when it is sent a second time', () => {
  const encoder = new HpackEncoder()
  const field = ['x-custom', 'value']
  encodes(encoder, field, literal('without', plain('x-custom'), plain('value')))
  encodes(encoder, field, literal('indexing', plain('x-custom'), plain('value')))
  encodes(encoder, field, indexed(62))
  encodes(encoder, ['x-custom', 'other'], literal('without', 62, plain('other')))
  encodes(encoder, ['x-other', 'value'], literal('without', plain('x-other'), plain('value')))
})

test('values that occur once push out nothing', () => {
  const encoder = new HpackEncoder()
  for (let i = 0; i < 10_000; i++) encode(encoder, ['user-agent', 'curl/8.5.0', ':path', `/things/${i}`])
  assert.ok(encoder.table.count < 30, 'a hash of two paths may be the same now and then')
  assert.equal(encode(encoder, ['user-agent', 'curl/8.5.0']).length, 1)
})

test('names are found for as long as an entry with the name is there', () => {
  const encoder = new HpackEncoder()
  for (const value of ['1', '1', '2', '2']) encode(encoder, ['x-n', value])
  encodes(encoder, ['x-n', '3'], literal('without', 62, plain('3')))
  encoder.setMaxTableBytes(40) // room for one entry of 36
  encodes(encoder, ['x-n', '4'], sizeUpdate(40), literal('without', 62, plain('4')))
  encodes(encoder, ['x-n', '2'], indexed(62))
  encoder.setMaxTableBytes(0)
  encodes(encoder, ['x-n', '4'], sizeUpdate(0), literal('without', plain('x-n'), plain('4')))
})

test('entries that share a value are told apart, and few may', () => {
  const encoder = new HpackEncoder()
  const names = Array.from({ length: 20 }, (_, i) => `x-${i}`)
  for (let i = 0; i < 6; i++) for (const name of names) encode(encoder, [name, 'shared'])
  assert.equal(encoder.table.count, 8)
  const blocks = names.map((name) => encode(encoder, [name, 'shared']))
  const ages = blocks.filter((block) => block.length === 1).map((block) => block[0]! - (0x80 | 62))
  assert.deepEqual(
    ages.map((age) => encoder.table.at(age)!.name),
    names.filter((_, i) => blocks[i]!.length === 1),
  )
  assert.equal(ages.length, 8)
})

for (const { what, field, secret } of [
  { what: 'authorization', field: ['authorization', 'Bearer abcdefghijklmnopqrstuvwxyz'], secret: true },
  { what: 'proxy-authorization', field: ['proxy-authorization', 'Basic abcdefghijklmnopqrstuvwxyz'], secret: true },
  { what: 'set-cookie', field: ['set-cookie', 'session=abcdefghijklmnopqrstuvwxyz'], secret: true },
  { what: 'a cookie of 19 bytes', field: ['cookie', 'a=34567890123456789'], secret: true },
  { what: 'a cookie of 20 bytes', field: ['cookie', 'a=345678901234567890'], secret: false },
  { what: 'another field', field: ['x-token', 'abc'], secret: false },
]) {
  test(`${what} ${secret ? 'is never indexed' : 'may be indexed'} (RFC 7541 §7.1.3)`, () => {
    const encoder = new HpackEncoder()
    for (let i = 0; i < 3; i++) {
      const block = encode(encoder, field)
      if (secret) assert.equal(block[0]! & 0xf0, 0x10)
      else assert.notEqual(block[0]! & 0xf0, 0x10)
    }
    assert.equal(encoder.table.count, secret ? 0 : 1)
  })
}

for (const { what, name, value } of [
  { what: 'with a name of its own', name: 'x-api-key', value: 'one secret of many' },
  { what: 'with a name of the static table', name: ':path', value: '/reset?token=abcdef' },
  { what: 'a long cookie', name: 'cookie', value: 'session=0123456789abcdef0123456789abcdef' },
  { what: 'longer than what is hashed of it', name: 'x-long', value: `${'a'.repeat(100)}secret${'b'.repeat(100)}` },
]) {
  test(`what came as never-indexed leaves so: ${what} (RFC 7541 §6.2.3)`, () => {
    const encoder = new HpackEncoder()
    for (let i = 0; i < 2; i++) encode(encoder, [name, value, name, `${value}!`])
    const before = encode(encoder, [name, value, name, `${value}!`])
    assert.deepEqual([...before], [0x80 | 63, 0x80 | 62], 'in the table before it came as a secret')
    const fields = receive(literal('never', plain(name), huffman(value)))
    assert.equal(encode(encoder, fields)[0]! & 0xf0, 0x10, 'where it stands in the table')
    const other = new HpackEncoder()
    for (let i = 0; i < 3; i++) assert.equal(encode(other, fields)[0]! & 0xf0, 0x10, 'on any connection')
    assert.equal(other.table.count, 0)
    assert.equal(encode(encoder, [name, `${value}!`])[0]! & 0x80, 0x80, 'other values are indexed as before')
  })
}

for (const { what, piece, never } of [
  { what: 'a long piece', piece: 'session=0123456789abcdef0123456789abcdef', never: true },
  { what: 'a short piece', piece: 'pin=1234', never: true },
  { what: 'no piece', piece: 'theme=dark', never: false },
]) {
  test(`a cookie that came in pieces is never indexed where a piece was not: ${what} (RFC 7541 §6.2.3)`, () => {
    const send = (value: string, form: 'never' | 'without'): string =>
      receive(literal(form, plain('cookie'), plain(value)))[1]!
    const pieces = [
      send('a=longer-than-what-is-a-secret', 'without'),
      send(piece, never ? 'never' : 'without'),
      send('b=2', 'without'),
    ]
    const joined = joinCookie(pieces)
    assert.equal(joined, `a=longer-than-what-is-a-secret; ${piece}; b=2`)
    const encoder = new HpackEncoder()
    for (let i = 0; i < 3; i++) assert.equal((encode(encoder, ['cookie', joined])[0]! & 0xf0) === 0x10, never)
    assert.equal(encoder.table.count, never ? 0 : 1)
  })
}

test('a peer who marks many fields spoils those alone', () => {
  const encoder = new HpackEncoder()
  const marked = Array.from({ length: 20_000 }, (_, i) => literal('never', plain(`x-${i}`), plain(String(i))))
  const block = Buffer.concat(marked)
  new HpackDecoder(LIMITS).decode(block, 0, block.length)
  const names = Array.from({ length: 50 }, (_, i) => `y-${i}`)
  const fields = names.flatMap((name) => [name, `value of ${name}`])
  for (let i = 0; i < 10; i++) encode(encoder, fields)
  assert.equal(encode(encoder, fields).length, names.length, 'each is an index')
})

for (const { what, settings, updates, last } of [
  { what: 'none when the peer permits more than we use', settings: [65_536], updates: [], last: 4096 },
  { what: 'one when the size falls', settings: [1000], updates: [1000], last: 1000 },
  { what: 'the smallest and the last', settings: [2000, 100, 50, 3000], updates: [50, 3000], last: 3000 },
  { what: 'the smallest and the last, back where it was', settings: [0, 4096], updates: [0, 4096], last: 4096 },
  { what: 'one when the last is the smallest', settings: [3000, 0], updates: [0], last: 0 },
  { what: 'what we use when the peer permits more', settings: [0, 4_294_967_295], updates: [0, 4096], last: 4096 },
]) {
  test(`size updates (RFC 7541 §4.2): ${what}`, () => {
    const encoder = new HpackEncoder()
    for (let i = 0; i < 2; i++) encode(encoder, ['x-a', 'b'])
    for (const bytes of settings) encoder.setMaxTableBytes(bytes)
    encodes(encoder, [':method', 'GET'], ...updates.map(sizeUpdate), indexed(2))
    encodes(encoder, [':method', 'GET'], indexed(2))
    assert.equal(encoder.table.maxBytes, last)
  })
}

test('a size that falls and rises again while no block is sent evicts as the peer does', () => {
  const encoder = new HpackEncoder()
  for (let i = 0; i < 2; i++) encode(encoder, ['x-a', 'b'])
  encoder.setMaxTableBytes(0)
  encoder.setMaxTableBytes(4096)
  encodes(encoder, ['x-a', 'b'], sizeUpdate(0), sizeUpdate(4096), literal('indexing', plain('x-a'), plain('b')))
})

test('large entries are not indexed', () => {
  const encoder = new HpackEncoder()
  for (let i = 0; i < 3; i++) encode(encoder, ['x-a', 'b'.repeat(1000)])
  assert.equal(encoder.table.count, 0)
  encoder.setMaxTableBytes(64)
  for (let i = 0; i < 3; i++) encode(encoder, ['x-a', 'b'.repeat(30)])
  assert.equal(encoder.table.count, 0)
})

test('bound() is never below what encode() writes, and the block begins at its offset', () => {
  for (const length of [0, 1, 16, 17, 126, 127, 128, 300, 20_000, 100_000]) {
    for (const field of [
      ['x'.repeat(length), 'y'.repeat(length)],
      ['authorization', 'z'.repeat(length)],
    ]) {
      const encoder = new HpackEncoder()
      encoder.setMaxTableBytes(2000)
      encoder.setMaxTableBytes(3000)
      const out = Buffer.alloc(7 + encoder.bound(field))
      const end = encoder.encode(field, out, 7)
      assert.ok(end <= out.length)
      assert.deepEqual(new HpackDecoder({ ...LIMITS, maxListBytes: 300_000 }).decode(out, 7, end).fields, field)
      assert.ok(out.subarray(0, 7).every((octet) => octet === 0))
    }
  }
})
