import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Lru } from '../../../protocols/tls/lru.ts'

test('what was used last stays, what was not used for longest goes', () => {
  const lru = new Lru<string, number>(2)
  lru.set('a', 1)
  lru.set('b', 2)
  assert.equal(lru.get('a'), 1)
  lru.set('c', 3)
  assert.equal(lru.get('b'), undefined)
  assert.equal(lru.get('a'), 1)
  assert.equal(lru.get('c'), 3)
  assert.equal(lru.size, 2)
})
test('a value that is set again is the newer one, and was used', () => {
  const lru = new Lru<string, number>(2)
  lru.set('a', 1)
  lru.set('b', 2)
  lru.set('a', 3)
  lru.set('c', 4)
  assert.deepEqual([lru.get('a'), lru.get('b'), lru.get('c')], [3, undefined, 4])
})
test('what was deleted is gone and leaves its place', () => {
  const lru = new Lru<string, number>(2)
  lru.set('a', 1)
  lru.set('b', 2)
  lru.delete('a')
  lru.set('c', 3)
  assert.deepEqual([lru.get('a'), lru.get('b'), lru.get('c')], [undefined, 2, 3])
})
