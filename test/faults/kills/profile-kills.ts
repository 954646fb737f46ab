/** SIGKILLs with one profile: nothing that was acknowledged is lost, QoS 2 comes once, the order holds. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { whatIsWrong } from '../../bench/mqtt/kill.ts'
import { type KillOptions, killRun } from '../../bench/mqtt/kill/run.ts'

/** Far less than the publishers send between two kills when they are not kept from it. */
export const LEAST_PER_KILL = 5

export function testKills({ profile, kills }: Pick<KillOptions, 'profile' | 'kills'>): void {
  test(`${kills} kills, profile ${profile}`, { timeout: 600_000 }, async (t) => {
    const seed = Date.now() % 1_000_000
    const result = await killRun(t, { kills, seed, profile })
    assert.deepEqual(whatIsWrong(result), [], `seed ${seed}`)
    const least = Math.min(...result.counts.map(({ delivered }) => delivered))
    assert.ok(least > kills * LEAST_PER_KILL, `only ${least} messages were delivered`)
    const delivered = result.counts.slice(0, 2).reduce((all, one) => all + one.delivered, 0)
    t.diagnostic(
      `seed ${seed}: ${result.kills} kills in ${result.seconds.toFixed(0)} s, ${delivered} acknowledged and delivered`,
    )
  })
}
