import { test } from 'node:test'
import assert from 'node:assert/strict'
import { memoizeTexts } from '../../core/memoize.ts'

test('what follows from texts is made once, for so many at a time; what is not worth a place is made each time', () => {
  const asked: string[] = []
  const find = memoizeTexts(
    (text) => {
      asked.push(text)
      return text.length > 2
    },
    { most: 2, keeps: ({ length }) => length < 5 },
  )
  const ask = (...texts: string[]): string => {
    asked.length = 0
    texts.forEach((text) => assert.equal(find(text), text.length > 2))
    return asked.join(' ')
  }
  assert.equal(ask('a', 'abc', 'a', 'abc'), 'a abc', 'an answer of false is known, too')
  assert.equal(ask('abcde', 'abcde'), 'abcde abcde', 'too long')
  assert.equal(ask('a', 'b', 'a'), 'b a', 'begun anew with the third')
})
