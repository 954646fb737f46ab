/**
 * What an HTTP/2 client sees of the server side, frame by frame: what is no request, answers that come early, clients
 * that take nothing.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { jsonLog, Lines } from '../../access-lines.ts'
import { frame, headers, portOf, RawH2, setting, word, type Fields, type Heard } from '../../../helpers/raw-h2.ts'
import { SocketOrigin, SocketRig } from '../../downstream/socket-rig.ts'
import { Both } from '../both.ts'
import { manager, OK, route } from '../harness.ts'

const [DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE] = [0, 1, 3, 4, 6, 7, 8]
const [NO_ERROR, PROTOCOL_ERROR, CANCEL] = [0, 1, 8]
const END_STREAM = 1
const asked = (method = 'GET', path = '/'): Fields => [
  [':method', method],
  [':scheme', 'http'],
  [':authority', 'a'],
  [':path', path],
]
const data = (stream: number, text: string | Buffer, end = false): Buffer =>
  frame(DATA, end ? END_STREAM : 0, stream, Buffer.from(text))
const reset = (stream: number, code: number): Buffer => frame(RST_STREAM, 0, stream, word(code))
const ends =
  (stream: number) =>
  (f: Heard): boolean =>
    f.stream === stream && f.type <= HEADERS && (f.flags & END_STREAM) === END_STREAM
const isReset =
  (stream: number) =>
  (f: Heard): boolean =>
    f.stream === stream && f.type === RST_STREAM
/** HPACK's static table has 200 and 400 as one octet (RFC 7541, appendix A). */
const statusOf = (raw: RawH2, stream: number): number | undefined =>
  ({ 0x88: 200, 0x8c: 400 } as Record<number, number>)[
    raw.heard.find((f) => f.type === HEADERS && f.stream === stream)?.payload[0] ?? 0
  ]
const dial = (t: TestContext, port: number): RawH2 => {
  const raw = new RawH2(port)
  t.after(() => {
    raw.close()
  })
  return raw
}

const MALFORMED: Readonly<Record<string, Fields>> = {
  'CR in a value': [...asked(), ['x-a', 'a\rb']],
  'LF in a value': [...asked(), ['x-a', 'a\nx-b: c']],
  'NUL in a value': [...asked(), ['x-a', 'a\0b']],
  'another control character in a value': [...asked(), ['x-a', 'ad\x01min']],
  'a control character far behind in a value': [...asked(), ['x-a', `${'a'.repeat(100)}\x1f`]],
  'DEL in a value': [...asked(), ['x-a', 'ad\x7fmin']],
  'CR and LF in a name': [...asked(), ['x-a\r\nx-b', 'c']],
  'a capital letter in a name': [...asked(), ['X-A', 'b']],
  'an empty name': [...asked(), ['', 'b']],
  'whitespace at the end of a value': [...asked(), ['x-a', 'b ']],
  'a field of the connection': [...asked(), ['connection', 'x-a']],
  'transfer-encoding': [...asked('POST'), ['transfer-encoding', 'chunked']],
  'te other than trailers': [...asked(), ['te', 'gzip']],
  'no :path': asked().filter(([name]) => name !== ':path'),
  'an empty :path': asked('GET', ''),
  'no :scheme': asked().filter(([name]) => name !== ':scheme'),
  'two of one pseudo-header field': [...asked(), [':path', '/b']],
  'a pseudo-header field behind others': [...asked().slice(1), ['x-a', 'b'], [':method', 'GET']],
  'a pseudo-header field of answers': [...asked(), [':status', '200']],
  ':protocol, which was not permitted': [...asked('CONNECT'), [':protocol', 'websocket']],
  'CONNECT with a path': asked('CONNECT'),
  'an empty :scheme': [[':method', 'GET'], [':scheme', ''], ...asked().slice(2)],
  'a :scheme that is none': [[':method', 'GET'], [':scheme', 'http://a/'], ...asked().slice(2)],
  'several host fields, without :authority': [
    ...asked().filter(([name]) => name !== ':authority'),
    ['host', 'a'],
    ['host', 'b'],
  ],
  'several host fields beside :authority': [...asked(), ['host', 'a'], ['host', 'a']],
  'a content-length that is none': [...asked('POST'), ['content-length', '1x']],
  'two content-lengths': [...asked('POST'), ['content-length', '1'], ['content-length', '2']],
}
test('a listener that permits it takes a head of a megabyte', { timeout: 20_000 }, async (t) => {
  const both = await Both.start(t, manager([route()], { maxRequestHeadersBytes: 2 * 1024 * 1024 }))
  const told = await both.ask('http2', {
    fields: Array.from({ length: 16 }, (_, i) => [`x-${i}`, 'a'.repeat(60_000)] as const),
  })
  assert.equal(told.status, 200)
  assert.equal(told.saw?.headers['x-15']?.length, 60_000)
})

