/** Blocks of fields, in one piece and byte by byte. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { HeadScanner } from '../../../../protocols/http/codec/h1-head.ts'

type Found = { startLine?: string; fields?: string[]; used?: number; fault?: string }
function scan(text: string, pieceBytes: number, kind: 'head' | 'trailers' = 'head', maxHeaderCount = 4): Found {
  let fault: string | undefined
  const scanner = new HeadScanner({ maxHeaderBytes: 1000, maxHeaderCount }, (what, why) => {
    fault = `${what}: ${why}`
    throw new Error(fault)
  })
  const before = 3
  const bytes = Buffer.concat([Buffer.from('###'), Buffer.from(text, 'latin1')])
  scanner.begin(kind)
  try {
    for (let end = before + pieceBytes; ; end += pieceBytes) {
      if (scanner.scan(bytes, before, Math.min(end, bytes.length))) break
      if (end >= bytes.length) return {}
    }
  } catch (thrown) {
    if (fault === undefined) throw thrown
    return { fault }
  }
  const block = text.slice(0, scanner.length)
  const fields: string[] = []
  scanner.fields(block, fields)
  return { startLine: kind === 'head' ? block.slice(0, scanner.startLineEnd) : '', fields, used: scanner.length }
}

for (const pieceBytes of [1, 2, 7, 1000]) {
  test(`a head in pieces of ${pieceBytes}: names in lower case, values without the whitespace around them`, () => {
    const text = 'GET / HTTP/1.1\r\nHost: a\r\nX-Own:\t b c \t\r\nempty:\r\nx: \xfc\r\n\r\nrest'
    assert.deepEqual(scan(text, pieceBytes), {
      startLine: 'GET / HTTP/1.1',
      fields: ['host', 'a', 'x-own', 'b c', 'empty', '', 'x', '\xfc'],
      used: text.length - 4,
    })
  })
  test(`trailers in pieces of ${pieceBytes} have no start line`, () => {
    assert.deepEqual(scan('a: 1\r\n\r\n', pieceBytes, 'trailers'), { startLine: '', fields: ['a', '1'], used: 8 })
    assert.deepEqual(scan('\r\n', pieceBytes, 'trailers'), { startLine: '', fields: [], used: 2 })
  })
}
test('a block without its end is not complete, wherever it is cut', () => {
  const text = 'GET / HTTP/1.1\r\na: b\r\n\r\n'
  for (let end = 1; end < text.length; end++) assert.deepEqual(scan(text.slice(0, end), 1000), {}, `after ${end} bytes`)
})

const LINE = 'GET / HTTP/1.1\r\n'
for (const { name, text, fault } of [
  { name: 'LF in the start line', text: 'GET /\n', fault: /^malformed: LF without CR in the start line/ },
  { name: 'NUL in the start line', text: 'GET /\0', fault: /^malformed: a control character in the start line/ },
  { name: 'CR without LF', text: 'GET /\rx', fault: /^malformed: CR without LF/ },
  { name: 'a space before the colon', text: `${LINE}a : b`, fault: /^malformed: whitespace before the colon/ },
  { name: 'a tab before the colon', text: `${LINE}a\t: b`, fault: /^malformed: whitespace before the colon/ },
  { name: 'no name', text: `${LINE}: b`, fault: /^malformed: a field without a name/ },
  { name: 'a name that is no token', text: `${LINE}a(b: c`, fault: /^malformed: a field name is not a token/ },
  { name: 'a line without a colon', text: `${LINE}abc\r\n`, fault: /^malformed: a field name is not a token/ },
  { name: 'a folded line', text: `${LINE}a: b\r\n c`, fault: /^malformed: a folded line/ },
  { name: 'LF in a value', text: `${LINE}a: b\nc`, fault: /^malformed: LF without CR in a field value/ },
  {
    name: 'a control character in a value',
    text: `${LINE}a: b\x7f`,
    fault: /^malformed: a control character in a field value/,
  },
  { name: 'CR without LF at the end', text: `${LINE}\rx`, fault: /^malformed: CR without LF/ },
  {
    name: 'more fields than permitted',
    text: `${LINE}${'a: b\r\n'.repeat(5)}`,
    fault: /^too-large: more than 4 fields/,
  },
])
  test(`refused: ${name}`, () => {
    for (const pieceBytes of [1, 1000]) assert.match(scan(text, pieceBytes).fault ?? 'none', fault)
  })
