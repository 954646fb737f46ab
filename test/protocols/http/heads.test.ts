/** Bounds of heads, and what every answer says about itself: one table for both codecs. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import type { Cluster } from '../../../model/cluster.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import type { Limits } from '../../../protocols/context.ts'
import { headers, RawH2, type Fields } from '../../helpers/raw-h2.ts'
import { Both } from './both.ts'
import { GET, Harness, OK, manager, forwardTo, route } from './harness.ts'

const many = (count: number): Fields => Array.from({ length: count }, (_, i) => [`x-${i}`, '1'] as const)
/** In several fields. */
const long = (bytes: number): Fields =>
  Array.from(
    { length: Math.ceil(bytes / 20_000) },
    (_, i) => [`x-${i}`, 'a'.repeat(Math.min(20_000, bytes - i * 20_000))] as const,
  )

for (const { name, more = {}, limits = {}, fields, want } of [
  {
    name: '100 kB against max_request_headers_kb 8',
    more: { maxRequestHeadersBytes: 8 * 1024 },
    fields: long(100_000),
    want: 431,
  },
  {
    name: 'a little more than max_request_headers_kb',
    more: { maxRequestHeadersBytes: 8 * 1024 },
    fields: long(8 * 1024),
    want: 431,
  },
  {
    name: 'a little less than max_request_headers_kb',
    more: { maxRequestHeadersBytes: 8 * 1024 },
    fields: long(8 * 1024 - 200),
    want: 200,
  },
  {
    name: 'max_request_headers_kb above the limit of agent.yaml is not cut to it',
    more: { maxRequestHeadersBytes: 200 * 1024 },
    fields: long(130_000),
    want: 200,
  },
  {
    name: 'the limit of agent.yaml where the listener says nothing',
    limits: { maxHeaderBytes: 4096 },
    fields: long(5000),
    want: 431,
  },
  { name: '60 KiB by default', fields: long(61_500), want: 431 },
  { name: 'max_headers_count', more: { maxHeaders: 10 }, fields: many(12), want: 431 },
  { name: 'fewer than max_headers_count', more: { maxHeaders: 10 }, fields: many(7), want: 200 },
  {
    name: 'max_headers_count above the limit of agent.yaml is not cut to it',
    more: { maxHeaders: 500 },
    fields: many(300),
    want: 200,
  },
  { name: '100 fields by default', fields: many(110), want: 431 },
] satisfies {
  name: string
  more?: Partial<HttpConnectionManager>
  limits?: Partial<Limits>
  fields: Fields
  want: number
}[]) {
  for (const codec of ['http1', 'http2'] as const) {
    test(`request heads over ${codec}: ${name}`, async (t) => {
      const both = await Both.start(t, manager([route(forwardTo())], more), { limits })
      const told = await both.ask(codec, { fields })
      assert.equal(told.status, want)
      assert.equal(told.saw !== undefined, want === 200)
    })
  }
}

const big =
  (bytes: number): http.RequestListener =>
  (_request, response) => {
    response.setHeader('x-big', 'b'.repeat(bytes))
    response.end('hi')
  }
for (const { name, bytes, cluster = {}, limits = {}, want } of [
  { name: "a response above the request's limit", bytes: 9000, limits: { maxHeaderBytes: 8192 }, want: 200 },
  { name: '62 kB, which Envoy takes', bytes: 62_000, want: 200 },
  { name: '100 kB, which Envoy does not take', bytes: 100_000, want: 502 },
  {
    name: '100 kB with max_response_headers_kb 200',
    bytes: 100_000,
    cluster: { maxResponseHeadersBytes: 200 * 1024 },
    want: 200,
  },
  {
    name: '10 kB with max_response_headers_kb 8',
    bytes: 10_000,
    cluster: { maxResponseHeadersBytes: 8 * 1024 },
    want: 502,
  },
] satisfies { name: string; bytes: number; cluster?: Partial<Cluster>; limits?: Partial<Limits>; want: number }[]) {
  test(`response heads have a bound of their own: ${name}`, async (t) => {
    const both = await Both.start(t, manager(), { cluster, limits, answer: big(bytes) })
    assert.equal((await both.ask('http1')).status, want)
  })
}

for (const codec of ['http1', 'http2'] as const) {
  const IMF = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/
  test(`every answer over ${codec} has a Date (RFC 9110 §6.6.1), and the endpoint's stays`, async (t) => {
    const own = manager([route({ kind: 'direct', status: 200, body: 'x' })])
    const both = await Both.start(t, own, {
      answer: (request, response) => {
        response.sendDate = false
        if (request.url === '/dated') response.setHeader('date', 'Sun, 06 Nov 1994 08:49:37 GMT')
        response.end()
      },
    })
    assert.match((await both.ask(codec)).headers['date']!, IMF)
    both.current = manager([])
    assert.match((await both.ask(codec)).headers['date']!, IMF)
    both.current = manager([route(forwardTo())])
    assert.match((await both.ask(codec)).headers['date']!, IMF)
    assert.equal((await both.ask(codec, { path: '/dated' })).headers['date'], 'Sun, 06 Nov 1994 08:49:37 GMT')
    assert.match((await both.ask(codec, { method: 'post' })).headers['date']!, IMF)
  })
}
test('%START_TIME% in a header of the answer is when the request came', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const add = { name: 'x-start', value: '%START_TIME%', how: 'append' } as const
  const client = h.connect(
    manager([
      route(forwardTo(), { headers: { request: { remove: [], add: [] }, response: { remove: [], add: [add] } } }),
    ]),
  )
  const before = new Date(h.clock.wallMs()).toISOString()
  await client.send(GET)
  await h.clock.advance(1200)
  await origin.answer(OK)
  assert.match(await client.take(), new RegExp(`x-start: ${before}\r\n`))
})

