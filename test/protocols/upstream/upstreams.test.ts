import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../core/errors.ts'
import type { NetStream } from '../../../core/os/network.ts'
import type { Breakers, Cluster, Discovery } from '../../../model/cluster.ts'
import type { Tables } from '../../../model/tables.ts'
import { getCaptureLoop } from '../../../protocols/capture-loop.ts'
import type { ConnectOptions, UpstreamStream } from '../../../protocols/upstream-api.ts'
import { DnsLoad } from '../../../protocols/upstream/discovery/dns.ts'
import { createUpstreams } from '../../../protocols/upstream/upstreams.ts'
import { silentLog } from '../../../core/log.ts'
import { SimClock, settle } from '../../helpers/sim-clock.ts'
import { cluster, endpoint, GET, Harness, OK, ORIGIN, tablesOf } from '../http/harness.ts'
import { ANY_TLS, byName, loadOf } from '../parts.ts'

const NARROW: Breakers = {
  maxConnections: 1,
  maxPendingRequests: 1,
  maxRequests: 10,
  maxRetries: 3,
  retryBudget: undefined,
}
const never = new AbortController().signal
const RAW: ConnectOptions = { signal: never, speaks: 'tcp', originalDst: undefined, host: undefined }

test('endpoints come from EDS, and change with the tables', async () => {
  const eds = cluster([], { discovery: { kind: 'eds', serviceName: 's' } })
  const load = (port: number) => ({
    clusterName: 's',
    localities: [
      { region: '', zone: '', subZone: '', priority: 0, weight: 1, endpoints: [endpoint(ORIGIN.host, port)] },
    ],
  })
  await using h = new Harness([eds])
  const [one, two] = [await h.origin({ host: ORIGIN.host, port: 1 }), await h.origin({ host: ORIGIN.host, port: 2 })]
  const client = h.connect()
  await client.send(GET)
  assert.match(await client.take(), /MESH_NO_ENDPOINT/)
  for (const [port, origin] of [
    [1, one],
    [2, two],
  ] as const) {
    h.tables.swap(tablesOf([eds], { load: () => load(port) }))
    await client.send(GET)
    await origin.answer(OK)
    assert.match(await client.take(), /200 OK/)
  }
  assert.equal(one.last.closed, true)
})
test('original-dst clusters lead where a redirected connection was going, and one that was not nowhere', async () => {
  await using h = new Harness([cluster([], { discovery: { kind: 'original-dst' } })])
  const originalDst = { host: '10.0.0.1', port: 80 }
  const origin = await h.origin(originalDst)
  const client = h.connect(undefined, { originalDst })
  await client.send(GET)
  await origin.answer(OK)
  assert.match(await client.take(), /200 OK/)
  const direct = h.connect()
  await direct.send(GET)
  assert.match(await direct.take(), /^HTTP\/1\.1 503 [^]*MESH_NO_ENDPOINT/)
})
test('a connection to an original destination that was captured itself ends there, whichever end is heard of first', async () => {
  const originalDst = { host: '10.0.0.1', port: 80 }
  const isLoop = (e: unknown): boolean => e instanceof MeshError && e.code === 'MESH_CAPTURE_LOOP'
  await using h = new Harness([cluster([], { discovery: { kind: 'original-dst' } })])
  const own = getCaptureLoop(h.ctx)
  const captured: NetStream[] = []
  let first: Disposable | undefined
  await h.network.listen(originalDst, (accepted) => {
    captured.push(accepted)
    if (captured.length === 1) first = own.captured(accepted)
  })
  const c = h.tables.get().cluster('origin')!
  await assert.rejects(h.upstreams.connect(c, { signal: never, speaks: 'tcp', originalDst }), isLoop)
  first![Symbol.dispose]()
  const up = await h.upstreams.connect(c, { signal: never, speaks: 'tcp', originalDst })
  assert.throws(() => own.captured(captured[1]!), isLoop)
  // The same port with another destination is another connection.
  own.captured({ ...captured[1]!, local: { host: '10.0.0.2', port: 80 } })[Symbol.dispose]()
  up.release('ok')
  up.stream.destroy()
  await settle()
  own.captured(captured[1]!)[Symbol.dispose]()
})
test('connect gives a stream of its own and counts it until it is released', async () => {
  await using h = new Harness([cluster(undefined, { breakers: NARROW })])
  const origin = await h.origin()
  const c = h.tables.get().cluster('origin')!
  const up = await h.upstreams.connect(c, { signal: never, speaks: 'tcp' })
  await assert.rejects(
    h.upstreams.connect(c, { signal: never, speaks: 'tcp' }),
    (e) => e instanceof MeshError && e.code === 'MESH_UPSTREAM_OVERFLOW',
  )
  up.stream.write('hello')
  assert.equal(await origin.last.take(), 'hello')
  up.release('ok')
  up.stream.destroy()
  assert.equal(h.upstreams.clusterStatus()[0]!.connections, 0)
})
test('failed connects eject an endpoint where outlier detection says so', async () => {
  const outlier = {
    consecutive5xx: undefined,
    consecutiveGatewayFailures: undefined,
    consecutiveLocalFailures: 2,
    intervalMs: 1000,
    baseEjectionMs: 5000,
    maxEjectionMs: 5000,
    maxEjectionPercent: 100,
  }
  await using h = new Harness([
    cluster([endpoint(ORIGIN.host, 1), endpoint(ORIGIN.host, 2)], { outlier, panicPercent: 0 }),
  ])
  await h.origin({ host: ORIGIN.host, port: 2 })
  h.network.refuse({ host: ORIGIN.host, port: 1 })
  for (let i = 0; i < 4; i++) await h.connect().send(GET)
  assert.deepEqual(
    h.upstreams.clusterStatus()[0]!.endpoints.map((e) => e.ejected),
    [true, false],
  )
})

