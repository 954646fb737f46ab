import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { compareLines } from '../../../hub/rollout/diff.ts'

const numbers = Array.from({ length: 20 }, (_, i) => `line ${i + 1}`)

test('only what changes, and three lines around', () => {
  const next = [...numbers.slice(0, 9), 'another', ...numbers.slice(10)]
  assert.deepEqual(compareLines(numbers, next), [
    '@@ 7',
    ' line 7',
    ' line 8',
    ' line 9',
    '-line 10',
    '+another',
    ' line 11',
    ' line 12',
    ' line 13',
  ])
  assert.deepEqual(compareLines(numbers, numbers), [])
  assert.deepEqual(compareLines([], ['a']), ['@@ 1', '+a'])
  assert.deepEqual(compareLines(['a'], []), ['@@ 1', '-a'])
})

test('what is too long to compare is taken out and put in', () => {
  const [a, b] = ['a', 'b'].map((letter) => Array.from({ length: 2_000 }, (_, i) => `${letter}${i}`))
  const lines = compareLines(a!, b!)
  assert.equal(lines.length, 4_001)
})

test('the differences lead from one text to the other, whatever they are', () => {
  const text = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 12 })
  fc.assert(
    fc.property(text, text, (a, b) => {
      // So few lines that nothing is left out but what is the same.
      const lines = compareLines(a, b)
      const of = (sign: string): string[] => lines.filter((l) => l.startsWith(sign)).map((l) => l.slice(1))
      const kept = a.length - of('-').length
      assert.equal(kept + of('+').length, b.length)
      const counts = (all: readonly string[]) => ['a', 'b', 'c', 'd'].map((x) => all.filter((y) => y === x).length)
      const [before, out, put, after] = [counts(a), counts(of('-')), counts(of('+')), counts(b)]
      assert.deepEqual(
        before.map((n, i) => n - out![i]! + put![i]!),
        after,
      )
    }),
  )
})