test(
  'what RFC 9113 calls malformed is answered with 400 and reset, reaches nobody, and the connection goes on (§8.1.1)',
  { timeout: 20_000 },
  async (t) => {
    const lines = new Lines()
    const log = jsonLog({ status: '%RESPONSE_CODE%', flags: '%RESPONSE_FLAGS%' })
    const both = await Both.start(t, manager([route()], { accessLogs: [log] }), { accessLogs: lines })
    const raw = dial(t, both.ports.http2)
    let stream = 1
    for (const [what, fields] of Object.entries(MALFORMED)) {
      for (const end of [true, false]) {
        raw.socket.write(headers(stream, fields, end))
        const rst = await raw.until(isReset(stream))
        assert.equal(rst?.payload.readUInt32BE(0), PROTOCOL_ERROR, what)
        assert.equal(statusOf(raw, stream), 400, what)
        assert.ok(raw.heard.some(ends(stream)), what)
        stream += 2
      }
    }
    assert.equal(both.metrics.total('mesh_http_refused_messages_total'), 2 * Object.keys(MALFORMED).length)
    assert.equal(
      both.metrics.total('mesh_http_failed_total', { code: 'MESH_MALFORMED_INPUT' }),
      2 * Object.keys(MALFORMED).length,
    )
    assert.equal(lines.texts.length, 2 * Object.keys(MALFORMED).length)
    assert.deepEqual(lines.parsed[0], { status: 400, flags: 'DPE' })
    raw.socket.write(headers(stream, asked(), true))
    await raw.until(ends(stream))
    assert.equal(statusOf(raw, stream), 200)
    assert.equal(both.seen.length, 1)
  },
)
test('the answer to a malformed HEAD has no body', async (t) => {
  const both = await Both.start(t, manager())
  const raw = dial(t, both.ports.http2)
  raw.socket.write(headers(1, [...asked('HEAD'), ['X-A', 'b']], true))
  await raw.until(isReset(1))
  assert.deepEqual([statusOf(raw, 1), raw.heard.some((f) => f.type === DATA)], [400, false])
})
for (const [what, bytes] of Object.entries({
  'more than content-length says': Buffer.concat([
    headers(1, [...asked('POST'), ['content-length', '3']], false),
    data(1, 'body'),
  ]),
  'less than content-length says': Buffer.concat([
    headers(1, [...asked('POST'), ['content-length', '5']], false),
    data(1, 'body', true),
  ]),
  'trailers that are none': Buffer.concat([
    headers(1, asked('POST'), false),
    data(1, 'body'),
    headers(1, [['x-a', 'a\nb']], true),
  ]),
})) {
  test(`a body with ${what} is a stream error, and half a request never looks whole`, async (t) => {
    const both = await Both.start(t, manager())
    const raw = dial(t, both.ports.http2)
    raw.socket.write(bytes)
    assert.equal((await raw.until(isReset(1)))?.payload.readUInt32BE(0), PROTOCOL_ERROR)
    assert.deepEqual([both.seen, both.metrics.total('mesh_http_refused_messages_total')], [[], 1])
    raw.socket.write(headers(3, asked(), true))
    assert.ok(await raw.until(ends(3)))
  })
}

test('answers without a body by status or method have none, whatever the endpoint sends', async (t) => {
  const both = await Both.start(t, manager(), {
    answer: (request, response) => {
      response.statusCode = request.url === '/304' ? 304 : 200
      response.setHeader('content-length', 5)
      response.end(request.method === 'HEAD' ? '' : 'hello')
    },
  })
  const raw = dial(t, both.ports.http2)
  raw.socket.write(Buffer.concat([headers(1, asked('HEAD'), true), headers(3, asked('GET', '/304'), true)]))
  await raw.until(ends(1))
  await raw.until(ends(3))
  assert.equal(
    raw.heard.some((f) => f.type === DATA),
    false,
  )
})

/* On simulated time. */

