/**
 * What ends an exchange because of time, and in which words. Statuses are those that Envoy 1.40 gave to the same
 * requests.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { HttpConnectionManager } from '../../../../model/listener.ts'
import type { ForwardAction, RetryPolicy } from '../../../../model/route.ts'
import { parseCallerTimeoutMs } from '../../../../protocols/http/exchange/timeouts.ts'
import { cluster, forwardTo, Harness, manager, OK, ORIGIN, route } from '../harness.ts'

const perTry: RetryPolicy = {
  on: new Set(['reset']),
  maxRetries: 0,
  perTryTimeoutMs: 300,
  statusCodes: new Set(),
  backoff: { baseMs: 1, capMs: 1 },
  avoidPreviousHosts: false,
  maxHostPicks: 1,
}
const request = (grpc: boolean, more = ''): string =>
  `POST /s/M HTTP/1.1\r\nhost: a\r\n${grpc ? 'content-type: application/grpc\r\n' : ''}${more}content-length: 1\r\n\r\nx`
const stream = (maxMs: number, offsetMs = 0): Partial<ForwardAction> => ({
  grpcTimeout: { of: 'stream', maxMs, offsetMs },
})
const ofRoute = (maxMs: number, offsetMs = 0): Partial<ForwardAction> => ({
  grpcTimeout: { of: 'route', maxMs, offsetMs },
})

/**
 * `afterMs`: when the answer is there and not before. `status`, `grpc`: undefined = it is still under way after 10 s.
 */
