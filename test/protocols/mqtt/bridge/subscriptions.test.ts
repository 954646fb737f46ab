import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../helpers/sim-clock.ts'
import { bridgePolicy, DOWN, rig, UP } from './rig.ts'

test('the bridge subscribes before it publishes, without getting back what it sent (MQTT 5.0 §3.8.3.1), under a packet id that no message in flight has', async (t) => {
  const r = await rig(t, [UP, { ...DOWN, maxQos: 1 }])
  await r.publish('sensors/a', '1')
  const conn = await r.upstream.accepted()
  const subscribe = await conn.granted()
  assert.deepEqual(subscribe.subscriptions, [
    { filter: 'commands/#', qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 0 },
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

for (const { name, version, route, want } of [
  { name: '5.0, QoS 1', version: 5, route: DOWN, want: [] },
  { name: '5.0, QoS 0', version: 5, route: { ...DOWN, maxQos: 0 as const }, want: ['commands/#'] },
  { name: '3.1.1', version: 4, route: DOWN, want: ['commands/#'] },
] as const) {
  test(`what may have changed unseen is asked for again when the session goes on: ${name}`, async (t) => {
    const r = await rig(t, [route])
    let conn = await r.upstream.next()
    if (version === 4) {
      await conn.take('connect')
      conn.connack(0x84)
      conn = await r.upstream.next()
    }
    await conn.take('connect')
    conn.connack(0)
    await conn.granted()
    conn.end()
    await r.clock.advance(5_000)
    const again = await r.upstream.accepted({ sessionPresent: true })
    await settle()
    const asked = again.received.flatMap((p) => (p.type === 'subscribe' ? p.subscriptions.map((s) => s.filter) : []))
    assert.deepEqual(asked, want)
  })
}

test('what the broker refuses, or does not answer, is told once, shown, and asked for again each minute', async (t) => {
  const r = await rig(t, [DOWN, { match: 'config/#', direction: 'down' }])
  const conn = await r.upstream.accepted()
  conn.isAlive = true
  const answer = async (...reasons: number[]): Promise<readonly string[]> => {
    const { packetId, subscriptions } = await conn.take('subscribe')
    conn.send({ type: 'suback', packetId, reasons, properties: {} })
    await settle()
    return subscriptions.map(({ filter }) => filter)
  }
  const shown = (): unknown => [r.bridge.status()[0]?.state, r.bridge.status()[0]?.refusedFilters]
  const told = (): number => r.local.metrics.total('mesh_mqtt_bridge_subscriptions_refused_total')
  assert.deepEqual(await answer(2, 0x87), ['commands/#', 'config/#'])
  assert.deepEqual([shown(), told()], [['connected', ['config/#']], 1])
  await r.clock.advance(60_000)
  assert.deepEqual(await answer(0x87), ['config/#'])
  assert.deepEqual([shown(), told()], [['connected', ['config/#']], 1])
  // Not answered in time.
  await r.clock.advance(60_000)
  await conn.take('subscribe')
  await r.clock.advance(10_000)
  await r.clock.advance(60_000)
  assert.deepEqual(await answer(2), ['config/#'])
  assert.deepEqual(shown(), ['connected', undefined])
  await r.clock.advance(200_000)
  assert.deepEqual(conn.received, [])
})

test('routes that go are asked for no more', async (t) => {
  const r = await rig(t, [UP, DOWN])
  const conn = await r.upstream.accepted()
  conn.isAlive = true
  const { packetId } = await conn.take('subscribe')
  conn.send({ type: 'suback', packetId, reasons: [0x97], properties: {} })
  await settle()
  await r.bridge.apply(bridgePolicy([UP]))
  assert.equal(r.bridge.status()[0]?.refusedFilters, undefined)
  await r.clock.advance(200_000)
  assert.deepEqual(conn.received, [])
})
