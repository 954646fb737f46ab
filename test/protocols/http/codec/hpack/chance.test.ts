/** By chance: what the encoder writes the decoder reads, and random octets do no harm. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { HpackDecoder, HpackError } from '../../../../../protocols/http/codec/hpack/decoder.ts'
import { HpackEncoder } from '../../../../../protocols/http/codec/hpack/encoder.ts'
import { huffman, indexed, literal, plain, sizeUpdate } from './writer.ts'

const name = fc.oneof(
  fc.constantFrom(
    ':method',
    ':path',
    ':authority',
    ':status',
    'cookie',
    'authorization',
    'set-cookie',
    'content-type',
    'x-a',
    'x-b',
    'grpc-status',
  ),
  fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'x', 'y', '-', '_', '0', '9'), minLength: 1, maxLength: 40 }),
)
const value = fc.oneof(
  fc.constantFrom('', 'GET', '/', '200', '404', '0', 'application/grpc', 'a=b', 'session=0123456789abcdef'),
  fc.string({
    unit: fc
      .integer({ min: 0x21, max: 0xff })
      .filter((code) => code !== 0x7f)
      .map((code) => String.fromCharCode(code)),
    maxLength: 60,
  }),
  fc.integer({ min: 0, max: 3000 }).map((length) => 'v'.repeat(length)),
)
const list = fc.array(fc.tuple(name, value), { maxLength: 12 }).map((pairs) => pairs.flat())
function contents(table: HpackDecoder['table'] | HpackEncoder['table']): unknown {
  const entries = Array.from({ length: table.count }, (_, age) => [table.at(age)!.name, table.at(age)!.value])
  return { bytes: table.bytes, maxBytes: table.maxBytes, entries }
}
/** A list, or a new SETTINGS_HEADER_TABLE_SIZE. */
const step = fc.oneof({ weight: 5, arbitrary: list }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 8192 }) })

test('the decoder reads what the encoder writes, over many blocks and table sizes, and both tables agree', () => {
  const someLists = fc.array(list, { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), someLists, (steps, favourites) => {
      const encoder = new HpackEncoder()
      const decoder = new HpackDecoder({ maxTableBytes: 8192, maxListBytes: 1_000_000, maxFields: 1000 })
      for (const [i, next] of steps.entries()) {
        if (typeof next === 'number') {
          encoder.setMaxTableBytes(next)
          continue
        }
        const fields = [...next, ...favourites[i % favourites.length]!]
        const out = Buffer.alloc(encoder.bound(fields))
        const end = encoder.encode(fields, out, 0)
        assert.deepEqual(decoder.decode(out, 0, end), { fields, oversized: false, problem: undefined })
        assert.deepEqual(contents(decoder.table), contents(encoder.table))
      }
    }),
    { numRuns: 500, seed: 7541 },
  )
})

const kind = fc.constantFrom('indexing' as const, 'without' as const, 'never' as const)
const part = fc.oneof(
  fc.uint8Array({ maxLength: 20 }).map((octets) => Buffer.from(octets)),
  fc.integer({ min: 0, max: 200 }).map(indexed),
  fc.integer({ min: 0, max: 5000 }).map(sizeUpdate),
  fc
    .tuple(kind, fc.integer({ min: 1, max: 80 }), fc.constantFrom(plain, huffman), value)
    .map(([how, index, text, of]) => literal(how, index, text(of))),
  fc
    .tuple(kind, fc.constantFrom(plain, huffman), name, value)
    .map(([how, text, of, what]) => literal(how, text(of), text(what))),
)
const LIMITS = { maxTableBytes: 500, maxListBytes: 2000, maxFields: 10 }

test('random octets end in fields or an HpackError, within the limits', () => {
  fc.assert(
    fc.property(fc.array(fc.array(part, { maxLength: 10 }), { maxLength: 8 }), (blocks) => {
      const decoder = new HpackDecoder(LIMITS)
      const first = sizeUpdate(LIMITS.maxTableBytes)
      decoder.decode(first, 0, first.length)
      for (const parts of blocks) {
        const block = Buffer.concat(parts)
        try {
          const { fields } = decoder.decode(block, 0, block.length)
          assert.ok(fields.length <= 2 * LIMITS.maxFields && fields.length % 2 === 0)
          assert.ok(fields.every((text) => typeof text === 'string'))
          assert.ok(fields.join('').length + 16 * fields.length <= LIMITS.maxListBytes)
        } catch (err) {
          if (err instanceof HpackError) return
          throw err
        } finally {
          const sizes = Array.from({ length: decoder.table.count }, (_, age) => decoder.table.at(age)!.size)
          assert.equal(
            sizes.reduce((sum, size) => sum + size, 0),
            decoder.table.bytes,
          )
          assert.ok(decoder.table.bytes <= decoder.table.maxBytes && decoder.table.maxBytes <= LIMITS.maxTableBytes)
        }
      }
    }),
    { numRuns: 3000 },
  )
})

test('a block cut anywhere is an HpackError or a shorter list, never other fields', () => {
  fc.assert(
    fc.property(list, fc.boolean(), (fields, coded) => {
      const text = coded ? huffman : plain
      const field = (i: number): Buffer => literal('indexing', text(fields[2 * i]!), text(fields[2 * i + 1]!))
      const block = Buffer.concat(Array.from({ length: fields.length / 2 }, (_, i) => field(i)))
      for (let end = 0; end < Math.min(block.length, 200); end++) {
        try {
          const decoder = new HpackDecoder({ maxTableBytes: 4096, maxListBytes: 100_000, maxFields: 100 })
          const found = decoder.decode(block, 0, end).fields
          assert.deepEqual(found, fields.slice(0, found.length))
        } catch (err) {
          assert.ok(err instanceof HpackError)
        }
      }
    }),
    { numRuns: 200 },
  )
})
