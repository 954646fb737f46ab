import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TYPE_URLS } from '../../../model/snapshot.ts'
import { canonicalHash } from '../../../control-sync/wire/canonical.ts'
import { sameContent } from '../../../control-sync/wire/same-content.ts'
import { golden, GOLDEN, sample } from '../../helpers/control-plane/resources.ts'
import { seededRandom } from '../../helpers/random.ts'
import { shuffled } from '../../helpers/shuffled.ts'

const random = seededRandom(11)
const resources = GOLDEN.flatMap(golden)

/** Of nameTable's map: one key, one byte string of a value. */
function entry(key: string, value: string): Buffer {
  const k = Buffer.from(key)
  const v = Buffer.from(value)
  const fields = Buffer.concat([Buffer.from([0x0a, k.length]), k, Buffer.from([0x12, v.length + 2, 0x0a, v.length]), v])
  return Buffer.concat([Buffer.from([0x0a, fields.length]), fields])
}
const table = (...entries: Buffer[]): Buffer => Buffer.concat(entries)

test('maps in another order, also in Structs and inside Anys, say the same', () => {
  let moved = 0
  for (const { kind, name, bytes } of resources) {
    assert.ok(sameContent(kind, bytes, Uint8Array.from(bytes)), `${kind} ${name}`)
    for (let i = 0; i < 5; i++) {
      const other = shuffled(TYPE_URLS[kind], bytes, random)
      if (Buffer.compare(other, bytes) !== 0) moved++
      assert.ok(sameContent(kind, bytes, other), `${kind} ${name}`)
      assert.ok(
        sameContent(kind, Buffer.concat([Buffer.alloc(3), other]).subarray(3), bytes),
        `${kind} ${name} as a piece of a larger Buffer`,
      )
    }
  }
  assert.ok(moved > 20, `the shuffling moved something (${moved})`)
})

test('what says the same has the same canonical hash, whichever bytes were changed', () => {
  for (const { kind, name, bytes } of resources) {
    for (let i = 0; i < 60; i++) {
      const other = Uint8Array.from(shuffled(TYPE_URLS[kind], bytes, random))
      for (let n = Math.floor(random.float() * 3); n >= 0; n--)
        other[Math.floor(random.float() * other.length)] = Math.floor(random.float() * 256)
      if (sameContent(kind, bytes, other))
        assert.equal(
          canonicalHash(kind, other),
          canonicalHash(kind, bytes),
          `${kind} ${name} ${Buffer.from(other).toString('hex')}`,
        )
    }
  }
})

test('one more field, one less, another length: not the same', () => {
  const { kind, bytes } = resources[0]!
  assert.equal(sameContent(kind, bytes, bytes.subarray(0, -1)), false)
  assert.equal(sameContent(kind, bytes, Buffer.concat([bytes, Buffer.from([0x38, 0x01])])), false)
  assert.equal(
    sameContent('nameTable', table(entry('a', '1'), entry('b', '2')), table(entry('a', '1'), entry('b', '3'))),
    false,
  )
  assert.equal(
    sameContent('nameTable', table(entry('a', '1'), entry('b', '2')), table(entry('a', '12'), entry('b', ''))),
    false,
    'the same bytes in all, divided in another way',
  )
})

test('the order of a list counts', () => {
  const routes = (a: string, b: string): Uint8Array =>
    sample({
      '@type': TYPE_URLS.route,
      name: 'r',
      virtual_hosts: [
        { name: a, domains: [a] },
        { name: b, domains: [b] },
      ],
    }).bytes
  assert.equal(sameContent('route', routes('a', 'b'), routes('b', 'a')), false)
})

test('of two entries with one key the last wins, so their order counts, and no other', () => {
  const [one, two, other] = [entry('k', '1'), entry('k', '2'), entry('x', '3')]
  assert.equal(sameContent('nameTable', table(one, two), table(two, one)), false)
  assert.equal(sameContent('nameTable', table(one, two, other), table(other, one, two)), true)
  assert.equal(sameContent('nameTable', table(one, one, other), table(one, other, other)), false)
})

test('a map with more entries than are looked through, and bytes that are no protobuf, are left to the hash', () => {
  const many = Array.from({ length: 33 }, (_, i) => entry(`key-${i}`, 'v'))
  assert.equal(sameContent('nameTable', table(...many), table(...many.toReversed())), false)
  assert.equal(sameContent('nameTable', table(...many.slice(1)), table(...many.slice(1).toReversed())), true)
  for (const [a, b] of [
    ['ff', 'fe'],
    ['0a05', '0a06'],
    ['0b0c', '0b0d'],
    ['ffffffffffffffffffff01', 'ffffffffffffffffffff02'],
  ])
    assert.equal(sameContent('nameTable', Buffer.from(a!, 'hex'), Buffer.from(b!, 'hex')), false)
})
