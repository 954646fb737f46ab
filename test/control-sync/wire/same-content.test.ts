import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TYPE_URLS } from '../../../model/snapshot.ts'
import { isSameContent } from '../../../control-sync/wire/same-content.ts'
import { golden, GOLDEN, sample } from '../../helpers/control-plane/resources.ts'
import { seededRandom } from '../../helpers/random.ts'
import { canonicalHex, shuffled } from '../../helpers/shuffled.ts'

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
    assert.ok(isSameContent(kind, bytes, Uint8Array.from(bytes)), `${kind} ${name}`)
    for (let i = 0; i < 5; i++) {
      const other = shuffled(TYPE_URLS[kind], bytes, random)
      if (Buffer.compare(other, bytes) !== 0) moved++
      assert.ok(isSameContent(kind, bytes, other), `${kind} ${name}`)
      assert.ok(
        isSameContent(kind, Buffer.concat([Buffer.alloc(3), other]).subarray(3), bytes),
        `${kind} ${name} as a piece of a larger Buffer`,
      )
    }
  }
  assert.ok(moved > 20, `the shuffling moved something (${moved})`)
})

test('what says the same decodes to the same, whichever bytes were changed', () => {
  let same = 0
  for (const { kind, name, bytes } of resources) {
    const hex = canonicalHex(TYPE_URLS[kind], bytes)
    for (let i = 0; i < 60; i++) {
      const other = Uint8Array.from(shuffled(TYPE_URLS[kind], bytes, random))
      // Once in four times nothing is changed.
      for (let n = Math.floor(random.float() * 4); n > 0; n--)
        other[Math.floor(random.float() * other.length)] = Math.floor(random.float() * 256)
      if (!isSameContent(kind, bytes, other)) continue
      same++
      assert.equal(canonicalHex(TYPE_URLS[kind], other), hex, `${kind} ${name} ${Buffer.from(other).toString('hex')}`)
    }
  }
  assert.ok(same > resources.length, `${same} of them say the same`)
})

test('one more field, one less, another length: not the same', () => {
  const { kind, bytes } = resources[0]!
  assert.equal(isSameContent(kind, bytes, bytes.subarray(0, -1)), false)
  assert.equal(isSameContent(kind, bytes, Buffer.concat([bytes, Buffer.from([0x38, 0x01])])), false)
  assert.equal(
    isSameContent('nameTable', table(entry('a', '1'), entry('b', '2')), table(entry('a', '1'), entry('b', '3'))),
    false,
  )
  assert.equal(
    isSameContent('nameTable', table(entry('a', '1'), entry('b', '2')), table(entry('a', '12'), entry('b', ''))),
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
  assert.equal(isSameContent('route', routes('a', 'b'), routes('b', 'a')), false)
})

test('of two entries with one key the last wins, so their order counts, and no other', () => {
  const [one, two, other] = [entry('k', '1'), entry('k', '2'), entry('x', '3')]
  assert.equal(isSameContent('nameTable', table(one, two), table(two, one)), false)
  assert.equal(isSameContent('nameTable', table(one, two, other), table(other, one, two)), true)
  assert.equal(isSameContent('nameTable', table(one, one, other), table(one, other, other)), false)
})

for (const size of [32, 33, 1_000]) {
  test(`a map of ${size} entries: in another order it says the same, with one other value or key it does not`, () => {
    const many = Array.from({ length: size }, (_, i) => entry(`key-${i}`, 'v'))
    const other = many.toReversed()
    assert.equal(isSameContent('nameTable', table(...many), table(...other)), true)
    for (const changed of [entry('key-7', 'w'), entry('kex-7', 'v'), entry('key-8', 'v')])
      assert.equal(
        isSameContent('nameTable', table(...many), table(...other.with(size - 8, changed))),
        false,
        changed.toString('latin1'),
      )
  })
}

test('a key that stands twice in a large map is no reason to overlook another that is missing', () => {
  const many = Array.from({ length: 100 }, (_, i) => entry(`key-${i}`, 'v'))
  const twice = many.with(99, entry('key-98', 'v'))
  assert.equal(isSameContent('nameTable', table(...twice), table(...many.toReversed())), false)
  assert.equal(isSameContent('nameTable', table(...many), table(...twice.toReversed())), false)
})

test('more places that differ than messages may lie in each other', () => {
  const list = Array.from({ length: 200 }, () => ({ a: 1, b: 2 }))
  const { kind, bytes } = sample({
    '@type': TYPE_URLS.cluster,
    name: 'c',
    metadata: { filter_metadata: { istio: { list } } },
  })
  assert.ok(isSameContent(kind, bytes, shuffled(TYPE_URLS[kind], bytes, random)))
})

test('a large map after a small one, and a small one after it, do not meet entries of each other', () => {
  const [small, large] = [3, 2_000].map((size) => Array.from({ length: size }, (_, i) => entry(`key-${i}`, 'v')))
  for (const entries of [small!, large!, small!, large!])
    assert.equal(isSameContent('nameTable', table(...entries), table(...entries.toReversed())), true)
})

test('bytes that are no protobuf say the same only when they are equal', () => {
  for (const [a, b] of [
    ['ff', 'fe'],
    ['0a05', '0a06'],
    ['0b0c', '0b0d'],
    ['ffffffffffffffffffff01', 'ffffffffffffffffffff02'],
  ] as const) {
    assert.equal(isSameContent('nameTable', Buffer.from(a, 'hex'), Buffer.from(b, 'hex')), false)
    assert.equal(isSameContent('nameTable', Buffer.from(a, 'hex'), Buffer.from(a, 'hex')), true)
  }
})

test('after a difference deep in one resource the next is compared from its beginning', () => {
  const { kind, bytes } = golden('istiod-sidecar').find((r) => r.kind === 'listener')!
  const differs = Uint8Array.from(bytes)
  differs[bytes.length - 1]! ^= 1
  for (let i = 0; i < 200; i++) isSameContent(kind, bytes, differs)
  assert.ok(isSameContent(kind, bytes, shuffled(TYPE_URLS[kind], bytes, random)))
})

test('the given bytes are not changed', () => {
  const { kind, bytes } = golden('istiod-sidecar')[0]!
  const other = shuffled(TYPE_URLS[kind], bytes, random)
  const before = [Buffer.from(bytes), Buffer.from(other)]
  isSameContent(kind, bytes, other)
  assert.deepEqual([Buffer.from(bytes), Buffer.from(other)], before)
})
