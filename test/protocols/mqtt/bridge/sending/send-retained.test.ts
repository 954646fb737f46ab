import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../../helpers/sim-clock.ts'
import { bridgePolicy, rig, UP } from '../rig.ts'

test('what is retained here is retained above: again for a broker that starts empty, and for a route that is new', async (t) => {
  const r = await rig(t, [UP])
  const first = await r.upstream.accepted()
  await settle()
  await r.publish('sensors/a', '1', { retain: true })
  await r.publish('other/b', '2', { retain: true })
  assert.deepEqual(await first.seen(), ['publish sensors/a 1 q1 #1 retain'])
  first.ack('puback', 1)
  await settle()
  first.end()
  const same = await r.reconnected({ sessionPresent: true })
  assert.deepEqual(await same.seen(), [])
  same.end()
  const empty = await r.reconnected({ sessionPresent: false })
  assert.deepEqual(await empty.seen(), ['publish sensors/a 1 q1 #2 retain'])
  await r.bridge.apply(bridgePolicy([UP, { match: 'other/#', direction: 'up', addPrefix: 'site/' }]))
  assert.deepEqual(await empty.seen(), ['publish site/other/b 2 q1 #3 retain'])
})

test('what is retained here and waits for the broker anyway is not sent to it twice', async (t) => {
  const r = await rig(t, [UP])
  const first = await r.upstream.accepted()
  await r.publish('sensors/c', '0', { retain: true })
  assert.deepEqual(await first.seen(), ['publish sensors/c 0 q1 #1 retain'])
  first.ack('puback', 1)
  await settle()
  r.upstream.refuse()
  first.end()
  await r.publish('sensors/a', '1', { retain: true })
  await r.publish('sensors/a', '2', { retain: true, qos: 2 })
  await r.publish('sensors/b', '1', { retain: true, qos: 2 })
  await r.publish('sensors/b', '2')
  r.upstream.restore()
  const empty = await r.reconnected({ sessionPresent: false })
  assert.deepEqual(await empty.seen(), [
    'publish sensors/a 1 q1 #2 retain',
    'publish sensors/a 2 q2 #3 retain',
    'publish sensors/b 1 q2 #4 retain',
    'publish sensors/b 2 q1 #5',
    'publish sensors/c 0 q1 #6 retain',
  ])
})

test('of several routes each sends what is its own, and what waits is left to the queue', async (t) => {
  const other = { match: 'other/#', direction: 'up', addPrefix: 'site/' } as const
  const r = await rig(t, [UP, other])
  const first = await r.upstream.accepted()
  await r.publish('sensors/a', '1', { retain: true })
  await r.publish('other/b', '2', { retain: true })
  await first.seen()
  for (const packetId of [1, 2]) first.ack('puback', packetId)
  await settle()
  r.upstream.refuse()
  first.end()
  await r.publish('other/c', '3', { retain: true })
  r.upstream.restore()
  const empty = await r.reconnected({ sessionPresent: false })
  assert.deepEqual(await empty.seen(), [
    'publish site/other/c 3 q1 #3 retain',
    'publish sensors/a 1 q1 #4 retain',
    'publish site/other/b 2 q1 #5 retain',
  ])
})
