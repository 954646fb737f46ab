import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { HttpConnectionManager } from '../../../../model/listener.ts'
import type { Cluster, Transport } from '../../../../model/cluster.ts'
import type { RetryPolicy } from '../../../../model/route.ts'
import { MemoryBudget } from '../../../../core/runtime/memory-budget.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import {
  type Client,
  cluster,
  endpoint,
  forwardTo,
  GET,
  Harness,
  manager,
  OK,
  type Origin,
  ORIGIN,
  route,
  tablesOf,
} from '../harness.ts'
import { ANY_TLS, byName } from '../../parts.ts'
import { HTTP as AUTH_SERVICE, SETTINGS as AUTH_SETTINGS } from '../filters/ext-authz/rig.ts'

const retry = (more: Partial<RetryPolicy> = {}): RetryPolicy => ({
  on: new Set(['5xx', 'connect-failure', 'reset']),
  maxRetries: 2,
  perTryTimeoutMs: undefined,
  statusCodes: new Set(),
  backoff: { baseMs: 20, capMs: 100 },
  avoidPreviousHosts: false,
  maxHostPicks: 3,
  ...more,
})
const POST = 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc'
const retries = (h: Harness, result: string): number => h.metrics.total('mesh_upstream_retries_total', { result })

test('a request is forwarded and its answer comes back in one piece', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send('GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n')
  assert.equal(
    await origin.last.take(),
    'GET /x?y=1 HTTP/1.1\r\nhost: a.example\r\naccept: */*\r\nx-forwarded-proto: http\r\n\r\n',
  )
  await origin.answer('HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi')
  assert.equal(
    await client.take(),
    'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ndate: Tue, 14 Nov 2023 22:13:20 GMT\r\nx-envoy-upstream-service-time: 0\r\nserver: meshlet\r\ncontent-length: 2\r\n\r\nhi',
  )
  assert.equal(h.metrics.total('mesh_http_requests_total', { direction: 'inbound', class: '2xx' }), 1)
})

test('client and endpoint connections are kept alive and used again', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  for (let i = 0; i < 5; i++) {
    await client.send(GET)
    await origin.answer(OK)
    assert.match(await client.take(), /^HTTP\/1\.1 200 OK[^]*hi$/)
  }
  assert.equal(origin.connections.length, 1)
  assert.equal(client.closed, false)
})

test('hop-by-hop fields, also those that Connection names, end at the proxy (RFC 9110 §7.6.1)', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  await h
    .connect()
    .send(
      'GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Connection: x\r\nUpgrade: h2c\r\n\r\n',
    )
  assert.equal(await origin.last.take(), 'GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-proto: http\r\n\r\n')
})

test('a chunked request with trailers stays chunked and keeps its trailers', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect()
  await client.send(
    'POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nx-sum: 1\r\ncontent-length: 9\r\n\r\n',
  )
  assert.equal(
    (await origin.last.take()).split('\r\n\r\n').slice(1).join('\r\n\r\n'),
    '3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n',
  )
  await origin.answer('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-t: 2\r\n\r\n')
  assert.match(await client.take(), /transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-t: 2\r\n\r\n$/)
})

test('no endpoint listening is answered with 503 and its code', async () => {
  await using h = new Harness()
  const client = h.connect()
  await client.send(GET)
  const answer = await client.take()
  assert.match(answer, /^HTTP\/1\.1 503 Service Unavailable\r\nx-meshlet-error: MESH_CONNECT_FAILED\r\n/)
  assert.match(answer, /\r\n\r\nMESH_CONNECT_FAILED: /)
})

test('a gRPC caller is refused with trailers only and status 200', async () => {
  await using h = new Harness([])
  const client = h.connect()
  await client.send('POST /s/M HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n')
  const answer = await client.take()
  assert.match(answer, /^HTTP\/1\.1 200 OK/)
  assert.match(answer, /grpc-status: 14\r\n/)
})

test('a failed connect is tried again after the back-off when the policy asks for it', async () => {
  await using h = new Harness()
  const client = h.connect(manager([route(forwardTo({ retry: retry() }))]))
  h.network.refuse(ORIGIN)
  await client.send(GET)
  assert.equal(await client.take(), '')
  h.network.restore(ORIGIN)
  const origin = await h.origin()
  await h.clock.advance(100)
  await origin.answer(OK)
  assert.match(await client.take(), /200 OK/)
  assert.equal(retries(h, 'sent'), 1)
})

test('a POST that may have arrived is not sent again, though the policy asks for it', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect(manager([route(forwardTo({ retry: retry() }))]))
  await client.send(POST)
  h.network.cut(ORIGIN)
  await h.clock.advance(1000)
  assert.match(await client.take(), /^HTTP\/1\.1 503 [^]*MESH_UPSTREAM_RESET/)
  assert.equal(origin.connections.length, 1)
  assert.equal(retries(h, 'held-back'), 1)
  assert.equal(retries(h, 'sent'), 0)
})

