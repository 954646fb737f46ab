/**
 * Where messages end: whatever a client sends, an endpoint finds one request per exchange in the bytes that reach it,
 * and the client one answer.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { duplexPair } from 'node:stream'
import fc from 'fast-check'
import { endOf, http1Origin, type OddAnswer, type RawOrigin } from '../../../helpers/raw-origins.ts'
import { Both } from '../both.ts'
import { manager, route } from '../harness.ts'

/** Where it is taken for a request, it is one that policies never saw. */
const SMUGGLED = 'GET /denied HTTP/1.1\r\nhost: a\r\nx-forwarded-client-cert: By=evil\r\n\r\n'

async function rig(t: TestContext): Promise<{ both: Both; origin: RawOrigin }> {
  const origin = await http1Origin()
  t.after(() => origin[Symbol.dispose]())
  const both = await Both.start(t, manager([route()], { upgrades: ['websocket'] }), {
    originPort: origin.port,
    cluster: { protocol: 'http1' },
  })
  return { both, origin }
}

/** Everything until the connection ends. */
async function exchange(port: number, bytes: string): Promise<string> {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => {})
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
  })
  socket.write(bytes, 'latin1')
  await once(socket, 'close')
  return text
}

const UPGRADE =
  'POST /up HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: k\r\nsec-websocket-version: 13\r\n'
for (const { name, bytes } of [
  { name: 'with a length', bytes: `${UPGRADE}content-length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}` },
  {
    name: 'in chunks',
    bytes: `${UPGRADE}transfer-encoding: chunked\r\n\r\n${SMUGGLED.length.toString(16)}\r\n${SMUGGLED}\r\n0\r\n\r\n`,
  },
  { name: 'of which nothing has come', bytes: `${UPGRADE}content-length: ${SMUGGLED.length}\r\n\r\n` },
]) {
  test(`an upgrade request with a body ${name} is a 400, and nothing of it reaches an endpoint`, async (t) => {
    const { both, origin } = await rig(t)
    assert.match(await exchange(both.ports.http1, bytes), /^HTTP\/1\.1 400 [^]*connection: close/)
    assert.deepEqual(origin.received, [])
  })
}

test('what offers another kind of HTTP keeps its body framed as ever', async (t) => {
  const { both, origin } = await rig(t)
  for (const offer of ['h2c', 'TLS/1.2', 'HTTP/3.0, h2c']) {
    const text = await exchange(
      both.ports.http1,
      `POST / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, HTTP2-Settings, close\r\nhttp2-settings: x\r\nupgrade: ${offer}\r\ncontent-length: 4\r\n\r\nbody`,
    )
    assert.match(text, /^HTTP\/1\.1 200 /)
  }
  assert.equal(origin.received.length, 1)
  assert.match(origin.received[0]!, /content-length: 4\r\n\r\nbody/)
  assert.doesNotMatch(origin.received[0]!, /upgrade|http2-settings/i)
})

test('an HTTP/1.0 request asks for no upgrade (RFC 9110 §7.8)', async (t) => {
  const { both, origin } = await rig(t)
  assert.match(
    await exchange(
      both.ports.http1,
      'POST / HTTP/1.0\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\ncontent-length: 4\r\n\r\nbody',
    ),
    /^HTTP\/1\.1 200 /,
  )
  assert.doesNotMatch(origin.received[0]!, /upgrade/i)
})

test('a connection over which an upgrade was declined carries no other request', async (t) => {
  const { both, origin } = await rig(t)
  assert.match(
    await exchange(
      both.ports.http1,
      `GET /up HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n${SMUGGLED}`,
    ),
    /^HTTP\/1\.1 200 [^]*connection: close/,
  )
  assert.equal((await both.ask('http1')).status, 200)
  assert.equal(origin.received.length, 2)
  assert.doesNotMatch(origin.received.join(''), /evil/)
})

/* Generated. */

type Body = {
  readonly kind: 'none' | 'length' | 'chunked' | 'late'
  readonly text: string
  readonly trailers: readonly string[]
}
type Request = {
  readonly method: string
  readonly body: Body
  readonly fields: readonly string[]
  readonly answer: OddAnswer
}

