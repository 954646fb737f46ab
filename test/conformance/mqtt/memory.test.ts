/**
 * The shipped agent with 96 and with 256 MiB, in a control group of its own where one may be made: whatever one peer
 * does with little effort, the process stays inside, and a well-behaved client beside it gets all of its messages. The
 * attacks are those of `npm run bench -- amplification`.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { attacked, mib } from '../../bench/amplification/attacked.ts'
import { MQTT_ATTACKS } from '../../bench/amplification/attacks.ts'

const MIB = 1024 * 1024
const EACH_MS = 2_000
const ATTACKS: Readonly<Record<number, readonly string[]>> = {
  96: ['idle-subscribers', 'idle-subscribers-qos1', 'half-connects', 'half-packets', 'subscribe'],
  256: ['idle-subscribers', 'idle-kept', 'silent', 'retained', 'overlapping-anew'],
}

for (const [limit, names] of Object.entries(ATTACKS)) {
  for (const name of names) {
    test(`${limit} MiB, ${name}: ${MQTT_ATTACKS[name]!.about}`, { timeout: 30_000 }, async (t) => {
      const m = await attacked(MQTT_ATTACKS[name]!, { limitBytes: Number(limit) * MIB, ms: EACH_MS })
      t.diagnostic(
        `${m.how}: ${mib(m.sentBytes)} MiB sent, peak RSS ${mib(m.peakRssBytes)} MiB (files of the program included), client p99 ${m.served.p99Ms.toFixed(0)} ms`,
      )
      assert.ok(m.isAlive, `the agent was ended: ${m.log}`)
      assert.ok(m.served.isConnected, 'the well-behaved client was cut off')
      assert.deepEqual([m.served.acknowledged, m.served.delivered], [m.served.sent, m.served.sent])
    })
  }
}
