/**
 * What an endpoint may not send over HTTP/2, one thing at a time. The caller is told; where RFC 9113 calls it an error
 * of the stream, the other streams of the connection go on; where it is one of the connection, the next request goes
 * over a new one.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { H2Endpoint } from '../../helpers/h2-endpoint.ts'
import { frame, headers, setting, word, type Fields } from '../../helpers/raw-h2.ts'
import { Both, type Told } from '../http/both.ts'
import { manager } from '../http/harness.ts'

const FLOW_CONTROL_ERROR = 3
const OK: Fields = [[':status', '200']]
const data = (stream: number, text: string, end: boolean): Buffer =>
  frame(0, end ? 1 : 0, stream, Buffer.from(text, 'latin1'))
const head =
  (...fields: Fields) =>
  (stream: number): Buffer =>
    headers(stream, fields, true)
const withField = (name: string, value: string) => head(...OK, [name, value])
const followed =
  (fields: Fields, ...rest: ((stream: number) => Buffer)[]) =>
  (stream: number): Buffer =>
    Buffer.concat([headers(stream, fields, false), ...rest.map((one) => one(stream))])
const trailer =
  (...fields: Fields) =>
  (stream: number): Buffer =>
    headers(stream, fields, true)
const many = (count: number, one: Buffer): Buffer => Buffer.concat(Array.from({ length: count }, () => one))

/**
 * `says`: the problem in words, in the answer's text. `begun`: the answer's head has gone out, so the answer breaks
 * off. `isOver`: the stream has ended, there is nothing to reset.
 */
type Case = {
  readonly name: string
  readonly sends: (stream: number) => Buffer
  readonly says?: RegExp
  readonly method?: string
  readonly begun?: true
  readonly isOver?: true
}

