import { test } from 'node:test'
import assert from 'node:assert/strict'
import { duplexPair, type Duplex } from 'node:stream'
import { encode } from '../../../../protocols/mqtt/codec/encode.ts'
import { upgrade } from '../../../../protocols/mqtt/connection/websocket.ts'
import { SimClock, settle } from '../../../helpers/sim-clock.ts'

const HEAD = [
  'GET /mqtt HTTP/1.1',
  'Host: x',
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Protocol: other, mqtt',
]
const head = (lines: readonly string[] = HEAD): string => `${lines.join('\r\n')}\r\n\r\n`
/** A masked frame (RFC 6455 §5.2) with the mask 0. */
const frame = (opcode: number, payload: Uint8Array, fin = true): Buffer =>
  Buffer.concat([Buffer.from([(fin ? 0x80 : 0) | opcode, 0x80 | payload.length, 0, 0, 0, 0]), payload])

function setUp({
  localHost = '127.0.0.1',
  allowedOrigins = [],
  onHeld,
}: { localHost?: string; allowedOrigins?: readonly string[]; onHeld?: (bytes: number) => void } = {}): {
  near: Duplex
  clock: SimClock
  answer: () => string
  upgraded: Promise<Duplex>
} {
  const [near, far] = duplexPair()
  const clock = new SimClock()
  const chunks: Buffer[] = []
  near.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
  })
  far.on('error', () => {})
  const upgraded = upgrade(far, {
    clock,
    timeoutMs: 1_000,
    maxPacketBytes: 1_000,
    aborted: new AbortController().signal,
    localHost,
    allowedOrigins,
    ...(onHeld && { onHeld }),
  })
  upgraded.catch(() => {})
  return { near, clock, answer: () => Buffer.concat(chunks).toString('latin1'), upgraded }
}

test('[MQTT-6.0.0-4] the upgrade answers 101 with the subprotocol mqtt, also when the head comes byte by byte', async () => {
  const { near, answer, upgraded } = setUp()
  for (const byte of head()) near.write(byte)
  await upgraded
  await settle()
  assert.match(
    answer(),
    /^HTTP\/1\.1 101 .*\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n/s,
  )
})

test('[MQTT-6.0.0-2] packets may be cut by frames anywhere, and frames may follow the head in the same chunk', async () => {
  const { near, upgraded } = setUp()
  const bytes = encode({ type: 'puback', packetId: 7, reason: 0, properties: {} }, 4)
  near.write(Buffer.concat([Buffer.from(head()), frame(2, bytes.subarray(0, 1)), frame(2, bytes.subarray(1))]))
  const stream = await upgraded
  const got: Buffer[] = []
  stream.on('data', (chunk: Buffer) => {
    got.push(chunk)
  })
  await settle()
  assert.deepEqual(Buffer.concat(got), bytes)
})

test('what has come of a frame is told, and what nobody takes, until it is taken or the connection over', async () => {
  let held = 0
  const { near, upgraded } = setUp({
    onHeld: (bytes) => {
      held = bytes
    },
  })
  near.write(head())
  const stream = await upgraded
  stream.on('data', () => {})
  const seen: number[] = []
  const say = async (bytes: Buffer): Promise<void> => {
    near.write(bytes)
    await settle()
    seen.push(held)
  }
  const start = Buffer.from('82fe753000000000', 'hex')
  await say(Buffer.concat([start, Buffer.alloc(10_000)]))
  await say(Buffer.alloc(20_000))
  stream.pause()
  await say(Buffer.concat([start, Buffer.alloc(30_000)]))
  stream.resume()
  await settle()
  await say(Buffer.alloc(0))
  await say(Buffer.concat([start, Buffer.alloc(15_000)]))
  near.destroy()
  stream.destroy()
  await settle()
  assert.deepEqual([...seen, held], [10_008, 0, 30_000, 0, 15_008, 0])
})

test('[MQTT-6.0.0-1] a text frame ends the connection', async () => {
  const { near, upgraded } = setUp()
  near.write(head())
  const stream = await upgraded
  let ended = false
  let bytes = 0
  stream.on('close', () => {
    ended = true
  })
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  near.write(frame(1, Buffer.from('hi')))
  await settle()
  assert.deepEqual({ ended, bytes }, { ended: true, bytes: 0 })
})

for (const { name, bytes, code, status } of [
  {
    name: '[MQTT-6.0.0-3] no subprotocol mqtt',
    bytes: head(HEAD.slice(0, -1)),
    code: 'MESH_MALFORMED_INPUT',
    status: 400,
  },
  {
    name: 'no WebSocket key',
    bytes: head(HEAD.filter((l) => !l.includes('Key'))),
    code: 'MESH_MALFORMED_INPUT',
    status: 400,
  },
  {
    name: 'no Host',
    bytes: head(HEAD.filter((l) => !l.startsWith('Host'))),
    code: 'MESH_MALFORMED_INPUT',
    status: 400,
  },
  { name: 'two Hosts', bytes: head([...HEAD, 'Host: y']), code: 'MESH_MALFORMED_INPUT', status: 400 },
  { name: 'POST', bytes: head(['POST / HTTP/1.1', ...HEAD.slice(1)]), code: 'MESH_MALFORMED_INPUT', status: 400 },
  { name: 'a line without a colon', bytes: head([...HEAD, 'garbage']), code: 'MESH_MALFORMED_INPUT', status: 400 },
  {
    name: 'a head above 8 KiB',
    bytes: head([...HEAD, `X: ${'y'.repeat(9_000)}`]),
    code: 'MESH_HEADERS_TOO_LARGE',
    status: 431,
  },
  {
    name: 'a head without end',
    bytes: 'GET / HTTP/1.1\r\n'.padEnd(9_000, 'x'),
    code: 'MESH_HEADERS_TOO_LARGE',
    status: 431,
  },
]) {
  test(`refused with ${status}: ${name}`, async () => {
    const { near, answer, upgraded } = setUp()
    near.write(bytes)
    await assert.rejects(upgraded, { code })
    await settle()
    assert.match(answer(), new RegExp(`^HTTP/1.1 ${status} `))
  })
}

