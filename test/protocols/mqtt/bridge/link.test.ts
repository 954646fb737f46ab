import { test } from 'node:test'
import assert from 'node:assert/strict'
import { PacketParser } from '../../../../protocols/mqtt/codec/parser.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { DOWN, rig, UP } from './rig.ts'

test('the session is a lasting one: clean start off, no expiry, client id of node and cluster [MQTT-3.1.2-4]', async (t) => {
  const r = await rig(t, [UP])
  const connect = await (await r.upstream.next()).take('connect')
  assert.deepEqual(
    [connect.version, connect.cleanStart, connect.clientId, connect.keepAliveSec, connect.properties.sessionExpirySec],
    [5, false, 'edge-1/cloud', 30, 0xffffffff],
  )
})

test('cleanStart: the broker keeps no session (MQTT 5.0 §3.1.2.4), and what waits here goes all the same', async (t) => {
  for (const protocol of ['auto', '3.1.1'] as const) {
    const r = await rig(t, [UP, DOWN], { cleanStart: true, protocol })
    for (const n of [1, 2]) {
      const conn = await r.reconnected({ sessionPresent: false })
      const connect = conn.connect!
      assert.deepEqual([connect.cleanStart, connect.properties.sessionExpirySec], [true, undefined])
      assert.deepEqual((await conn.granted()).subscriptions.length, 1, 'each time')
      await r.publish('sensors/a', String(n))
      assert.deepEqual(
        await conn.seen(),
        n === 1 ? ['publish sensors/a 1 q1 #1'] : ['publish sensors/a 1 q1 #1', 'publish sensors/a 2 q1 #2'],
      )
      conn.end()
      await settle()
    }
  }
})

test('maxPacketBytes: the smaller of it and what the broker takes', async (t) => {
  for (const [maximumPacketBytes, went] of [
    [undefined, ['ok 30']],
    [1000, ['ok 30']],
    [40, []],
  ] as const) {
    const r = await rig(t, [UP], { maxPacketBytes: 80 })
    const conn = await r.upstream.accepted({
      properties: maximumPacketBytes === undefined ? {} : { maximumPacketBytes },
    })
    for (const bytes of [30, 100]) await r.publish('sensors/a', `ok ${bytes}`.padEnd(bytes))
    const seen = (await conn.seen()).map((word) => /ok \d+/.exec(word)?.[0])
    assert.deepEqual(seen, went)
    assert.equal(r.bridge.status()[0]?.setAside, 2 - went.length)
  }
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

test('what an upstream that reads nothing sends behind the end is kept by nobody', async (t) => {
  const r = await rig(t, [UP, DOWN])
  const conn = await r.upstream.next()
  await conn.take('connect')
  conn.stream.pause()
  conn.raw('d0 01 00')
  await settle()
  const { mock } = t.mock.method(PacketParser.prototype, 'push')
  for (let i = 0; i < 8; i++) conn.stream.write(Buffer.alloc(64 * 1024))
  await settle()
  assert.deepEqual([conn.stream.writableLength, mock.callCount()], [0, 0])
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
