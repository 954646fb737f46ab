import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { Metrics } from '../../../core/metrics.ts'
import { startHubAdmin } from '../../../hub/api/admin.ts'

async function asked(port: number, request: string): Promise<string> {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => {})
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
  })
  socket.write(request)
  await once(socket, 'close')
  return Buffer.concat(chunks).toString('latin1')
}
const get = (target: string, host = '127.0.0.1', method = 'GET'): string =>
  `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`

test(
  'a probe gets in beside any number of connections that say nothing, or half of something',
  { timeout: 20_000 },
  async () => {
    await using admin = await startHubAdmin({ address: '127.0.0.1', port: 0 }, new Metrics())
    const quiet = Array.from({ length: 300 }, (_, i) =>
      net
        .connect(admin.port, '127.0.0.1')
        .on('error', () => {})
        .once('connect', function (this: net.Socket) {
          if (i % 2) this.write('GET /ready HT')
        }),
    )
    for (const socket of quiet) if (socket.readyState === 'opening') await once(socket, 'connect')
    for (let i = 0; i < 3; i++)
      assert.match(await asked(admin.port, get('/ready')), /^HTTP\/1\.1 200 [^]*\r\n\r\nready\n$/)
    for (const socket of quiet) socket.destroy()
  },
)

test('odd requests are answered or refused, and the next one is served', { timeout: 20_000 }, async () => {
  await using admin = await startHubAdmin({ address: '127.0.0.1', port: 0 }, new Metrics())
  for (const [name, request, status] of [
    ['//', get('//'), 404],
    ['a percent sign', get('/%'), 404],
    ['an absolute target', get('http://evil/metrics'), 404],
    ['*', get('*', '127.0.0.1', 'OPTIONS'), 405],
    [
      'POST',
      'POST /ready HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n',
      405,
    ],
    ['another name', get('/metrics', 'hub.example'), 403],
    ['a name that looks like an address', get('/metrics', '127.0.0.1.evil.example'), 403],
    ['a user before it', get('/metrics', 'a@127.0.0.1'), 403],
    ['no host', 'GET /metrics HTTP/1.0\r\n\r\n', 403],
    ['its IPv6 address', get('/ready', '[::1]:15014'), 200],
    ['HEAD', get('/ready', 'localhost', 'HEAD'), 200],
    ['a name of this machine', get('/ready', 'hub.localhost'), 200],
    ['two hosts', 'GET /ready HTTP/1.1\r\nHost: localhost\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n', 403],
    [
      'a page of elsewhere',
      'GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n',
      403,
    ],
    [
      'a page of another port',
      'GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1:3000\r\nConnection: close\r\n\r\n',
      403,
    ],
    [
      'a page whose browser sends no Origin',
      'GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nSec-Fetch-Site: cross-site\r\nConnection: close\r\n\r\n',
      403,
    ],
    [
      'an address that somebody typed',
      'GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nSec-Fetch-Site: none\r\nConnection: close\r\n\r\n',
      200,
    ],
    [
      'an upgrade',
      'GET /ready HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n\r\n',
      200,
    ],
    ['HTTP/0.9', 'GET /ready\r\n\r\n', 403],
    ['a large head', get(`/${'x'.repeat(20_000)}`), 431],
    ['no HTTP', '\x16\x03\x01\x00\x01', 400],
  ] as const)
    assert.match(await asked(admin.port, request), new RegExp(`^HTTP/1\\.1 ${status} `), name)
  await asked(admin.port, 'CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n')
  assert.match(await asked(admin.port, get('/ready')), /200/)
})
