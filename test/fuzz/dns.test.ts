import { test } from 'node:test'
import assert from 'node:assert/strict'
import { encode } from 'dns-packet'
import fc from 'fast-check'
import {
  encodeAnswer,
  encodeRefusal,
  createPointerAnswer,
  createTableAnswer,
} from '../../protocols/dns/codec/answer.ts'
import { frame } from '../../protocols/dns/resolver/exchange.ts'
import { NameIndex } from '../../protocols/dns/names/name-index.ts'
import { readQuery } from '../../protocols/dns/codec/query.ts'
import { parseResolvConf } from '../../protocols/dns/resolver/resolv-conf.ts'
import { readResponse } from '../../protocols/dns/codec/response.ts'
import { a, decoded, query, soa } from '../helpers/dns.ts'
import { seededRandom } from '../helpers/random.ts'
import { settle } from '../helpers/sim-clock.ts'
import { AT, DnsSite } from '../protocols/dns/site.ts'

const RUNS = { numRuns: 3_000, seed: 20_261 }
const random = seededRandom(7)
const rules = { namespace: 'shop', domain: 'svc.cluster.local', search: ['lan', 'a.b'] }
const index = new NameIndex(
  new Map([
    ['*.wild', { addresses: ['10.0.0.1', 'fd00::1'], service: undefined }],
    ['api.shop.svc.cluster.local', { addresses: ['10.0.0.2'], service: { name: 'api', namespace: 'shop' } }],
  ]),
  rules,
)

const bytes = fc.uint8Array({ maxLength: 600 }).map((b) => Buffer.from(b))
const label = fc.stringMatching(/^[a-zA-Z0-9_*-]{1,20}$/)
const name = fc.oneof(
  fc.array(label, { maxLength: 8 }).map((l) => l.join('.')),
  fc.constantFrom(
    'api.shop',
    'api.shop.lan',
    'x.y.wild',
    'x.wild.a.b',
    '2.0.0.10.in-addr.arpa',
    `2${'.0'.repeat(29)}.d.f.ip6.arpa`,
  ),
)
const type = fc.constantFrom('A', 'AAAA', 'CNAME', 'PTR', 'TXT', 'ANY', 'AXFR', 'UNKNOWN_65')
const good = fc
  .tuple(name, type, fc.option(fc.nat(65_535), { nil: undefined }), fc.boolean())
  .map(([n, t, udpBytes, dnssecOk]) =>
    query(n || '.', t, { ...(udpBytes === undefined ? {} : { udpBytes }), dnssecOk }),
  )
const response = fc
  .tuple(name, fc.array(fc.tuple(name, fc.nat(0xffff_ffff)), { maxLength: 40 }), fc.boolean(), fc.nat(15))
  .map(([n, answers, edns, rcode]) =>
    encode({
      type: 'response',
      id: 4711,
      flags: 0x8180 | rcode,
      questions: [{ name: n || '.', type: 'A' }],
      answers: answers.map(([owner, ttl], i) => a(owner || '.', `10.0.0.${i}`, ttl)),
      authorities: [soa('example', 60)],
      additionals: edns
        ? [
            {
              type: 'OPT',
              name: '.',
              udpPayloadSize: 1232,
              extendedRcode: 0,
              ednsVersion: 0,
              flags: 0,
              flag_do: false,
              options: [],
            },
          ]
        : [],
    }),
  )
const flipped = (from: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> =>
  fc.tuple(from, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 })).map(([b, changes]) => {
    const out = Buffer.from(b)
    for (const [at, value] of changes) out[at % out.length] = value
    return out
  })

/** Whatever comes: an answer that another reader can read, no longer than it may be, or nothing; never a throw. */
function serve(message: Buffer): void {
  const q = readQuery(message)
  if (!q) return
  if ('rcode' in q) {
    assert.equal(decoded(encodeRefusal(q)).id, message.readUInt16BE(0))
    return
  }
  const pointers = q.name === undefined ? undefined : index.pointers(q.name)
  const found = q.name === undefined ? undefined : index.find(q.name)
  const answer = pointers ? createPointerAnswer(pointers) : found && createTableAnswer(q, found, random)
  if (!answer) return
  for (const over of ['udp', 'tcp'] as const) {
    const out = encodeAnswer(q, answer, { over })
    assert.ok(out.length <= (over === 'tcp' ? 65_535 : 1_232))
    const p = decoded(out)
    assert.deepEqual(out.subarray(12, 12 + q.question.length), q.question)
    assert.ok(p.answers!.every((r) => r.type === 'CNAME' || r.type === 'A' || r.type === 'AAAA' || r.type === 'PTR'))
  }
}