const body: fc.Arbitrary<Body> = fc.record({
  kind: fc.constantFrom('none', 'length', 'chunked', 'late'),
  text: fc.oneof(
    fc.constantFrom(SMUGGLED, '0\r\n\r\n', `0\r\n\r\n${SMUGGLED}`, 'a'),
    fc.string({ unit: fc.constantFrom('\r', '\n', '0', 'a', ':', ' ', '\u00ff'), maxLength: 40 }),
    fc.constant('x'.repeat(70_000)),
  ),
  trailers: fc.subarray([
    'x-a: 1',
    'content-length: 5',
    'transfer-encoding: chunked',
    'x-forwarded-client-cert: By=evil',
    'host: evil',
  ]),
})
const answer: fc.Arbitrary<OddAnswer> = fc
  .record({
    status: fc.constantFrom(200, 200, 200, 204, 205, 304, 404, 500, 999),
    body: fc.constantFrom('', 'hello', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n', 'y'.repeat(70_000)),
    informational: fc.array(fc.record({ status: fc.constantFrom(100, 102, 103) }), { maxLength: 2 }),
  })
  .chain((one) =>
    fc
      .option(fc.constant([['x-t', '1']] as const), { nil: undefined })
      .map((trailers) => (trailers ? { ...one, trailers } : one)),
  )
const request: fc.Arbitrary<Request> = fc.record({
  method: fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'PROPFIND'),
  body,
  answer,
  fields: fc.subarray([
    'connection: content-length',
    'connection: keep-alive, transfer-encoding',
    'te: trailers',
    'trailer: content-length',
    'upgrade: websocket',
    'connection: upgrade',
    'upgrade: h2c',
    'keep-alive: timeout=1',
    'x-content-length: 7',
    'expect: 100-continue',
  ]),
})

test(
  'HTTP/1.1 pipelined: each request arrives once and whole, each answer leaves once and in order',
  { timeout: 60_000 },
  async (t) => {
    const { both, origin } = await rig(t)
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 5 }), async (requests) => {
        forget(origin)
        origin.answer = answerOf(requests)
        const text = await exchange(
          both.ports.http1,
          requests.map((one, i) => http1Bytes(one, i, i === requests.length - 1)).join(''),
        )
        const arrived = (await Promise.all(origin.received.filter((bytes) => bytes !== '').map(parsed))).flat()
        const answers = answersIn(text, requests)
        for (const [i, status] of answers.entries())
          assert.ok(
            status === requests[i]!.answer.status || (status >= 400 && i === answers.length - 1),
            `${i}: ${status}`,
          )
        // What was answered by its endpoint arrived; what arrived was answered, or the connection was over before.
        const wanted = requests.map((one, i) => ({
          url: `/${i}`,
          method: one.method,
          body: one.body.kind === 'none' ? '' : one.body.text,
        }))
        for (const one of arrived)
          assert.deepEqual({ url: one.url, method: one.method, body: one.body }, wanted[Number(one.url.slice(1))])
        assert.equal(new Set(arrived.map((one) => one.url)).size, arrived.length)
        for (const one of arrived) assert.ok(!one.raw.includes('By=evil') && !one.raw.includes('evil'), String(one.raw))
        const refused = answers.filter((status, i) => status !== requests[i]!.answer.status).length
        assert.ok(arrived.length >= answers.length - refused, `${arrived.length} of ${answers.length - refused}`)
      }),
      { numRuns: 150, seed: 11 },
    )
  },
)

test("HTTP/2: each stream is one request of the endpoint's, and gets its answer", { timeout: 60_000 }, async (t) => {
  const { both, origin } = await rig(t)
  const session = http2.connect(`http://127.0.0.1:${both.ports.http2}`)
  t.after(() => {
    session.destroy()
  })
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 5 }), async (requests) => {
      forget(origin)
      origin.answer = answerOf(requests)
      const told = await Promise.all(requests.map((one, i) => http2Exchange(session, one, i)))
      const arrived = (await Promise.all(origin.received.filter((text) => text !== '').map(parsed))).flat()
      for (const [i, status] of told.entries())
        assert.ok(
          status === requests[i]!.answer.status || (status === 502 && requests[i]!.answer.status === 999),
          `${i}: ${status}`,
        )
      const wanted = requests.map((one, i) => ({
        url: `/${i}`,
        method: one.method,
        body: one.body.kind === 'none' ? '' : one.body.text,
      }))
      assert.deepEqual(
        arrived
          .map(({ url, method, body: got }) => ({ url, method, body: got }))
          .sort((a, b) => a.url.localeCompare(b.url)),
        wanted,
      )
      for (const one of arrived) assert.ok(!one.raw.includes('By=evil') && !one.raw.includes('evil'))
    }),
    { numRuns: 100, seed: 12 },
  )
})

/** Connections of before stay open. */
function forget(origin: RawOrigin): void {
  for (let i = 0; i < origin.received.length; i++) origin.received[i] = ''
}

