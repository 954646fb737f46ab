import { test } from 'node:test'
import assert from 'node:assert/strict'
import { encodeAnswer, createPlainAnswer, STALE, createTableAnswer } from '../../../../protocols/dns/codec/answer.ts'
import type { Found } from '../../../../protocols/dns/names/name-index.ts'
import { readQuery, type Query } from '../../../../protocols/dns/codec/query.ts'
import { data, decoded, query, told } from '../../../helpers/dns.ts'
import { seededRandom } from '../../../helpers/random.ts'

const read = (bytes: Buffer): Query => {
  const got = readQuery(bytes)
  assert.ok(got && !('rcode' in got))
  return got
}
const host = (...addresses: string[]): Found => ({ host: { addresses, service: undefined }, alias: undefined })
const many = (n: number): Found => host(...Array.from({ length: n }, (_, i) => `10.0.${i >> 8}.${i & 255}`))
const answer = (bytes: Buffer, found: Found, over: 'udp' | 'tcp' = 'udp'): Buffer =>
  encodeAnswer(read(bytes), createTableAnswer(read(bytes), found, seededRandom(1)), { over })

const dual = host('10.0.0.1', 'fd00::1')
for (const { name, type, found, want } of [
  { name: 'A', type: 'A', found: dual, want: 'NOERROR aa, api.shop 30 A 10.0.0.1' },
  { name: 'AAAA', type: 'AAAA', found: dual, want: 'NOERROR aa, api.shop 30 AAAA fd00::1' },
  {
    name: 'the other family exists: no such record, and the name exists (RFC 2308 §2.2)',
    type: 'AAAA',
    found: host('10.0.0.1'),
    want: 'NOERROR aa',
  },
  { name: 'another type', type: 'TXT', found: dual, want: 'NOERROR aa' },
  {
    name: 'ANY: both families (RFC 8482 §4.1)',
    type: 'ANY',
    found: dual,
    want: 'NOERROR aa, api.shop 30 A 10.0.0.1, api.shop 30 AAAA fd00::1',
  },
  {
    name: 'behind a search domain: alias and address in one answer',
    type: 'A',
    found: { ...dual, alias: 'api' },
    want: 'NOERROR aa, api.shop 30 CNAME api, api 30 A 10.0.0.1',
  },
  {
    name: 'behind a search domain, other family: nothing, not even the alias',
    type: 'AAAA',
    found: { ...host('10.0.0.1'), alias: 'api' },
    want: 'NOERROR aa',
  },
  {
    name: 'the alias alone',
    type: 'CNAME',
    found: { ...dual, alias: 'api' },
    want: 'NOERROR aa, api.shop 30 CNAME api',
  },
  {
    name: 'an IPv4 address written as IPv6',
    type: 'A',
    found: host('::ffff:10.0.0.9'),
    want: 'NOERROR aa, api.shop 30 A 10.0.0.9',
  },
])
  test(`table answer: ${name}`, () => {
    const random = { float: () => 0.99 } // shuffles nothing
    const q = read(query('api.shop', type))
    assert.equal(told(encodeAnswer(q, createTableAnswer(q, found, random), { over: 'udp' })), want)
  })

test('an answer repeats id, question with its letter case, and RD; recursion is available', () => {
  const bytes = answer(query('API.Shop', 'A', { id: 77 }), dual)
  const p = decoded(bytes)
  assert.deepEqual(
    [p.id, p.questions?.[0]?.name, p.answers?.[0]?.name, p.flag_rd, p.flag_ra, p.flag_qr],
    [77, 'API.Shop', 'API.Shop', true, true, true],
  )
  assert.equal(decoded(answer(query('a.b', 'A', { flags: 0 }), dual)).flag_rd, false)
  assert.deepEqual(
    [decoded(answer(query('a.b', 'A', { flags: 0x130 }), dual))].map((x) => [x.flag_cd, x.flag_ad]),
    [[true, false]],
    'nothing of the mesh is signed',
  )
})
test('AD goes to who asks for it by AD or DO (RFC 6840 §5.7)', () => {
  for (const [bytes, want] of [
    [query('a.b'), false],
    [query('a.b', 'A', { flags: 0x120 }), true],
    [query('a.b', 'A', { udpBytes: 1232, dnssecOk: true }), true],
  ] as const) {
    assert.equal(
      decoded(encodeAnswer(read(bytes), { ...createPlainAnswer(0), flags: 0x20 }, { over: 'udp' })).flag_ad,
      want,
    )
  }
})
test('addresses come in changing order, none lost', () => {
  const random = seededRandom(5)
  const q = read(query('a.b'))
  const orders = new Set<string>()
  for (let i = 0; i < 200; i++) {
    const got = decoded(
      encodeAnswer(q, createTableAnswer(q, host('1.1.1.1', '2.2.2.2', '3.3.3.3'), random), { over: 'udp' }),
    ).answers!.map(data)
    orders.add(got.join())
    assert.deepEqual(got.toSorted(), ['1.1.1.1', '2.2.2.2', '3.3.3.3'])
  }
  assert.equal(orders.size, 6)
})

for (const { name, udpBytes, want } of [
  { name: 'without EDNS 512 bytes (RFC 1035 §2.3.4)', udpBytes: undefined, want: 512 },
  { name: 'EDNS with less than 512 counts as 512 (RFC 6891 §6.2.3)', udpBytes: 100, want: 512 },
  { name: 'what the client takes', udpBytes: 800, want: 800 },
  { name: 'never more than passes in one piece', udpBytes: 65_535, want: 1232 },
])
  test(`too many addresses for a datagram: ${name}`, () => {
    const bytes = answer(
      query('details.ns2.svc.cluster.remote', 'A', udpBytes === undefined ? {} : { udpBytes }),
      many(200),
    )
    const p = decoded(bytes)
    assert.equal(p.flag_tc, true)
    assert.ok(bytes.length <= want && bytes.length > want - 16, `${bytes.length} bytes`)
    assert.equal(
      p.answers?.length,
      Math.floor((want - 12 - 36 - (udpBytes === undefined ? 0 : 11)) / 16),
      'names are compressed: 16 bytes a record',
    )
  })
test('over TCP everything fits that 65,535 bytes hold', () => {
  const small = decoded(answer(query('a.b'), many(200), 'tcp'))
  assert.deepEqual([small.flag_tc, small.answers?.length], [false, 200])
  const huge = answer(query('a.b'), many(5_000), 'tcp')
  assert.ok(huge.length <= 65_535)
  assert.equal(decoded(huge).flag_tc, true)
})
test('OPT is answered by OPT, with the upper bits of the code and an explanation (RFC 6891 §6.1.3, RFC 8914)', () => {
  const q = read(query('a.b', 'A', { udpBytes: 1232, dnssecOk: true }))
  const opt = decoded(encodeAnswer(q, createPlainAnswer(16), { over: 'udp', why: STALE })).additionals?.[0]
  assert.ok(opt?.type === 'OPT')
  assert.deepEqual([opt.extendedRcode, opt.udpPayloadSize, opt.flag_do, opt.options.length], [1, 1232, true, 1])
  assert.equal((opt.options[0] as unknown as { code: number }).code, 15)
  assert.equal(
    decoded(encodeAnswer(read(query('a.b')), createPlainAnswer(2), { over: 'udp', why: STALE })).additionals?.length,
    0,
  )
})