test('the same POST with an idempotency key is sent again, whole', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect(manager([route(forwardTo({ retry: retry() }))]))
  await client.send(POST.replace('host', 'idempotency-key: 1\r\nhost'))
  h.network.cut(ORIGIN)
  await h.clock.advance(1000)
  assert.equal(origin.connections.length, 2)
  assert.match(await origin.last.take(), /content-length: 3\r\n\r\nabc$/)
  await origin.answer(OK)
  assert.match(await client.take(), /200 OK/)
})

test('a 503 is tried again up to the limit and then passed on as it is', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect(manager([route(forwardTo({ retry: retry() }))], {}, { includeAttemptCount: true }))
  await client.send(GET)
  for (let i = 0; i < 3; i++) {
    assert.match(await origin.last.take(), new RegExp(`x-envoy-attempt-count: ${i + 1}\r\n`))
    await origin.answer('HTTP/1.1 503 No\r\nx-n: ' + i + '\r\ncontent-length: 0\r\n\r\n')
    await h.clock.advance(200)
  }
  assert.match(await client.take(), /^HTTP\/1\.1 503 Service Unavailable\r\nx-n: 2/)
  assert.equal(retries(h, 'sent'), 2)
})

test("retries over the cluster's budget are not made", async () => {
  await using h = new Harness([
    cluster(undefined, {
      breakers: { maxConnections: 9, maxPendingRequests: 9, maxRequests: 9, maxRetries: 0, retryBudget: undefined },
    }),
  ])
  const origin = await h.origin()
  const client = h.connect(manager([route(forwardTo({ retry: retry() }))]))
  await client.send(GET)
  await origin.answer('HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n')
  assert.match(await client.take(), /^HTTP\/1\.1 503/)
  assert.equal(retries(h, 'budget'), 1)
})

test('a body longer than the replay limit is not sent again', async () => {
  await using h = new Harness([cluster()], { maxReplayBytes: 10 })
  const origin = await h.origin()
  const client = h.connect(manager([route(forwardTo({ retry: retry() }))]))
  await client.send(`PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 20\r\n\r\n${'x'.repeat(20)}`)
  await origin.answer('HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n')
  assert.match(await client.take(), /^HTTP\/1\.1 503/)
  assert.equal(origin.connections.length, 1)
  assert.equal(h.metrics.total('mesh_http_limits_met_total', { limit: 'maxReplayBytes' }), 1)
})

test("the route's timeout is answered with 504", async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect(manager([route(forwardTo({ timeoutMs: 500 }))]))
  await client.send(GET)
  await h.clock.advance(499)
  assert.equal(await client.take(), '')
  await h.clock.advance(10)
  assert.match(await client.take(), /^HTTP\/1\.1 504 [^]*MESH_UPSTREAM_TIMEOUT/)
  assert.equal(origin.last.closed, true)
})

test('a try that takes too long is given up and made again elsewhere', async () => {
  await using h = new Harness([cluster([endpoint(ORIGIN.host, 1), endpoint(ORIGIN.host, 2)])])
  const [one, two] = [await h.origin({ host: ORIGIN.host, port: 1 }), await h.origin({ host: ORIGIN.host, port: 2 })]
  const client = h.connect(
    manager([route(forwardTo({ retry: retry({ perTryTimeoutMs: 100, avoidPreviousHosts: true }) }))]),
  )
  await client.send(GET)
  await h.clock.advance(400)
  assert.ok(one.connections.length >= 1 && two.connections.length >= 1)
})

test('an answer is not cut by the per-try timeout once it has begun', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect(manager([route(forwardTo({ retry: retry({ perTryTimeoutMs: 100 }) }))]))
  await client.send(GET)
  await origin.answer('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhi')
  await h.clock.advance(5000)
  await origin.answer('ho')
  assert.match(await client.take(), /hiho$/)
})

test('the per-try timeout ends with its attempt: the back-off before the next one is not cut short', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const policy = retry({ perTryTimeoutMs: 1000, maxRetries: 5, backoff: { baseMs: 900, capMs: 900 } })
  const client = h.connect(manager([route(forwardTo({ retry: policy }))]))
  await client.send(GET)
  await h.clock.advance(990)
  origin.last.stream.destroy()
  await h.clock.advance(910)
  assert.equal(h.metrics.total('mesh_upstream_retries_total'), 1)
  assert.equal(origin.connections.length, 2)
  await origin.answer(OK)
  assert.match(await client.take(), /^HTTP\/1\.1 200 /)
})

