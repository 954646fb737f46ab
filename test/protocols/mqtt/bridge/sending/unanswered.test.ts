import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../../helpers/sim-clock.ts'
import { rig, UP } from '../rig.ts'

test('a message that the broker passes over while it answers later ones comes again over another connection', async (t) => {
  const r = await rig(t, [UP])
  const conn = await r.upstream.accepted()
  conn.isAlive = true
  await r.publish('sensors/a', '1')
  await r.clock.advance(1_000)
  await r.publish('sensors/a', '2')
  assert.deepEqual(await conn.seen(), ['publish sensors/a 1 q1 #1', 'publish sensors/a 2 q1 #2'])
  conn.ack('puback', 2)
  await r.clock.advance(298_000)
  assert.equal(conn.closed, false)
  await r.clock.advance(1_500)
  assert.equal(conn.closed, true)
  assert.match(r.bridge.status()[0]?.error ?? '', /not answered for 300000 ms/)
  const next = await r.reconnected({ sessionPresent: true })
  assert.deepEqual(await next.seen(), ['publish sensors/a 1 q1 #1 dup'])
  next.ack('puback', 1)
  await settle()
  assert.equal(r.bridge.status()[0]?.queued, 0)
})

test('a message that is not answered while PINGREQ is comes again, however often, and is not set aside', async (t) => {
  const r = await rig(t, [UP])
  let conn = await r.upstream.accepted()
  await r.publish('sensors/a', '1')
  for (let i = 0; i < 8; i++) {
    conn.isAlive = true
    await r.clock.advance(400_000)
    assert.equal(conn.closed, true)
    conn = await r.reconnected({ sessionPresent: true })
  }
  assert.deepEqual([r.bridge.status()[0]?.queued, r.bridge.status()[0]?.setAside], [1, 0])
})

test('who hears nothing at all is left by the keep-alive alone, and who waits less than that stays', async (t) => {
  const r = await rig(t, [UP], { keepAliveSec: 65_535 })
  const conn = await r.upstream.accepted()
  await r.publish('sensors/a', '1')
  await r.clock.advance(3_600_000)
  assert.equal(conn.closed, false)
})
