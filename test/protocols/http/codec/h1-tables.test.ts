import test from 'node:test'
import assert from 'node:assert/strict'
import { HOST, findKnownName, TEXT, TOKEN } from '../../../../protocols/http/codec/h1-tables.ts'

const lookUp = (name: string): string | undefined =>
  findKnownName(Buffer.from(`\r\n${name}:`, 'latin1'), 2, 2 + name.length)

test('a usual field name is found in every spelling (RFC 9110 §5.1: names are case-insensitive)', () => {
  for (const name of [
    'host',
    'te',
    'b3',
    'etag',
    'content-length',
    'x-request-id',
    'x-b3-spanid',
    'www-authenticate',
    'x-forwarded-client-cert',
  ]) {
    for (const spelled of [name, name.toUpperCase(), name.replace(/(^|-)[a-z]/g, (c) => c.toUpperCase())])
      assert.equal(lookUp(spelled), name, spelled)
  }
})

test('a token that differs from a usual name in any one byte is not taken for it', () => {
  const bytes = Array.from({ length: 256 }, (_, c) => c)
    .filter((c) => TOKEN[c] === 1)
    .map((c) => String.fromCharCode(c))
  for (const name of ['content-length', 'transfer-encoding', 'host', 'b3', 'x-b3-traceid']) {
    for (let at = 0; at < name.length; at++) {
      for (const byte of bytes) {
        const token = name.slice(0, at) + byte + name.slice(at + 1)
        const found = lookUp(token)
        assert.ok(found === undefined || found === token.toLowerCase(), `${token} was taken for ${found}`)
      }
    }
  }
  for (const name of ['host', 'te', 'age', 'etag', 'content-length']) {
    for (let more = 0; more < 40; more++)
      for (const byte of bytes) assert.notEqual(lookUp(`${name}${'a'.repeat(more)}${byte}`), name, 'a longer token')
  }
  for (const near of ['hos', 'hostt', 'content-lengt', 'x', '-', 'x-request-idd'])
    assert.equal(lookUp(near), undefined, near)
})

test('a Host field holds no space, slash, quote, at sign or control character; field text no CR, LF or NUL', () => {
  for (const c of ' /"@#?\\<>^`{|}\t\r\n\0\x7f') assert.equal(HOST[c.charCodeAt(0)], 0, JSON.stringify(c))
  for (const c of 'aZ09.-_~:[]%') assert.equal(HOST[c.charCodeAt(0)], 1, c)
  for (const c of '\r\n\0\x7f\x1f') assert.equal(TEXT[c.charCodeAt(0)], 0, JSON.stringify(c))
})
