import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Slices } from '../../../protocols/mqtt/slices.ts'

test('connections of one turn share ten milliseconds, and each has two', () => {
  const ends: (() => void)[] = []
  const slices = new Slices((end) => {
    ends.push(end)
  })
  const given: number[] = []
  for (const usedMs of [4, 5, 3, 2]) {
    given.push(slices.sliceMs)
    slices.note(usedMs)
  }
  assert.deepEqual([given, ends.length], [[10, 6, 2, 2], 1])
  ends.pop()!()
  assert.equal(slices.sliceMs, 10)
  slices.note(1)
  assert.deepEqual([slices.sliceMs, ends.length], [9, 1])
})
