/**
 * Answers every call of /bench.Echo/Unary with one message and of /bench.Echo/Stream with several, each in a frame of
 * its own, over HTTP/2 in clear.
 * argv: JSON with port and messages
 */
import http2 from 'node:http2'

const { port, messages } = JSON.parse(process.argv[2]!) as { port: number; messages: number }
const MESSAGE = Buffer.alloc(105, 'x')
MESSAGE.writeUInt8(0, 0)
MESSAGE.writeUInt32BE(100, 1)
const HEAD = { ':status': 200, 'content-type': 'application/grpc' }

const server = http2.createServer({ settings: { maxConcurrentStreams: 1_000 } })
server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
  stream.on('error', () => {})
  stream.respond(HEAD, { waitForTrailers: true })
  stream.on('wantTrailers', () => {
    stream.sendTrailers({ 'grpc-status': '0' })
  })
  stream.resume()
  const count = headers[':path'] === '/bench.Echo/Stream' ? messages : 1
  for (let i = 1; i < count; i++) stream.write(MESSAGE)
  stream.end(MESSAGE)
})
server.on('session', (session) => session.on('error', () => {}))
server.listen(port, '127.0.0.1')
