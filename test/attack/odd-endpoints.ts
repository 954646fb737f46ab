/** Endpoints that answer what no endpoint should, one odd answer per request. */
import http2 from 'node:http2'
import net from 'node:net'

const OK = 'HTTP/1.1 200 OK\r\n'
const twice = (name: string, value: string): string =>
  `${OK}${name}: ${value}\r\n${name}: ${value}x\r\ncontent-length: 0\r\n\r\n`
const TRAILERS = (fields: string): string => `${OK}transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${fields}\r\n\r\n`

export const ODD_ANSWERS: readonly string[] = [
  ...[
    'etag',
    'content-type',
    'location',
    'date',
    'server',
    'age',
    'expires',
    'last-modified',
    'retry-after',
    'content-encoding',
    'user-agent',
    'x-y',
  ].map((name) => twice(name, 'a')),
  ...[0, 99, 100, 101, 199, 204, 205, 304, 600, 999, 1_000].map(
    (status) => `HTTP/1.1 ${status} odd\r\ncontent-length: 0\r\n\r\n`,
  ),
  `HTTP/1.1 103 Early Hints\r\nhttp2-settings: x\r\n\r\n${OK}content-length: 0\r\n\r\n`,
  `HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\netag: a\r\netag: b\r\n\r\n${OK}content-length: 0\r\n\r\n`,
  TRAILERS('http2-settings: x'),
  TRAILERS('etag: a\r\netag: b'),
  TRAILERS('content-length: 5'),
  TRAILERS('connection: close'),
  TRAILERS(':status: 200'),
  TRAILERS('te: x\r\ntransfer-encoding: chunked'),
  `${OK}connection: http2-settings\r\nhttp2-settings: x\r\nupgrade: h2c\r\nkeep-alive: 1\r\nproxy-connection: x\r\ncontent-length: 0\r\n\r\n`,
  `${OK}content-length: 5\r\n\r\nab`,
  `${OK}content-length: 2\r\n\r\nabHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nxxx`,
  `${OK}transfer-encoding: chunked\r\n\r\nffffffff\r\n`,
  'garbage\r\n\r\n',
  '',
]
const ODD_HEADS: readonly http2.OutgoingHttpHeaders[] = [
  { ':status': 200, etag: 'a' },
  { ':status': 204 },
  { ':status': 205, 'content-length': '5' },
  { ':status': 304, 'content-length': '10' },
  { ':status': 599 },
  { ':status': 200, 'x-y': ['a', 'b', 'c'] },
  { ':status': 200, 'set-cookie': ['a', 'b'] },
]

/** @param informationalPort of one that sends informational answers until it is told to stop */
export function startOddEndpoints(port: number, port2: number, informationalPort: number): Disposable {
  let n = 0
  const open = new Set<{ destroy(): void }>()
  const http1 = net
    .createServer((socket) => {
      open.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => open.delete(socket))
      socket.on('data', () => {
        const answer = ODD_ANSWERS[n++ % ODD_ANSWERS.length]!
        if (n % 7 === 0) {
          socket.write(answer.slice(0, answer.length / 2))
          socket.resetAndDestroy()
          return
        }
        socket.end(answer)
      })
    })
    .listen(port, '127.0.0.1')
  const h2 = http2.createServer()
  h2.on('session', (session) => {
    open.add(session)
    session.on('error', () => {})
  })
  h2.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.on('error', () => {})
    const head = ODD_HEADS[n++ % ODD_HEADS.length]!
    if (n % 5 === 0) stream.additionalHeaders({ ':status': 103, link: '</a>' })
    stream.respond(head, { waitForTrailers: n % 3 === 0 })
    stream.on('wantTrailers', () => stream.sendTrailers({ etag: 'a', 'content-type': 'x' }))
    if (n % 11 === 0) stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR)
    else if (n % 13 === 0) stream.session?.destroy()
    else stream.end(n % 2 ? undefined : 'ok')
  })
  h2.listen(port2, '127.0.0.1')
  const hints = Buffer.from(`HTTP/1.1 103 Early Hints\r\nlink: </${'a'.repeat(500)}>\r\n\r\n`.repeat(100))
  const informational = net
    .createServer((socket) => {
      open.add(socket)
      socket.on('error', () => {})
      const more = (): void => {
        while (!socket.destroyed && socket.write(hints));
      }
      socket.on('drain', more).once('data', more)
      socket.on('close', () => open.delete(socket))
    })
    .listen(informationalPort, '127.0.0.1')
  return {
    [Symbol.dispose]: () => {
      http1.close()
      h2.close()
      informational.close()
      for (const one of open) one.destroy()
    },
  }
}
