import { test } from 'node:test'
import assert from 'node:assert/strict'
import { encode, type Answer, type Packet } from 'dns-packet'
import { encodeAnswer } from '../../../../protocols/dns/codec/answer.ts'
import { readQuery } from '../../../../protocols/dns/codec/query.ts'
import { readResponse, type Expected, type Response } from '../../../../protocols/dns/codec/response.ts'
import { a, decoded, query, soa } from '../../../helpers/dns.ts'

const QUESTION = query('www.example.com').subarray(12)
const expected: Expected = { id: 7, question: QUESTION, type: 1 }
const opt = (extendedRcode = 0): Answer => ({
  type: 'OPT',
  name: '.',
  udpPayloadSize: 1232,
  extendedRcode,
  ednsVersion: 0,
  flags: 0,
  flag_do: false,
  options: [],
})
const response = (p: Packet & { rcode?: number }): Buffer =>
  encode({
    type: 'response',
    id: 7,
    questions: [{ name: 'www.example.com', type: 'A' }],
    ...p,
    flags: (p.flags ?? 0x180) | (p.rcode ?? 0),
  })
const good = response({ answers: [a('www.example.com', '1.2.3.4')] })

function changed(bytes: Buffer, at: number, value: number): Buffer {
  const out = Buffer.from(bytes)
  out.writeUInt16BE(value, at)
  return out
}
for (const { name, bytes } of [
  { name: 'another id', bytes: changed(good, 0, 8) },
  { name: 'a query', bytes: changed(good, 2, 0x0100) },
  { name: 'another operation', bytes: changed(good, 2, 0xa180) },
  { name: 'another name', bytes: response({ questions: [{ name: 'www.example.org', type: 'A' }] }) },
  { name: 'another type', bytes: response({ questions: [{ name: 'www.example.com', type: 'AAAA' }] }) },
  { name: 'another class', bytes: response({ questions: [{ name: 'www.example.com', type: 'A', class: 'CH' }] }) },
  {
    name: 'a longer name that begins the same',
    bytes: response({ questions: [{ name: 'www.example.com.evil', type: 'A' }] }),
  },
  { name: 'no question, and no error either', bytes: changed(good, 4, 0) },
  { name: 'a record that is cut', bytes: good.subarray(0, -1) },
  { name: 'more records than there are', bytes: changed(good, 6, 65_535) },
  {
    name: 'a record whose name begins with a label of a reserved kind',
    bytes: Buffer.concat([
      good.subarray(0, 12 + QUESTION.length),
      Buffer.from(`41${'61'.repeat(65)}00 0001 0001 0000003c 0004 01020304`.replaceAll(' ', ''), 'hex'),
    ]),
  },
  { name: 'too short', bytes: good.subarray(0, 11) },
])
  test(`an answer to something else is none (RFC 5452 §9.1): ${name}`, () =>
    assert.equal(readResponse(bytes, expected), undefined))

test('a server may repeat the question in other letters', () => {
  assert.equal(readResponse(response({ questions: [{ name: 'WWW.example.COM', type: 'A' }] }), expected)?.rcode, 0)
})
test('an error may come as a header alone', () => {
  assert.equal(readResponse(Buffer.from('000780810000000000000000', 'hex'), expected)?.rcode, 1)
})

