import { test } from 'node:test'
import assert from 'node:assert/strict'
import { RequestHeads } from './request-heads.ts'

const HEADS = [
  'GET /a HTTP/1.1\r\n\r\n',
  'PUT /b HTTP/1.1\r\ncontent-length: 21\r\n\r\n',
  'PUT /c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n',
]
const HIDDEN = 'PUT /private HTTP/1\r\n'
const STREAM =
  `${HEADS[0]}${HEADS[1]}${HIDDEN}${HEADS[2]}15\r\n${HIDDEN}\r\n0\r\nt: 1\r\n\r\n` +
  `${HEADS[2]}1;x=y\r\na\r\n0\r\n\r\n${HEADS[0]}`
const FOUND = [...HEADS, HEADS[2], HEADS[0]]

for (const size of [1, 2, 3, 7, 10_000])
  test(`what stands in bodies is no head, in pieces of ${size}`, () => {
    const reader = new RequestHeads()
    const found: string[] = []
    for (let at = 0; at < STREAM.length; at += size)
      found.push(...reader.take(Buffer.from(STREAM.slice(at, at + size), 'latin1')))
    assert.deepEqual(found, FOUND)
  })

test('a request behind the end of another is found', () => {
  const found = new RequestHeads().take(Buffer.from(`${HEADS[0]}PUT /private HTTP/1.1\r\n\r\n`))
  assert.equal(found[1], 'PUT /private HTTP/1.1\r\n\r\n')
})
