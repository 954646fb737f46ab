import { test } from 'node:test'
import assert from 'node:assert/strict'
import { DOWN, rig, UP } from './rig.ts'

test('the session is a lasting one: clean start off, no expiry, client id of node and cluster [MQTT-3.1.2-4]', async (t) => {
  const r = await rig(t, [UP])
  const connect = await (await r.upstream.next()).take('connect')
  assert.deepEqual(
    [connect.version, connect.cleanStart, connect.clientId, connect.keepAliveSec, connect.properties.sessionExpirySec],
    [5, false, 'edge-1/cloud', 30, 0xffffffff],
  )
})

test('keep-alive: PINGREQ while idle, and a peer that answers nothing is left [MQTT-3.1.2-20]', async (t) => {
  const r = await rig(t, [UP])
  const conn = await r.upstream.accepted()
  await r.clock.advance(22_500)
  await conn.take('pingreq')
  conn.send({ type: 'pingresp' })
  await r.clock.advance(22_500)
  await conn.take('pingreq')
  assert.equal(conn.closed, false)
  await r.clock.advance(10_000)
  assert.equal(conn.closed, true)
})

test('a peer that never answers CONNECT is left after ten seconds', async (t) => {
  const r = await rig(t, [UP])
  const conn = await r.upstream.next()
  await r.clock.advance(9_999)
  assert.equal(conn.closed, false)
  await r.clock.advance(1)
  assert.equal(conn.closed, true)
})

test('garbage from the upstream ends the connection and nothing else', async (t) => {
  for (const bytes of [
    'ff ff ff ff ff',
    '20 02 00',
    '30 80 80 80 80 01',
    'd0 01 00',
    '40 02 00 00',
    'e0 00',
    '62 02 00 09',
  ]) {
    const r = await rig(t, [UP, DOWN])
    const conn = await r.upstream.next()
    await conn.take('connect')
    conn.raw(bytes)
    await r.clock.advance(10_000)
    assert.equal(conn.closed, true, bytes)
    await r.nextConnection()
    await r.upstream.next()
  }
})

test('small packets are gathered for as long as the settings say, and one write takes them', async (t) => {
  const r = await rig(t, [UP], { batchMs: 50 })
  const conn = await r.upstream.next()
  await r.clock.advance(50)
  await conn.take('connect')
  conn.connack(0)
  for (const n of ['1', '2', '3']) {
    await r.publish('sensors/a', n)
    await r.clock.advance(10)
  }
  assert.deepEqual(await conn.seen(), [])
  await r.clock.advance(50)
  assert.equal((await conn.seen()).length, 3)
  await r.publish('sensors/a', '4')
  await r.bridge[Symbol.asyncDispose]()
  assert.deepEqual(await conn.seen(), ['publish sensors/a 4 q1 #4', 'disconnect 0x0'])
})