test('trailers of a request have the bounds of its head (HTTP/2)', async (t) => {
  const both = await Both.start(t, manager(undefined, { maxRequestHeadersBytes: 4096 }))
  for (const [bytes, want] of [
    [3000, 0x88],
    [5000, undefined],
  ] as const) {
    const raw = new RawH2(both.ports.http2)
    t.after(() => {
      raw.close()
    })
    raw.socket.write(
      Buffer.concat([
        headers(
          1,
          [
            [':method', 'POST'],
            [':scheme', 'http'],
            [':authority', 'a'],
            [':path', '/'],
          ],
          false,
        ),
        Buffer.from([0, 0, 1, 0, 0, 0, 0, 0, 1, 120]),
        headers(1, [['x-t', 'a'.repeat(bytes)]], true),
      ]),
    )
    const head = await raw.until((f) => f.type === 1)
    // 0x88 is HPACK's :status 200 (RFC 7541, appendix A); 431 is not in its table.
    assert.equal(head?.payload[0] === 0x88 ? 0x88 : undefined, want)
  }
})
for (const codec of ['http1', 'http2'] as const) {
  test(`request_timeout over ${codec}: 408 when the request is not complete by then`, async (t) => {
    const both = await Both.start(t, manager(undefined, { requestTimeoutMs: 60 }))
    const answer = async (): Promise<string> => {
      if (codec === 'http1') {
        const socket = net.connect(both.ports.http1, '127.0.0.1')
        socket.write('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nx')
        const [chunk] = (await once(socket, 'data')) as [Buffer]
        socket.destroy()
        return chunk.toString('latin1')
      }
      const session = http2.connect(`http://127.0.0.1:${both.ports.http2}`)
      t.after(() => {
        session.destroy()
      })
      const stream = session.request({ ':method': 'POST', ':path': '/', ':authority': 'a' })
      stream.on('error', () => {})
      stream.write('x')
      const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders & { ':status': number }]
      return `HTTP/1.1 ${head[':status']} ${String(head['x-meshlet-error'])}`
    }
    assert.match(await answer(), /^HTTP\/1\.1 408 [^]*MESH_REQUEST_TIMEOUT/)
  })
}

/* How long a connection is kept. */

test('max_requests_per_connection: the last answer says so, and the connection ends (HTTP/1)', async () => {
  await using h = new Harness()
  const client = h.connect(
    manager([route({ kind: 'direct', status: 200, body: 'x' })], { maxRequestsPerConnection: 2 }),
  )
  await client.send(GET + GET + GET)
  const answers = (await client.take()).split('HTTP/1.1 ').slice(1)
  assert.deepEqual(
    answers.map((a) => a.includes('connection: close')),
    [false, true],
  )
  assert.equal(client.ended, true)
})
test('max_requests_per_connection: GOAWAY names the last stream (HTTP/2)', async (t) => {
  const both = await Both.start(
    t,
    manager([route({ kind: 'direct', status: 200, body: 'x' })], { maxRequestsPerConnection: 2 }),
  )
  const raw = new RawH2(both.ports.http2)
  t.after(() => {
    raw.close()
  })
  const get = (stream: number): Buffer =>
    headers(
      stream,
      [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':authority', 'a'],
        [':path', '/'],
      ],
      true,
    )
  raw.socket.write(get(1))
  await raw.until((f) => f.stream === 1 && f.type <= 1 && (f.flags & 1) === 1)
  assert.equal(
    raw.heard.some((f) => f.type === 7),
    false,
  )
  raw.socket.write(get(3))
  const goaway = await raw.until((f) => f.type === 7)
  assert.deepEqual([goaway?.payload.readUInt32BE(0), goaway?.payload.readUInt32BE(4)], [3, 0])
  assert.ok(await raw.until((f) => f.stream === 3 && f.type <= 1 && (f.flags & 1) === 1))
})
test('max_connection_duration: an idle connection ends, a busy one after its exchange', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const http = manager(undefined, { maxConnectionMs: 1000 })
  const idle = h.connect(http)
  const busy = h.connect(http)
  await busy.send(GET)
  await h.clock.advance(1010)
  assert.equal(idle.ended, true)
  await origin.answer(OK)
  assert.match(await busy.take(), /200 OK[^]*connection: close/)
  assert.equal(busy.ended, true)
})
test("an endpoint's 413 before the request's end says that the connection closes", async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nabc')
  await origin.answer('HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig')
  assert.match(await client.take(), /^HTTP\/1\.1 413 [^]*\r\nconnection: close\r\n\r\nbig$/)
  assert.equal(client.ended, true)
})
