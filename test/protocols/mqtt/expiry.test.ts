/** A message expires so long after it came as its publisher said, whatever becomes of the wall clock meanwhile. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { computeExpiry, toExpirySec, computeLeftMs, readMessageMs } from '../../../protocols/mqtt/expiry.ts'
import { decodeOne, encodeOne, countEntryBytes } from '../../../protocols/mqtt/spool/segment.ts'
import type { StoredMessage } from '../../../protocols/mqtt/durability.ts'
import { TestBroker } from '../../helpers/mqtt/broker.ts'
import { settle, SimClock } from '../../helpers/sim-clock.ts'

const DAY_MS = 86_400_000
const message = (more: Partial<StoredMessage>): StoredMessage => ({
  topic: 't',
  payload: Buffer.from('p'),
  qos: 1,
  retain: false,
  properties: new Uint8Array(0),
  expiresAtMs: undefined,
  ...more,
})
const KEEP = { cleanStart: false, properties: { sessionExpirySec: 0xffff_fffe } } as const

for (const backMs of [1_000, 3_600_000, 400 * DAY_MS]) {
  test(`the clock steps back by ${backMs} ms while a message waits: it has what is left of its time, and expires`, async () => {
    const t = new TestBroker()
    const c = t.open()
    await c.connect({ clientId: 'c', ...KEEP })
    await c.subscribe('a/#', { qos: 1 })
    c.stream.destroy()
    await settle()
    const pub = t.open()
    await pub.connect({ clientId: 'pub' })
    pub.publish('a/queued', 'x', { qos: 1, packetId: 1, messageExpirySec: 600 })
    pub.publish('a/kept', 'x', { qos: 1, retain: true, packetId: 2, messageExpirySec: 600 })
    await t.clock.advance(100_000)
    t.clock.setWallMs(t.clock.wallMs() - backMs)
    const again = t.open()
    await again.connect({ clientId: 'c', ...KEEP })
    assert.equal((await again.take('publish')).messageExpirySec, 500)
    again.stream.destroy()
    await t.clock.advance(500_000)
    const late = t.open()
    await late.connect({ clientId: 'late' })
    await late.subscribe('a/#', { qos: 1 })
    await settle()
    assert.doesNotMatch((await late.seen()).join(), /publish/)
  })
}
test('after a restart with a clock that was set back a message has no more than it was given', () => {
  const kept = message(computeExpiry(600, 1_700_000_000_000))
  assert.deepEqual(
    [0, 1_000, 400 * DAY_MS].map((back) => toExpirySec(computeLeftMs(kept, 1_700_000_000_000 - back))),
    [600, 600, 600],
  )
  assert.equal(computeLeftMs(kept, 1_700_000_600_000), 0)
  assert.equal(computeLeftMs(message({}), 0), Infinity)
})
test('the time of messages goes on when the clock steps back, and with it when it is set forward', async () => {
  const clock = new SimClock()
  const start = readMessageMs(clock)
  clock.setWallMs(start - DAY_MS)
  await clock.advance(5_000)
  assert.equal(readMessageMs(clock), start + 5_000)
  clock.setWallMs(start + DAY_MS)
  assert.equal(readMessageMs(clock), start + DAY_MS)
})
test('what a message was given is kept on disk; what was written without it is read', () => {
  const given = message(computeExpiry(600, 1_700_000_000_000))
  const plain = message({ expiresAtMs: 1_700_000_600_000 })
  for (const one of [given, plain, message({})]) {
    const blob = encodeOne(one)
    const { expiresAtMs, expirySec, topic } = decodeOne(blob)!
    assert.deepEqual(
      [expiresAtMs, expirySec, topic, blob.length - 12],
      [one.expiresAtMs, one.expirySec, 't', countEntryBytes(one)],
    )
  }
})
