/** The chunked coding, in one piece and byte by byte. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { ChunkedReader } from '../../../../protocols/http/codec/h1-chunked.ts'

type Read = { body: string; at: number; last: boolean; fault: string | undefined }
function read(text: string, pieceBytes: number): Read {
  let fault: string | undefined
  const reader = new ChunkedReader((kind, what) => {
    fault = `${kind}: ${what}`
    throw new Error(fault)
  })
  reader.begin()
  const bytes = Buffer.from(text, 'latin1')
  const found: Read = { body: '', at: 0, last: false, fault: undefined }
  try {
    for (let from = 0; from < bytes.length && !found.last; from += pieceBytes) {
      const piece = bytes.subarray(from, from + pieceBytes)
      const { at, last } = reader.read(piece, 0, (chunk) => {
        found.body += chunk.toString('latin1')
        return true
      })
      found.at = from + at
      found.last = last
    }
  } catch (thrown) {
    if (fault === undefined) throw thrown
  }
  return { ...found, fault }
}

for (const { text, body, rest = '' } of [
  { text: '2\r\nhi\r\n0\r\n', body: 'hi', rest: '\r\n' },
  { text: 'A\r\n0123456789\r\n00\r\n', body: '0123456789' },
  { text: 'a;x=y;"z"\r\n0123456789\r\n0;e\r\n', body: '0123456789' },
  { text: '1\r\na\r\n1\r\nb\r\n0\r\n', body: 'ab', rest: 'trailer: x\r\n\r\n' },
  { text: `0000000${'1'}\r\na\r\n0\r\n`, body: 'a' },
])
  for (const pieceBytes of [1, 2, 3, 1000])
    test(`read in pieces of ${pieceBytes}: ${JSON.stringify(text)}`, () => {
      assert.deepEqual(read(text + rest, pieceBytes), { body, at: text.length, last: true, fault: undefined })
    })

for (const { name, text, fault } of [
  { name: 'no size', text: '\r\n', fault: 'malformed: a chunk without a size' },
  { name: 'a sign', text: '+1\r\na', fault: 'malformed: a chunk without a size' },
  { name: 'a size that is no number', text: '1g\r\n', fault: 'malformed: the size of a chunk is not hexadecimal' },
  { name: 'a space behind the size', text: '1 \r\n', fault: 'malformed: the size of a chunk is not hexadecimal' },
  { name: 'a size that ends in LF', text: '1\na', fault: 'malformed: the size of a chunk is not hexadecimal' },
  { name: 'nine digits', text: '000000001\r\n', fault: 'malformed: the size of a chunk is too long' },
  { name: 'CR without LF', text: '1\ra', fault: 'malformed: CR without LF after the size of a chunk' },
  { name: 'LF in an extension', text: '1;a\n', fault: 'malformed: a control character in a chunk extension' },
  { name: 'more data than said', text: '1\r\nab', fault: 'malformed: a chunk is longer than its size' },
  { name: 'a chunk that ends in CR alone', text: '1\r\na\rb', fault: 'malformed: CR without LF after a chunk' },
  {
    name: 'extensions without end, over several chunks',
    text: `1;${'a'.repeat(9000)}\r\nx\r\n1;${'a'.repeat(9000)}\r\n`,
    fault: 'too-large: more than 16384 bytes of chunk extensions',
  },
])
  test(`refused: ${name}`, () => {
    for (const pieceBytes of [1, 1000]) assert.equal(read(text, pieceBytes).fault, fault)
  })

test('what extensions may have is counted per message', () => {
  const reader = new ChunkedReader(assert.fail as never)
  for (let message = 0; message < 2; message++) {
    reader.begin()
    const { last } = reader.read(Buffer.from(`0;${'a'.repeat(10_000)}\r\n`), 0, () => true)
    assert.equal(last, true)
  }
})
test('who wants no more is told no more', () => {
  const reader = new ChunkedReader(assert.fail as never)
  reader.begin()
  const bytes = Buffer.from('1\r\na\r\n1\r\nb\r\n')
  let told = 0
  assert.deepEqual(
    reader.read(bytes, 0, () => (told++, false)),
    { at: 4, last: false },
  )
  assert.equal(told, 1)
})
test('the next message begins anew, wherever the last one was left', () => {
  const reader = new ChunkedReader(assert.fail as never)
  reader.begin()
  reader.read(Buffer.from('12;aa'), 0, () => true)
  reader.begin()
  let body = ''
  const { last } = reader.read(Buffer.from('1\r\na\r\n0\r\n'), 0, (chunk) => {
    body += chunk.toString()
    return true
  })
  assert.deepEqual([body, last], ['a', true])
})
