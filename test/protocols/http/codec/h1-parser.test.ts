import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError, type ErrorCode } from '../../../../core/errors.ts'
import { H1Parser } from '../../../../protocols/http/codec/h1-parser.ts'

type Seen = {
  heads: string[][]
  bodies: string
  ends: number
  trailers: (string[] | undefined)[]
  informational: number[]
}

function read(
  kind: 'request' | 'response',
  text: string,
  o: { method?: string; close?: boolean; step?: number; maxHeaderBytes?: number; maxHeaderCount?: number } = {},
): Seen & { parser: H1Parser; used: number } {
  const seen: Seen = { heads: [], bodies: '', ends: 0, trailers: [], informational: [] }
  const parser: H1Parser = new H1Parser(
    kind,
    { maxHeaderBytes: o.maxHeaderBytes ?? 1000, maxHeaderCount: o.maxHeaderCount ?? 20 },
    {
      onHead() {
        seen.heads.push([...parser.headers])
      },
      onInformational() {
        seen.informational.push(parser.status)
      },
      onBody(chunk) {
        seen.bodies += chunk.toString('latin1')
      },
      onMessageEnd(trailers) {
        seen.ends++
        seen.trailers.push(trailers)
      },
    },
  )
  parser.begin(o.method)
  const bytes = Buffer.from(text, 'latin1')
  let used = 0
  for (let at = 0; at < bytes.length && used === at; at += o.step ?? bytes.length)
    used += parser.execute(bytes.subarray(at, at + (o.step ?? bytes.length)))
  if (o.close) assert.equal(parser.finish(), true)
  return { ...seen, parser, used }
}
function refused(
  kind: 'request' | 'response',
  text: string,
  code: ErrorCode,
  o: Parameters<typeof read>[2] = {},
): void {
  for (const step of [undefined, 1, 7]) {
    assert.throws(
      () => read(kind, text, { ...o, ...(step ? { step } : {}) }),
      (err) => err instanceof MeshError && err.code === code,
      `${JSON.stringify(text)} in pieces of ${step}`,
    )
  }
}
const request = (fields: string, body = ''): string => `POST / HTTP/1.1\r\nHost: a\r\n${fields}\r\n${body}`

test('a request is read the same in one piece and byte by byte', () => {
  const text =
    'POST /a?b HTTP/1.1\r\nHost: Example.com:80\r\nAccept:  */* \t\r\nX-Odd-Name: v\r\nContent-Length: 5\r\n\r\nhello'
  for (const step of [1, 3, 1000]) {
    const { heads, bodies, ends, parser } = read('request', text, { step })
    assert.deepEqual(heads, [['accept', '*/*', 'x-odd-name', 'v']])
    assert.deepEqual(
      [parser.method, parser.path, parser.authority, parser.contentLength, bodies, ends],
      ['POST', '/a?b', 'Example.com:80', 5, 'hello', 1],
    )
  }
})
test('what follows a message is left for the next one', () => {
  const text = request('Content-Length: 2\r\n', 'hiGET / HTTP/1.1\r\n')
  assert.equal(read('request', text).used, text.indexOf('GET'))
})
test('one empty line before a request line is passed over (RFC 9112 §2.2), a second one is not', () => {
  for (const step of [1, 2, 100])
    assert.equal(read('request', '\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n', { step }).ends, 1)
  refused('request', '\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n', 'MESH_MALFORMED_INPUT')
})

