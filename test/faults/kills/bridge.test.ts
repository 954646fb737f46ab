import { test } from 'node:test'
import assert from 'node:assert/strict'
import { bridgeKills } from './bridge-kills.ts'
import { LEAST_PER_KILL } from './profile-kills.ts'

const KILLS = 50

test(`${KILLS} kills of a bridge and of the broker that it leads to`, { timeout: 600_000 }, async (t) => {
  const seed = Date.now() % 1_000_000
  const { counts, faults, examples } = await bridgeKills(t, { kills: KILLS, seed })
  const [first, second] = counts
  assert.deepEqual(
    counts.map(({ lost, outOfOrder, damaged }) => ({ lost, outOfOrder, damaged })),
    [
      { lost: 0, outOfOrder: 0, damaged: 0 },
      { lost: 0, outOfOrder: 0, damaged: 0 },
    ],
    `seed ${seed}: ${examples.join('; ')}`,
  )
  assert.deepEqual(
    [second!.duplicates, faults],
    [0, { sessionsLost: 0, refused: 0, violations: [] }],
    `seed ${seed}: ${examples.join('; ')}`,
  )
  assert.ok(first!.delivered > KILLS * LEAST_PER_KILL && second!.delivered > KILLS * LEAST_PER_KILL)
  const delivered = counts.reduce((all, one) => all + one.delivered, 0)
  t.diagnostic(`seed ${seed}: ${delivered} acknowledged and delivered over ${KILLS} kills`)
})