async function rig(
  t: TestContext,
  origin: SocketOrigin,
  p: Parameters<typeof SocketRig.open>[1] = {},
  http = manager(undefined, { codec: 'http2' }),
): Promise<{ proxy: SocketRig; raw: RawH2 }> {
  const proxy = await SocketRig.open({ codec: { kind: 'http', http } }, { clusters: [origin.cluster()], ...p })
  t.after(() => proxy[Symbol.asyncDispose]())
  return { proxy, raw: dial(t, proxy.port) }
}
const originOf = async (t: TestContext, serve: (socket: net.Socket) => void): Promise<SocketOrigin> => {
  const origin = await SocketOrigin.listen(serve)
  t.after(() => {
    origin[Symbol.dispose]()
  })
  return origin
}

test("an answer before the request's end: the reset that follows is NO_ERROR, and comes late enough not to overtake it (RFC 9113 §8.1)", async (t) => {
  const { proxy, raw } = await rig(
    t,
    await originOf(t, (s) => {
      s.once('data', () => {
        s.write(OK)
      })
    }),
  )
  raw.socket.write(Buffer.concat([headers(1, asked('POST'), false), data(1, 'x')]))
  await proxy.until('the answer', () => raw.heard.some(ends(1)))
  await proxy.clock.advance(900)
  assert.equal(raw.heard.some(isReset(1)), false)
  await proxy.clock.advance(200)
  await proxy.until('the reset', () => raw.heard.some(isReset(1)))
  assert.equal(raw.heard.find(isReset(1))!.payload.readUInt32BE(0), NO_ERROR)
})
test('a client that cancels what it has sent in full is not served on, though nobody has read all of it yet', async (t) => {
  let got = ''
  const { proxy, raw } = await rig(
    t,
    await originOf(t, (s) => {
      s.on('data', (d: Buffer) => {
        got += d.toString('latin1')
      })
    }),
    { limits: { maxReplayBytes: 1024 } },
  )
  const pieces = [data(1, Buffer.alloc(16_000)), data(1, Buffer.alloc(16_000)), data(1, Buffer.alloc(16_000), true)]
  raw.socket.write(
    Buffer.concat([headers(1, asked('POST'), false), ...pieces, reset(1, CANCEL), frame(PING, 0, 0, Buffer.alloc(8))]),
  )
  await proxy.until('all of it was read', () => raw.heard.some((f) => f.type === PING))
  await proxy.until(
    'nothing is under way',
    () =>
      proxy.metrics.total('mesh_upstream_requests_active') + proxy.metrics.total('mesh_upstream_requests_pending') ===
      0,
  )
  for (let turn = 0; turn < 20; turn++) await proxy.clock.advance(0)
  assert.equal(got, '')
})
test("an answer that nobody takes ends when nothing of it has left for the stream's idle time, and no longer counts", async (t) => {
  const body = 'x'.repeat(300_000)
  const http = manager([route({ kind: 'direct', status: 200, body })], { codec: 'http2', streamIdleMs: 5_000 })
  const { proxy, raw } = await rig(t, await originOf(t, () => {}), {}, http)
  raw.socket.write(Buffer.concat([setting(4, 1_000), headers(1, asked(), true)]))
  await proxy.until('all that the window lets out', () => raw.heard.some((f) => f.type === DATA))
  assert.ok(proxy.metrics.total('mesh_stream_waiting_bytes') > 290_000)
  await proxy.clock.advance(4_000)
  const before = raw.heard.length
  raw.socket.write(frame(WINDOW_UPDATE, 0, 1, word(1_000)))
  await proxy.until('a little more', () => raw.heard.length > before)
  await proxy.clock.advance(4_000)
  assert.equal(raw.heard.some(isReset(1)), false)
  await proxy.clock.advance(1_100)
  await proxy.until('the reset', () => raw.heard.some(isReset(1)))
  assert.equal(proxy.metrics.total('mesh_stream_waiting_bytes'), 0)
})
test('a refused stream whose answer is not taken does not keep an idle connection', async (t) => {
  const http = manager(undefined, { codec: 'http2', connectionIdleMs: 5_000 })
  const { proxy, raw } = await rig(t, await originOf(t, () => {}), {}, http)
  raw.socket.write(Buffer.concat([setting(4, 0), headers(1, [...asked(), ['X-A', 'b']], true)]))
  await proxy.until('the head of the answer', () => raw.heard.some((f) => f.type === HEADERS))
  await proxy.clock.advance(5_100)
  await proxy.until('GOAWAY', () => raw.heard.some((f) => f.type === GOAWAY))
  assert.equal(raw.closed, false)
  await proxy.clock.advance(5_100)
  await proxy.until('the end', () => raw.closed)
})
test('a PING ACK that nobody asked for ends nothing (RFC 9113 §6.7), a frame that breaks the protocol does', async (t) => {
  const both = await Both.start(t, manager())
  const raw = dial(t, both.ports.http2)
  raw.socket.write(
    Buffer.concat([
      frame(PING, 1, 0, Buffer.from('stray!!!')),
      headers(1, asked(), true),
      frame(PING, 1, 0, Buffer.from('stray!!!')),
    ]),
  )
  assert.ok(await raw.until(ends(1)))
  raw.socket.write(frame(WINDOW_UPDATE, 0, 0, word(0)))
  assert.equal((await raw.until((f) => f.type === GOAWAY))?.payload.readUInt32BE(4), PROTOCOL_ERROR)
})
test('a drain lets what was begun end, and says which that is', async (t) => {
  const server = net
    .createServer((s) => {
      s.on('error', () => {}).once('data', () => {
        setTimeout(() => {
          s.write(OK)
        }, 50)
      })
    })
    .listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
  })
  const both = await Both.start(t, manager(undefined, { maxConnectionMs: 20 }), { originPort: portOf(server) })
  const raw = dial(t, both.ports.http2)
  raw.socket.write(headers(1, asked(), true))
  const goaway = await raw.until((f) => f.type === GOAWAY && f.payload.readUInt32BE(0) === 1)
  assert.equal(goaway?.payload.readUInt32BE(4), NO_ERROR)
  assert.ok(await raw.until(ends(1)))
})
test(
  'a header block that does not end counts against the memory budget, and is over when it ends or the client leaves',
  { timeout: 20_000 },
  async (t) => {
    const both = await Both.start(t, manager())
    const counted = (): number => both.metrics.total('mesh_stream_waiting_bytes')
    const until = async (bytes: number): Promise<void> => {
      while (counted() !== bytes)
        await new Promise((resolve) => {
          setImmediate(resolve)
        })
    }
    const raw = dial(t, both.ports.http2)
    const whole = headers(1, [...asked(), ['x-a', 'a'.repeat(20_000)]], true)
    const first = whole.subarray(0, 9 + 16_384)
    raw.socket.write(first)
    await until(16_384)
    raw.socket.write(whole.subarray(first.length))
    await raw.until(ends(1))
    assert.equal(counted(), 0)
    const other = dial(t, both.ports.http2)
    other.socket.write(first)
    await until(16_384)
    other.close()
    await until(0)
  },
)

