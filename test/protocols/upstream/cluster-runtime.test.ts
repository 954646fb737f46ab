/**
 * What a cluster counts comes back to zero whatever happens to what was counted, and an endpoint that is back serves.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Breakers, Endpoint } from '../../../model/cluster.ts'
import type { RetryPolicy } from '../../../model/route.ts'
import { cluster, endpoint, forwardTo, GET, Harness, manager, OK, ORIGIN, route, tablesOf } from '../http/harness.ts'
import { byName, loadOf } from '../parts.ts'
import { settle } from '../../helpers/sim-clock.ts'

const BREAKERS: Breakers = {
  maxConnections: 1024,
  maxPendingRequests: 1024,
  maxRequests: 1024,
  maxRetries: 3,
  retryBudget: undefined,
}
const counts = (h: Harness): number[][] =>
  h.upstreams
    .clusterStatus()
    .map((c) => [
      c.activeRequests,
      c.pendingRequests,
      c.connections,
      ...c.endpoints.flatMap((e) => [e.activeRequests, e.connections]),
    ])

test('after 1,024 requests to a refused port the origin that is back answers', async () => {
  await using h = new Harness([cluster(undefined, { breakers: BREAKERS })])
  const client = h.connect()
  for (let i = 0; i < 1024; i++) {
    client.stream.write(GET)
    if (i % 64 === 63) {
      await settle()
      await settle()
    }
  }
  assert.doesNotMatch(await client.take(), /MESH_UPSTREAM_OVERFLOW/)
  assert.deepEqual(counts(h), [[0, 0, 0, 0, 0]])
  const origin = await h.origin()
  await client.send(GET)
  await origin.answer(OK)
  assert.match(await client.take(), /200 OK/)
})
test('least request comes back to a host that once refused many requests', async () => {
  const [one, two] = [
    { host: ORIGIN.host, port: 1 },
    { host: ORIGIN.host, port: 2 },
  ]
  await using h = new Harness([
    cluster([endpoint(one.host, one.port), endpoint(two.host, two.port)], {
      balancer: { kind: 'least-request', choices: 2 },
      breakers: BREAKERS,
    }),
  ])
  const origins = [await h.origin(one), await h.origin(two)]
  h.network.refuse(one)
  const client = h.connect()
  const ask = async (): Promise<void> => {
    await client.send(GET)
    for (const o of origins) for (const c of o.connections) if (!c.closed && (await c.take()) !== '') await c.send(OK)
  }
  for (let i = 0; i < 60; i++) await ask()
  assert.deepEqual(
    counts(h).map((c) => [c[0], c[3], c[5]]),
    [[0, 0, 0]],
  )
  h.network.restore(one)
  client.received = ''
  for (let i = 0; i < 40; i++) await ask()
  assert.equal((await client.take()).match(/200 OK/g)?.length, 40)
  assert.ok(origins[0]!.connections.length > 0, 'nothing went to the host that is back')
})
test('a cluster that was replaced is gone with its last call', async () => {
  const before = cluster(undefined, { breakers: BREAKERS })
  await using h = new Harness([before])
  const origin = await h.origin()
  h.network.refuse(ORIGIN)
  const failing = h.connect()
  for (let i = 0; i < 5; i++) await failing.send(GET)
  h.network.restore(ORIGIN)
  const client = h.connect()
  await client.send(GET)
  h.tables.swap(tablesOf([{ ...before }]))
  assert.deepEqual(
    counts(h).map((c) => c[0]),
    [1],
  )
  await origin.answer(OK)
  assert.match(await client.take(), /200 OK/)
  assert.deepEqual(counts(h), [])
  await client.send(GET)
  await origin.answer(OK)
  assert.match(await client.take(), /200 OK/)
  assert.deepEqual(counts(h), [[0, 0, 1, 0, 1]])
})
test('when the only connection that may be made fails, everybody who waits for it hears of it', async () => {
  await using h = new Harness([cluster(undefined, { breakers: { ...BREAKERS, maxConnections: 1 } })])
  h.network.blackhole(ORIGIN)
  const clients = [h.connect(), h.connect(), h.connect()]
  for (const c of clients) await c.send(GET)
  await h.clock.advance(1001)
  for (const c of clients) assert.match(await c.take(), /MESH_CONNECT_TIMEOUT/)
  assert.deepEqual(counts(h), [[0, 0, 0, 0, 0]])
})
test('requests that wait for a name are counted and bounded like those that wait for a connection', async () => {
  const answers: ((addresses: readonly string[]) => void)[] = []
  const discovery = byName([endpoint('origin.test', ORIGIN.port)])
  await using h = new Harness(
    [cluster([], { discovery, breakers: { ...BREAKERS, maxPendingRequests: 1 } })],
    {},
    () =>
      new Promise((resolve) => {
        answers.push(resolve)
      }),
  )
  const origin = await h.origin()
  const [first, second] = [h.connect(), h.connect()]
  await first.send(GET)
  await second.send(GET)
  assert.match(await second.take(), /MESH_UPSTREAM_OVERFLOW/)
  assert.deepEqual(
    counts(h).map((c) => c.slice(0, 3)),
    [[1, 1, 0]],
  )
  answers[0]!([ORIGIN.host])
  await settle()
  await origin.answer(OK)
  assert.match(await first.take(), /200 OK/)
  assert.deepEqual(counts(h), [[0, 0, 1, 0, 1]])
})
test('a host that refused the connection counts as tried: the retry goes to another', async () => {
  const [one, two] = [
    { host: ORIGIN.host, port: 1 },
    { host: ORIGIN.host, port: 2 },
  ]
  const retry: RetryPolicy = {
    on: new Set(['connect-failure'] as const),
    maxRetries: 1,
    perTryTimeoutMs: undefined,
    statusCodes: new Set(),
    backoff: { baseMs: 1, capMs: 1 },
    avoidPreviousHosts: true,
    maxHostPicks: 5,
  }
  await using h = new Harness([
    cluster([endpoint(one.host, one.port), endpoint(two.host, two.port)], {
      balancer: { kind: 'random' },
      breakers: BREAKERS,
    }),
  ])
  const origin = await h.origin(two)
  h.network.refuse(one)
  const client = h.connect(manager([route(forwardTo({ retry }))]))
  let failed = 0
  for (let i = 0; i < 400; i++) {
    await client.send(GET)
    await h.clock.advance(5)
    if (origin.connections.length > 0 && (await origin.last.take()) !== '') await origin.answer(OK)
    if (!/200 OK/.test(await client.take())) failed++
  }
  assert.ok(failed < 12, `${failed} of 400 failed`)
})

test('warm-up counts from when a host has come, not from the next call', async () => {
  const slowStart = { windowMs: 10_000, aggression: 1, minPercent: 10 }
  const of = cluster(undefined, {
    balancer: { kind: 'round-robin', slowStart },
    discovery: { kind: 'eds', serviceName: 's' },
  })
  await using h = new Harness([])
  const [one, two] = [endpoint(ORIGIN.host, 1), endpoint(ORIGIN.host, 2)]
  const origins = [await h.origin({ host: ORIGIN.host, port: 1 }), await h.origin({ host: ORIGIN.host, port: 2 })]
  const swap = (endpoints: Endpoint[]): void => h.tables.swap(tablesOf([of], { load: () => loadOf(endpoints) }))
  const client = h.connect()
  const ask = async (): Promise<number> => {
    await client.send(GET)
    for (const [i, origin] of origins.entries())
      if (origin.connections.length > 0 && (await origin.last.take()) !== '') {
        await origin.answer(OK)
        await client.take()
        return i
      }
    return -1
  }
  swap([one])
  await ask()
  await h.clock.advance(20_000)
  swap([one, two])
  await h.clock.advance(20_000)
  const got = [0, 0]
  for (let i = 0; i < 10; i++) got[await ask()]!++
  assert.deepEqual(got, [5, 5], 'nobody asked for 20 seconds, in which it has become warm')
})
