/** Hosts that are asked whether they are well: who gets requests, and what happens to connections. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Cluster } from '../../../../model/cluster.ts'
import { EMPTY_TABLES } from '../../../../model/tables.ts'
import { cluster, endpoint, GET, Harness, OK, ORIGIN, tablesOf, type Origin } from '../../http/harness.ts'
import { loadOf } from '../../parts.ts'
import { checkedCluster, checkOf, UNWELL, WELL } from './rig.ts'

/** Answers whatever it is asked, as often as it is asked. */
async function answering(h: Harness, at: typeof ORIGIN, answer: (request: string) => string): Promise<Origin> {
  const origin = await h.origin(at)
  const { accept } = origin
  origin.accept = (stream) => {
    accept.call(origin, stream)
    stream.on('data', (chunk: Buffer) => void stream.write(answer(chunk.toString('latin1'))))
  }
  return origin
}
const isCheck = (request: string): boolean => request.startsWith('GET /healthz ')
async function ask(h: Harness): Promise<string> {
  await h.clock.advance(0)
  const client = h.connect()
  await client.send(GET)
  const answer = await client.take()
  return /^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? answer
}
const flags = (h: Harness): (string | undefined)[] =>
  h.upstreams.clusterStatus()[0]!.endpoints.map(
    ({ check }) =>
      check &&
      Object.keys(check)
        .filter((k) => check[k as 'hasFailed'])
        .join(),
  )
const at = (no: number): typeof ORIGIN => ({ host: `10.1.0.${no}`, port: 8080 })
const OTHERS = [at(1), at(2)].map(({ host, port }) => endpoint(host, port))

test('a cluster that nobody uses is asked, in words of its own', async () => {
  await using h = new Harness([checkedCluster(checkOf())])
  const origin = await h.origin()
  await h.clock.advance(0)
  assert.equal(await origin.last.take(), 'GET /healthz HTTP/1.1\r\nhost: origin\r\nuser-agent: Envoy/HC\r\n\r\n')
  await origin.answer(WELL)
  assert.deepEqual(flags(h), [''])
  await h.clock.advance(40_000)
  assert.match(await origin.last.take(), /^GET \/healthz/)
  assert.equal(origin.connections.length, 1)
})
test('requests wait for the first answers, and go where one was good', async () => {
  await using h = new Harness([checkedCluster(checkOf(), { discovery: { kind: 'static', load: loadOf(OTHERS) } })])
  const [well, silent] = [await answering(h, at(1), (r) => (isCheck(r) ? WELL : OK)), await h.origin(at(2))]
  const client = h.connect()
  await client.send(GET)
  assert.equal(await client.take(), '')
  await h.clock.advance(1_000)
  assert.match(await client.take(), /200 OK/)
  for (let i = 0; i < 4; i++) assert.equal(await ask(h), '200')
  assert.doesNotMatch(silent.connections.map((c) => c.received).join(''), /GET \/ /)
  assert.ok(well.connections.length > 1)
  assert.deepEqual(flags(h), ['', 'hasFailed,reason'])
  assert.equal(h.metrics.total('mesh_upstream_health_checks_total', { result: 'network' }), 1)
})
test('a host that says no gets nothing until it was well twice', async () => {
  let answer = WELL
  await using h = new Harness([checkedCluster(checkOf())])
  await answering(h, ORIGIN, (r) => (isCheck(r) ? answer : OK))
  assert.equal(await ask(h), '200')
  answer = UNWELL
  await h.clock.advance(40_000)
  assert.equal(await ask(h), '503')
  answer = WELL
  await h.clock.advance(5_000)
  assert.equal(await ask(h), '503')
  await h.clock.advance(3_000)
  assert.equal(await ask(h), '200')
})
test('a host that fails loses its idle connections; tunnels only where the cluster says so', async () => {
  for (const closesOnHealthFailure of [false, true]) {
    let answer = WELL
    const checked = checkedCluster(checkOf({ reusesConnection: false }), { closesOnHealthFailure })
    await using h = new Harness([checked])
    const origin = await answering(h, ORIGIN, (r) => (isCheck(r) ? answer : OK))
    await ask(h)
    const idle = origin.connections.at(-1)!
    const tunnel = await h.upstreams.connect(checked, { signal: new AbortController().signal, speaks: 'tcp' })
    answer = UNWELL
    await h.clock.advance(40_000)
    await h.clock.advance(0)
    assert.ok(idle.ended || idle.closed)
    assert.equal(tunnel.stream.destroyed, closesOnHealthFailure)
    tunnel.stream.destroy()
    tunnel.release('ok')
  }
})
test('a host that says in an answer that it goes gets nothing at once', async () => {
  await using h = new Harness([checkedCluster(checkOf())])
  const leaving = OK.replace('\r\n\r\n', '\r\nx-envoy-immediate-health-check-fail: true\r\n\r\n')
  await answering(h, ORIGIN, (r) => (isCheck(r) ? WELL : leaving))
  assert.equal(await ask(h), '200')
  assert.equal(await ask(h), '503')
  assert.deepEqual(flags(h), ['hasFailed,isExcluded,reason'])
})
test('degraded hosts serve what healthy ones cannot', async () => {
  const degraded = WELL.replace('\r\n\r\n', '\r\nx-envoy-degraded: true\r\n\r\n')
  let first = WELL
  await using h = new Harness([checkedCluster(checkOf(), { discovery: { kind: 'static', load: loadOf(OTHERS) } })])
  await answering(h, at(1), (r) => (isCheck(r) ? first : OK))
  const second = await answering(h, at(2), (r) => (isCheck(r) ? degraded : OK))
  const served = (): number => second.connections.filter((c) => /GET \/ /.test(c.received)).length
  for (let i = 0; i < 10; i++) assert.equal(await ask(h), '200')
  // 70 % of 140 % of one half: some go to the other half already.
  const before = served()
  first = UNWELL
  await h.clock.advance(40_000)
  for (let i = 0; i < 10; i++) assert.equal(await ask(h), '200')
  assert.ok(served() > 0 && served() >= before)
  assert.deepEqual(flags(h), ['hasFailed,reason', 'isDegraded'])
})