test('an unchanged cluster keeps its connections over a swap, a changed one opens new ones', async () => {
  const same = cluster()
  await using h = new Harness([same])
  const origin = await h.origin()
  const client = h.connect()
  await client.send(GET)
  await origin.answer(OK)
  h.tables.swap(tablesOf([same]))
  await client.send(GET)
  await origin.answer(OK)
  assert.equal(origin.connections.length, 1)
  h.tables.swap(tablesOf([cluster()]))
  await settle()
  assert.equal(origin.connections[0]!.closed, true)
  await client.send(GET)
  assert.equal(origin.connections.length, 2)
})

test('x-envoy-attempt-count is ours: it stands once, and counts each try', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect(manager([route(forwardTo({ retry: retry() }))], {}, { includeAttemptCount: true }))
  await client.send('GET / HTTP/1.1\r\nhost: a\r\nx-envoy-attempt-count: 7\r\n\r\n')
  assert.deepEqual((await origin.last.take()).match(/x-envoy-attempt-count: \d/g), ['x-envoy-attempt-count: 1'])
  await origin.answer('HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n')
  await h.clock.advance(1_000)
  assert.deepEqual((await origin.last.take()).match(/x-envoy-attempt-count: \d/g), ['x-envoy-attempt-count: 2'])
})

const TLS: Transport = { kind: 'tls', tls: ANY_TLS }
const PHASES = [
  'a fault delays it',
  'a service is asked about it',
  'it waits to be tried again',
  'it waits for another to be done',
  'it waits for a name',
] as const
type Phase = (typeof PHASES)[number]
type Waiting = AsyncDisposable & {
  readonly h: Harness
  readonly origin: Origin
  readonly other: Origin
  readonly client: Client
  /** Ends the wait. The answer of the request. */
  goOn(): Promise<string>
}
const DELAY: HttpConnectionManager['filters'][number] = {
  kind: 'fault',
  name: 'f',
  fault: { delay: { ms: 1_000, fraction: 1 }, abort: undefined, headers: [] },
}
const AUTH_AT = { host: '10.1.0.3', port: 8080 }
const AUTH = cluster([endpoint(AUTH_AT.host, AUTH_AT.port)], { name: 'auth' })
const ASK: HttpConnectionManager['filters'][number] = {
  kind: 'ext-authz',
  name: 'a',
  authz: { ...AUTH_SETTINGS, service: { ...AUTH_SERVICE, timeoutMs: 60_000 } },
}
for (const { name, next, want } of [
  {
    name: 'with TLS now is never spoken to in clear',
    next: [cluster(undefined, { transport: TLS })],
    want: /^HTTP\/1\.1 50[23] /,
  },
  {
    name: 'that is blocked now is not used',
    next: [cluster(undefined, { blocked: 'the new version cannot be taken' })],
    want: /^HTTP\/1\.1 503 [^]*MESH_CLUSTER_BLOCKED/,
  },
  { name: 'that is gone is missing', next: [], want: /^HTTP\/1\.1 503 [^]*MESH_NO_CLUSTER/ },
  { name: 'with other endpoints is asked there', next: [cluster([endpoint('10.1.0.2', 8080)])], want: undefined },
]) {
  for (const phase of PHASES) {
    test(`a request while ${phase}: a cluster ${name}`, async () => {
      await using w = await requestThat(phase)
      w.h.tables.swap(tablesOf([...next, AUTH]))
      const answer = await w.goOn()
      // What was begun before a cluster went goes on, as in Envoy.
      const goesOn = name.startsWith('that is gone') && phase.startsWith('it waits for')
      const asked = w.origin.connections.some((c) => c.received.includes('GET / '))
      assert.equal(asked, goesOn)
      if (goesOn) return
      if (want) assert.match(answer, want)
      else assert.match(w.other.last.received, /^GET \/ /)
      w.client.stream.destroy()
      await w.client.outcome
      assert.equal(w.h.metrics.total('mesh_upstream_requests_pending'), 0)
    })
  }
}

