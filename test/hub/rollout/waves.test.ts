import { test } from 'node:test'
import assert from 'node:assert/strict'
import { countDraws, parseWaves, planWaves, findWave } from '../../../hub/rollout/waves.ts'

const devices = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ name: `gw-${i}`, labels: { site: `s${i % 5}` } }))

test('each wave has its share, and one device at least', () => {
  for (const [count, wanted] of [
    [1_000, [10, 90, 400, 500]],
    [10, [1, 0, 4, 5]],
    [3, [1, 0, 1, 1]],
    [1, [1, 0, 0, 0]],
  ] as const) {
    const plan = planWaves('r1', parseWaves('1%,10%,50%,100%'), devices(count))
    const found = [0, 0, 0, 0]
    for (const { name } of devices(count)) found[findWave(plan, name)]!++
    assert.deepEqual(found, wanted)
  }
})

test('a device stays in its wave whoever else comes; another rollout begins with others', () => {
  const waves = parseWaves('1%,100%')
  const plan = planWaves('r1', waves, devices(1_000))
  const first = (p: typeof plan): string[] =>
    devices(1_000)
      .map(({ name }) => name)
      .filter((name) => findWave(p, name) === 0)
  assert.deepEqual(first(plan), first(planWaves('r1', waves, devices(1_000).toReversed())))
  assert.notDeepEqual(first(plan), first(planWaves('r2', waves, devices(1_000))))
  assert.equal(findWave(plan, 'one-that-came-later') >= 0, true)
})

test('the first wave has devices of every site', () => {
  const plan = planWaves('r1', parseWaves('1%,100%'), devices(1_000))
  const first = devices(1_000).filter(({ name }) => findWave(plan, name) === 0)
  assert.equal(first.length, 10)
  assert.equal(new Set(first.map(({ labels }) => labels.site)).size, 5)
})

test('the work of a plan does not grow with the fleet more than it has to', () => {
  assert.deepEqual([0, 1, 1_000, 1_250, 2_000, 10_000, 100_000].map(countDraws), [16, 16, 16, 16, 10, 2, 1])
  const plan = planWaves('r1', parseWaves('1%,100%'), devices(10_000))
  const first = devices(10_000).filter(({ name }) => findWave(plan, name) === 0)
  assert.equal(first.length, 100)
  assert.equal(new Set(first.map(({ labels }) => labels.site)).size, 5)
})

test('with no device there is a plan for those that come', () => {
  const plan = planWaves('r1', parseWaves('50%,100%'), [])
  assert.deepEqual(plan.upTo, [0.5, 1])
})

for (const [text, problem] of [
  ['', 'above 0%'],
  ['1,10', 'above 0%'],
  ['0%,100%', 'above 0%'],
  ['10%,10%,100%', 'larger than the one before'],
  ['1%,50%', 'the last wave is 100%'],
  ['101%', 'up to 100%'],
  [Array.from({ length: 21 }, (_, i) => `${i + 1}%`).join(','), '20 waves at most'],
] as const)
  test(`a mistake is named: ${text.slice(0, 20)}`, () => {
    assert.throws(() => parseWaves(text), new RegExp(problem))
  })
