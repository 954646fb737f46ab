/** 200 kills over all profiles and a bridge: nothing that was acknowledged is lost, QoS 2 comes once, the order holds. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { whatIsWrong } from '../bench/mqtt/kill.ts'
import { killRun } from '../bench/mqtt/kill/run.ts'
import { bridgeKills } from './bridge-kills.ts'

const KILLS = { strict: 80, balanced: 50, eco: 20 } as const
const BRIDGE_KILLS = 50
/** Far less than the publishers send between two kills when they are not kept from it. */
const LEAST_PER_KILL = 5

for (const profile of ['strict', 'balanced', 'eco'] as const) {
  test(`${KILLS[profile]} kills, profile ${profile}`, { timeout: 600_000 }, async (t) => {
    const seed = Date.now() % 1_000_000
    const result = await killRun(t, { kills: KILLS[profile], seed, profile })
    assert.deepEqual(whatIsWrong(result), [], `seed ${seed}`)
    const least = Math.min(...result.counts.map(({ delivered }) => delivered))
    assert.ok(least > KILLS[profile] * LEAST_PER_KILL, `only ${least} messages were delivered`)
    t.diagnostic(
      `seed ${seed}: ${result.kills} kills in ${result.seconds.toFixed(0)} s, ${sum(result.counts.slice(0, 2))} acknowledged and delivered`,
    )
  })
}

test(`${BRIDGE_KILLS} kills of a bridge and of the broker that it leads to`, { timeout: 600_000 }, async (t) => {
  const seed = Date.now() % 1_000_000
  const { counts, faults, examples } = await bridgeKills(t, { kills: BRIDGE_KILLS, seed })
  const [first, second] = counts
  assert.deepEqual(
    counts.map(({ lost, outOfOrder, damaged }) => ({ lost, outOfOrder, damaged })),
    [
      { lost: 0, outOfOrder: 0, damaged: 0 },
      { lost: 0, outOfOrder: 0, damaged: 0 },
    ],
    `seed ${seed}: ${examples.join('; ')}`,
  )
  assert.deepEqual([second!.duplicates, faults], [0, { sessionsLost: 0, refused: 0, violations: [] }], `seed ${seed}`)
  assert.ok(first!.delivered > BRIDGE_KILLS * LEAST_PER_KILL && second!.delivered > BRIDGE_KILLS * LEAST_PER_KILL)
  t.diagnostic(`seed ${seed}: ${sum(counts)} acknowledged and delivered over ${BRIDGE_KILLS} kills`)
})

const sum = (counts: readonly { readonly delivered: number }[]): number =>
  counts.reduce((all, { delivered }) => all + delivered, 0)
