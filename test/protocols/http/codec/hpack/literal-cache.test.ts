/**
 * What is found in the cache of literals is exactly what was kept: two literals that share a hash or a slot are not
 * taken for each other.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LiteralCache } from '../../../../../protocols/http/codec/hpack/literal-cache.ts'

const SLOTS = 16
const OWNER = {}
const bytes = (text: string): Uint8Array => Buffer.from([text.length, ...Buffer.from(text, 'latin1')])
function kept(hash: number, text: string): LiteralCache<string> {
  const cache = new LiteralCache<string>(SLOTS)
  cache.keep(hash, OWNER, bytes(text), text)
  return cache
}

test('the same hash, owner and bytes find it, wherever they stand', () => {
  const cache = kept(5, 'secret')
  assert.equal(cache.find(5, OWNER, bytes('secret'), 0), 'secret')
  assert.equal(
    cache.find(5, OWNER, Buffer.concat([Buffer.from('before'), bytes('secret'), Buffer.from('behind')]), 6),
    'secret',
  )
})
test('another hash of the same slot finds nothing, although the bytes are the same', () => {
  assert.equal(kept(5, 'secret').find(5 + SLOTS, OWNER, bytes('secret'), 0), undefined)
})
test('another owner finds nothing: the same value of another name', () => {
  assert.equal(kept(5, 'secret').find(5, {}, bytes('secret'), 0), undefined)
})
for (const [what, other] of [
  ['the first byte', 'Secret'],
  ['the last byte', 'secreT'],
  ['the length', 'secrets'],
  ['an end that is missing', 'secre'],
] as const) {
  test(`other bytes of the same hash find nothing: ${what}`, () => {
    assert.equal(kept(5, 'secret').find(5, OWNER, bytes(other), 0), undefined)
  })
}
test('bytes that end in the middle of what was kept find nothing', () => {
  assert.equal(kept(5, 'secret').find(5, OWNER, bytes('secret').subarray(0, 4), 0), undefined)
})
test('the newest of a slot counts', () => {
  const cache = kept(5, 'old')
  cache.keep(5 + SLOTS, OWNER, bytes('new'), 'new')
  assert.equal(cache.find(5, OWNER, bytes('old'), 0), undefined)
  assert.equal(cache.find(5 + SLOTS, OWNER, bytes('new'), 0), 'new')
})
test('a literal is worth keeping when it is seen again, and long ones never are', () => {
  const cache = new LiteralCache<string>(SLOTS)
  assert.deepEqual(
    [cache.isSecondSight(5), cache.isSecondSight(5), cache.isSecondSight(5 + SLOTS), cache.isSecondSight(5)],
    [false, true, false, false],
  )
  assert.notEqual(cache.hash(0, Buffer.alloc(128), 0, 128), 0)
  assert.equal(cache.hash(0, Buffer.alloc(129), 0, 129), 0)
})