const LAN = '192.168.1.5'
for (const { origin, host, localHost = '127.0.0.1', allowedOrigins = [], isTaken } of [
  { origin: 'http://evil.example', host: '127.0.0.1:8083', isTaken: false },
  { origin: 'http://evil.example', host: 'evil.example:8083', isTaken: false },
  { origin: 'http://evil.example', host: 'localhost:8083', isTaken: false },
  { origin: 'http://localhost.evil.example', host: 'localhost', isTaken: false },
  { origin: 'http://127.0.0.1.evil.example', host: '127.0.0.1.evil.example', isTaken: false },
  { origin: 'null', host: '127.0.0.1', isTaken: false },
  { origin: '', host: '127.0.0.1', isTaken: false },
  { origin: 'http://127.0.0.1, http://evil.example', host: '127.0.0.1', isTaken: false },
  { origin: 'http://127.0.0.1@evil.example', host: '127.0.0.1', isTaken: false },
  { origin: 'http://127.0.0.1/../evil', host: '127.0.0.1', isTaken: false },
  { origin: 'file://', host: '127.0.0.1', isTaken: false },
  { origin: 'http://localhost:3000', host: 'localhost:8083', isTaken: true },
  { origin: 'http://localhost', host: '127.0.0.1:8083', isTaken: true },
  { origin: 'https://LOCALHOST', host: '[::1]:8083', localHost: '::1', isTaken: true },
  { origin: 'http://192.168.1.5', host: '192.168.1.5:8083', localHost: LAN, isTaken: true },
  { origin: 'http://gateway.site', host: 'GATEWAY.site.:8083', localHost: LAN, isTaken: true },
  { origin: 'http://evil.example', host: '192.168.1.5:8083', localHost: LAN, isTaken: false },
  { origin: 'http://192.168.1.6', host: '192.168.1.5:8083', localHost: LAN, isTaken: false },
  { origin: 'http://127.0.0.1', host: '192.168.1.5:8083', localHost: LAN, isTaken: false },
  { origin: 'https://panel.example', host: '127.0.0.1', allowedOrigins: ['https://panel.example'], isTaken: true },
  { origin: 'http://panel.example', host: '127.0.0.1', allowedOrigins: ['https://panel.example'], isTaken: false },
  { origin: 'https://panel.example:444', host: '127.0.0.1', allowedOrigins: ['https://panel.example'], isTaken: false },
  { origin: 'null', host: '127.0.0.1', allowedOrigins: ['null'], isTaken: true },
  { origin: 'http://any.example', host: 'any.example', allowedOrigins: ['*'], isTaken: true },
  { origin: undefined, host: 'anything.example', isTaken: true },
] as const) {
  test(`RFC 6455 §10.2: Origin ${origin}, Host ${host} on ${localHost}${allowedOrigins.length > 0 ? `, allowed ${allowedOrigins.join()}` : ''}: ${isTaken ? 'taken' : '403'}`, async () => {
    const { near, answer, upgraded } = setUp({ localHost, allowedOrigins })
    near.write(
      head([
        ...HEAD.filter((l) => !l.startsWith('Host')),
        `Host: ${host}`,
        ...(origin === undefined ? [] : [`Origin: ${origin}`]),
      ]),
    )
    if (isTaken) await upgraded
    else await assert.rejects(upgraded, { code: 'MESH_ORIGIN_REFUSED' })
    await settle()
    assert.match(answer(), isTaken ? /^HTTP\/1\.1 101 / : /^HTTP\/1\.1 403 /)
  })
}

test('no head in time: 408', async () => {
  const { near, clock, answer, upgraded } = setUp()
  near.write('GET / HT')
  await clock.advance(1_000)
  await assert.rejects(upgraded, { code: 'MESH_REQUEST_TIMEOUT' })
  assert.match(answer(), /^HTTP\/1\.1 408 /)
})

for (const [offered, want] of [
  ['mqttv3.1', 'mqttv3.1'],
  ['mqttv3.1, mqtt', 'mqttv3.1'],
  ['mqtt, mqttv3.1', 'mqtt'],
  ['mqttv3.1.1', undefined],
] as const)
  test(`subprotocol ${offered}: ${want ?? 'refused'}`, async () => {
    const { near, answer, upgraded } = setUp()
    near.write(
      head(
        HEAD.map((line) => (line.startsWith('Sec-WebSocket-Protocol') ? `Sec-WebSocket-Protocol: ${offered}` : line)),
      ),
    )
    await (want === undefined ? assert.rejects(upgraded, { code: 'MESH_MALFORMED_INPUT' }) : upgraded)
    await settle()
    assert.equal(/Sec-WebSocket-Protocol: (.*)\r/.exec(answer())?.[1], want)
  })