test('any bytes as a query', () => {
  fc.assert(fc.property(bytes, serve), RUNS)
})
test('good queries, changed in some bytes', () => {
  fc.assert(fc.property(flipped(good), serve), RUNS)
})
test('good queries, cut at every offset', () => {
  fc.assert(
    fc.property(good, (b) => {
      serve(b)
      for (let end = 0; end < b.length; end++) {
        const q = readQuery(b.subarray(0, end))
        assert.ok(!q || 'rcode' in q, `a query of ${end} of ${b.length} bytes`)
      }
    }),
    { ...RUNS, numRuns: 200 },
  )
})

/** A good answer, or none; what is kept of it can be given to a client. */
function take(message: Buffer, asked: Buffer): void {
  const q = readQuery(asked)
  assert.ok(q && 'key' in q)
  const r = readResponse(message, { id: 4711, question: q.question, type: q.type })
  if (!r) return
  assert.equal(r.records.ends.length, r.records.counts[0] + r.records.counts[1] + r.records.counts[2])
  for (const over of ['udp', 'tcp'] as const) {
    const out = encodeAnswer(
      q,
      { rcode: r.rcode & 15, flags: r.flags, records: r.records },
      { over, ttlSec: (received) => Math.min(received, 30) },
    )
    assert.ok(out.length <= (over === 'tcp' ? 65_535 + 11 : 1_232))
  }
}
test('any bytes as an answer', () => {
  fc.assert(fc.property(bytes, good, take), RUNS)
})
test('good answers, whole, changed in some bytes, and cut at every offset', () => {
  fc.assert(
    fc.property(fc.oneof(response, flipped(response)), (b) => {
      // The question is the answer's own, so that the walk goes as far as it can.
      const end = questionEnd(b)
      const asked = Buffer.concat([Buffer.from('126701000001000000000000', 'hex'), b.subarray(12, end)])
      if (!('key' in (readQuery(asked) ?? {}))) return
      for (let cut = 0; cut <= b.length; cut++) take(b.subarray(0, cut), asked)
    }),
    { ...RUNS, numRuns: 300 },
  )
})
function questionEnd(b: Buffer): number {
  let at = 12
  while (at < b.length && b[at] !== 0) at += b[at]! + 1
  return at + 5
}

test('an answer of pointers to pointers comes to its end', () => {
  const asked = query('a')
  const message = Buffer.alloc(65_535, 0)
  query('a', 'A', { flags: 0x8180 }).copy(message)
  message.writeUInt16BE(0x8180, 2)
  message.writeUInt16BE(5_000, 6)
  for (let at = 19; at + 2 < message.length; at += 2)
    message.writeUInt16BE(0xc000 | Math.max(12, (at - 2) & 0x3fff), at)
  // Following them would take hundreds of millions of steps.
  for (let i = 0; i < 100; i++) take(message, asked)
})
test('resolv.conf of any text', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc
          .array(fc.constantFrom('nameserver ', '1.1.1.1', 'search ', 'domain ', '\n', '#', '.', 'lan'))
          .map((p) => p.join('')),
      ),
      (text) => {
        const { servers, search } = parseResolvConf(text)
        assert.ok(servers.length <= 3 && search.every((s) => s !== '' && !s.startsWith('.') && !s.endsWith('.')))
      },
    ),
    RUNS,
  )
})

test('the whole proxy: any datagrams and any bytes over TCP, cut anywhere; it goes on answering', async (t) => {
  const site = await DnsSite.start(t, { maxTcpConnections: 1_000 })
  await site.upstream((n) => ({ answers: [a(n, '9.9.9.9')] }))
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(bytes, flipped(good), flipped(good).map(frame)),
      fc.array(fc.nat(700), { maxLength: 3 }),
      async (b, cuts) => {
        await site.send(b)
        const { stream } = await site.sim.dial(AT, new AbortController().signal)
        stream.on('error', () => {})
        stream.resume()
        const at = [...new Set(cuts.map((c) => c % (b.length + 1)))].toSorted((x, y) => x - y)
        let from = 0
        for (const to of [...at, b.length]) {
          stream.write(b.subarray(from, to))
          from = to
        }
        await settle()
        stream.destroy()
      },
    ),
    { numRuns: 200, seed: 20_261 },
  )
  await settle()
  assert.match(await site.ask(query('api.shop.svc.cluster.local')), /^NOERROR aa/)
  assert.equal(site.events('dns.failed'), 0)
  assert.equal(site.metrics.total('mesh_dns_refused_total', { code: 'MESH_INTERNAL' }), 0)
})
