import { test } from 'node:test'
import assert from 'node:assert/strict'
import { takeLease } from '../../../core/lease.ts'
import type { Balancer, LocalityLoad, Outlier } from '../../../model/cluster.ts'
import { Load } from '../../../protocols/upstream/breakers.ts'
import { Hosts } from '../../../protocols/upstream/hosts.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { seededRandom } from '../../helpers/random.ts'
import { cluster, endpoint } from '../http/harness.ts'

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
  [...new Set(Array.from({ length: n }, () => h.pick({ maxHostPicks: 0 })?.endpoint.port ?? 0))].sort((a, b) => a - b)

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
  for (let i = 0; i < 6; i++) assert.equal(h.pick({ avoid: [{ ...a }], maxHostPicks: 5 })?.endpoint.port, 2)
  assert.ok(h.pick({ avoid: [a, b], maxHostPicks: 5 }))
})

for (const kind of ['round-robin', 'least-request'] as const)
  test(`${kind} with slow_start_config: a host that has just come gets a growing part of its share`, async () => {
    const clock = new SimClock()
    const slowStart = { windowMs: 10_000, aggression: 1, minPercent: 10 }
    const balancer: Balancer = kind === 'round-robin' ? { kind, slowStart } : { kind, choices: 2, slowStart }
    const h = new Hosts({ cluster: cluster([], { balancer }), clock, random: seededRandom(1), removed: () => {} })
    const share = (): number => {
      const picked = Array.from({ length: 1_100 }, () => h.pick({ maxHostPicks: 0 })!.endpoint.port)
      return picked.filter((port) => port === 2).length / 1_100
    }
    h.update({ clusterName: 'c', localities: [level(0, endpoint('a', 1))] })
    await clock.advance(60_000)
    h.update({ clusterName: 'c', localities: [level(0, endpoint('a', 1), endpoint('a', 2))] })
    const shares = [share()]
    for (const ms of [4_000, 1_000, 5_000]) {
      await clock.advance(ms)
      shares.push(share())
    }
    for (const [i, want] of [0.1 / 1.1, 0.4 / 1.4, 0.5 / 1.5, 0.5].entries())
      assert.ok(Math.abs(shares[i]! - want) < 0.05, shares.join(' '))
  })
test('warm-up counts from when a host is well first, and again when it has answered that it was not', async () => {
  const clock = new SimClock()
  const balancer: Balancer = { kind: 'round-robin', slowStart: { windowMs: 10_000, aggression: 1, minPercent: 10 } }
  const h = new Hosts({ cluster: cluster([], { balancer }), clock, random: seededRandom(1), removed: () => {} })
  const isWarm = (): boolean => {
    const picked = Array.from({ length: 110 }, () => h.pick({ maxHostPicks: 0 })!.endpoint.port)
    return picked.filter((port) => port === 2).length > 50
  }
  const become = (health: 'unhealthy' | 'healthy'): void =>
    h.update({ clusterName: 'c', localities: [level(0, endpoint('a', 1), endpoint('a', 2, { health }))] })
  become('unhealthy')
  await clock.advance(60_000)
  become('healthy')
  assert.equal(isWarm(), false)
  await clock.advance(10_000)
  assert.equal(isWarm(), true)
  become('unhealthy')
  await clock.advance(60_000)
  become('healthy')
  assert.equal(isWarm(), true, 'discovery alone does not make it cold')
  const [, host] = h.all
  for (const hasFailed of [true, false]) {
    host!.check = { hasFailed, isDegraded: false, isPending: false, isExcluded: false }
    h.healthChanged()
    await clock.advance(hasFailed ? 60_000 : 0)
  }
  assert.equal(isWarm(), false)
  await clock.advance(10_000)
  assert.equal(isWarm(), true)
})
test('slow_start_config with aggression grows faster at first', async () => {
  const clock = new SimClock()
  const balancer: Balancer = { kind: 'round-robin', slowStart: { windowMs: 10_000, aggression: 2, minPercent: 0 } }
  const h = new Hosts({ cluster: cluster([], { balancer }), clock, random: seededRandom(1), removed: () => {} })
  h.update({ clusterName: 'c', localities: [level(0, endpoint('a', 1))] })
  await clock.advance(60_000)
  h.update({ clusterName: 'c', localities: [level(0, endpoint('a', 1), endpoint('a', 2))] })
  await clock.advance(2_500)
  const picked = Array.from({ length: 300 }, () => h.pick({ maxHostPicks: 0 })!.endpoint.port)
  assert.equal(picked.filter((port) => port === 2).length, 100)
})

test('previous_priorities: a retry leaves out the levels of hosts that were tried, until none is left', () => {
  const h = hostsOf(new SimClock())
  const [a, b, c] = [endpoint('a', 1), endpoint('a', 2), endpoint('a', 3)]
  h.update({ clusterName: 'c', localities: [level(0, a), level(1, b), level(2, c)] })
  const after = (hosts: readonly ReturnType<typeof endpoint>[], every: number): number =>
    h.pick({ maxHostPicks: 0, triedPriorities: { hosts, every } })!.endpoint.port
  assert.deepEqual([after([], 1), after([a], 1), after([a, b], 1), after([a, b, c], 1)], [1, 2, 3, 1])
  assert.deepEqual([after([a], 2), after([a, a], 2), after([a, a, b], 2), after([a, a, b, b], 2)], [1, 2, 2, 3])
})
test('DEGRADED endpoints serve what healthy ones cannot', () => {
  const h = hostsOf(new SimClock(), 0)
  const degraded = endpoint('a', 2, { health: 'degraded' })
  h.update({ clusterName: 'c', localities: [level(0, endpoint('a', 1), degraded)] })
  assert.deepEqual(picks(h, 200), [1, 2])
  h.update({ clusterName: 'c', localities: [level(0, degraded), level(1, endpoint('a', 3))] })
  assert.deepEqual(picks(h, 200), [3])
  h.update({ clusterName: 'c', localities: [level(0, degraded)] })
  assert.deepEqual(picks(h), [2])
})
