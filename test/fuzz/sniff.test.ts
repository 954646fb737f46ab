import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { parseClientHello } from '../../protocols/downstream/client-hello.ts'
import { classify, MAX_SNIFF_BYTES } from '../../protocols/downstream/sniff.ts'

const EVERYTHING = { tls: true, http: true, mqtt: true }
const openings = [
  'GET / HTTP/1.1\r\n',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  '\x10\x10\0\x04MQTT\x05',
  '\x16\x03\x01\x01\0\x01\0\0\xfc\x03\x03',
].map((t) => Buffer.from(t, 'latin1'))
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 600 }).map((b) => Buffer.from(b)),
  fc
    .tuple(fc.constantFrom(...openings), fc.uint8Array({ maxLength: 600 }), fc.nat(20))
    .map(([start, rest, cut]) => Buffer.concat([start.subarray(0, Math.max(1, start.length - cut)), rest])),
)

test('any bytes: a verdict or the wish for more, never a throw, and a verdict stands whatever follows', () => {
  fc.assert(
    fc.property(bytes, fc.uint8Array({ maxLength: 50 }), (start, more) => {
      const verdict = classify(start, EVERYTHING)
      if (typeof verdict === 'object') {
        const later = classify(Buffer.concat([start, more]), EVERYTHING)
        // A request line that grows beyond what is looked at may only change from one HTTP version's guess to the same
        // protocol.
        assert.equal(typeof later === 'object' ? later.protocol : later, verdict.protocol)
      }
    }),
    { numRuns: 3_000 },
  )
})
test('what is longer than the bound is always decided', () => {
  fc.assert(
    fc.property(bytes, (start) => {
      const long = Buffer.concat([start, Buffer.alloc(MAX_SNIFF_BYTES, 0x61)]).subarray(0, MAX_SNIFF_BYTES)
      assert.notEqual(classify(long, EVERYTHING), 'more')
    }),
    { numRuns: 500 },
  )
})
test('a ClientHello of any bytes never throws', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2_000 }), (b) => {
      parseClientHello(Uint8Array.of(22, 3, 1, b.length >> 8, b.length & 255, ...b))
    }),
    { numRuns: 2_000 },
  )
})