const dns = (mode: 'strict' | 'logical'): Extract<Discovery, { kind: 'dns' }> =>
  byName([endpoint('svc.example', 80)], { mode, refreshMs: 5000 })
const addresses = (d: DnsLoad): string[] | undefined =>
  d.current?.localities.flatMap((l) => l.endpoints.map((e) => e.address))
test('DNS: strict uses every address, logical the first; the last good answer outlives failures', async () => {
  const clock = new SimClock()
  let answer: string[] | undefined = ['10.0.0.1', '10.0.0.2']
  const resolve = async (): Promise<string[]> => answer ?? Promise.reject(new Error('SERVFAIL'))
  using strict = new DnsLoad(dns('strict'), { clock, resolve, log: silentLog })
  using logical = new DnsLoad(dns('logical'), { clock, resolve, log: silentLog })
  await Promise.all([strict.ready(), logical.ready()])
  assert.deepEqual([addresses(strict), addresses(logical)], [['10.0.0.1', '10.0.0.2'], ['10.0.0.1']])
  answer = undefined
  await clock.advance(5001)
  assert.deepEqual(addresses(strict), ['10.0.0.1', '10.0.0.2'])
  answer = ['10.0.0.3']
  await clock.advance(5001)
  assert.deepEqual(addresses(strict), ['10.0.0.3'])
})
test('DNS: a name that never resolved refuses with its code, and the next request asks again', async () => {
  await using h = new Harness([cluster([], { discovery: dns('strict') })])
  let asked = 0
  await using upstreams = createUpstreams(h.ctx, async () => {
    asked++
    throw new Error('ENOTFOUND')
  })
  const c = h.tables.get().cluster('origin')!
  for (let i = 0; i < 2; i++)
    await assert.rejects(
      upstreams.connect(c, { signal: never, speaks: 'tcp' }),
      (e) => e instanceof MeshError && e.code === 'MESH_DNS_FAILED',
    )
  assert.equal(asked, 2)
})
test('DNS: requests wait for the first answer', async () => {
  await using h = new Harness([
    cluster([], {
      discovery: byName([endpoint('svc.example', ORIGIN.port)], { refreshMs: 5000 }),
    }),
  ])
  const origin = await h.origin()
  const client = h.connect()
  await client.send(GET)
  await origin.answer(OK)
  assert.match(await client.take(), /200 OK/)
})
test('who is told to stop does not wait for a name that nobody answers for, and no name is waited for without an end', async () => {
  const discovery = byName([endpoint('origin.test', ORIGIN.port)])
  await using h = new Harness([cluster([], { discovery })], {}, () => new Promise(() => {}))
  const c = h.tables.get().cluster('origin')!
  const stop = new AbortController()
  const connecting = assert.rejects(h.upstreams.connect(c, { signal: stop.signal, speaks: 'tcp' }), {
    code: 'MESH_DRAINING',
  })
  await settle()
  stop.abort(new MeshError('MESH_DRAINING', 'stop'))
  await connecting
  const client = h.connect()
  await client.send(GET)
  await h.clock.advance(15_001)
  assert.match(await client.take(), /MESH_DNS_FAILED/)
})

