/**
 * The tables are those of Envoy's documentation: "Priority levels", "Panic threshold", "Locality weighted load
 * balancing".
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Balancer, LocalityLoad } from '../../../../model/cluster.ts'
import { hash64 } from '../../../../protocols/xx-hash.ts'
import { Hosts } from '../../../../protocols/upstream/hosts.ts'
import { computeShares } from '../../../../protocols/upstream/balancing/levels.ts'
import { seededRandom } from '../../../helpers/random.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'
import { cluster, endpoint } from '../../http/harness.ts'

/** Envoy's percents are whole numbers, rounded down; what is left over goes to the first level. */
const closeTo = (got: readonly number[], want: readonly number[], by: number): void => {
  assert.equal(got.length, want.length)
  assert.ok(
    got.every((n, i) => Math.abs(n - want[i]!) <= by),
    `${got.map((n) => n.toFixed(1)).join(' ')} is not ${want.join(' ')}`,
  )
}

for (const { fit, load, panic = [] } of [
  { fit: [100, 100], load: [100, 0] },
  { fit: [72, 100], load: [100, 0] },
  { fit: [71, 100], load: [99, 1] },
  { fit: [50, 100], load: [70, 30] },
  { fit: [25, 100], load: [35, 65] },
  { fit: [0, 100], load: [0, 100] },
  { fit: [72, 72], load: [100, 0] },
  { fit: [71, 71], load: [99, 1] },
  { fit: [50, 60], load: [70, 30] },
  { fit: [25, 100], load: [35, 65] },
  { fit: [25, 25], load: [50, 50], panic: [0, 1] },
  { fit: [5, 65], load: [7, 93], panic: [0] },
  { fit: [100, 100, 100], load: [100, 0, 0] },
  { fit: [25, 25, 100], load: [35, 35, 30] },
  { fit: [25, 0, 100], load: [35, 0, 65] },
  { fit: [0, 0, 0], load: [33, 33, 33], panic: [0, 1, 2] },
]) {
  test(`priority levels of which ${fit.join(', ')} % are healthy take ${load.join(', ')} %${panic.length ? `, with panic in ${panic.join(', ')}` : ''}`, () => {
    const shares = computeShares(
      fit.map((n) => ({ all: 100, fit: n })),
      50,
    )
    closeTo(
      shares.map((s) => s.load),
      load,
      1,
    )
    assert.deepEqual(
      shares.flatMap((s, i) => (s.inPanic ? [i] : [])),
      panic,
    )
  })
}
test('without a panic threshold, which is what Istio asks for, nobody unhealthy serves; in total panic levels count by their hosts', () => {
  assert.deepEqual(
    computeShares(
      [
        { all: 4, fit: 0 },
        { all: 4, fit: 1 },
      ],
      0,
    ).map((s) => s.load),
    [0, 100],
  )
  assert.deepEqual(computeShares([{ all: 4, fit: 0 }], 0), [{ load: 0, degradedLoad: 0, inPanic: false }])
  assert.deepEqual(
    computeShares(
      [
        { all: 30, fit: 0 },
        { all: 10, fit: 1 },
        { all: 0, fit: 0 },
      ],
      50,
    ).map((s) => s.load),
    [75, 25, 0],
  )
  assert.deepEqual(computeShares([], 50), [])
})

for (const { levels, want } of [
  { levels: [[4, 0, 4]], want: [[0, 100]] },
  { levels: [[4, 2, 2]], want: [[70, 30]] },
  { levels: [[4, 4, 0]], want: [[100, 0]] },
  {
    levels: [
      [4, 1, 3],
      [4, 4, 0],
    ],
    want: [
      [35, 0],
      [65, 0],
    ],
  },
  {
    levels: [
      [10, 2, 3],
      [10, 3, 0],
    ],
    want: [
      [28, 30],
      [42, 0],
    ],
  },
])
  test(`DEGRADED: of levels with [all, healthy, degraded] ${JSON.stringify(levels)} healthy and degraded take ${JSON.stringify(want)}`, () =>
    assert.deepEqual(
      computeShares(
        levels.map(([all, fit, degraded]) => ({ all: all!, fit: fit!, degraded: degraded! })),
        50,
      ).map(({ load, degradedLoad }) => [load, degradedLoad]),
      want,
    ))

type Group = { readonly weight: number; readonly fit: number; readonly all: number; readonly priority?: number }
/** Percent of the requests that each locality gets. The host number of locality i begins with i. */
function spread(
  groups: readonly Group[],
  o: { balancer?: Balancer; localityWeighted?: boolean; hashed?: boolean } = {},
): number[] {
  const { balancer = { kind: 'round-robin' }, localityWeighted = true, hashed = false } = o
  const hosts = new Hosts({
    cluster: cluster([], { balancer, localityWeighted, panicPercent: 0 }),
    clock: new SimClock(),
    random: seededRandom(7),
    removed: () => {},
  })
  hosts.update({
    clusterName: 'c',
    localities: groups.map(({ weight, fit, all, priority = 0 }, i): LocalityLoad => ({
      region: '',
      zone: `z${i}`,
      subZone: '',
      priority,
      weight,
      endpoints: Array.from({ length: all }, (_, n) =>
        endpoint(`10.0.${i}.${n}`, 80, { health: n < fit ? 'healthy' : 'unhealthy' }),
      ),
    })),
  })
  const seen = groups.map(() => 0)
  const times = 20_000
  for (let i = 0; i < times; i++)
    seen[
      Number(
        hosts.pick({ hash: hashed ? hash64(String(i)) : undefined, maxHostPicks: 0 })!.endpoint.address.split('.')[2],
      )
    ]!++
  return seen.map((n) => (n * 100) / times)
}

