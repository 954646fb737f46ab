import { test } from 'node:test'
import assert from 'node:assert/strict'
import { hash64 } from '../../../protocols/xx-hash.ts'
import { takeLease } from '../../../core/lease.ts'
import type { Balancer, LocalityLoad, Outlier } from '../../../model/cluster.ts'
import { createPicker } from '../../../protocols/upstream/balancer.ts'
import { Load } from '../../../protocols/upstream/breakers.ts'
import { Host } from '../../../protocols/upstream/host.ts'
import { Hosts } from '../../../protocols/upstream/hosts.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { seededRandom } from '../../helpers/random.ts'
import { cluster, endpoint } from '../http/harness.ts'

const hosts = (...weights: number[]): Host[] =>
  weights.map((weight, i) => new Host(endpoint('10.0.0.1', 1000 + i, { weight })))
function counts(
  balancer: Balancer,
  all: readonly Host[],
  times: number,
  hashOf: (i: number) => bigint | undefined = () => undefined,
): number[] {
  const pick = createPicker(balancer, all, seededRandom(1))
  const seen = all.map(() => 0)
  for (let i = 0; i < times; i++) seen[all.indexOf(pick(hashOf(i))!)]!++
  return seen
}

test('round robin takes hosts in turn, by weight and interleaved', () => {
  assert.deepEqual(counts({ kind: 'round-robin' }, hosts(1, 1, 1), 9), [3, 3, 3])
  assert.deepEqual(counts({ kind: 'round-robin' }, hosts(3, 1), 40), [30, 10])
  const all = hosts(2, 1)
  const pick = createPicker({ kind: 'round-robin' }, all, seededRandom(1))
  assert.deepEqual(
    [1, 2, 3].map(() => all.indexOf(pick(undefined)!)),
    [0, 1, 0],
  )
})
test('least request prefers the host with fewer requests under way', () => {
  const all = hosts(1, 1)
  for (let i = 0; i < 50; i++) takeLease(all[0]!.active)
  const [busy, idle] = counts({ kind: 'least-request', choices: 2 }, all, 1000)
  // Both draws fall on the busy one in a quarter of the cases.
  assert.ok(busy! < 320 && idle! > 680, `${busy} to ${idle}`)
})
test('random spreads evenly', () => {
  for (const n of counts({ kind: 'random' }, hosts(1, 1, 1, 1), 4000)) assert.ok(n > 850 && n < 1150, String(n))
})

for (const balancer of [
  { kind: 'ring-hash', minRing: 1024, maxRing: 8192 },
  { kind: 'maglev', tableSize: 65_537 },
] as const) {
  const mix = (i: number): bigint => hash64(String(i))
  test(`${balancer.kind}: the same hash always goes to the same host, and hosts get their share`, () => {
    const all = hosts(1, 1, 2)
    assert.deepEqual(
      counts(balancer, all, 100, () => 12_345n).filter((n) => n > 0),
      [100],
    )
    const seen = counts(balancer, all, 20_000, mix)
    for (const [i, share] of [0.25, 0.25, 0.5].entries())
      assert.ok(Math.abs(seen[i]! / 20_000 - share) < 0.08, seen.join())
  })
  test(`${balancer.kind}: when one of ten hosts leaves, most requests stay where they were`, () => {
    const all = hosts(...Array.from({ length: 10 }, () => 1))
    const [before, after] = [
      createPicker(balancer, all, seededRandom(1)),
      createPicker(balancer, all.slice(0, 9), seededRandom(1)),
    ]
    let moved = 0
    let kept = 0
    for (let i = 0; i < 10_000; i++) {
      const was = before(mix(i))!
      if (was === all[9]) continue
      if (after(mix(i)) === was) kept++
      else moved++
    }
    assert.ok(moved / (moved + kept) < 0.1, `${moved} of ${moved + kept} moved`)
  })
}

const OUTLIER: Outlier = {
  consecutive5xx: 3,
  consecutiveGatewayFailures: undefined,
  consecutiveLocalFailures: undefined,
  intervalMs: 10_000,
  baseEjectionMs: 1000,
  maxEjectionMs: 2500,
  maxEjectionPercent: 50,
}

test('retry budget: a share of what is under way, at least the minimum', () => {
  const load = new Load()
  const breakers = cluster().breakers
  const budget = { ...breakers, retryBudget: { percent: 20, minConcurrent: 3 } }
  for (let i = 0; i < 3; i++) takeLease(load.retries)
  assert.equal(load.mayRetry(budget), false)
  for (let i = 0; i < 100; i++) takeLease(load.requests)
  assert.equal(load.mayRetry(budget), true)
  assert.equal(load.mayRetry(breakers), false)
})

