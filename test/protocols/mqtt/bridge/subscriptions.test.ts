import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../helpers/sim-clock.ts'
import { DOWN, rig, UP } from './rig.ts'

test('the bridge subscribes before it publishes, without getting back what it sent (MQTT 5.0 §3.8.3.1), under a packet id that no message in flight has', async (t) => {
  const r = await rig(t, [UP, { ...DOWN, maxQos: 1 }])
  await r.publish('sensors/a', '1')
  const conn = await r.upstream.accepted()
  const subscribe = await conn.granted()
  assert.deepEqual(subscribe.subscriptions, [
    { filter: 'commands/#', qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 1 },
  ])
  assert.ok(subscribe.packetId > 10_000)
  assert.deepEqual(await conn.seen(), ['publish sensors/a 1 q1 #1'])
})

test('connected is who has its subscriptions: what is published above from then on comes', async (t) => {
  const r = await rig(t, [DOWN])
  const conn = await r.upstream.accepted()
  await settle()
  assert.equal(r.bridge.status()[0]?.state, 'connecting')
  await conn.granted()
  await settle()
  assert.equal(r.bridge.status()[0]?.state, 'connected')
})
