import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { MeshError } from '../../core/errors.ts'
import { H1Parser } from '../../protocols/http/codec/h1-parser.ts'

/** Everything the parser says about the bytes, with body pieces joined: how they were cut must not show. */
function story(kind: 'request' | 'response', bytes: Buffer, cuts: readonly number[]): string {
  const told: string[] = []
  let body = ''
  const flush = (): void => {
    if (body) told.push(`body ${body}`)
    body = ''
  }
  const parser: H1Parser = new H1Parser(
    kind,
    { maxHeaderBytes: 300, maxHeaderCount: 8 },
    {
      onHead() {
        flush()
        told.push(
          `head ${JSON.stringify([parser.method, parser.path, parser.authority, parser.status, parser.minor, parser.headers, parser.contentLength, parser.bodyLength, parser.keepAlive, parser.upgrade])}`,
        )
      },
      onInformational() {
        told.push(`informational ${parser.status}`)
      },
      onBody(chunk) {
        body += chunk.toString('latin1')
      },
      onMessageEnd(trailers) {
        flush()
        told.push(`end ${JSON.stringify(trailers)}`)
        ended = true
      },
    },
  )
  let ended = false
  let from = 0
  try {
    for (const to of [...cuts, bytes.length]) {
      while (from < to) {
        const used = parser.execute(bytes.subarray(from, to))
        from += used
        if (ended) {
          ended = false
          parser.begin()
        } else if (from < to) {
          told.push(`stopped at ${from}`)
          from = bytes.length
        }
      }
    }
    flush()
    told.push(`good end: ${parser.finish()}`)
  } catch (err) {
    assert.ok(err instanceof MeshError, `not a MeshError: ${String(err)}`)
    flush()
    told.push(`${err.code} ${err.message}`)
  }
  return told.join('\n')
}

const piece = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.constantFrom(
      'GET / HTTP/1.1\r\n',
      'POST /a HTTP/1.1\r\n',
      'CONNECT a:1 HTTP/1.1\r\n',
      'HTTP/1.1 200 OK\r\n',
      'HTTP/1.1 101 S\r\n',
      'HTTP/1.1 100 C\r\n',
      'HTTP/1.0 204 N\r\n',
      'Host: a\r\n',
      'host: b\r\n',
      'Content-Length: 5\r\n',
      'Content-Length: 0\r\n',
      'Transfer-Encoding: chunked\r\n',
      'Connection: close, x-a\r\n',
      'Upgrade: websocket\r\n',
      'X-A: 1\r\n',
      '\r\n',
      '\r',
      '\n',
      ' ',
      ':',
      '0\r\n\r\n',
      '5\r\nhello\r\n',
      'a;x=y\r\n',
      'hello',
      'HELLO WORLD',
      '\0',
      'ffffffff\r\n',
      'Trailer: x\r\n',
      'Expect: 100-continue\r\n',
    ),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 8 }) },
)
const input = fc.array(piece, { maxLength: 14 }).map((parts) => Buffer.from(parts.join(''), 'latin1'))
const cutsOf = fc.array(fc.nat(200), { maxLength: 12 })

for (const kind of ['request', 'response'] as const) {
  test(`a ${kind} is read the same however its bytes are cut, and nothing but a MeshError is thrown`, () => {
    fc.assert(
      fc.property(input, cutsOf, (bytes, raw) => {
        const cuts = [...new Set(raw.map((c) => c % (bytes.length + 1)))].sort((a, b) => a - b)
        const whole = story(kind, bytes, [])
        assert.equal(story(kind, bytes, cuts), whole)
        assert.equal(
          story(
            kind,
            bytes,
            Array.from(bytes, (_, i) => i),
          ),
          whole,
        )
      }),
      { numRuns: 3000 },
    )
  })
  test(`any bytes as a ${kind} end in a story`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        story(kind, Buffer.from(bytes), [])
      }),
      { numRuns: 2000 },
    )
  })
}