test('DATA in frames of a byte goes on in pieces of what was read at once', { timeout: 20_000 }, async (t) => {
  let received = ''
  const origin = await originOf(t, (socket) => {
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1')
      if (received.endsWith('0\r\n\r\n')) socket.write('HTTP/1.1 204 No Content\r\n\r\n')
    })
  })
  const { raw } = await rig(t, origin)
  const text = 'abcdefghij'.repeat(50)
  raw.socket.write(
    Buffer.concat([
      headers(1, asked('POST'), false),
      ...Array.from(text, (letter) => data(1, letter)),
      data(1, '', true),
    ]),
  )
  await raw.until(ends(1))
  const pieces = received
    .slice(received.indexOf('\r\n\r\n') + 4)
    .split('\r\n')
    .filter((_, i) => i % 2 === 1)
  assert.equal(pieces.join(''), text)
  assert.ok(pieces.length <= 10, `${pieces.length} pieces`)
})

test('streams that wait for their turn are asked by the settings of then, not of when they came', async (t) => {
  const both = await Both.start(t, manager(undefined, { codec: 'http2' }))
  const raw = dial(t, both.ports.http2)
  await raw.until((f) => f.type === SETTINGS)
  const conn = both.connections[0]!
  const policy = { action: 'allow', rules: [], shadow: undefined } as const
  const http = manager(undefined, { codec: 'http2', filters: [{ kind: 'rbac', name: 'r', policy }] })
  // Behind the server's own listener: all have come, and some have begun.
  conn.stream.once('data', () => {
    conn.chain = { ...conn.chain, codec: { kind: 'http', http } }
  })
  const ids = Array.from({ length: 20 }, (_, i) => 2 * i + 1)
  raw.socket.write(Buffer.concat(ids.map((id) => headers(id, asked(), true))))
  for (const id of ids) await raw.until(ends(id))
  assert.deepEqual(
    ids.map((id) => statusOf(raw, id) === 200),
    ids.map((_, i) => i < 16),
  )
})
