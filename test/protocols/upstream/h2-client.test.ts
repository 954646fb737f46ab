/** Calls over HTTP/2 as the endpoint sees them, frame by frame. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { H2Endpoint, type EndpointConnection } from '../../helpers/h2-endpoint.ts'
import { frame, headers, setting, word, type Fields } from '../../helpers/raw-h2.ts'
import type { Cluster } from '../../../model/cluster.ts'
import type { RetryPolicy } from '../../../model/route.ts'
import type { Limits } from '../../../protocols/context.ts'
import { Both } from '../http/both.ts'
import { settle } from '../../helpers/sim-clock.ts'
import { cluster, forwardTo, GET, Harness, manager, ORIGIN, route } from '../http/harness.ts'

const OK: Fields = [[':status', '200']]
const NO_ERROR = 0
const REFUSED_STREAM = 7
const CANCEL = 8
const data = (stream: number, text: string, end: boolean): Buffer => frame(0, end ? 1 : 0, stream, Buffer.from(text))
const reset = (stream: number, code: number): Buffer => frame(3, 0, stream, word(code))
const goaway = (last: number, code = 0): Buffer => frame(7, 0, 0, Buffer.concat([word(last), word(code)]))
const streams = (n: number): Buffer => setting(3, n)
const window = (n: number): Buffer => setting(4, n)
const RETRY: RetryPolicy = {
  on: new Set(['reset', 'refused-stream'] as const),
  maxRetries: 2,
  perTryTimeoutMs: undefined,
  statusCodes: new Set(),
  backoff: { baseMs: 1, capMs: 2 },
  avoidPreviousHosts: false,
  maxHostPicks: 1,
}

type Setting = {
  readonly first?: Buffer
  readonly retry?: RetryPolicy
  readonly cluster?: Partial<Cluster>
  readonly limits?: Partial<Limits>
}
async function rig(
  t: TestContext,
  { first, retry, cluster: more, limits = {} }: Setting = {},
): Promise<{ both: Both; endpoint: H2Endpoint }> {
  const endpoint = await H2Endpoint.start(first)
  t.after(() => endpoint[Symbol.dispose]())
  const http = manager([route(forwardTo({ retry }))])
  return {
    endpoint,
    both: await Both.start(t, http, { limits, cluster: { protocol: 'http2', ...more }, originPort: endpoint.port }),
  }
}
const ended = (connection: EndpointConnection, stream: number): boolean =>
  connection.heard.some((f) => f.stream === stream && f.type <= 1 && (f.flags & 1) === 1)
const active = ({ metrics }: Both): number => metrics.total('mesh_upstream_requests_active')
const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })
/** A test that has timed out must not go on looking. */
const VAIN_MS = 15_000
async function until(holds: () => boolean): Promise<void> {
  for (const endMs = Date.now() + VAIN_MS; !holds();) {
    assert.ok(Date.now() < endMs, 'waited in vain')
    await turn()
  }
}

/** A client of HTTP/1.1 that says what it likes. */
async function client(t: TestContext, both: Both, says: string): Promise<{ socket: net.Socket; text: () => string }> {
  const socket = net.connect(both.ports.http1, '127.0.0.1').on('error', () => {})
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  await once(socket, 'connect')
  t.after(() => socket.destroy())
  socket.write(says)
  return { socket, text: () => text }
}
const POST = 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello'

for (const says of ['its end alone', 'RST_STREAM behind it'] as const) {
  test(
    `an answer that ends before the request does counts, and the request is given up: ${says}`,
    { timeout: 10_000 },
    async (t) => {
      const { both, endpoint } = await rig(t)
      const { text } = await client(t, both, POST)
      const connection = await endpoint.connection(1)
      const { stream } = (await connection.request(1))!
      connection.write(
        headers(stream, OK, false),
        data(stream, 'early', true),
        ...(says === 'its end alone' ? [] : [reset(stream, NO_ERROR)]),
      )
      await until(() => text().includes('early\r\n0\r\n\r\n'))
      const given = await connection.until((f) => f.type === 3)
      assert.equal(given?.payload.readUInt32BE(0), NO_ERROR)
      assert.equal(ended(connection, stream), false, 'half a request has no end')
      assert.equal(active(both), 0)
    },
  )
}