/** A request in that phase, in front of an endpoint and of another one that a change may bring. */
async function requestThat(phase: Phase): Promise<Waiting> {
  const names = Promise.withResolvers<string[]>()
  const h = new Harness([clusterFor(phase), AUTH], {}, () => names.promise)
  const origin = await h.origin()
  const other = await h.origin({ host: '10.1.0.2', port: 8080 })
  const auth = await h.origin(AUTH_AT)
  const http = (filters: HttpConnectionManager['filters']): HttpConnectionManager =>
    manager([route(forwardTo({ retry: retry({ maxRetries: 1 }) }))], { filters })
  if (phase === 'it waits for another to be done')
    await h.connect(http([])).send('GET /first HTTP/1.1\r\nhost: a\r\n\r\n')
  const filters = { 'a fault delays it': [DELAY], 'a service is asked about it': [ASK] } as Partial<
    Record<Phase, HttpConnectionManager['filters']>
  >
  const client = h.connect(http(filters[phase] ?? []))
  await client.send(GET)
  if (phase === 'it waits to be tried again') {
    await origin.last.take()
    await origin.answer('HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n')
  }
  const goOn = async (): Promise<string> => {
    names.resolve([ORIGIN.host])
    await client.take().then((early) => {
      client.received = early
    })
    if (phase === 'a service is asked about it') await auth.answer(OK)
    if (phase === 'it waits for another to be done') await origin.connections[0]!.send(OK)
    await h.clock.advance(1_500)
    await h.clock.advance(30_000)
    return await client.take()
  }
  return { h, origin, other, client, goOn, [Symbol.asyncDispose]: () => h[Symbol.asyncDispose]() }
}

function clusterFor(phase: Phase): Cluster {
  if (phase === 'it waits for a name')
    return cluster(undefined, { discovery: byName([endpoint('origin.test', ORIGIN.port)]) })
  return cluster(undefined, {
    breakers: { maxConnections: 1, maxPendingRequests: 9, maxRequests: 9, maxRetries: 3, retryBudget: undefined },
  })
}

for (const between of ['a try and the next one', 'a redirect and its target'])
  test(`the body that is still to be sent is no copy between ${between}: short memory ends the request`, async () => {
    await using h = new Harness()
    const budget = new MemoryBudget({ maxBytes: 1_000_000 })
    Object.assign(h.ctx, { budget })
    const origin = await h.origin()
    const isRetry = between.startsWith('a try')
    const action = isRetry
      ? forwardTo({ retry: retry({ maxRetries: 1 }) })
      : forwardTo({
          internalRedirects: { statuses: new Set([302]), max: 1, crossesSchemes: true, predicates: [], copies: [] },
        })
    const client = h.connect(manager([route(action)], { filters: isRetry ? [] : [DELAY] }))
    const body = 'x'.repeat(10_000)
    await client.send(`PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
    if (!isRetry) await h.clock.advance(1_000)
    await origin.last.take()
    const [status, location] = isRetry ? ['503 x', ''] : ['302 x', 'location: http://b/\r\n']
    await origin.answer(`HTTP/1.1 ${status}\r\n${location}content-length: 0\r\n\r\n`)
    budget.take(2_000_000)
    await new Promise(setImmediate)
    budget.give(2_000_000)
    await h.clock.advance(2_000)
    assert.match(await client.take(), /^HTTP\/1\.1 503 /)
    for (const { received } of origin.connections) assert.equal(received, '', 'no head without its body')
  })

test('a body that a filter refuses is answered once, and no endpoint is asked', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect(manager([route()], { filters: [{ kind: 'grpc-web', name: 'g' }] }))
  const head = 'POST /s/m HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc-web-text\r\n'
  await client.send(`${head}content-length: 8\r\n\r\n!!!!!!!!`)
  assert.match(await client.take(), /^HTTP\/1\.1 400 [^]*MESH_MALFORMED_INPUT/)
  assert.equal(origin.connections.length, 0)
})

test('a redirect behind a compressor is followed, and the answer to it is compressed once', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const library = { encoding: 'gzip', level: 1, strategy: 0, windowBits: 15, memoryLevel: 8 } as const
  const direction = { enabled: true, minBytes: 1, types: new Set(['text/html']) }
  const compressor = {
    library,
    isPreferred: false,
    request: undefined,
    response: {
      ...direction,
      exemptStatuses: new Set<number>(),
      keepsEtags: false,
      weakensEtags: false,
      hidesAcceptEncoding: false,
    },
  }
  const internalRedirects = { statuses: new Set([302]), max: 1, crossesSchemes: true, predicates: [], copies: [] }
  const filters = [{ kind: 'compressor', name: 'c', compressor }] as const
  const client = h.connect(manager([route(forwardTo({ internalRedirects }))], { filters }))
  await client.send('GET / HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\n\r\n')
  await origin.answer('HTTP/1.1 302 x\r\nlocation: http://b/\r\ncontent-length: 0\r\n\r\n')
  assert.match(origin.connections[0]!.received, /host: b\r\n/)
  await origin.connections[0]!.send('HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi')
  // It is compressed on a thread.
  while (!client.received.endsWith('\r\n0\r\n\r\n')) await new Promise(setImmediate)
  const answer = client.received
  assert.match(answer, /^HTTP\/1\.1 200 /)
  assert.equal(answer.match(/content-encoding: gzip/g)?.length, 1)
})
