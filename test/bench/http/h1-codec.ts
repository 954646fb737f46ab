/**
 * Nanoseconds per message head of the HTTP/1.1 codec: read, and written anew. Run: npm run bench -- h1-codec. One line
 * of JSON per case.
 */
import { H1Parser } from '../../../protocols/http/codec/h1-parser.ts'
import { formatRequestHead, formatResponseHead } from '../../../protocols/http/codec/h1-write.ts'

const ROUNDS = 300_000
const request = Buffer.from(
  'GET /api/v1/things/4711?limit=20 HTTP/1.1\r\nHost: things.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\nX-Request-Id: 4b3b7d26-6a44-4c1b-9c6e-0e8c7a1f2d11\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n',
)
const response = Buffer.from(
  'HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\nContent-Type: application/json\r\nContent-Length: 0\r\nConnection: keep-alive\r\nETag: "6553f0c0-400"\r\nAccept-Ranges: bytes\r\n\r\n',
)

let sink = 0
function measured(what: string, once: () => void): void {
  for (let i = 0; i < ROUNDS / 10; i++) once()
  const start = process.hrtime.bigint()
  for (let i = 0; i < ROUNDS; i++) once()
  console.log(
    JSON.stringify({ bench: 'h1-codec', case: what, ns: Math.round(Number(process.hrtime.bigint() - start) / ROUNDS) }),
  )
}

for (const [kind, bytes] of [
  ['request', request],
  ['response', response],
] as const) {
  const parser: H1Parser = new H1Parser(
    kind,
    { maxHeaderBytes: 60_000, maxHeaderCount: 100 },
    {
      onHead() {
        sink += parser.headers.length
      },
      onInformational() {},
      onBody() {},
      onMessageEnd() {
        sink++
      },
    },
  )
  measured(`${kind} head read`, () => {
    parser.begin()
    parser.execute(bytes)
  })
  parser.begin()
  parser.execute(bytes)
  const { headers, method, path, authority, status } = parser
  measured(`${kind} head written`, () => {
    sink += Buffer.from(
      kind === 'request'
        ? formatRequestHead(method, path, authority, headers, '')
        : formatResponseHead(status, headers, 'content-length: 0\r\n'),
      'latin1',
    ).length
  })
}
if (sink === 0) throw new Error('nothing was measured')
