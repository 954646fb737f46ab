import { test } from 'node:test'
import assert from 'node:assert/strict'
import { encode } from 'dns-packet'
import { encodeRefusal } from '../../../../protocols/dns/codec/answer.ts'
import { readQuery } from '../../../../protocols/dns/codec/query.ts'
import { decoded, query } from '../../../helpers/dns.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const HEAD = '1234 0100 0001 0000 0000 0000'
const outcome = (bytes: Buffer): string => {
  const got = readQuery(bytes)
  return !got ? 'dropped' : 'rcode' in got ? `rcode ${got.rcode}` : `${got.name ?? '?'} ${got.type}`
}
const opt = '00 0029 04d0 00000000 0000'

for (const { name, bytes, want } of [
  { name: 'a plain question', bytes: hex(`${HEAD} 01 61 02 6262 00 0001 0001`), want: 'a.bb 1' },
  { name: 'the root', bytes: hex(`${HEAD} 00 0002 0001`), want: ' 2' },
  { name: 'capital letters are the same name', bytes: query('WWW.Example.COM'), want: 'www.example.com 1' },
  { name: 'too short for an id and a flag', bytes: hex('1234 0100 0001 0000 0000 00'), want: 'dropped' },
  { name: 'an answer is not answered', bytes: hex(`1234 8100 0001 0000 0000 0000 00 0001 0001`), want: 'dropped' },
  {
    name: 'an update (RFC 1035 §4.1.1: not implemented)',
    bytes: hex(`1234 2800 0001 0000 0000 0000 00 0006 0001`),
    want: 'rcode 4',
  },
  { name: 'no question', bytes: hex('1234 0100 0000 0000 0000 0000'), want: 'rcode 1' },
  {
    name: 'two questions (RFC 9619 §4)',
    bytes: hex('1234 0100 0002 0000 0000 0000 00 0001 0001 00 0001 0001'),
    want: 'rcode 1',
  },
  {
    name: 'an answer record in a query',
    bytes: encode({
      type: 'query',
      id: 1,
      questions: [{ name: 'a', type: 'A' }],
      answers: [{ name: 'a', type: 'A', data: '1.1.1.1' }],
    }),
    want: 'rcode 1',
  },
  { name: 'a name that is cut', bytes: hex(`${HEAD} 05 61`), want: 'rcode 1' },
  { name: 'a type that is cut', bytes: hex(`${HEAD} 01 61 00 00`), want: 'rcode 1' },
  { name: 'a pointer in the question', bytes: hex(`${HEAD} c00c 0001 0001`), want: 'rcode 1' },
  { name: 'a pointer into the header', bytes: hex(`${HEAD} c004 0001 0001`), want: 'rcode 1' },
  { name: 'a label of the reserved kind', bytes: hex(`${HEAD} 41 ${'61'.repeat(65)} 00 0001 0001`), want: 'rcode 1' },
  {
    name: 'a name longer than 255 bytes',
    bytes: hex(`${HEAD} ${`3f ${'61'.repeat(63)}`.repeat(4)} 00 0001 0001`),
    want: 'rcode 1',
  },
  { name: 'bytes behind the end', bytes: hex(`${HEAD} 01 61 00 0001 0001 00`), want: 'rcode 1' },
  { name: 'with OPT', bytes: hex(`1234 0100 0001 0000 0000 0001 01 61 00 0001 0001 ${opt}`), want: 'a 1' },
  {
    name: 'two OPT records (RFC 6891 §6.1.1)',
    bytes: hex(`1234 0100 0001 0000 0000 0002 01 61 00 0001 0001 ${opt} ${opt}`),
    want: 'rcode 1',
  },
  {
    name: 'an OPT record with a name',
    bytes: hex(`1234 0100 0001 0000 0000 0001 01 61 00 0001 0001 01 61 ${opt}`),
    want: 'rcode 1',
  },
  {
    name: 'an OPT record whose option is cut',
    bytes: hex('1234 0100 0001 0000 0000 0001 01 61 00 0001 0001 00 0029 04d0 00000000 0004 000a 0008'),
    want: 'rcode 1',
  },
  {
    name: 'hundreds of additional records',
    bytes: hex(`1234 0100 0001 0000 0000 0100 01 61 00 0001 0001 ${opt.repeat(256)}`),
    want: 'rcode 1',
  },
  { name: 'more than a query can be', bytes: Buffer.concat([query('a'), Buffer.alloc(5_000)]), want: 'rcode 1' },
  { name: 'a dot inside a label is another name', bytes: hex(`${HEAD} 03 612e62 00 0001 0001`), want: '? 1' },
  { name: 'bytes that are no ASCII', bytes: hex(`${HEAD} 02 c3a9 00 0001 0001`), want: '? 1' },
])
  test(`query: ${name}`, () => assert.equal(outcome(bytes), want))

test('query: the key tells apart what has different answers, and nothing else', () => {
  const key = (bytes: Buffer): string => {
    const q = readQuery(bytes)
    assert.ok(q && 'key' in q)
    return q.key
  }
  assert.equal(key(query('a.b', 'A', { id: 1 })), key(query('A.B', 'A', { id: 2, udpBytes: 1232 })))
  const all = [
    query('a.b'),
    query('a.b', 'AAAA'),
    query('a.c'),
    query('a.b', 'A', { flags: 0x110 }),
    query('a.b', 'A', { flags: 0 }),
    query('a.b', 'A', { udpBytes: 1232, dnssecOk: true }),
    hex(`${HEAD} 02 c3a9 00 0001 0001`),
    hex(`${HEAD} 02 e3a9 00 0001 0001`),
    hex(`${HEAD} 01 61 01 62 00 0041 0001`),
    hex(`${HEAD} 01 61 01 62 00 0061 0001`),
  ]
  assert.equal(new Set(all.map(key)).size, all.length)
})
test('query: a refusal is the header alone, with id, operation and RD', () => {
  const refusal = encodeRefusal({ id: 9, flags: 0x2900, rcode: 4 })
  const p = decoded(refusal)
  assert.deepEqual(
    [refusal.length, p.id, p.flag_qr, p.rcode, p.flag_rd, p.questions?.length],
    [12, 9, true, 'NOTIMP', true, 0],
  )
  assert.equal(refusal.readUInt16BE(2) & 0x7800, 0x2800)
})