for (const balancer of [{ kind: 'round-robin' }, { kind: 'least-request', choices: 2 }, { kind: 'random' }] as const) {
  for (const { fit, want } of [
    { fit: 100, want: [33, 67] },
    { fit: 70, want: [33, 67] },
    { fit: 69, want: [32, 68] },
    { fit: 50, want: [26, 74] },
    { fit: 25, want: [15, 85] },
    { fit: 0, want: [0, 100] },
  ]) {
    test(`${balancer.kind}: localities of weight 1, ${fit} % healthy, and weight 2, all healthy, get ${want.join(' and ')} %`, () => {
      closeTo(
        spread(
          [
            { weight: 1, fit, all: 100 },
            { weight: 2, fit: 100, all: 100 },
          ],
          { balancer },
        ),
        want,
        1.5,
      )
    })
  }
}
for (const balancer of [
  { kind: 'ring-hash', minRing: 8192, maxRing: 8192 },
  { kind: 'maglev', tableSize: 65_537 },
] as const) {
  test(`${balancer.kind}: localities get their weights' shares of the hashes, however many hosts they have`, () => {
    closeTo(
      spread(
        [
          { weight: 1, fit: 8, all: 8 },
          { weight: 3, fit: 2, all: 2 },
        ],
        { balancer, hashed: true },
      ),
      [25, 75],
      5,
    )
  })
}
test("weights count within their priority: istiod's distribute beside its failover", () => {
  const groups = [
    { weight: 80, fit: 2, all: 2 },
    { weight: 20, fit: 6, all: 6 },
    { weight: 100, fit: 5, all: 5, priority: 1 },
  ]
  closeTo(spread(groups), [80, 20, 0], 1.5)
  closeTo(spread([{ ...groups[0]!, fit: 0 }, { ...groups[1]!, fit: 0 }, groups[2]!]), [0, 0, 100], 0)
  // Six of eight are enough for the whole level.
  closeTo(spread([{ ...groups[0]!, fit: 0 }, groups[1]!, groups[2]!]), [0, 100, 0], 0)
  // Four of eight are not: 70 % of the load, which the localities share by what is left of them.
  closeTo(spread([{ ...groups[0]!, fit: 1 }, { ...groups[1]!, fit: 3 }, groups[2]!]), [56, 14, 30], 1.5)
})
test('a locality without a weight gets nothing, but where none has one all are one; weights do not count unless the cluster says so', () => {
  closeTo(
    spread([
      { weight: 0, fit: 2, all: 2 },
      { weight: 5, fit: 2, all: 2 },
    ]),
    [0, 100],
    0,
  )
  closeTo(
    spread([
      { weight: 0, fit: 3, all: 3 },
      { weight: 0, fit: 1, all: 1 },
    ]),
    [75, 25],
    1,
  )
  closeTo(
    spread(
      [
        { weight: 1, fit: 2, all: 2 },
        { weight: 9, fit: 2, all: 2 },
      ],
      { localityWeighted: false },
    ),
    [50, 50],
    1,
  )
})
test('one address in two localities is one host, and serves for both', () => {
  const hosts = new Hosts({
    cluster: cluster([], { localityWeighted: true }),
    clock: new SimClock(),
    random: seededRandom(7),
    removed: () => {},
  })
  const [a, b] = [endpoint('a', 1), endpoint('b', 1)]
  hosts.update({
    clusterName: 'c',
    localities: [
      { region: '', zone: 'x', subZone: '', priority: 0, weight: 1, endpoints: [a] },
      { region: '', zone: 'y', subZone: '', priority: 0, weight: 1, endpoints: [a, b] },
    ],
  })
  assert.equal([...hosts.all].length, 2)
  const seen = Array.from({ length: 4_000 }, () => hosts.pick({ maxHostPicks: 0 })!.endpoint.address)
  closeTo([seen.filter((s) => s === 'a').length / 40], [75], 2)
})
test('what has the same hash stays on its level and host', () => {
  const groups = [
    { weight: 1, fit: 5, all: 10 },
    { weight: 1, fit: 10, all: 10, priority: 1 },
  ]
  const hosts = new Hosts({
    cluster: cluster([], { balancer: { kind: 'maglev', tableSize: 65_537 }, panicPercent: 0 }),
    clock: new SimClock(),
    random: seededRandom(7),
    removed: () => {},
  })
  hosts.update({
    clusterName: 'c',
    localities: groups.map((g, i): LocalityLoad => ({
      region: '',
      zone: '',
      subZone: '',
      priority: g.priority ?? 0,
      weight: 1,
      endpoints: Array.from({ length: g.all }, (_, n) =>
        endpoint(`10.0.${i}.${n}`, 80, { health: n < g.fit ? 'healthy' : 'unhealthy' }),
      ),
    })),
  })
  const levels = new Set<number>()
  for (let hash = 0n; hash < 200_000n; hash += 1_009n) {
    const [first, ...others] = Array.from({ length: 3 }, () => hosts.pick({ hash, maxHostPicks: 0 })!)
    levels.add(first!.priority)
    for (const other of others) assert.equal(other, first)
  }
  assert.deepEqual(
    [...levels].toSorted((a, b) => a - b),
    [0, 1],
  )
})