for (const { name, action = {}, http = {}, header = '', afterMs = 300, status, grpc, code } of [
  { name: 'route timeout', action: { timeoutMs: 300 }, status: 504, grpc: 14, code: 'MESH_UPSTREAM_TIMEOUT' },
  {
    name: 'per-try timeout',
    action: { timeoutMs: 5000, retry: perTry },
    status: 504,
    grpc: 14,
    code: 'MESH_UPSTREAM_TIMEOUT',
  },
  { name: 'idle timeout of the route', action: { idleMs: 300 }, status: 504, grpc: 14, code: 'MESH_IDLE_TIMEOUT' },
  {
    name: 'idle timeout of the listener',
    http: { streamIdleMs: 300 },
    status: 504,
    grpc: 14,
    code: 'MESH_IDLE_TIMEOUT',
  },
  {
    name: 'max_stream_duration of the route',
    action: { maxStreamMs: 300 },
    status: 504,
    grpc: 4,
    code: 'MESH_STREAM_DURATION',
  },
  {
    name: 'max_stream_duration of the listener',
    http: { maxStreamMs: 300 },
    status: 504,
    grpc: 4,
    code: 'MESH_STREAM_DURATION',
  },
  {
    name: 'the route comes before the listener',
    action: { maxStreamMs: 600 },
    http: { maxStreamMs: 300 },
    afterMs: 600,
    status: 504,
    grpc: 4,
    code: 'MESH_STREAM_DURATION',
  },
  {
    name: 'a route with 0 has none',
    action: { maxStreamMs: 0 },
    http: { maxStreamMs: 300 },
    status: undefined,
    grpc: undefined,
    code: '',
  },
  {
    name: 'grpc-timeout without grpc_timeout_header_max',
    header: '300m',
    status: undefined,
    grpc: undefined,
    code: '',
  },
  {
    name: 'grpc-timeout, no limit',
    action: stream(0),
    header: '300m',
    status: 504,
    grpc: 4,
    code: 'MESH_STREAM_DURATION',
  },
  {
    name: 'grpc-timeout in the place of max_stream_duration',
    action: { ...stream(0), maxStreamMs: 100 },
    header: '300m',
    status: 504,
    grpc: 4,
    code: 'MESH_STREAM_DURATION',
  },
  {
    name: 'grpc-timeout above grpc_timeout_header_max',
    action: stream(300),
    header: '2S',
    status: 504,
    grpc: 4,
    code: 'MESH_STREAM_DURATION',
  },
  {
    name: 'grpc_timeout_header_offset',
    action: stream(0, 200),
    header: '500m',
    status: 504,
    grpc: 4,
    code: 'MESH_STREAM_DURATION',
  },
  {
    name: 'no grpc-timeout: max_stream_duration',
    action: { ...stream(100), maxStreamMs: 300 },
    status: 504,
    grpc: 4,
    code: 'MESH_STREAM_DURATION',
  },
  {
    name: 'a grpc-timeout that is none',
    action: { ...stream(100), maxStreamMs: 300 },
    header: '1x',
    status: 504,
    grpc: 4,
    code: 'MESH_STREAM_DURATION',
  },
  {
    name: 'max_grpc_timeout, about gRPC only',
    action: { ...ofRoute(0), timeoutMs: 100 },
    header: '300m',
    status: 504,
    grpc: 14,
    code: 'MESH_UPSTREAM_TIMEOUT',
  },
  {
    name: 'max_grpc_timeout as a limit, without a header',
    action: { ...ofRoute(300), timeoutMs: 100 },
    status: 504,
    grpc: 14,
    code: 'MESH_UPSTREAM_TIMEOUT',
  },
] satisfies {
  name: string
  action?: Partial<ForwardAction>
  http?: Partial<HttpConnectionManager>
  header?: string
  afterMs?: number
  status: number | undefined
  grpc: number | undefined
  code: string
}[]) {
  for (const isGrpc of [false, true]) {
    test(`${name}, ${isGrpc ? 'gRPC' : 'HTTP'}`, async () => {
      await using h = new Harness()
      await h.origin()
      const client = h.connect(
        manager([route(forwardTo({ timeoutMs: undefined, ...action }))], { streamIdleMs: undefined, ...http }),
      )
      await client.send(request(isGrpc, header === '' ? '' : `grpc-timeout: ${header}\r\n`))
      if (status === undefined) {
        await h.clock.advance(10_000)
        assert.equal(await client.take(), '')
        return
      }
      const atMs = !isGrpc && name.startsWith('max_grpc_timeout') ? 100 : afterMs
      await h.clock.advance(atMs - 10)
      assert.equal(await client.take(), '')
      await h.clock.advance(50)
      const answer = await client.take()
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${isGrpc ? 200 : status} `))
      assert.match(answer, new RegExp(`x-meshlet-error: ${code}\r\n`))
      assert.equal(/\r\ngrpc-status: (\d+)\r\n/.exec(answer)?.[1], isGrpc ? String(grpc) : undefined)
    })
  }
}
test('an answer that has begun is reset when its time is over', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect(manager([route(forwardTo({ maxStreamMs: 300 }))]))
  await client.send(request(true))
  await origin.answer('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n')
  assert.match(await client.take(), /200 OK/)
  await h.clock.advance(310)
  assert.equal(await client.take(), '')
  assert.equal(client.closed, true)
  assert.equal(origin.last.closed, true)
})
test("an exchange that is over is not ended by its time, nor is the next one by the first one's", async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect(manager([route(forwardTo({ maxStreamMs: 300, timeoutMs: 300 }))]))
  for (let i = 0; i < 2; i++) {
    await client.send(request(false))
    await h.clock.advance(200)
    await origin.answer(OK)
    assert.match(await client.take(), /200 OK/)
  }
  await h.clock.advance(1000)
  assert.equal(client.closed, false)
})
test("a request whose body does not come in time is the client's fault: 408", async () => {
  await using h = new Harness()
  await h.origin()
  const client = h.connect(manager([route(forwardTo())], { streamIdleMs: 300 }))
  await client.send('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nx')
  await h.clock.advance(310)
  assert.match(await client.take(), /^HTTP\/1\.1 408 [^]*MESH_REQUEST_TIMEOUT[^]*connection: close/)
})
for (const isGrpc of [false, true]) {
  test(`a connect that hangs is answered as a connect that fails, ${isGrpc ? 'gRPC' : 'HTTP'}`, async () => {
    await using h = new Harness([cluster(undefined, { connectTimeoutMs: 300 })])
    h.network.blackhole(ORIGIN)
    const client = h.connect()
    await client.send(request(isGrpc))
    await h.clock.advance(310)
    const answer = await client.take()
    assert.match(
      answer,
      isGrpc ? /^HTTP\/1\.1 200 [^]*grpc-status: 14\r\n/ : /^HTTP\/1\.1 503 [^]*MESH_CONNECT_TIMEOUT/,
    )
  })
}
for (const { name, http, want } of [
  {
    name: 'direct response 503',
    http: manager([route({ kind: 'direct', status: 503, body: 'no %' })]),
    want: [14, 'no %25'],
  },
  { name: 'direct response 200', http: manager([route({ kind: 'direct', status: 200, body: 'ok' })]), want: [2, 'ok'] },
  {
    name: 'direct response without a body',
    http: manager([route({ kind: 'direct', status: 429, body: '' })]),
    want: [14, undefined],
  },
  { name: 'no route', http: manager([]), want: [12, 'MESH_NO_ROUTE: no route matches the request'] },
] as const)
  test(`local answers to gRPC callers are gRPC: ${name}`, async () => {
    await using h = new Harness()
    const client = h.connect(http)
    await client.send(request(true))
    const answer = await client.take()
    assert.match(answer, /^HTTP\/1\.1 200 OK[^]*content-type: application\/grpc\r\n/)
    assert.deepEqual([Number(/grpc-status: (\d+)/.exec(answer)?.[1]), /grpc-message: (.*)\r/.exec(answer)?.[1]], want)
  })
test('a redirect of a gRPC caller keeps its location', async () => {
  await using h = new Harness()
  const client = h.connect(
    manager([
      route({
        kind: 'redirect',
        status: 301,
        scheme: undefined,
        host: 'b',
        port: undefined,
        path: undefined,
        stripQuery: false,
      }),
    ]),
  )
  await client.send(request(true))
  assert.match(await client.take(), /^HTTP\/1\.1 200 OK\r\nlocation: http:\/\/b\/s\/M\r\n[^]*grpc-status: 2\r\n/)
})
for (const [status, grpc] of Object.entries({
  400: 13,
  401: 16,
  403: 7,
  404: 12,
  408: 2,
  413: 2,
  429: 14,
  431: 2,
  500: 2,
  501: 2,
  502: 14,
  503: 14,
  504: 14,
})) {
  test(`gRPC's table of HTTP statuses: ${status} is ${grpc}`, async () => {
    await using h = new Harness()
    const client = h.connect(manager([route({ kind: 'direct', status: Number(status), body: '' })]))
    await client.send(request(true))
    assert.match(await client.take(), new RegExp(`grpc-status: ${grpc}\r\n`))
  })
}
test('grpc-timeout: at most eight digits and a unit', () => {
  assert.deepEqual(
    ['1H', '2M', '3S', '4m', '1500u', '1n', '0S', '123456789S', '1', 'S', '-1S', '1s', undefined].map(
      parseCallerTimeoutMs,
    ),
    [3_600_000, 120_000, 3000, 4, 2, 1, 0, undefined, undefined, undefined, undefined, undefined, undefined],
  )
})
