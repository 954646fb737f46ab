import { test } from 'node:test'
import assert from 'node:assert/strict'
import { RequestHead } from '../../../protocols/http/message.ts'

const head = (headers: string[]): RequestHead =>
  new RequestHead({
    method: 'POST',
    scheme: 'https',
    authority: 'a.test',
    path: '/p',
    headers,
    version: 'HTTP/1.1',
    bodyLength: 7,
    upgrade: 'websocket',
    expectContinue: true,
  })

test('a field is looked for among names, never among values', () => {
  const h = head(['x', 'y', 'y', '1'])
  assert.equal(h.header('y'), '1')
  assert.equal(h.values('y'), '1')
  assert.equal(h.header('1'), undefined)
  assert.equal(h.values('1'), undefined)
})
test('lines of one name: joined in their order, or each by itself', () => {
  const h = head(['a', '1', 'b', '2', 'a', '3', 'a', '4'])
  assert.equal(h.header('a'), '1,3,4')
  assert.deepEqual(h.values('a'), ['1', '3', '4'])
  assert.deepEqual(head(['a', '1', 'a', '2']).values('a'), ['1', '2'])
})
test('a copy says the same and has fields of its own', () => {
  const h = head(['a', '1'])
  const copy = h.copy()
  assert.deepEqual(copy, h)
  h.headers.push('b', '2')
  h.scheme = 'http'
  assert.deepEqual(copy.headers, ['a', '1'])
  assert.equal(copy.scheme, 'https')
})