const OF_THE_STREAM: readonly Case[] = [
  {
    name: 'content-length twice, and different',
    sends: head(...OK, ['content-length', '0'], ['content-length', '1']),
    says: /content-length is no number, or several/,
  },
  {
    name: 'content-length that is no number',
    sends: withField('content-length', '+1'),
    says: /content-length is no number/,
  },
  { name: 'content-length, and no body', sends: withField('content-length', '5'), says: /no body/ },
  {
    name: 'content-length twice, and different, to HEAD',
    method: 'HEAD',
    sends: head(...OK, ['content-length', '5'], ['content-length', '7']),
  },
  { name: 'content-length that is no number, to HEAD', method: 'HEAD', sends: head(...OK, ['content-length', '5, 5']) },
  {
    name: 'content-length twice, and different, with 304',
    sends: head([':status', '304'], ['content-length', '5'], ['content-length', '7']),
    says: /content-length is no number, or several/,
  },
  {
    name: 'content-length that is no number, with 204',
    sends: head([':status', '204'], ['content-length', 'x']),
    says: /content-length is no number, or several/,
  },
  { name: 'te other than trailers', sends: withField('te', 'gzip'), says: /te says/ },
  { name: ':path', sends: head(...OK, [':path', '/']), says: /:path/ },
  { name: ':status twice', sends: head(...OK, [':status', '201']), says: /:status/ },
  { name: 'no :status', sends: head(['server', 'x']), says: /:status is missing/ },
  { name: ':status after another field', sends: head(['server', 'x'], ...OK), says: /:status is missing/ },
  ...['', '20', '2000', '099', 'abc', '2 0'].map((status): Case => ({
    name: `:status ${JSON.stringify(status)}`,
    sends: head([':status', status]),
    says: /:status/,
  })),
  ...['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'].map((name): Case => ({
    name,
    sends: withField(name, 'x'),
    says: new RegExp(`one HTTP/1.1 connection: ${name}`),
  })),
  ...['X-Name', '', 'a b', 'a:b', 'a\0', 'a\r\nb', '\xff'].map((name): Case => ({
    name: `the field name ${JSON.stringify(name)}`,
    sends: withField(name, 'x'),
    says: /field name|without a name/,
  })),
  ...['a\rb', 'a\nb', 'a\0b', 'a\x01b', 'a\x1b[0m', 'a\x7fb', ' a', 'a\t'].map((value): Case => ({
    name: `the field value ${JSON.stringify(value)}`,
    sends: withField('x-name', value),
    says: /control character|whitespace/,
  })),
  { name: '101', sends: head([':status', '101']), says: /1xx/ },
  { name: '1xx that ends the stream', sends: head([':status', '103']), says: /1xx/ },
  {
    name: '1xx without an end',
    sends: (stream) => many(33, headers(stream, [[':status', '103']], false)),
    says: /1xx/,
  },
  {
    name: '1xx with too many fields',
    sends: (stream) =>
      headers(stream, [[':status', '103'], ...Array.from({ length: 300 }, (_, i) => [`x-${i}`, ''] as const)], false),
    says: /1xx/,
  },
  {
    name: 'CR in 1xx',
    sends: followed(
      [
        [':status', '103'],
        ['link', 'a\rb'],
      ],
      head(...OK),
    ),
    says: /control character/,
  },
  { name: 'DATA before HEADERS', sends: (stream) => data(stream, 'hi', true), says: /DATA where none may come/ },
  {
    name: 'too many fields',
    sends: head(...OK, ...Array.from({ length: 300 }, (_, i) => [`x-${i}`, ''] as const)),
    says: /fields/,
  },
  { name: 'too long fields', sends: head(...OK, ['x-long', 'x'.repeat(90_000)]), says: /fields/ },
  {
    name: 'a stream that depends on itself',
    sends: (stream) => frame(2, 0, stream, Buffer.concat([word(stream), Buffer.from([0])])),
  },
  { name: 'PRIORITY of a wrong size', sends: (stream) => frame(2, 0, stream, Buffer.alloc(4)) },
  { name: 'WINDOW_UPDATE of nothing', sends: (stream) => frame(8, 0, stream, word(0)) },
  {
    name: 'a window above the largest',
    sends: (stream) => frame(8, 0, stream, word(2 ** 31 - 1)),
    says: /window above the largest/,
  },
  // From here on the head of the answer has gone out.
  {
    name: 'more DATA than content-length',
    begun: true,
    sends: followed([...OK, ['content-length', '2']], (s) => data(s, 'abc', true)),
  },
  {
    name: 'less DATA than content-length',
    begun: true,
    sends: followed([...OK, ['content-length', '5']], (s) => data(s, 'abc', true)),
  },
  {
    name: 'less DATA than content-length before trailers',
    begun: true,
    sends: followed([...OK, ['content-length', '5']], (s) => data(s, 'abc', false), trailer(['x', 'y'])),
  },
  { name: 'DATA to HEAD', begun: true, method: 'HEAD', sends: followed(OK, (s) => data(s, 'abc', true)) },
  { name: 'DATA with 304', begun: true, sends: followed([[':status', '304']], (s) => data(s, 'abc', true)) },
  { name: 'DATA with 204', begun: true, sends: followed([[':status', '204']], (s) => data(s, 'abc', true)) },
  { name: 'a second head', begun: true, sends: followed(OK, (s) => headers(s, OK, false)) },
  { name: '1xx after the head', begun: true, sends: followed(OK, (s) => headers(s, [[':status', '103']], false)) },
  { name: ':status in trailers', begun: true, sends: followed(OK, trailer(...OK)) },
  { name: ':path in trailers', begun: true, sends: followed(OK, trailer(['x', 'y'], [':path', '/'])) },
  {
    name: 'transfer-encoding in trailers',
    begun: true,
    sends: followed(OK, trailer(['transfer-encoding', 'chunked'])),
  },
  { name: 'NUL in trailers', begun: true, sends: followed(OK, trailer(['x', 'a\0b'])) },
  {
    name: 'too many trailers',
    begun: true,
    isOver: true,
    sends: followed(OK, trailer(...Array.from({ length: 300 }, (_, i) => [`x-${i}`, ''] as const))),
  },
]

