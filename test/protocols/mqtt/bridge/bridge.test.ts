import { test } from 'node:test'
import assert from 'node:assert/strict'
import { DOWN, rig, bridgePolicy, UP } from './rig.ts'

test('a message that came from above is not sent back up, and one from another side is', async (t) => {
  const r = await rig(t, [{ match: '#', direction: 'up' }, DOWN])
  const conn = await r.upstream.accepted()
  await conn.granted()
  conn.publish('commands/a', 'x', { qos: 1, packetId: 1 })
  assert.deepEqual(await conn.seen(), ['puback #1'])
  await r.publish('commands/b', 'y')
  assert.deepEqual(await conn.seen(), ['publish commands/b y q1 #1'])
})

test('apply: the same routes change nothing; other ones change subscriptions and up routes on the open connection', async (t) => {
  const r = await rig(t, [UP, DOWN])
  const conn = await r.upstream.accepted()
  await conn.granted()
  await r.bridge.apply(bridgePolicy([DOWN, UP]))
  assert.deepEqual(await conn.seen(), [])
  await r.bridge.apply(
    bridgePolicy([
      { ...UP, match: 'meters/#' },
      { ...DOWN, match: 'orders/#' },
    ]),
  )
  const unsubscribe = await conn.take('unsubscribe')
  assert.deepEqual(unsubscribe.filters, ['commands/#'])
  conn.send({ type: 'unsuback', packetId: unsubscribe.packetId, reasons: [0], properties: {} })
  assert.deepEqual(
    (await conn.granted()).subscriptions.map((s) => s.filter),
    ['orders/#'],
  )
  await r.publish('sensors/a', 'x')
  await r.publish('meters/a', 'y')
  assert.deepEqual(await conn.seen(), ['publish meters/a y q1 #1'])
  assert.equal(r.upstream.connections.length, 1)
})

test('routes that are gone end the session with DISCONNECT; what waited is sent when they come back', async (t) => {
  const r = await rig(t, [UP])
  const conn = await r.upstream.accepted()
  await r.publish('sensors/a', '1')
  await conn.seen()
  await r.bridge.apply(bridgePolicy([]))
  assert.deepEqual([await conn.seen(), r.bridge.status()], [['disconnect 0x0'], []])
  await r.bridge.apply(bridgePolicy([UP]))
  assert.deepEqual(await (await r.upstream.accepted({ sessionPresent: true })).seen(), [
    'publish sensors/a 1 q1 #1 dup',
  ])
})

test('routes with the same cluster and client id share a session; others have their own', async (t) => {
  const r = await rig(t, [UP, { ...UP, match: 'm/#' }, { ...UP, clientId: 'second' }])
  const ids = [await r.upstream.next(), await r.upstream.next()].map(async (c) => (await c.take('connect')).clientId)
  assert.deepEqual((await Promise.all(ids)).sort(), ['edge-1/cloud', 'second'])
  assert.equal(r.bridge.status().length, 2)
})

test('what waits under a client id that no route has any more is told, stays, and goes when the id comes back', async (t) => {
  const r = await rig(t, [{ ...UP, clientId: 'old-two' }])
  r.upstream.refuse()
  r.upstream.cut()
  await r.publish('sensors/a', '1')
  const orphaned = (): number => r.local.metrics.total('mesh_mqtt_bridge_orphaned_messages')
  assert.equal(orphaned(), 0)
  assert.notEqual(r.bridge.findState('up/cloud/old-two'), undefined)
  assert.equal(r.bridge.findState('aside/cloud/old-two'), r.bridge.findState('up/cloud/old-two\u00001\u0000[]'))
  await r.bridge.apply(bridgePolicy([{ ...UP, clientId: 'old' }]))
  assert.equal(orphaned(), 1)
  assert.equal(r.bridge.findState('up/cloud/old-two'), undefined)
  await r.bridge.apply(bridgePolicy([{ ...UP, clientId: 'old-two' }]))
  assert.deepEqual([orphaned(), r.bridge.status()[0]!.queued], [0, 1])
})