const level = (priority: number, ...endpoints: ReturnType<typeof endpoint>[]): LocalityLoad => ({
  region: '',
  zone: '',
  subZone: '',
  priority,
  weight: 1,
  endpoints,
})
function hostsOf(clock: SimClock, panicPercent = 50): Hosts {
  return new Hosts({
    cluster: cluster([], { outlier: OUTLIER, panicPercent }),
    clock,
    random: seededRandom(1),
    removed: (h) => {
      removed.push(h.key)
    },
  })
}
let removed: string[] = []
const picks = (h: Hosts, n = 12): number[] =>
  [...new Set(Array.from({ length: n }, () => h.pick(undefined, undefined, 0)?.endpoint.port ?? 0))].sort(
    (a, b) => a - b,
  )

test('a lower priority serves only when the higher one is not healthy enough', () => {
  const h = hostsOf(new SimClock())
  h.update({ clusterName: 'c', localities: [level(1, endpoint('a', 3)), level(0, endpoint('a', 1), endpoint('a', 2))] })
  assert.deepEqual(picks(h), [1, 2])
  h.update({
    clusterName: 'c',
    localities: [level(0, endpoint('a', 1, { health: 'unhealthy' })), level(1, endpoint('a', 3))],
  })
  assert.deepEqual(picks(h), [3])
})
test('in panic everybody serves; with a threshold of 0 nobody unhealthy ever does', () => {
  const load = {
    clusterName: 'c',
    localities: [level(0, endpoint('a', 1, { health: 'unhealthy' }), endpoint('a', 2, { health: 'unhealthy' }))],
  }
  const [panic, strict] = [hostsOf(new SimClock()), hostsOf(new SimClock(), 0)]
  panic.update(load)
  strict.update(load)
  assert.deepEqual([picks(panic), picks(strict)], [[1, 2], [0]])
})
test('an ejected host gets nothing until its time is over', async () => {
  const clock = new SimClock()
  const h = hostsOf(clock)
  h.update({
    clusterName: 'c',
    localities: [level(0, endpoint('a', 1), endpoint('a', 2), endpoint('a', 3), endpoint('a', 4))],
  })
  assert.deepEqual(picks(h), [1, 2, 3, 4])
  const victim = [...h.all][0]!
  for (let i = 0; i < 3; i++) h.report(victim, { kind: 'status', status: 503 })
  assert.deepEqual(picks(h), [2, 3, 4])
  await clock.advance(1001)
  assert.deepEqual(picks(h), [1, 2, 3, 4])
})
test('while no control plane tells of them, discovered endpoints that do not answer rest and are tried again', async () => {
  const clock = new SimClock()
  let isDown = false
  const eds = cluster([], { outlier: undefined, discovery: { kind: 'eds', serviceName: 'c' } })
  const h = new Hosts({
    cluster: eds,
    clock,
    random: seededRandom(1),
    removed: () => {
      /* none */
    },
    isLinkDown: () => isDown,
  })
  h.update({ clusterName: 'c', localities: [level(0, endpoint('a', 1), endpoint('a', 2))] })
  const victim = [...h.all][0]!
  const fails = (): void => {
    for (let i = 0; i < 3; i++) h.report(victim, { kind: 'local-failure' })
  }
  fails()
  assert.deepEqual(picks(h), [1, 2], 'the control plane would say so')
  isDown = true
  fails()
  assert.deepEqual(picks(h), [2])
  await clock.advance(5_001)
  assert.deepEqual(picks(h), [1, 2])
})
test('hosts that stay keep their state over an endpoint change, hosts that leave are told', () => {
  removed = []
  const h = hostsOf(new SimClock())
  h.update({ clusterName: 'c', localities: [level(0, endpoint('a', 1), endpoint('a', 2))] })
  const [first] = [...h.all]
  for (let i = 0; i < 7; i++) takeLease(first!.active)
  h.update({ clusterName: 'c', localities: [level(0, endpoint('a', 1, { weight: 9 }))] })
  assert.deepEqual([[...h.all][0] === first, first!.active.now, first!.weight, removed], [true, 7, 9, ['a:2']])
})
test('endpoints that were tried are avoided while others can be had', () => {
  const h = hostsOf(new SimClock())
  const [a, b] = [endpoint('a', 1), endpoint('a', 2)]
  h.update({ clusterName: 'c', localities: [level(0, a, b)] })
  for (let i = 0; i < 6; i++) assert.equal(h.pick(undefined, [{ ...a }], 5)?.endpoint.port, 2)
  assert.ok(h.pick(undefined, [a, b], 5))
})