test('a connection whose cluster is replaced while its name is looked up is made to the one that has come', async () => {
  const names = Promise.withResolvers<string[]>()
  const before = cluster(undefined, { discovery: byName([endpoint('origin.test', ORIGIN.port)]) })
  await using h = new Harness([before], {}, () => names.promise)
  const [old, now] = [await h.origin(), await h.origin({ host: '10.1.0.2', port: 8080 })]
  const asked = h.upstreams.connect(before, RAW)
  await settle()
  h.tables.swap(tablesOf([cluster([endpoint('10.1.0.2', 8080)])]))
  names.resolve([ORIGIN.host])
  const up = await asked
  assert.equal(up.endpoint.address, '10.1.0.2')
  await settle()
  assert.ok(old.connections.every((c) => c.closed && c.received === ''))
  assert.equal(now.connections.length, 1)
  up.release('ok')
  up.stream.destroy()
  await settle()
  assert.deepEqual(
    h.upstreams.clusterStatus().map((c) => [c.activeRequests, c.connections]),
    [[0, 0]],
  )
})
for (const how of ['is cut', 'is told where its user can end it in order'] as const) {
  test(`a connection in clear whose cluster asks for TLS now ${how}; one whose cluster has another timeout goes on`, async () => {
    const before = cluster()
    await using h = new Harness([before])
    const origin = await h.origin()
    const told: string[] = []
    const open = (c: Cluster): Promise<UpstreamStream> =>
      h.upstreams.connect(c, {
        ...RAW,
        ...(how === 'is told where its user can end it in order' && {
          onEnding: (reason: MeshError) => {
            told.push(reason.code)
          },
        }),
      })
    const up = await open(before)
    const other = cluster(undefined, { connectTimeoutMs: 7 })
    h.tables.swap(tablesOf([other]))
    await settle()
    assert.equal(up.stream.destroyed, false)
    const again = await open(other)
    h.tables.swap(tablesOf([cluster(undefined, { transport: { kind: 'tls', tls: ANY_TLS } })]))
    await settle()
    assert.deepEqual(
      [up.stream.destroyed, again.stream.destroyed, told],
      how === 'is cut' ? [true, true, []] : [false, false, ['MESH_DRAINING', 'MESH_DRAINING']],
    )
    assert.equal(origin.connections.length, 2)
  })
}
const auto = cluster(undefined, {
  breakers: { ...NARROW, maxPendingRequests: 5 },
  discovery: { kind: 'eds', serviceName: 's' },
  transportMatches: [{ name: 'tlsMode-istio', match: { tlsMode: 'istio' }, transport: { kind: 'tls', tls: ANY_TLS } }],
})
const loads = (labels: Readonly<Record<string, string>>): Partial<Tables> => {
  const load = loadOf([endpoint(ORIGIN.host, ORIGIN.port, { transportLabels: labels })], 's')
  return { load: () => load }
}
test('an open connection in clear to an endpoint that takes mutual TLS from now on is cut; other labels leave it alone', async () => {
  await using h = new Harness([auto])
  h.tables.swap(tablesOf([auto], loads({})))
  await h.origin()
  const tunnel = await h.upstreams.connect(auto, RAW)
  h.tables.swap(tablesOf([auto], loads({ region: 'x' })))
  assert.equal(tunnel.stream.destroyed, false)
  h.tables.swap(tablesOf([auto], loads({ tlsMode: 'istio' })))
  assert.equal(tunnel.stream.destroyed, true)
})
test('an endpoint that takes mutual TLS from now on gets nothing over connections in clear, nor what waits for one', async () => {
  await using h = new Harness([auto])
  h.tables.swap(tablesOf([auto], loads({})))
  const origin = await h.origin()
  const [first, second, third] = [h.connect(), h.connect(), h.connect()]
  await first.send(GET)
  await origin.answer(OK)
  await first.take()
  await second.send('GET /busy HTTP/1.1\r\nhost: a\r\n\r\n')
  await third.send('GET /waits HTTP/1.1\r\nhost: a\r\n\r\n')
  h.tables.swap(tablesOf([auto], loads({ tlsMode: 'istio' })))
  await origin.connections[0]!.send(OK)
  assert.match(await second.take(), /200 OK/)
  await first.send('GET /later HTTP/1.1\r\nhost: a\r\n\r\n')
  await h.clock.advance(30_000)
  for (const { received } of origin.connections) assert.doesNotMatch(received, /waits|later/)
})
