import { test } from 'node:test'
import assert from 'node:assert/strict'
import { KeepAlive } from '../../../../core/relay/keep-alive.ts'
import { rig, type Rig, UP } from './rig.ts'

const RANGE = { minMs: 60_000, maxMs: 1_000_000 }
/** A way through NAT that forgets after so long. */
function learn(natMs: number, rounds: number): { readonly silences: number[]; readonly losses: number } {
  const keepAlive = new KeepAlive()
  const silences: number[] = []
  let losses = 0
  for (let i = 0; i < rounds; i++) {
    const ms = keepAlive.computeSilenceMs(RANGE)
    silences.push(ms)
    if (ms < natMs) keepAlive.noteSurvived(ms)
    else {
      keepAlive.noteLost(ms)
      losses++
    }
  }
  return { silences, losses }
}

for (const natMs of [70_000, 119_000, 240_000, 600_000])
  test(`a way that forgets after ${natMs / 1_000} s is learnt at the cost of one loss, or a few`, () => {
    const { silences, losses } = learn(natMs, 60)
    const last = silences.at(-1)!
    assert.ok(last < natMs && last >= Math.max(60_000, natMs * 0.5), `${last}`)
    assert.ok(losses <= 4, `${losses} lost`)
    assert.equal(new Set(silences.slice(-20)).size, 1, 'it stays')
  })
test('without a loss it grows to what it may be', () => assert.equal(learn(Infinity, 20).silences.at(-1), RANGE.maxMs))
test('nothing is learnt when there is nothing between the bounds', () => {
  const keepAlive = new KeepAlive()
  keepAlive.noteSurvived(30_000)
  assert.equal(keepAlive.computeSilenceMs({ minMs: 30_000, maxMs: 30_000 }), 30_000)
})

/** How long it is silent before the next PINGREQ. */
async function silence(r: Rig, conn: Awaited<ReturnType<Rig['reconnected']>>): Promise<number> {
  const fromMs = r.clock.monotonicMs()
  for (let i = 0; i < 4_000 && conn.received.length === 0; i++) await r.clock.advance(250)
  await conn.take('pingreq')
  return r.clock.monotonicMs() - fromMs
}
test('silences grow while the broker answers, begin shorter after a loss, and the broker knows the longest', async (t) => {
  const r = await rig(t, [UP], { keepAliveSec: 60, keepAliveMaxSec: 600 })
  const conn = await r.upstream.next()
  assert.equal((await conn.take('connect')).keepAliveSec, 600)
  conn.connack(0)
  const silences: number[] = []
  for (let i = 0; i < 3; i++) {
    silences.push(await silence(r, conn))
    conn.send({ type: 'pingresp' })
  }
  assert.deepEqual(silences, [45_000, 67_500, 101_250])
  await silence(r, conn)
  await r.clock.advance(10_000)
  assert.equal(conn.closed, true)
  const next = await r.reconnected({ sessionPresent: true })
  assert.ok((await silence(r, next)) < 151_875 * 0.9)
})
test('who hears something all the time asks nothing; who only sends does [MQTT-3.1.2-20]', async (t) => {
  const r = await rig(t, [UP])
  const conn = await r.upstream.accepted()
  for (let i = 1; i <= 10; i++) {
    await r.publish('sensors/a', 'x')
    await conn.take('publish')
    conn.ack('puback', i)
    await r.clock.advance(10_000)
  }
  assert.deepEqual(await conn.seen(), [])
  for (let i = 0; i < 3; i++) {
    await r.publish('sensors/a', 'x', { qos: 0 })
    await r.clock.advance(10_000)
  }
  assert.ok((await conn.seen()).includes('pingreq'))
})
