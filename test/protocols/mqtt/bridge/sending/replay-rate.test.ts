import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { UpstreamConn } from '../../../../helpers/mqtt/upstream.ts'
import { settle } from '../../../../helpers/sim-clock.ts'
import { rig, type Rig, UP } from '../rig.ts'

/** Everything that comes now. @returns how many messages that were */
async function acknowledged(conn: UpstreamConn): Promise<number> {
  for (let count = 0; ;) {
    const words = await conn.seen()
    if (words.length === 0) return count
    count += words.length
    for (const word of words) conn.ack('puback', Number(/#(\d+)/.exec(word)![1]))
  }
}

/** Away while so many are published, and back. */
async function afterAnOutage(r: Rig, messages: number, text = 'x'): Promise<UpstreamConn> {
  await r.upstream.accepted()
  r.upstream.refuse()
  r.upstream.cut()
  await settle()
  for (let i = 0; i < messages; i++) await r.publish('sensors/a', text)
  r.upstream.restore()
  return r.reconnected({ sessionPresent: true })
}

for (const { name, replay, text } of [
  { name: 'messages', replay: { messagesPerSec: 10 }, text: 'x' },
  { name: 'bytes', replay: { bytesPerSec: 10 * 116 }, text: 'x'.repeat(100) },
])
  test(`what has waited goes at the rate of the settings (${name}), and what comes afterwards at once`, async (t) => {
    const r = await rig(t, [UP], { replay })
    const conn = await afterAnOutage(r, 35, text)
    const counts = [await acknowledged(conn)]
    for (let i = 0; i < 4; i++) {
      await r.clock.advance(1_000)
      counts.push(await acknowledged(conn))
    }
    assert.ok(
      counts.slice(0, 3).every((count) => count >= 9 && count <= 11),
      String(counts),
    )
    assert.equal(
      counts.reduce((sum, count) => sum + count),
      35,
    )
    for (let i = 0; i < 50; i++) await r.publish('sensors/a', text)
    assert.equal(await acknowledged(conn), 50)
    assert.equal(r.clock.pendingTimers < 10, true)
  })

test('without a rate everything goes at once', async (t) => {
  const r = await rig(t, [UP])
  assert.equal(await acknowledged(await afterAnOutage(r, 300)), 300)
})
