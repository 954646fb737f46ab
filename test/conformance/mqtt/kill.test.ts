/**
 * The shipped agent is killed while devices publish to it: nothing that it acknowledged is lost (`npm run bench --
 * kill` does the same for longer).
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { whatIsWrong } from '../../bench/mqtt/kill.ts'
import { killRun } from '../../bench/mqtt/kill/run.ts'

const KILLS = { strict: 20, balanced: 10 }
/** Far less than the publishers send between two kills when they are not kept from it. */
const LEAST_PER_KILL = 20

for (const [profile, kills] of Object.entries(KILLS) as [keyof typeof KILLS, number][]) {
  test(
    `${profile}: of ${kills} kills none loses an acknowledged message, delivers QoS 2 twice, breaks the order or forgets a session or a retained message`,
    { timeout: 180_000 },
    async (t) => {
      const seed = Date.now() % 1_000_000
      t.diagnostic(`seed ${seed}`)
      const result = await killRun(t, { kills, seed, profile })
      assert.deepEqual(whatIsWrong(result), [])
      for (const { subscriber, qos, acknowledged, delivered } of result.counts) {
        assert.ok(
          acknowledged > kills * LEAST_PER_KILL && delivered === acknowledged,
          `${subscriber}, QoS ${qos}: only ${acknowledged} messages were acknowledged, ${delivered} delivered`,
        )
      }
      t.diagnostic(
        `${result.counts.filter((c) => c.subscriber === result.counts[0]!.subscriber).reduce((sum, c) => sum + c.acknowledged, 0)} messages acknowledged in ${result.seconds.toFixed(1)} s`,
      )
    },
  )
}
