import { test } from 'node:test'
import assert from 'node:assert/strict'
import { duplexPair } from 'node:stream'
import { MeshError } from '../../../../../core/errors.ts'
import { upgrade } from '../../../../../protocols/mqtt/connection/websocket.ts'
import { openWebSocket } from '../../../../../protocols/mqtt/bridge/transport/websocket.ts'
import { settle, SimClock } from '../../../../helpers/sim-clock.ts'

function open({ signal = new AbortController().signal } = {}) {
  const [near, far] = duplexPair()
  for (const stream of [near, far]) stream.on('error', () => {})
  const clock = new SimClock()
  const opened = openWebSocket(near, {
    host: 'broker.example:8083',
    path: '/mqtt',
    maxPacketBytes: 1_000,
    clock,
    timeoutMs: 10_000,
    signal,
  })
  opened.catch(() => {})
  return { near, far, clock, opened }
}

test('the upgrade asks for the path and the subprotocol, and bytes go both ways in binary frames', async () => {
  const { far, clock, opened } = open()
  let head = ''
  const first = new Promise<void>((resolve) => {
    far.once('readable', () => {
      const chunk = far.read() as Buffer
      head = chunk.toString('latin1')
      far.unshift(chunk)
      resolve()
    })
  })
  await first
  assert.match(head, /^GET \/mqtt HTTP\/1\.1\r\n/)
  assert.match(head, /Host: broker\.example:8083\r\n/)
  assert.match(head, /Sec-WebSocket-Protocol: mqtt\r\n/)
  const server = await upgrade(far, {
    clock,
    timeoutMs: 1_000,
    maxPacketBytes: 1_000,
    aborted: new AbortController().signal,
    localHost: '10.0.0.1',
    allowedOrigins: [],
  })
  const client = await opened
  const heard: string[] = []
  server.on('data', (chunk: Buffer) => heard.push(`server ${String(chunk)}`))
  client.on('data', (chunk: Buffer) => heard.push(`client ${String(chunk)}`))
  client.write('up')
  server.write('down')
  await settle()
  await settle()
  assert.deepEqual(heard.toSorted(), ['client down', 'server up'])
})
for (const [answer, says] of [
  ['HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n', /status 404/],
  [
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n',
    /Sec-WebSocket-Accept/,
  ],
  ['\x20\x02\x00\x00', /no WebSocket/],
] as const)
  test(`no WebSocket: ${JSON.stringify(answer.slice(0, 20))}`, async () => {
    const { near, far, opened } = open()
    await settle()
    far.write(Buffer.from(answer, 'latin1'))
    await assert.rejects(opened, (err: Error) => says.test(err.message))
    assert.ok(near.destroyed)
  })
test('who does not answer is left', async () => {
  const { near, clock, opened } = open()
  await clock.advance(10_000)
  await assert.rejects(opened, { code: 'MESH_UPSTREAM_TIMEOUT' })
  assert.ok(near.destroyed)
})

test('a bridge that ends does not wait for the upgrade', async () => {
  const abort = new AbortController()
  const { near, opened } = open({ signal: abort.signal })
  await settle()
  abort.abort(new MeshError('MESH_DRAINING', 'the bridge is closing'))
  await assert.rejects(opened, { code: 'MESH_DRAINING' })
  assert.equal(near.destroyed, true)
})