function answerOf(requests: readonly Request[]): (text: string) => OddAnswer {
  return (text) =>
    requests[Number(/^\S+ \/(\d+) /.exec(text)?.[1])]?.answer ?? { status: 500, body: 'nobody sent this' }
}

function http1Bytes({ method, body: { kind, text, trailers }, fields }: Request, i: number, last: boolean): string {
  const framing =
    kind === 'none' ? '' : kind === 'length' ? `content-length: ${text.length}\r\n` : 'transfer-encoding: chunked\r\n'
  const chunks =
    text === ''
      ? ''
      : kind === 'late'
        ? [0, 1, 2].map((at) => (at < text.length ? `1\r\n${text[at]!}\r\n` : '')).join('') +
          (text.length > 3 ? `${(text.length - 3).toString(16)}\r\n${text.slice(3)}\r\n` : '')
        : `${text.length.toString(16)}\r\n${text}\r\n`
  const content =
    kind === 'none'
      ? ''
      : kind === 'length'
        ? text
        : `${chunks}0\r\n${trailers.map((line) => `${line}\r\n`).join('')}\r\n`
  return `${method} /${i} HTTP/1.1\r\nhost: a\r\n${fields.map((line) => `${line}\r\n`).join('')}${last ? 'connection: close\r\n' : ''}${framing}\r\n${content}`
}

async function http2Exchange(
  session: http2.ClientHttp2Session,
  { method, body: { kind, text, trailers } }: Request,
  i: number,
): Promise<number> {
  const waits = kind === 'chunked' || kind === 'late'
  const stream = session.request(
    { ':path': `/${i}`, ':method': method, ...(kind === 'length' ? { 'content-length': String(text.length) } : {}) },
    { endStream: kind === 'none', waitForTrailers: waits && trailers.length > 0 },
  )
  const late = Object.fromEntries(trailers.filter((line) => /^(?:x-|host)/.test(line)).map((line) => line.split(': ')))
  stream.on('wantTrailers', () => {
    stream.sendTrailers(late)
  })
  stream.on('error', () => {})
  let status = 0
  stream.on('response', (headers) => {
    status = headers[':status']!
  })
  stream.resume()
  if (kind !== 'none') stream.end(Buffer.from(text, 'latin1'))
  await once(stream, 'close').catch(() => {})
  return status
}

/** Final answers, as a client of these requests reads them. */
function answersIn(text: string, requests: readonly Request[]): number[] {
  const found: number[] = []
  for (let rest = text; rest !== '';) {
    const status = Number(
      /^HTTP\/1\.1 (\d{3}) /.exec(rest)?.[1] ??
        assert.fail(`no answer begins here: ${JSON.stringify(rest.slice(0, 80))}`),
    )
    const one = requests[found.length] ?? assert.fail(`an answer to nobody: ${JSON.stringify(rest.slice(0, 80))}`)
    const bodiless = status < 200 || status === 204 || status === 304 || one.method === 'HEAD'
    rest = rest.slice(bodiless ? rest.indexOf('\r\n\r\n') + 4 : (endOf(rest) ?? rest.length))
    if (status >= 200) found.push(status)
  }
  return found
}

type Arrived = { readonly method: string; readonly url: string; readonly body: string; readonly raw: readonly string[] }
/** The requests of a connection's bytes, as llhttp reads them. */
async function parsed(bytes: string): Promise<Arrived[]> {
  const found: Arrived[] = []
  const [near, far] = duplexPair()
  const server = http.createServer({ insecureHTTPParser: false, requireHostHeader: true }, (req, res) => {
    let text = ''
    req.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
    })
    req.on('end', () => {
      found.push({ method: req.method!, url: req.url!, body: text, raw: [...req.rawHeaders, ...req.rawTrailers] })
      res.end()
    })
  })
  server.on('clientError', (err) => {
    found.push({ method: 'broken', url: String(err), body: '', raw: [] })
  })
  for (const event of ['upgrade', 'connect'] as const)
    server.on(event, (req: http.IncomingMessage) => {
      found.push({ method: req.method!, url: req.url!, body: '', raw: [...req.rawHeaders] })
    })
  server.emit('connection', far)
  near.resume()
  near.end(Buffer.from(bytes, 'latin1'))
  await Promise.race([
    once(near, 'end'),
    once(far, 'close'),
    new Promise((resolve) => {
      setTimeout(resolve, 500).unref()
    }),
  ])
  near.destroy()
  far.destroy()
  return found
}