const kept = (bytes: Buffer, type = 1): Pick<Response, 'rcode' | 'ttlSec' | 'negative'> => {
  const r = readResponse(bytes, { ...expected, type })
  assert.ok(r)
  return { rcode: r.rcode, ttlSec: r.ttlSec, negative: r.negative }
}
for (const { name, bytes, want, type } of [
  {
    name: 'the least TTL of the answers',
    bytes: response({ answers: [a('www.example.com', '1.2.3.4', 60), a('www.example.com', '1.2.3.5', 30)] }),
    want: { rcode: 0, ttlSec: 30, negative: false },
  },
  {
    name: 'an alias counts too',
    bytes: response({
      answers: [{ name: 'www.example.com', type: 'CNAME', ttl: 5, data: 'b.example' }, a('b.example', '1.2.3.4', 60)],
    }),
    want: { rcode: 0, ttlSec: 5, negative: false },
  },
  {
    name: 'TTLs of other sections do not',
    bytes: response({
      answers: [a('www.example.com', '1.2.3.4', 60)],
      additionals: [a('x.example', '1.1.1.1', 1), opt()],
    }),
    want: { rcode: 0, ttlSec: 60, negative: false },
  },
  {
    name: 'a TTL with its highest bit set is a long one (RFC 8767 §4)',
    bytes: response({ answers: [a('www.example.com', '1.2.3.4', 0x8000_0000)] }),
    want: { rcode: 0, ttlSec: 0x8000_0000, negative: false },
  },
  {
    name: 'no such name: MINIMUM of the SOA record (RFC 2308 §5)',
    bytes: response({ rcode: 3, authorities: [soa('example.com', 120)] }),
    want: { rcode: 3, ttlSec: 120, negative: true },
  },
  {
    name: "no such name: the SOA record's own TTL if it is less",
    bytes: response({ rcode: 3, authorities: [soa('example.com', 120, 10)] }),
    want: { rcode: 3, ttlSec: 10, negative: true },
  },
  {
    name: 'no such name without an SOA record is not kept',
    bytes: response({ rcode: 3 }),
    want: { rcode: 3, ttlSec: undefined, negative: true },
  },
  {
    name: 'no such type',
    bytes: response({ authorities: [soa('example.com', 120)] }),
    want: { rcode: 0, ttlSec: 120, negative: true },
  },
  {
    name: 'no such type behind an alias',
    bytes: response({
      answers: [{ name: 'www.example.com', type: 'CNAME', ttl: 50, data: 'b.example' }],
      authorities: [soa('example', 120)],
    }),
    want: { rcode: 0, ttlSec: 50, negative: true },
  },
  {
    name: 'an alias that was asked for',
    type: 5,
    bytes: response({
      questions: [{ name: 'www.example.com', type: 'CNAME' }],
      answers: [{ name: 'www.example.com', type: 'CNAME', ttl: 50, data: 'b.example' }],
    }),
    want: { rcode: 0, ttlSec: 50, negative: false },
  },
  {
    name: 'a referral is not kept',
    bytes: response({ authorities: [{ name: 'com', type: 'NS', ttl: 9, data: 'ns.example' }] }),
    want: { rcode: 0, ttlSec: undefined, negative: true },
  },
  { name: 'a failure', bytes: response({ rcode: 2 }), want: { rcode: 2, ttlSec: undefined, negative: false } },
  {
    name: 'upper bits of the code in OPT (RFC 6891 §6.1.3)',
    bytes: response({ additionals: [opt(1)] }),
    want: { rcode: 16, ttlSec: undefined, negative: false },
  },
])
  test(`how long an answer holds: ${name}`, () => {
    const question = type === undefined ? QUESTION : query('www.example.com', 'CNAME').subarray(12)
    const r = readResponse(bytes, { id: 7, question, type: type ?? 1 })
    assert.deepEqual(r && { rcode: r.rcode, ttlSec: r.ttlSec, negative: r.negative }, want)
  })
test('what is said of this hop is not passed on; other records are, whatever they are', () => {
  const unknown = {
    name: 'www.example.com',
    type: 'UNKNOWN_65' as 'NULL',
    ttl: 9,
    data: Buffer.from('000100', 'hex'),
  } as Answer
  const bytes = response({
    flags: 0x5a0,
    answers: [a('www.example.com', '1.2.3.4'), unknown],
    authorities: [{ name: 'com', type: 'NS', ttl: 9, data: 'ns.example' }],
    additionals: [a('ns.example', '9.9.9.9'), opt(), a('behind.example', '8.8.8.8')],
  })
  const r = readResponse(bytes, expected)!
  assert.deepEqual(r.records.counts, [2, 1, 1])
  const q = readQuery(query('WWW.example.com', 'A', { flags: 0x120 }))
  assert.ok(q && 'key' in q)
  const p = decoded(encodeAnswer(q, { rcode: 0, flags: r.flags, records: r.records }, { over: 'tcp' }))
  assert.deepEqual(
    [p.answers?.map((x) => x.type), p.authorities?.length, p.additionals?.map((x) => x.name)],
    [['A', 'UNKNOWN_65'], 1, ['ns.example']],
  )
  assert.deepEqual([p.flag_ad, p.flag_aa], [true, false], "AD is the resolver's to say; this is no authority")
})
test('a cut answer may end anywhere', () => {
  const cut = changed(good, 2, 0x8380)
  for (let end = 12 + QUESTION.length; end <= cut.length; end++)
    assert.equal(readResponse(cut.subarray(0, end), expected)?.truncated, true)
})
test('kept answers are copies: the receive buffer may be used again', () => {
  const bytes = Buffer.from(good)
  const r = readResponse(bytes, expected)!
  const before = r.records.body.toString('hex')
  bytes.fill(0)
  assert.equal(r.records.body.toString('hex'), before)
  assert.deepEqual(kept(good), { rcode: 0, ttlSec: 60, negative: false })
})
