import { test } from 'node:test'
import assert from 'node:assert/strict'
import { takeLease } from '../../../../core/lease.ts'
import type { Balancer } from '../../../../model/cluster.ts'
import { createPicker } from '../../../../protocols/upstream/balancing/balancer.ts'
import { Host } from '../../../../protocols/upstream/host.ts'
import { hash64 } from '../../../../protocols/xx-hash.ts'
import { seededRandom } from '../../../helpers/random.ts'
import { endpoint } from '../../http/harness.ts'

const hosts = (...weights: number[]): Host[] =>
  weights.map((weight, i) => new Host(endpoint('10.0.0.1', 1000 + i, { weight })))
function counts(
  balancer: Balancer,
  all: readonly Host[],
  times: number,
  hashOf: (i: number) => bigint | undefined = () => undefined,
): number[] {
  const pick = createPicker(balancer, all, { random: seededRandom(1), nowMs: () => 0 })
  const seen = all.map(() => 0)
  for (let i = 0; i < times; i++) seen[all.indexOf(pick(hashOf(i))!)]!++
  return seen
}

test('round robin takes hosts in turn, by weight and interleaved', () => {
  assert.deepEqual(counts({ kind: 'round-robin' }, hosts(1, 1, 1), 9), [3, 3, 3])
  assert.deepEqual(counts({ kind: 'round-robin' }, hosts(3, 1), 40), [30, 10])
  const all = hosts(2, 1)
  const pick = createPicker({ kind: 'round-robin' }, all, { random: seededRandom(1), nowMs: () => 0 })
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
      createPicker(balancer, all, { random: seededRandom(1), nowMs: () => 0 }),
      createPicker(balancer, all.slice(0, 9), { random: seededRandom(1), nowMs: () => 0 }),
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
