/**
 * Odd heads, statuses, informational answers and trailers over all four pairs of codecs. Whatever comes: one request
 * reaches the endpoint, the client gets one answer, and what comes after it is served. A defect is thrown as uncaught
 * here, and fails the test.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import { frame, headers, RawH2, type Fields } from '../../helpers/raw-h2.ts'
import { endOf, http1Origin, http2Origin, type OddAnswer, type RawOrigin } from '../../helpers/raw-origins.ts'
import { Both, type Codec } from './both.ts'
import { manager, route } from './harness.ts'

const CODECS = ['http1', 'http2'] as const
const PAIRS = CODECS.flatMap((down) => CODECS.map((up) => ({ down, up })))

/** What node:http2, the client here, takes once at most. */
const SINGLE = [
  'access-control-allow-credentials',
  'access-control-max-age',
  'access-control-request-method',
  'age',
  'authorization',
  'content-encoding',
  'content-language',
  'content-location',
  'content-md5',
  'content-range',
  'content-type',
  'date',
  'dnt',
  'etag',
  'expires',
  'from',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-modified',
  'location',
  'max-forwards',
  'proxy-authorization',
  'range',
  'referer',
  'retry-after',
  'tk',
  'upgrade-insecure-requests',
  'user-agent',
  'x-content-type-options',
]
const HOP: Fields = [
  ['connection', 'x-named'],
  ['keep-alive', 'timeout=5'],
  ['proxy-connection', 'close'],
  ['te', 'gzip'],
  ['upgrade', 'h2c'],
  ['http2-settings', 'x'],
]
const twice = (name: string): Fields => [
  [name, 'one'],
  [name, 'two'],
]

/** Other informational ones would be waited after, rightly. */
const STATUSES = [
  0, 1, 99, 101, 200, 201, 203, 204, 205, 206, 226, 299, 300, 301, 304, 307, 399, 400, 401, 404, 407, 416, 418, 421,
  426, 499, 500, 505, 511, 598, 599, 600, 601, 777, 999, 1000, 1100,
]

const ANSWERS: Readonly<Record<string, readonly OddAnswer[]>> = {
  'every kind of status': STATUSES.flatMap((status): OddAnswer[] => [
    { status },
    { status, body: 'body' },
    { status, lateEnd: true },
  ]),
  'a field that stands twice': SINGLE.map((name): OddAnswer => ({ status: 200, fields: twice(name), body: 'body' })),
  'fields of the connection': HOP.map(([name, value]): OddAnswer => ({
    status: 200,
    fields: [
      [name, value],
      ['x-after', '1'],
    ],
    body: 'body',
  })),
  'informational answers': [100, 101, 102, 103, 110, 199].flatMap((status): OddAnswer[] => [
    { status: 200, informational: [{ status }], body: 'body' },
    {
      status: 200,
      informational: [
        { status, fields: [['link', '</a>'], ...twice('etag'), ...twice('link')] },
        { status: 103, fields: HOP },
      ],
      body: 'body',
    },
    { status: 204, informational: Array.from({ length: 20 }, () => ({ status })) },
  ]),
  trailers: [
    ...[...SINGLE, 'x-one', 'grpc-status'].map((name): OddAnswer => ({
      status: 200,
      body: 'body',
      trailers: twice(name),
    })),
    ...HOP.map((field): OddAnswer => ({
      status: 200,
      body: 'body',
      fields: [['content-type', 'application/grpc']],
      trailers: [field, ['x-after', '1']],
    })),
    { status: 200, trailers: [['x-only', '1']] },
    { status: 204, trailers: [['x-only', '1']] },
    { status: 304, trailers: [['x-only', '1']] },
    { status: 205, body: 'body', trailers: [['x-only', '1']] },
  ],
}

async function rig(t: TestContext, up: Codec): Promise<{ both: Both; origin: RawOrigin }> {
  const origin = await (up === 'http1' ? http1Origin() : http2Origin())
  t.after(() => origin[Symbol.dispose]())
  const both = await Both.start(t, manager([route()]), { originPort: origin.port, cluster: { protocol: up } })
  return { both, origin }
}

async function askFor(
  both: Both,
  codec: Codec,
): Promise<{ status: number; headers: Readonly<Record<string, unknown>>; body: string }> {
  if (codec === 'http1') return both.ask('http1')
  const session = http2.connect(`http://127.0.0.1:${both.ports.http2}`)
  session.on('error', () => {})
  const told = { status: 0, headers: {}, body: '' }
  const stream = session.request({ ':path': '/' })
  stream.on('error', () => {})
  stream.on('response', (got) => {
    told.status = got[':status']!
    told.headers = got
  })
  stream.on('data', (chunk: Buffer) => {
    told.body += chunk.toString('latin1')
  })
  await once(stream, 'close').catch(() => {})
  session.destroy()
  return told
}