test('a client that leaves is told as CANCEL, never as the end of its request', { timeout: 10_000 }, async (t) => {
  const { both, endpoint } = await rig(t)
  const { socket } = await client(t, both, POST)
  const connection = await endpoint.connection(1)
  const { stream } = (await connection.request(1))!
  await connection.until((f) => f.type === 0)
  socket.destroy()
  assert.equal((await connection.until((f) => f.type === 3))?.payload.readUInt32BE(0), CANCEL)
  assert.equal(ended(connection, stream), false)
  assert.equal(active(both), 0)
  const next = both.ask('http1')
  connection.write(headers((await connection.request(2))!.stream, OK, true))
  assert.equal((await next).status, 200)
})

for (const { name, frames, code } of [
  { name: 'REFUSED_STREAM', frames: (s: number) => [reset(s, REFUSED_STREAM)], code: 'MESH_UPSTREAM_REFUSED_STREAM' },
  { name: 'GOAWAY of streams before it', frames: (s: number) => [goaway(s - 2)], code: 'MESH_UPSTREAM_REFUSED_STREAM' },
  { name: 'another code', frames: (s: number) => [reset(s, 2)], code: 'MESH_UPSTREAM_RESET' },
  { name: 'NO_ERROR before the answer', frames: (s: number) => [reset(s, NO_ERROR)], code: 'MESH_UPSTREAM_RESET' },
]) {
  for (const method of ['GET', 'POST']) {
    const isUnsent = code === 'MESH_UPSTREAM_REFUSED_STREAM'
    const again = isUnsent || method === 'GET'
    test(
      `${method} that is reset with ${name} is ${again ? 'tried again' : 'not tried again: it may have arrived'}`,
      { timeout: 10_000 },
      async (t) => {
        const { both, endpoint } = await rig(t, { retry: RETRY })
        const keeping = both.ask('http1')
        const connection = await endpoint.connection(1)
        const kept = (await connection.request(1))!.stream
        const asked = both.ask('http1', { method })
        connection.write(...frames((await connection.request(2))!.stream))
        if (again) {
          // A reset on a used connection may mean the connection.
          const over = name === 'REFUSED_STREAM' ? connection : await endpoint.connection(2)
          over.write(headers((await over.request(over === connection ? 3 : 1))!.stream, OK, true))
          assert.equal((await asked).status, 200)
        } else assert.equal((await asked).headers['x-meshlet-error'], code)
        // What GOAWAY permits comes to its end.
        connection.write(headers(kept, OK, true))
        assert.equal((await keeping).status, 200)
        if (name.startsWith('GOAWAY')) await connection.whenClosed
        assert.equal(active(both), 0)
      },
    )
  }
}

test('the endpoint says how many streams it takes; more go over other connections', { timeout: 10_000 }, async (t) => {
  const { both, endpoint } = await rig(t, { first: streams(1) })
  const first = both.ask('http1')
  const one = await endpoint.connection(1)
  await one.request(1)
  const second = both.ask('http1')
  const two = await endpoint.connection(2)
  two.write(headers((await two.request(1))!.stream, OK, true))
  assert.equal((await second).status, 200)
  one.write(headers(1, OK, true))
  assert.equal((await first).status, 200)
  assert.equal(one.heard.filter((f) => f.type === 1).length, 1)
})

test('what the endpoint said over one connection holds for the next from its begin', { timeout: 10_000 }, async (t) => {
  const { both, endpoint } = await rig(t, { first: streams(1) })
  const before = both.ask('http1')
  const one = await endpoint.connection(1)
  one.write(headers((await one.request(1))!.stream, OK, true))
  assert.equal((await before).status, 200)
  const asked = [both.ask('http1'), both.ask('http1'), both.ask('http1')]
  const [two, three] = [await endpoint.connection(2), await endpoint.connection(3)]
  one.write(headers((await one.request(2))!.stream, OK, true))
  for (const next of [two, three]) next.write(headers((await next.request(1))!.stream, OK, true))
  for (const each of asked) assert.equal((await each).status, 200)
  for (const next of [two, three]) assert.equal(next.heard.filter((f) => f.type === 1).length, 1)
})

