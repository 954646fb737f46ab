import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RecentLines } from '../../../core/runtime/recent-lines.ts'

test('the newest lines are there, and those before make room', () => {
  const lines = new RecentLines()
  assert.deepEqual(lines.last(10), [])
  for (let i = 0; i < 100_000; i++) lines.add(`line ${i}\n`)
  assert.deepEqual(lines.last(2), ['line 99998\n', 'line 99999\n'])
  assert.ok(lines.last(1e9).join('').length <= 64 * 1024)
  lines.add('x'.repeat(1_000_000))
  assert.equal(lines.last(1e9).length, 1)
})