/** All that an HTTP/1.1 client gets, for one request and a second one behind it on the same connection. */
async function pipelined(port: number, first: string): Promise<string> {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => {})
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
  })
  socket.write(`${first}GET /second HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`, 'latin1')
  await once(socket, 'close')
  return text
}

/** Answers in a byte stream, as a client of one GET or HEAD after the other reads them. */
function answersIn(text: string, methods: readonly string[]): number[] {
  const found: number[] = []
  let rest = text
  for (let i = 0; rest !== '' && i < 100;) {
    const status = Number(
      /^HTTP\/1\.1 (\d{3}) /.exec(rest)?.[1] ??
        assert.fail(`no answer begins here: ${JSON.stringify(rest.slice(0, 80))}`),
    )
    const bodiless = status < 200 || status === 204 || status === 304 || methods[i] === 'HEAD'
    const end = bodiless ? rest.indexOf('\r\n\r\n') + 4 : (endOf(rest) ?? rest.length)
    rest = rest.slice(end)
    if (status >= 200 || status === 101) {
      found.push(status)
      i++
    }
  }
  return found
}

for (const { down, up } of PAIRS) {
  for (const [what, answers] of Object.entries(ANSWERS)) {
    test(`${down} to ${up}: ${what}`, { timeout: 20_000 }, async (t) => {
      const { both, origin } = await rig(t, up)
      for (const answer of answers) {
        origin.answer = answer
        const told = await askFor(both, down)
        const name = JSON.stringify(answer)
        assert.ok(told.status === 0 || (told.status >= 200 && told.status <= 999), `${name}: ${told.status}`)
        if (
          answer.status >= 200 &&
          answer.status <= 599 &&
          answer.status !== 205 &&
          !answer.informational?.some((i) => i.status === 101) &&
          (answer.informational?.length ?? 0) < 17
        ) {
          // Over HTTP/2 no answer is taken with fields of the connection (RFC 9113 §8.2.2), nor one whose length is not
          // its body's.
          const isRefused =
            up === 'http2' &&
            HOP.some(([field]) =>
              (answer.fields ?? [])
                .concat(answer.trailers ?? [], ...(answer.informational ?? []).map((i) => i.fields ?? []))
                .some(([f]) => f === field),
            )
          if (!isRefused && !(up === 'http2' && (answer.status === 204 || answer.status === 304)))
            assert.equal(told.status, answer.status, name)
        }
        for (const field of Object.keys(told.headers))
          assert.ok(
            !HOP.some(([hop]) => hop === field) || (down === 'http1' && field === 'connection'),
            `${name}: ${field}`,
          )
      }
      origin.answer = { status: 200, body: 'hi' }
      const after = await askFor(both, down)
      assert.equal(after.status, 200)
      assert.match(after.body, /hi/)
    })
  }

  test(`${down} to ${up}: what a request may not have is left out, and it arrives once`, async (t) => {
    const { both, origin } = await rig(t, up)
    const heads: Fields[] = [
      ...SINGLE.filter((name) => name !== 'content-length').map(twice),
      ...HOP.filter(([name]) => down === 'http1' || name === 'http2-settings').map((field): Fields => [field]),
    ]
    for (const fields of heads) {
      const { status } = await both.ask(down, { fields, method: 'POST', body: 'body' })
      assert.ok(status === 200 || (down === 'http2' && status === 0), `${JSON.stringify(fields)}: ${status}`)
    }
    assert.equal((await both.ask(down)).status, 200)
    if (up === 'http1') assert.equal(origin.received.join('').match(/HTTP\/1\.1\r\n/g)?.length, heads.length + 1)
  })

  test(`${down} to ${up}: what trailers will come is told on (RFC 9110 §6.6.2)`, async (t) => {
    const { both, origin } = await rig(t, up)
    origin.answer = { status: 200, fields: [['trailer', 'x-sum']], body: 'body', trailers: [['x-sum', '1']] }
    const { headers } = await both.ask(down, { fields: [['trailer', 'x-mine']], method: 'POST', body: 'body' })
    assert.equal(headers['trailer'], 'x-sum')
    if (up === 'http1') assert.match(origin.received.join(''), /\r\ntrailer: x-mine\r\n/)
  })

  test(`${down} to ${up}: trailers of requests`, async (t) => {
    const { both, origin } = await rig(t, up)
    const lost: Fields = [
      ...HOP.filter(([name]) => down === 'http1' || name === 'http2-settings'),
      ['trailer', 'evil'],
      ['x-forwarded-client-cert', 'By=evil'],
      ['authorization', 'Bearer evil'],
      ['x-forwarded-for', '1.1.1.1'],
      ['x_forwarded_client_cert', 'By=evil'],
      ['x-envoy-internal', 'true'],
      ['x-envoy-anything', 'evil'],
      ['content-length', '3'],
      ['host', 'evil'],
      ['cookie', 'evil'],
      ['x-request-id', 'evil'],
    ]
    const sent: Fields[] = [
      [['x-mine', 'kept']],
      ...SINGLE.map(twice),
      ...lost.map((field): Fields => [field, ['x-mine', 'kept']]),
    ]
    for (const trailers of sent) await withTrailers(both.ports[down], down, trailers)
    assert.equal((await both.ask(down)).status, 200)
    const all = origin.received.join('')
    assert.doesNotMatch(all, /evil/)
    if (up === 'http1') assert.ok(all.split('x-mine: kept').length > 8, all.slice(0, 500))
  })
}