const OF_THE_CONNECTION: readonly Case[] = [
  {
    name: 'an index that no table has',
    sends: (stream) => frame(1, 5, stream, Buffer.from([0xff, 0xff, 0x7f])),
    says: /HTTP\/2 connection broke/,
  },
  { name: 'half a field', sends: (stream) => frame(1, 5, stream, Buffer.from([0x00, 0x05, 0x61])) },
  {
    name: 'a table larger than permitted',
    sends: (stream) => frame(1, 5, stream, Buffer.from([0x3f, 0xff, 0xff, 0x7f])),
  },
  { name: 'DATA on a stream that was never opened', sends: () => data(99, 'x', true), says: /never opened/ },
  { name: 'HEADERS on a stream that was never opened', sends: () => headers(99, OK, true), says: /never opened/ },
  { name: 'HEADERS on a stream of its own', sends: () => headers(2, OK, true), says: /never opened/ },
  { name: 'RST_STREAM of a stream that was never opened', sends: () => frame(3, 0, 99, word(8)) },
  { name: 'WINDOW_UPDATE of a stream that was never opened', sends: () => frame(8, 0, 99, word(8)) },
  {
    name: 'PUSH_PROMISE',
    sends: (stream) => frame(5, 4, stream, Buffer.concat([word(2), Buffer.from([0x88])])),
    says: /push/,
  },
  { name: 'SETTINGS that permit a push', sends: () => setting(2, 1) },
  { name: 'SETTINGS of a window above the largest', sends: () => setting(4, 2 ** 31) },
  { name: 'SETTINGS of too small frames', sends: () => setting(5, 100) },
  { name: 'SETTINGS of half a setting', sends: () => frame(4, 0, 0, Buffer.alloc(5)) },
  { name: 'SETTINGS of a stream', sends: (stream) => frame(4, 0, stream, Buffer.alloc(0)) },
  { name: 'PING of a wrong size', sends: () => frame(6, 0, 0, Buffer.alloc(7)) },
  { name: 'PING of a stream', sends: (stream) => frame(6, 0, stream, Buffer.alloc(8)) },
  { name: 'GOAWAY of a wrong size', sends: () => frame(7, 0, 0, Buffer.alloc(4)) },
  {
    name: 'a frame that is too large',
    sends: (stream) => frame(0, 0, stream, Buffer.alloc(16_385)),
    says: /16385 bytes/,
  },
  { name: 'DATA of no stream', sends: () => data(0, 'x', false) },
  { name: 'more padding than payload', sends: (stream) => frame(0, 8, stream, Buffer.from([5, 1])) },
  { name: 'WINDOW_UPDATE of nothing for the connection', sends: () => frame(8, 0, 0, word(0)) },
  { name: 'a window of the connection above the largest', sends: () => frame(8, 0, 0, word(2 ** 31 - 1)) },
  { name: 'CONTINUATION of nothing', sends: (stream) => frame(9, 4, stream, Buffer.alloc(0)) },
  {
    name: 'a header block that another frame interrupts',
    sends: (stream) => Buffer.concat([frame(1, 0, stream, Buffer.from([0x88])), frame(6, 0, 0, Buffer.alloc(8))]),
  },
  {
    name: 'a header block without an end',
    sends: (stream) =>
      Buffer.concat([frame(1, 0, stream, Buffer.from([0x88])), many(100, frame(9, 0, stream, Buffer.alloc(0)))]),
    says: /sends continuations only/,
  },
  { name: 'too many SETTINGS', sends: () => many(300, setting(3, 100)), says: /sends settings only to make work/ },
  { name: 'too many PING', sends: () => many(300, frame(6, 0, 0, Buffer.alloc(8))), says: /sends pings only/ },
  { name: 'too many empty frames', sends: (stream) => many(300, data(stream, '', false)) },
  {
    name: 'too many frames that nobody knows',
    sends: () => many(300, frame(77, 0, 0, Buffer.alloc(0))),
    says: /sends empty frames only/,
  },
  {
    name: 'too many WINDOW_UPDATE',
    sends: () => many(300, frame(8, 0, 0, word(1))),
    says: /sends window updates only/,
  },
  {
    name: 'too many PRIORITY',
    sends: (stream) => many(400, frame(2, 0, stream, Buffer.alloc(5))),
    says: /sends priorities only/,
  },
]

async function rig(t: TestContext, first?: Buffer): Promise<{ both: Both; endpoint: H2Endpoint }> {
  const endpoint = await H2Endpoint.start(first)
  t.after(() => endpoint[Symbol.dispose]())
  return {
    endpoint,
    both: await Both.start(t, manager(), { cluster: { protocol: 'http2' }, originPort: endpoint.port }),
  }
}

/** An answer that begins and does not come to its end. */
function assertCut({ headers: fields, body }: Told): void {
  if (fields['transfer-encoding'] !== undefined) assert.doesNotMatch(body, /0\r\n\r\n$/)
  else assert.ok(body.length < Number(fields['content-length'] ?? 1), body)
}