/** Discovered ones, which come and go. */
function discovered(h: Harness, made: Cluster, of: readonly (typeof OTHERS)[number][]): void {
  h.tables.swap({ ...tablesOf([made]), load: () => loadOf(of) })
}
const eds = (more: Partial<Cluster> = {}): Cluster =>
  checkedCluster(checkOf(), { discovery: { kind: 'eds', serviceName: 'x' }, ...more })

test('a well host that discovery does not name any more serves until it fails', async () => {
  let answer = WELL
  const made = eds()
  await using h = new Harness([])
  await answering(h, at(1), (r) => (isCheck(r) ? answer : OK))
  discovered(h, made, OTHERS.slice(0, 1))
  await h.clock.advance(0)
  assert.equal(await ask(h), '200')
  discovered(h, made, [])
  assert.deepEqual(flags(h), ['isLeaving'])
  assert.equal(await ask(h), '200')
  answer = UNWELL
  await h.clock.advance(40_000)
  assert.deepEqual(flags(h), [])
  assert.equal(await ask(h), '503')
})
test('… and goes at once with ignore_health_on_host_removal', async () => {
  const made = eds({ removesHealthyHosts: true })
  await using h = new Harness([])
  await answering(h, at(1), (r) => (isCheck(r) ? WELL : OK))
  discovered(h, made, OTHERS.slice(0, 1))
  await h.clock.advance(0)
  discovered(h, made, [])
  assert.deepEqual(flags(h), [])
})
test('a new host of a cluster at work gets nothing before it was asked, and may be left out of panic', async () => {
  for (const leavesOutNewHosts of [false, true]) {
    const made = eds({ leavesOutNewHosts, panicPercent: 60 })
    await using h = new Harness([])
    await answering(h, at(1), (r) => (isCheck(r) ? WELL : OK))
    const silent = await h.origin(at(2))
    discovered(h, made, OTHERS.slice(0, 1))
    await h.clock.advance(0)
    assert.equal(await ask(h), '200')
    discovered(h, made, OTHERS)
    await h.clock.advance(0)
    assert.deepEqual(flags(h), ['', leavesOutNewHosts ? 'hasFailed,isPending' : 'hasFailed'])
    for (let i = 0; i < 4; i++) await ask(h)
    // Half of the hosts are well, less than the 60 % below which all of them get requests.
    assert.equal(
      silent.connections.some((c) => /GET \/ /.test(c.received)),
      !leavesOutNewHosts,
    )
  }
})
test('a request that waits for the first answers of hosts that go meanwhile is answered, and the next ones wait anew', async () => {
  const made = eds()
  await using h = new Harness([])
  const silent = await h.origin(at(1))
  discovered(h, made, OTHERS.slice(0, 1))
  await h.clock.advance(0)
  const client = h.connect()
  await client.send(GET)
  assert.equal(await client.take(), '')
  discovered(h, made, [])
  await h.clock.advance(0)
  assert.match(await client.take(), /^HTTP\/1\.1 503 /)
  assert.ok(silent.last.closed || silent.last.ended)
  await answering(h, at(2), (r) => (isCheck(r) ? WELL : OK))
  discovered(h, made, OTHERS.slice(1))
  assert.equal(await ask(h), '200')
})
test('an endpoint may be asked elsewhere, by another name, or not at all', async () => {
  const of = [
    endpoint(at(1).host, 8080, { check: { port: 9000, hostname: 'health.test' } }),
    endpoint(at(2).host, 8080, { check: { isOff: true } }),
  ]
  await using h = new Harness([checkedCluster(checkOf(), { discovery: { kind: 'static', load: loadOf(of) } })])
  const [elsewhere, none] = [await h.origin({ host: at(1).host, port: 9000 }), await h.origin(at(2))]
  await h.clock.advance(0)
  assert.match(await elsewhere.last.take(), /host: health\.test\r\n/)
  assert.equal(none.connections.length, 0)
  assert.deepEqual(flags(h), ['hasFailed', undefined])
})
test('the next version of a cluster knows what the same check has found', async () => {
  const before = checkedCluster(checkOf())
  await using h = new Harness([before])
  const origin = await answering(h, ORIGIN, (r) => (isCheck(r) ? WELL : OK))
  assert.equal(await ask(h), '200')
  const asked = origin.connections.filter((c) => isCheck(c.received)).length
  h.tables.swap(tablesOf([{ ...before, connectTimeoutMs: 999 }]))
  assert.equal(await ask(h), '200')
  assert.equal(origin.connections.filter((c) => isCheck(c.received)).length, asked)
})
test('a cluster that is gone is asked no more', async () => {
  await using h = new Harness([checkedCluster(checkOf())])
  const origin = await answering(h, ORIGIN, () => WELL)
  await h.clock.advance(0)
  h.tables.swap(EMPTY_TABLES)
  await h.clock.advance(120_000)
  assert.equal(origin.connections.length, 1)
  assert.ok(origin.last.closed || origin.last.ended)
  assert.equal(h.clock.pendingTimers, 0)
})
test('… and is asked again when the same one is back', async () => {
  const checked = checkedCluster(checkOf())
  await using h = new Harness([checked])
  const origin = await answering(h, ORIGIN, () => WELL)
  await h.clock.advance(0)
  h.tables.swap(EMPTY_TABLES)
  h.tables.swap(tablesOf([checked]))
  await h.clock.advance(0)
  assert.equal(origin.connections.length, 2)
})
test('a start is no burst: as many are asked at once as the budget says, and all in the end', async () => {
  const many = Array.from({ length: 100 }, (_, i) => endpoint(`10.2.0.${i}`, 80))
  const load = loadOf(many)
  await using h = new Harness([checkedCluster(checkOf(), { discovery: { kind: 'static', load } })])
  for (const { address, port } of many) await h.network.listen({ host: address, port }, () => {})
  await h.clock.advance(0)
  assert.equal(h.metrics.text().match(/mesh_upstream_health_checks_active (\d+)/)?.[1], '32')
  assert.equal(h.metrics.total('mesh_upstream_health_checks_deferred_total'), 68)
  for (let i = 0; i < 4; i++) await h.clock.advance(1_000)
  assert.equal(h.metrics.total('mesh_upstream_health_checks_total', { result: 'network' }), 100)
})
test('an ejected host that answers as it should is back', async () => {
  const outlier = {
    consecutive5xx: 1,
    consecutiveGatewayFailures: undefined,
    consecutiveLocalFailures: undefined,
    intervalMs: 10_000,
    baseEjectionMs: 600_000,
    maxEjectionMs: 600_000,
    maxEjectionPercent: 100,
  }
  for (const returnsWhenWell of [true, false]) {
    let answer = UNWELL
    await using h = new Harness([
      checkedCluster(checkOf(), { outlier: { ...outlier, returnsWhenWell } }),
      cluster([], { name: 'unused' }),
    ])
    await answering(h, ORIGIN, (r) => (isCheck(r) ? WELL : answer))
    assert.equal(await ask(h), '503')
    answer = OK
    assert.equal(await ask(h), '503')
    await h.clock.advance(40_000)
    assert.equal(await ask(h), returnsWhenWell ? '200' : '503')
  }
})