async function withTrailers(port: number, codec: Codec, trailers: Fields): Promise<void> {
  if (codec === 'http1') {
    const socket = net.connect(port, '127.0.0.1')
    socket.on('error', () => {}).resume()
    socket.write(
      `POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n${trailers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
      'latin1',
    )
    await once(socket, 'close')
    return
  }
  const raw = new RawH2(port)
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
      frame(0, 0, 1, Buffer.from('body')),
      headers(1, trailers, true),
    ]),
  )
  await raw.until((f) => f.stream === 1 && (f.type === 3 || (f.type <= 1 && (f.flags & 1) === 1)))
  raw.close()
}

for (const up of CODECS) {
  test(`http1 to ${up}: an answer that has no body by its status or method ends with its head, whatever follows`, async (t) => {
    const { both, origin } = await rig(t, up)
    for (const method of ['GET', 'HEAD']) {
      for (const answer of [
        { status: 200, lateEnd: true },
        { status: 204, lateEnd: true },
        { status: 304, lateEnd: true },
        { status: 200, trailers: [['x-a', '1']] },
        { status: 205, lateEnd: true },
      ] as const) {
        origin.answer = answer
        const text = await pipelined(both.ports.http1, `${method} /first HTTP/1.1\r\nhost: a\r\n\r\n`)
        assert.deepEqual(
          answersIn(text, [method, 'GET']),
          [answer.status, answer.status],
          `${method} ${JSON.stringify(answer)}: ${text}`,
        )
      }
    }
  })
}

test('http2: a request that is refused and reset in one packet ends nobody', async (t) => {
  const { both } = await rig(t, 'http1')
  for (const path of ['/%', '/', 'no-path', '/%zz', '/\u0000']) {
    const raw = new RawH2(both.ports.http2)
    const burst = Array.from({ length: 20 }, (_, i) =>
      Buffer.concat([
        headers(
          i * 2 + 1,
          [
            [':method', 'GET'],
            [':scheme', 'http'],
            [':authority', 'a'],
            [':path', path],
          ],
          i % 2 === 0,
        ),
        frame(3, 0, i * 2 + 1, Buffer.from([0, 0, 0, 8])),
      ]),
    )
    raw.socket.write(Buffer.concat(burst))
    raw.socket.write(frame(6, 0, 0, Buffer.from('pingping')))
    await raw.until((f) => f.type === 6 && (f.flags & 1) === 1)
    raw.close()
  }
  assert.equal((await both.ask('http2')).status, 200)
})

test('a direct response has the content type that the configuration adds, once, over both codecs', async (t) => {
  const add = (how: 'append' | 'overwrite') => ({
    request: { add: [], remove: [] },
    response: { add: [{ name: 'content-type', value: 'application/json', how, keepEmpty: false }], remove: [] },
  })
  for (const how of ['append', 'overwrite'] as const) {
    const both = await Both.start(
      t,
      manager([route({ kind: 'direct', status: 200, body: '{}' }, { headers: add(how) as never })]),
    )
    for (const codec of CODECS) {
      const { status, headers: got, body } = await both.ask(codec)
      assert.deepEqual([status, got['content-type'], body], [200, 'application/json', '{}'])
    }
  }
})
