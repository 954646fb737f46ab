import { test } from 'node:test'
import assert from 'node:assert/strict'
import { takeLease, Tallies, Tally } from '../../core/lease.ts'

test('a lease counts until it is given back, once however often that is done', () => {
  let emptied = 0
  const [one, other] = [
    new Tally(() => {
      emptied++
    }),
    new Tally(),
  ]
  const first = takeLease(one, other)
  const second = takeLease(one)
  assert.deepEqual([one.now, other.now], [2, 1])
  first[Symbol.dispose]()
  first[Symbol.dispose]()
  assert.deepEqual([one.now, other.now, emptied], [1, 0, 0])
  second[Symbol.dispose]()
  assert.deepEqual([one.now, emptied], [0, 1])
})
test('a lease is given back at the end of its block, also when the block throws', () => {
  const tally = new Tally()
  assert.throws(() => {
    using held = takeLease(tally)
    assert.equal(tally.now, 1)
    void held
    throw new Error('the block fails')
  })
  assert.equal(tally.now, 0)
})
test('counts by key forget keys that nobody holds', () => {
  const tallies = new Tallies<string>()
  const [a, b, c] = [tallies.lease('a'), tallies.lease('a'), tallies.lease('b')]
  assert.deepEqual([tallies.of('a'), tallies.of('b'), tallies.of('c'), tallies.size], [2, 1, 0, 2])
  for (const held of [a, a, c]) held[Symbol.dispose]()
  assert.deepEqual([tallies.of('a'), tallies.of('b'), tallies.size], [1, 0, 1])
  b[Symbol.dispose]()
  const again = tallies.lease('a')
  b[Symbol.dispose]()
  assert.equal(tallies.of('a'), 1)
  again[Symbol.dispose]()
  assert.equal(tallies.size, 0)
})
