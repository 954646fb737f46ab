import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../helpers/sim-clock.ts'
import { DOWN, rig, routesOf, tablesWith, UP } from './rig.ts'

test('a broker of 3.1.1 is met with 3.1.1, whichever way it says so', async (t) => {
  for (const answer of ['20 02 00 01', '20 03 00 84 00']) {
    const r = await rig(t, [UP, DOWN])
    const first = await r.upstream.next()
    await first.take('connect')
    first.raw(answer)
    const conn = await r.upstream.next()
    const connect = await conn.take('connect')
    assert.deepEqual([connect.version, connect.cleanStart], [4, false])
    conn.connack(0)
    await conn.granted()
    await r.publish('sensors/a', '1', { properties: Buffer.from([3, 0, 1, 65]) })
    assert.deepEqual(await conn.seen(), ['publish sensors/a 1 q1 #1'])
  }
})

test('waits grow while the upstream is away, begin small again after a good connection, and a refusal shows', async (t) => {
  const r = await rig(t, [UP])
  const first = await r.upstream.next()
  await first.take('connect')
  first.connack(0x87)
  await settle()
  assert.equal(r.bridge.status()[0]!.state, 'refused')
  assert.match(r.bridge.status()[0]!.error ?? '', /0x87/)
  r.upstream.refuse()
  await r.clock.advance(60_000)
  const tries = r.upstream.network.dials
  assert.ok(tries > 5 && tries < 25, `${tries} tries in a minute`)
  assert.equal(r.bridge.status()[0]!.state, 'waiting')
  r.upstream.restore()
  for (let i = 0; i < 300 && r.upstream.connections.length === 1; i++) await r.clock.advance(100)
  await r.upstream.accepted()
  await settle()
  assert.equal(r.bridge.status()[0]!.state, 'connected')
  assert.deepEqual(r.upstream.releases.slice(0, 1), ['ok'])
})

test('after a good connection the next try comes soon, however long the waits were before', async (t) => {
  const r = await rig(t, [UP])
  await r.upstream.next()
  r.upstream.refuse()
  r.upstream.cut()
  await r.clock.advance(120_000)
  r.upstream.restore()
  for (let i = 0; i < 400 && r.upstream.connections.length === 1; i++) await r.clock.advance(100)
  const conn = await r.upstream.next()
  await conn.take('connect')
  conn.connack(0)
  await r.clock.advance(10_000)
  conn.end()
  await r.clock.advance(500)
  await r.upstream.next()
})

test('a cluster that is not there yet is waited for', async (t) => {
  const r = await rig(t, [{ ...UP, cluster: 'later' }])
  await settle()
  assert.match(r.bridge.status()[0]!.error ?? '', /later/)
  r.tables.swap(tablesWith('later'))
  await r.clock.advance(30_000)
  await r.upstream.accepted()
})

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
  await r.bridge.apply(routesOf([UP, { match: 'other/#', direction: 'up', addPrefix: 'site/' }]))
  assert.deepEqual(await empty.seen(), ['publish site/other/b 2 q1 #3 retain'])
})