test('a connection ends after its number of requests', { timeout: 10_000 }, async (t) => {
  const { both, endpoint } = await rig(t, { cluster: { maxRequestsPerConnection: 2 } })
  for (let n = 1; n <= 3; n++) {
    const asked = both.ask('http1')
    const connection = await endpoint.connection(n <= 2 ? 1 : 2)
    connection.write(headers((await connection.request(n <= 2 ? n : 1))!.stream, OK, true))
    assert.equal((await asked).status, 200)
  }
  await endpoint.connections[0]!.whenClosed
  assert.ok(
    endpoint.connections[0]!.heard.some((f) => f.type === 7),
    'GOAWAY',
  )
})

test("what waits for the endpoint's window counts, and leaves when there is room", { timeout: 20_000 }, async (t) => {
  const { both, endpoint } = await rig(t, { first: window(0) })
  const body = 'x'.repeat(200_000)
  const { text } = await client(t, both, `POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
  const connection = await endpoint.connection(1)
  const { stream } = (await connection.request(1))!
  await until(() => both.metrics.total('mesh_stream_waiting_bytes') >= 64 * 1024)
  const sent = (): number => connection.heard.filter((f) => f.type === 0).reduce((sum, f) => sum + f.payload.length, 0)
  assert.ok(sent() <= 65_535, 'no more than went before SETTINGS came')
  connection.write(frame(8, 0, 0, word(1_000_000)), frame(8, 0, stream, word(1_000_000)))
  await connection.until((f) => f.type === 0 && (f.flags & 1) === 1)
  assert.equal(sent(), body.length)
  connection.write(headers(stream, OK, true))
  await until(() => text().includes('200 OK'))
  assert.equal(both.metrics.total('mesh_stream_waiting_bytes'), 0)
})

test(
  'an answer that its client does not take stops at the window of its stream, and others go on',
  { timeout: 20_000 },
  async (t) => {
    const { both, endpoint } = await rig(t, { limits: { maxBufferBytes: 64 * 1024 } })
    const { socket } = await client(t, both, 'GET / HTTP/1.1\r\nhost: a\r\n\r\n')
    socket.pause()
    const connection = await endpoint.connection(1)
    const { stream } = (await connection.request(1))!
    connection.write(headers(stream, OK, false))
    // As much as the windows permit: whoever stops reading stops giving them back.
    const given = (): number =>
      256 * 1024 +
      connection.heard
        .filter((f) => f.type === 8 && f.stream === stream)
        .reduce((sum, f) => sum + f.payload.readUInt32BE(0), 0)
    const chunk = Buffer.alloc(16_384, 'x')
    let sent = 0
    const send = (): void => {
      for (; sent + chunk.length <= given(); sent += chunk.length) connection.write(frame(0, 0, stream, chunk))
    }
    await until(() => {
      send()
      return both.metrics.total('mesh_stream_waiting_bytes') >= 256 * 1024
    })
    send()
    const next = both.ask('http1')
    const more = (await connection.request(2))!.stream
    connection.write(headers(more, OK, false), data(more, 'hi', true))
    assert.match((await next).body, /hi/)
    connection.write(frame(0, 1, stream, Buffer.alloc(0)))
    let got = 0
    socket.on('data', (bytes: Buffer) => {
      got += bytes.length
    })
    socket.resume()
    await until(() => got >= sent && active(both) === 0)
    assert.equal(both.metrics.total('mesh_stream_waiting_bytes'), 0)
  },
)

test('trailers go both ways, and te: trailers with gRPC', { timeout: 10_000 }, async (t) => {
  const { both, endpoint } = await rig(t)
  const { text } = await client(
    t,
    both,
    'POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n',
  )
  const connection = await endpoint.connection(1)
  const { stream } = (await connection.request(1))!
  await connection.until((f) => f.type === 1 && (f.flags & 1) === 1)
  const lists = connection.heard.filter((f) => f.type === 1)
  assert.equal(lists.length, 2)
  connection.write(
    headers(stream, OK, false),
    data(stream, 'hi', false),
    headers(
      stream,
      [
        ['grpc-status', '0'],
        ['content-length', '9'],
      ],
      true,
    ),
  )
  await until(() => text().endsWith('2\r\nhi\r\n0\r\ngrpc-status: 0\r\n\r\n'))
})

test('an idle connection that the endpoint ends is not used again', { timeout: 10_000 }, async (t) => {
  const { both, endpoint } = await rig(t)
  for (const n of [1, 2]) {
    const asked = both.ask('http1')
    const connection = await endpoint.connection(n)
    connection.write(headers((await connection.request(1))!.stream, OK, true))
    assert.equal((await asked).status, 200)
    connection.socket.end()
    await connection.whenClosed
    await until(() => both.metrics.total('mesh_upstream_connections') === 0)
  }
})

test('a connection of which the endpoint takes nothing is let go of all the same', async () => {
  await using h = new Harness([cluster(undefined, { protocol: 'http2', idleMs: 1000 })])
  let isOpen = false
  await h.network.listen(ORIGIN, ({ stream }) => {
    isOpen = true
    stream.on('close', () => {
      isOpen = false
    })
    stream.once('data', () => {
      stream.pause()
      stream.write(Buffer.concat([frame(4, 0, 0, Buffer.alloc(0)), headers(1, OK, true)]))
    })
  })
  const asking = h.connect()
  await asking.send(GET)
  await settle()
  assert.match(await asking.take(), /200 OK/)
  await h.clock.advance(1010)
  assert.equal(h.upstreams.clusterStatus()[0]!.connections, 0)
  assert.equal(isOpen, true, 'what it is told last may still arrive')
  await h.clock.advance(1000)
  assert.equal(isOpen, false)
})

test('what the endpoint does not take counts against the memory budget', async () => {
  await using h = new Harness([cluster(undefined, { protocol: 'http2' })], { maxReplayBytes: 0 })
  let far: Duplex | undefined
  await h.network.listen(ORIGIN, ({ stream }) => {
    far = stream
    stream.on('error', () => {})
    stream.once('data', () => {
      stream.pause()
      stream.write(Buffer.concat([window(1 << 30), frame(8, 0, 0, word(1 << 30))]))
    })
  })
  const waiting = (): number => h.metrics.total('mesh_stream_waiting_bytes')
  const asking = h.connect()
  await asking.send('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 400000\r\n\r\n')
  await settle()
  for (let i = 0; i < 2; i++) await asking.send('x'.repeat(50_000))
  const stuck = waiting()
  assert.ok(stuck >= 16 * 1024, `${stuck} bytes`)
  far!.resume()
  await settle()
  await settle()
  assert.equal(waiting(), 0)
  far!.pause()
  for (let i = 0; i < 6; i++) await asking.send('x'.repeat(50_000))
  assert.ok(waiting() >= 16 * 1024)
  far!.destroy()
  await settle()
  await settle()
  assert.equal(waiting(), 0)
})
test(
  'a request of HTTP/1.0 without a host is refused: :authority is not empty (RFC 9113 §8.3.1)',
  { timeout: 10_000 },
  async (t) => {
    const { both, endpoint } = await rig(t)
    const client = net.connect(both.ports.http1, '127.0.0.1')
    let text = ''
    client
      .on('error', () => {})
      .on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1')
      })
    client.write('GET / HTTP/1.0\r\n\r\n')
    await once(client, 'close')
    assert.match(text, /^HTTP\/1\.1 501 [^]*without a host/)
    assert.ok(endpoint.connections.every(({ heard }) => heard.every(({ type }) => type !== 1)))
    assert.equal(active(both), 0)
  },
)