/* Request smuggling: messages whose end two readers may see in different places. */
const smuggling: readonly (readonly [string, string, ErrorCode?])[] = [
  [
    'CL.TE: Content-Length and Transfer-Encoding together',
    request('Content-Length: 6\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\nG'),
  ],
  ['TE.CL: the same in the other order', request('Transfer-Encoding: chunked\r\nContent-Length: 4\r\n', '5c\r\nGPOST')],
  ['CL.CL: two different lengths', request('Content-Length: 5\r\nContent-Length: 6\r\n', 'hello')],
  ['CL.CL: two equal lengths', request('Content-Length: 5\r\nContent-Length: 5\r\n', 'hello')],
  ['a list as length', request('Content-Length: 5, 5\r\n', 'hello')],
  ['a length with a sign', request('Content-Length: +5\r\n', 'hello')],
  ['a negative length', request('Content-Length: -1\r\n')],
  ['a length in hexadecimal', request('Content-Length: 0x5\r\n', 'hello')],
  ['a length with a space in it', request('Content-Length: 1 2\r\n', 'hello')],
  ['an empty length', request('Content-Length:\r\n')],
  ['a length beyond what a number holds', request('Content-Length: 99999999999999999999\r\n')],
  ['TE.TE: two codings', request('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
  ['a coding before chunked', request('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'), 'MESH_UNSUPPORTED'],
  ['chunked before a coding', request('Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n'), 'MESH_UNSUPPORTED'],
  ['a misspelt coding', request('Transfer-Encoding: xchunked\r\n', '0\r\n\r\n'), 'MESH_UNSUPPORTED'],
  ['a coding in quotes', request('Transfer-Encoding: "chunked"\r\n', '0\r\n\r\n'), 'MESH_UNSUPPORTED'],
  ['an empty coding', request('Transfer-Encoding:\r\n')],
  ['a vertical tab before the coding', request('Transfer-Encoding: \x0bchunked\r\n', '0\r\n\r\n')],
  ['a space before the colon', request('Transfer-Encoding : chunked\r\n', '0\r\n\r\n')],
  ['a tab before the colon', request('Content-Length\t: 5\r\n', 'hello')],
  ['a folded line', request('X: a\r\n Transfer-Encoding: chunked\r\n', '0\r\n\r\n')],
  ['a space before the first field', 'POST / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n'],
  ['lines that end in LF alone', 'GET / HTTP/1.1\nHost: a\n\n'],
  ['one field that ends in LF alone', request('X: a\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
  ['a CR in a field value', request('X: a\rTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
  ['a NUL in a field value', request('X: a\0b\r\n')],
  ['a NUL in a field name', request('X\0: a\r\n')],
  ['a field without a colon', request('Transfer-Encoding\r\n')],
  ['a field without a name', request(': chunked\r\n')],
  ['a parenthesis in a field name', request('X(: a\r\n')],
  ['Transfer-Encoding in HTTP/1.0', 'POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['two Host fields', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'],
  ['no Host field', 'GET / HTTP/1.1\r\nX: a\r\n\r\n'],
  ['an empty Host field', 'GET / HTTP/1.1\r\nHost:\r\n\r\n'],
  ['a Host field with a path', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n'],
  ['a Host field with user information', 'GET / HTTP/1.1\r\nHost: u@a\r\n\r\n'],
  ['a Host field that is a list', 'GET / HTTP/1.1\r\nHost: a,b\r\n\r\n'],
  ['two spaces in the request line', 'GET  / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a tab in the request line', 'GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a space in the target', 'GET /a b HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['non-ASCII in the target', 'GET /\xe4 HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a fragment in the target', 'GET /#a HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a target of no form', 'GET a HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['"*" for another method than OPTIONS', 'GET * HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['HTTP/0.9', 'GET /\r\n\r\n'],
  ['a version that is none', 'GET / HTTP/1.1x\r\nHost: a\r\n\r\n'],
  ['a lower-case version', 'GET / http/1.1\r\nHost: a\r\n\r\n'],
  ['HTTP/2 in the request line', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'MESH_UNSUPPORTED'],
  ['HTTP/1.2', 'GET / HTTP/1.2\r\nHost: a\r\n\r\n', 'MESH_UNSUPPORTED'],
  ['a method that is no token', 'G@T / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a method of 65 bytes', `${'M'.repeat(65)} / HTTP/1.1\r\nHost: a\r\n\r\n`],
  ['a length of 16 digits', request('Content-Length: 0000000000000005\r\n', 'hello')],
  ['a TLS hello', '\x16\x03\x01\x02\x00\x01\x00'],
  ['a chunk size with a sign', request('Transfer-Encoding: chunked\r\n', '+5\r\nhello\r\n0\r\n\r\n')],
  ['a chunk size with 0x', request('Transfer-Encoding: chunked\r\n', '0x5\r\nhello\r\n0\r\n\r\n')],
  ['a chunk size with a space behind', request('Transfer-Encoding: chunked\r\n', '5 \r\nhello\r\n0\r\n\r\n')],
  ['a chunk without a size', request('Transfer-Encoding: chunked\r\n', '\r\n')],
  ['a chunk size that is too long', request('Transfer-Encoding: chunked\r\n', '000000005\r\nhello\r\n0\r\n\r\n')],
  ['a chunk size line that ends in LF', request('Transfer-Encoding: chunked\r\n', '5\nhello\r\n0\r\n\r\n')],
  ['an LF in a chunk extension', request('Transfer-Encoding: chunked\r\n', '5;a\nb\r\nhello\r\n0\r\n\r\n')],
  ['a chunk longer than its size', request('Transfer-Encoding: chunked\r\n', '5\r\nhelloXX0\r\n\r\n')],
  ['a chunk that ends in LF', request('Transfer-Encoding: chunked\r\n', '5\r\nhello\n0\r\n\r\n')],
  ['a folded trailer', request('Transfer-Encoding: chunked\r\n', '0\r\na: b\r\n c\r\n\r\n')],
  ['CONNECT with a body', 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi'],
  ['CONNECT without a port', 'CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n'],
]
for (const [name, text, code] of smuggling)
  test(`refused: ${name}`, () => refused('request', text, code ?? 'MESH_MALFORMED_INPUT'))

test('limits: bytes and number of fields, extensions, trailers', () => {
  refused('request', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(1000)}\r\n\r\n`, 'MESH_HEADERS_TOO_LARGE')
  refused('request', `GET /${'x'.repeat(2000)}`, 'MESH_HEADERS_TOO_LARGE')
  refused('request', request('a: b\r\n'.repeat(20)), 'MESH_HEADERS_TOO_LARGE')
  refused('request', request('Transfer-Encoding: chunked\r\n', `5;${'x'.repeat(17_000)}`), 'MESH_HEADERS_TOO_LARGE')
  refused(
    'request',
    request('Transfer-Encoding: chunked\r\n', `0\r\n${'a: b\r\n'.repeat(21)}\r\n`),
    'MESH_HEADERS_TOO_LARGE',
  )
  refused('request', request(`Connection: ${'a,'.repeat(40)}\r\n`), 'MESH_HEADERS_TOO_LARGE')
})
test('a head of exactly the limit is read', () => {
  const text = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
  for (const step of [1, 1000]) assert.equal(read('request', text, { step, maxHeaderBytes: text.length }).ends, 1)
  refused('request', text, 'MESH_HEADERS_TOO_LARGE', { maxHeaderBytes: text.length - 1 })
})
test('a method of 64 bytes and a length of 15 digits are read', () => {
  assert.equal(read('request', `${'M'.repeat(64)} / HTTP/1.1\r\nHost: a\r\n\r\n`).parser.method.length, 64)
  assert.equal(read('request', request('Content-Length: 000000000000005\r\n', 'hello')).bodies, 'hello')
})
test('the absolute form decides the authority, whatever Host says (RFC 9112 §3.2.2)', () => {
  const { parser } = read('request', 'GET http://a.example:8080?q HTTP/1.1\r\nHost: b\r\n\r\n')
  assert.deepEqual([parser.authority, parser.path], ['a.example:8080', '/?q'])
})
test('authority and asterisk form', () => {
  assert.equal(read('request', 'CONNECT A.example:443 HTTP/1.1\r\nHost: b\r\n\r\nrest').used, 43)
  assert.equal(read('request', 'OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n').parser.path, '*')
})
test('trailers come without the fields that may not stand there (RFC 9110 §6.5.1)', () => {
  assert.deepEqual(
    read(
      'request',
      request(
        'Transfer-Encoding: chunked\r\n',
        '0\r\nX: 1\r\nHost: evil\r\nTransfer-Encoding: chunked\r\nAuthorization: x\r\n\r\n',
      ),
    ).trailers,
    [['x', '1']],
  )
})
for (const [version, options, expected] of [
  ['1.1', 'close', false],
  ['1.1', 'Keep-Alive, x-own', true],
  ['1.0', 'keep-alive', true],
  ['1.0', 'Keep-Alive, x-own', true],
  ['1.0', 'close, keep-alive', false],
  ['1.0', 'keep-alive, close', false],
] as const)
  test(`a response of HTTP/${version} with Connection: ${options} ${expected ? 'keeps' : 'ends'} the connection (RFC 9112 §9.3)`, () => {
    const response = `HTTP/${version} 200 OK\r\nContent-Length: 0\r\nConnection: ${options}\r\n\r\n`
    assert.equal(read('response', response).parser.keepAlive, expected)
  })
test('an upgrade counts only when Connection names it (RFC 9110 §7.8)', () => {
  assert.equal(read('request', request('Upgrade: WebSocket\r\nConnection: Upgrade\r\n')).parser.upgrade, 'websocket')
  assert.equal(read('request', request('Upgrade: websocket\r\n')).parser.upgrade, undefined)
  assert.equal(read('request', request('Upgrade: websocket\r\nConnection: keep-alive\r\n')).parser.upgrade, undefined)
})

test('responses: no body for HEAD, 204 and 304, whatever the fields say (RFC 9112 §6.3)', () => {
  assert.deepEqual(
    [read('response', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', { method: 'HEAD' })].map((r) => [
      r.ends,
      r.parser.contentLength,
    ]),
    [[1, 5]],
  )
  for (const status of [204, 304])
    assert.equal(read('response', `HTTP/1.1 ${status} x\r\nContent-Length: 5\r\n\r\n`).ends, 1)
})
test('responses: without a length the body lasts until the end of the connection', () => {
  const { bodies, ends, parser } = read('response', 'HTTP/1.1 200 OK\r\n\r\nabc', { close: true, step: 5 })
  assert.deepEqual([bodies, ends, parser.keepAlive], ['abc', 1, false])
})
test('responses: informational ones come before the final one and are bounded', () => {
  assert.deepEqual(
    read('response', 'HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n').informational,
    [103],
  )
  refused('response', 'HTTP/1.1 103 E\r\n\r\n'.repeat(17), 'MESH_UPSTREAM_PROTOCOL')
})
test("responses: 101 ends the reading, the rest is the tunnel's", () => {
  const head = 'HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n'
  assert.equal(read('response', `${head}\x81\x05hello`).used, head.length)
})
test('responses: a reason may be missing with its space', () =>
  assert.equal(read('response', 'HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n').parser.status, 200))
for (const [name, text] of [
  ['both framings', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n'],
  ['a status below 100', 'HTTP/1.1 099 OK\r\n\r\n'],
  ['no status', 'HTTP/1.1\r\n\r\n'],
  ['another protocol', 'SSH-2.0-x\r\n\r\n'],
  ['HTTP/2', 'HTTP/2 200\r\n\r\n'],
  ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd'],
  ['LF alone', 'HTTP/1.1 200 OK\n\n'],
  ['a status of four digits', 'HTTP/1.1 2000 OK\r\n\r\n'],
  ['a status with a letter', 'HTTP/1.1 20x OK\r\n\r\n'],
  ['two spaces before the status', 'HTTP/1.1  200 OK\r\n\r\n'],
] as const)
  test(`refused response: ${name}`, () => refused('response', text, 'MESH_UPSTREAM_PROTOCOL'))
test('an end in the middle of a message is told from a good one', () => {
  assert.equal(read('request', 'GET / HT').parser.finish(), false)
  assert.equal(read('response', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc').parser.finish(), false)
  assert.equal(read('request', '').parser.finish(), true)
})
