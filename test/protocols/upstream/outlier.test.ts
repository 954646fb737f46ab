/** envoy.config.cluster.v3.OutlierDetection, as Envoy 1.36's outlier_detection_impl.cc does it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Outlier } from '../../../model/cluster.ts'
import type { Host } from '../../../protocols/upstream/host.ts'
import { Hosts } from '../../../protocols/upstream/hosts.ts'
import { eject, mayEject, createHealth, record, type TryResult } from '../../../protocols/upstream/outlier.ts'
import { seededRandom } from '../../helpers/random.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { cluster, endpoint } from '../http/harness.ts'

const OUTLIER: Outlier = {
  consecutive5xx: 3,
  consecutiveGatewayFailures: undefined,
  consecutiveLocalFailures: undefined,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionMs: 75_000,
  maxEjectionPercent: 10,
}
const status = (code: number): TryResult => ({ kind: 'status', status: code })
const LOCAL: TryResult = { kind: 'local-failure' }

test('failures in a row are counted, and found once per row', () => {
  const health = createHealth()
  const found = [500, 500, 200, 500].map((code) => record(health, status(code), OUTLIER))
  assert.deepEqual(
    [
      ...found,
      record(health, LOCAL, OUTLIER),
      record(health, status(503), OUTLIER),
      record(health, status(503), OUTLIER),
    ],
    [0, 0, 0, 0, 0, 100, 0],
  )
})
test('local failures count as 503, unless they are told apart: then they count alone, and a connection ends their row', () => {
  const gateway: Outlier = { ...OUTLIER, consecutive5xx: undefined, consecutiveGatewayFailures: 2 }
  const health = createHealth()
  assert.deepEqual([record(health, LOCAL, gateway), record(health, LOCAL, gateway)], [0, 100])
  const split: Outlier = { ...OUTLIER, consecutive5xx: 1, consecutiveLocalFailures: 2, splitLocal: true }
  const apart = createHealth()
  assert.deepEqual(
    [
      record(apart, LOCAL, split),
      record(apart, { kind: 'connected' }, split),
      record(apart, LOCAL, split),
      record(apart, LOCAL, split),
    ],
    [0, 0, 0, 100],
  )
})
test('each ejection lasts longer, up to max_ejection_time', () => {
  const health = createHealth()
  assert.deepEqual(
    [1, 2, 3, 4].map(() => {
      eject(health, OUTLIER, 0)
      return health.ejectedUntilMs
    }),
    [30_000, 60_000, 75_000, 75_000],
  )
})
test('the multiplier falls by one with each interval that the host is back', () => {
  const health = createHealth()
  for (let i = 0; i < 3; i++) eject(health, OUTLIER, 0)
  assert.equal(health.multiplier, 3)
  const lasts = (afterMs: number): number => {
    const again = { ...health }
    const now = health.ejectedUntilMs + afterMs
    eject(again, OUTLIER, now)
    return again.ejectedUntilMs - now
  }
  assert.deepEqual(
    [0, 9_999, 10_000, 20_000, 30_000, 3_600_000].map(lasts),
    [75_000, 75_000, 75_000, 60_000, 30_000, 30_000],
  )
})
test('max_ejection_time_jitter makes an ejection longer', () => {
  const health = createHealth()
  eject(health, { ...OUTLIER, maxEjectionJitterMs: 1000 }, 0, 0.5)
  assert.equal(health.ejectedUntilMs, 30_500)
})
test('10 percent of one to nine endpoints is none, of ten one; always_eject_one_host takes one of them all the same', () => {
  const may = (outlier: Outlier, ...pairs: [ejected: number, total: number][]): boolean[] =>
    pairs.map(([ejected, total]) => mayEject(outlier, ejected, total))
  assert.deepEqual(may(OUTLIER, [0, 1], [0, 9], [0, 10], [1, 10], [1, 20]), [false, false, true, false, true])
  assert.deepEqual(may({ ...OUTLIER, alwaysEjectOneHost: true }, [0, 1], [0, 9], [1, 9], [1, 20]), [
    true,
    true,
    false,
    true,
  ])
  assert.deepEqual(may({ ...OUTLIER, maxEjectionPercent: 100 }, [0, 1], [1, 2]), [true, true])
})

function hostsOf(
  outlier: Outlier,
  count: number,
): { hosts: Hosts; all: Host[]; clock: SimClock; fail(host: Host, times: number): void } {
  const clock = new SimClock()
  const hosts = new Hosts({
    cluster: cluster([], { outlier, panicPercent: 0 }),
    clock,
    random: seededRandom(1),
    removed: () => {},
  })
  hosts.update({
    clusterName: 'c',
    localities: [
      {
        region: '',
        zone: '',
        subZone: '',
        priority: 0,
        weight: 1,
        endpoints: Array.from({ length: count }, (_, i) => endpoint('a', i + 1)),
      },
    ],
  })
  return {
    hosts,
    all: [...hosts.all],
    clock,
    fail: (host, times) => {
      for (let i = 0; i < times; i++) hosts.report(host, status(500))
    },
  }
}
test('the only endpoint is not ejected at 10 percent, and serves on', () => {
  const { hosts, all, fail } = hostsOf(OUTLIER, 1)
  fail(all[0]!, 50)
  assert.equal(hosts.pick({ maxHostPicks: 0 }), all[0])
  const { hosts: always, all: one, fail: failOne } = hostsOf({ ...OUTLIER, alwaysEjectOneHost: true }, 1)
  failOne(one[0]!, 3)
  assert.equal(always.pick({ maxHostPicks: 0 }), undefined)
})
test('what an ejected endpoint still answers is not held against it when it is back', async () => {
  const {
    hosts,
    all: [one],
    clock,
    fail,
  } = hostsOf({ ...OUTLIER, maxEjectionPercent: 50 }, 2)
  fail(one!, 3)
  assert.equal(hosts.isFit(one!), false)
  fail(one!, 2)
  await clock.advance(30_000)
  assert.equal(hosts.isFit(one!), true)
  fail(one!, 2)
  assert.equal(hosts.isFit(one!), true)
  fail(one!, 1)
  assert.equal(hosts.isFit(one!), false)
})
test('enforcing_* is how often what was found has consequences', () => {
  let ejected = 0
  const outlier: Outlier = {
    ...OUTLIER,
    maxEjectionPercent: 100,
    enforcing: { consecutive5xx: 25, gatewayFailures: 0, localFailures: 100 },
  }
  const { hosts, all, fail } = hostsOf(outlier, 400)
  for (const host of all) {
    fail(host, 3)
    if (!hosts.isFit(host)) ejected++
  }
  assert.ok(ejected > 60 && ejected < 140, `${ejected} of 400`)
})