for (const { name, sends, says, method = 'GET', begun, isOver } of OF_THE_STREAM) {
  test(`${name}: the caller is told, the other stream goes on`, { timeout: 20_000 }, async (t) => {
    const { both, endpoint } = await rig(t)
    const other = both.ask('http1', { path: '/other' })
    const connection = await endpoint.connection(1)
    const first = (await connection.request(1))!.stream
    const asked = both.ask('http1', { method })
    const { stream } = (await connection.request(2))!
    connection.write(sends(stream))
    const told = await asked
    if (begun) assertCut(told)
    else {
      assert.equal(told.status, 502)
      assert.equal(told.headers['x-meshlet-error'], 'MESH_UPSTREAM_PROTOCOL')
      if (says && method !== 'HEAD') assert.match(told.body, says)
    }
    if (!isOver) assert.ok(await connection.until((f) => f.type === 3 && f.stream === stream), 'RST_STREAM')
    connection.write(headers(first, OK, false), data(first, 'hi', true))
    assert.match((await other).body, /hi/)
    // And the connection carries more.
    const next = both.ask('http1')
    connection.write(headers((await connection.request(3))!.stream, OK, true))
    assert.equal((await next).status, 200)
    assert.equal(endpoint.connections.length, 1)
    assert.equal(both.metrics.total('mesh_upstream_requests_active'), 0)
  })
}

for (const { name, sends, says } of OF_THE_CONNECTION) {
  test(
    `${name}: all callers on the connection are told, the next request goes over a new one`,
    { timeout: 20_000 },
    async (t) => {
      const { both, endpoint } = await rig(t)
      const other = both.ask('http1', { path: '/other' })
      const connection = await endpoint.connection(1)
      await connection.request(1)
      const asked = both.ask('http1')
      const { stream } = (await connection.request(2))!
      connection.write(sends(stream))
      for (const told of [await asked, await other]) {
        if (told.status === 200) continue
        assert.equal(told.status, 502, told.body)
        assert.equal(told.headers['x-meshlet-error'], 'MESH_UPSTREAM_PROTOCOL')
        if (says) assert.match(told.body, says)
      }
      assert.ok(await connection.until((f) => f.type === 7), 'GOAWAY')
      await connection.whenClosed
      const next = both.ask('http1')
      const second = await endpoint.connection(2)
      second.write(headers((await second.request(1))!.stream, OK, true))
      assert.equal((await next).status, 200)
      assert.equal(both.metrics.total('mesh_upstream_requests_active'), 0)
      if (says?.source.includes('only')) assert.equal(both.metrics.total('mesh_http2_floods_total'), 1)
    },
  )
}

test(
  'more DATA than the window of the stream, while the caller does not read: the stream is reset, its answer breaks off, and the connection goes on',
  { timeout: 20_000 },
  async (t) => {
    const { both, endpoint } = await rig(t)
    const caller = net.connect(both.ports.http1, '127.0.0.1')
    t.after(() => {
      caller.destroy()
    })
    caller.on('error', () => {}).pause()
    caller.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
    const connection = await endpoint.connection(1)
    const { stream } = (await connection.request(1))!
    connection.write(headers(stream, OK, false))
    // The kernel takes some megabytes for the caller; from then on the window is all there is.
    const piece = frame(0, 0, stream, Buffer.alloc(16_384))
    const isReset = (f: { type: number; stream: number }): boolean => f.type === 3 && f.stream === stream
    for (let i = 0; i < 1400 && !connection.heard.some(isReset); i++) {
      connection.write(piece)
      if (i % 8 === 0) await new Promise(setImmediate)
    }
    assert.equal((await connection.until(isReset))?.payload.readUInt32BE(0), FLOW_CONTROL_ERROR)
    const next = both.ask('http1')
    connection.write(headers((await connection.request(2))!.stream, OK, true))
    assert.equal((await next).status, 200)
    assert.equal(endpoint.connections.length, 1)
    let last = ''
    caller
      .on('data', (chunk: Buffer) => {
        last = chunk.toString('latin1').slice(-5)
      })
      .resume()
    await once(caller, 'close')
    assert.notEqual(last, '0\r\n\r\n')
    assert.equal(both.metrics.total('mesh_upstream_requests_active'), 0)
  },
)

for (const [what, first] of [
  ['garbage', Buffer.from('garbage, and more of it')],
  ['HTTP/1.1', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
  ['another frame than SETTINGS', frame(6, 0, 0, Buffer.alloc(8))],
] as const) {
  test(`an endpoint that begins with ${what}`, { timeout: 20_000 }, async (t) => {
    const { both } = await rig(t, first)
    const told = await both.ask('http1')
    assert.equal(told.status, 502)
    assert.equal(told.headers['x-meshlet-error'], 'MESH_UPSTREAM_PROTOCOL')
  })
}
