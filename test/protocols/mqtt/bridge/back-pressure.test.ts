/** An upstream broker that is faster than the local receivers or the disk, while memory is short. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { Metrics } from '../../../../core/metrics.ts'
import { MemoryBudget } from '../../../../core/runtime/memory-budget.ts'
import type { MqttPeer } from '../../../helpers/mqtt/peer.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import type { UpstreamConn } from '../../../helpers/mqtt/upstream.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { bridgePolicy, DOWN, Rig, rig, type RouteInput, UP } from './rig.ts'

const MIB = 1024 * 1024
const TEXT = 'x'.repeat(64 * 1024)

async function start(
  t: TestContext,
  ...routes: readonly RouteInput[]
): Promise<{ r: Rig; conn: UpstreamConn; budget: MemoryBudget; metrics: Metrics }> {
  const metrics = new Metrics()
  const budget = new MemoryBudget({ maxBytes: 4 * MIB, metrics })
  const r = new Rig(new TestBroker({ budget }))
  await r.upstream.listen()
  t.after(() => r.bridge[Symbol.asyncDispose]())
  await r.bridge.apply(bridgePolicy([DOWN, ...routes]))
  const conn = await r.upstream.accepted()
  await conn.granted()
  return { r, conn, budget, metrics }
}
const countAcks = (conn: UpstreamConn): number =>
  conn.received.splice(0).filter(({ type }) => type === 'puback' || type === 'pubrec').length

/** Everything that has come since the last call is acknowledged. */
function take(reader: MqttPeer): number {
  const got = reader.received.splice(0).filter((packet) => packet.type === 'publish')
  for (const { packetId, qos } of got) if (qos === 1) reader.ack('puback', packetId)
  return got.length
}

test('QoS 1 that comes down faster than a local receiver takes it: read slowly, and nobody is cut', async (t) => {
  const { r, conn, budget, metrics } = await start(t)
  const reader = r.local.open({ policy: { limits: { maxInflight: 2 } } })
  await reader.connect({ clientId: 'reader' })
  await reader.subscribe('commands/#', { qos: 1 })
  for (let i = 1; i <= 256; i++) conn.publish('commands/a', TEXT, { qos: 1, packetId: i })
  let [got, most, acks] = [0, 0, 0]
  for (let turn = 0; turn < 3_000 && !reader.closed && got < 256; turn++) {
    got += take(reader)
    acks += countAcks(conn)
    most = Math.max(most, budget.heldBytes)
    await r.clock.advance(10)
  }
  assert.deepEqual([reader.closed, conn.closed, metrics.total('mesh_memory_given_up_total')], [false, false, 0])
  assert.deepEqual([got, acks], [256, 256])
  assert.ok(most < 4 * MIB, `${most} bytes were held`)
  assert.ok(r.local.metrics.total('mesh_mqtt_bridge_receiver_waits_total') > 0)
})

test('QoS 0 that comes down for a receiver that does not read is dropped there, and nobody is cut', async (t) => {
  const { r, conn, budget, metrics } = await start(t)
  const [deaf, reader] = [r.local.open(), r.local.open()]
  for (const [i, one] of [deaf, reader].entries()) {
    await one.connect({ clientId: `c${i}` })
    await one.subscribe('commands/#', { qos: 1 })
  }
  deaf.stream.pause()
  let [got, most] = [0, 0]
  for (let i = 0; i < 256; i++) {
    conn.publish('commands/a', TEXT)
    await r.clock.advance(1)
    got += take(reader)
    most = Math.max(most, budget.heldBytes)
  }
  for (let i = 0; i < 10; i++) {
    await settle()
    got += take(reader)
  }
  assert.equal(got, 256)
  assert.deepEqual([deaf.closed, metrics.total('mesh_memory_given_up_total', { what: 'connection' })], [false, 0])
  assert.ok(most < 5 * MIB, `${most} bytes were held`)
})

test('what the disk has not taken yet counts, and with much of it the broker is not read from', async (t) => {
  const { r, conn, budget } = await start(t)
  const kept = r.local.open()
  await kept.connect({ cleanStart: false, properties: { sessionExpirySec: 100 } })
  await kept.subscribe('commands/#', { qos: 1 })
  r.local.durability.hold()
  for (let i = 1; i <= 90; i++) conn.publish('commands/a', TEXT, { qos: 1, packetId: i })
  for (let i = 0; i < 20; i++) await settle()
  const held = budget.heldBytes
  assert.ok(held > 64 * 1024 && held < MIB, `${held} bytes wait for the disk`)
  // Longer than the keep-alive: it is we who do not read.
  await r.clock.advance(60_000)
  assert.equal(conn.closed, false)
  r.local.durability.resume()
  let acks = 0
  for (let i = 0; i < 200 && acks < 90; i++) {
    take(kept)
    acks += countAcks(conn)
    await r.clock.advance(1)
  }
  assert.equal(acks, 90)
  for (let i = 0; i < 5; i++) {
    take(kept)
    await r.clock.advance(1)
  }
  assert.ok(budget.heldBytes < 1_000, `${budget.heldBytes} bytes are held`)
})

test('while the spool has no room the broker is read from in steps: its acknowledgements may make that room', async (t) => {
  const { r, conn } = await start(t, UP)
  const kept = r.local.open()
  await kept.connect({ cleanStart: false, properties: { sessionExpirySec: 100 } })
  await kept.subscribe('commands/#', { qos: 1 })
  await r.publish('sensors/a', 'first')
  await settle()
  assert.ok(conn.received.some(({ type }) => type === 'publish'))
  r.local.durability.refuse('MESH_MQTT_QUOTA')
  for (let i = 1; i <= 20; i++) conn.publish('commands/a', TEXT, { qos: 1, packetId: i })
  conn.ack('puback', 1)
  assert.equal(r.bridge.status()[0]!.queued, 1)
  for (let i = 0; i < 40 && r.bridge.status()[0]!.queued > 0; i++) await r.clock.advance(1_000)
  assert.equal(r.bridge.status()[0]!.queued, 0, 'the acknowledgement behind them was read')
  assert.equal(conn.closed, false)
})

test('when the budget is used up by what has come down, the connection is given up; nothing of it was acknowledged', async (t) => {
  const { r, conn, budget, metrics } = await start(t)
  const kept = r.local.open()
  await kept.connect({ cleanStart: false, properties: { sessionExpirySec: 100 } })
  await kept.subscribe('commands/#', { qos: 1 })
  r.local.durability.hold()
  for (let i = 1; i <= 4; i++) conn.publish('commands/a', TEXT, { qos: 1, packetId: i })
  for (let i = 0; i < 20; i++) await settle()
  const before = budget.heldBytes
  budget.take(4 * MIB - before + 1)
  await settle()
  assert.equal(metrics.total('mesh_memory_given_up_total', { what: 'connection' }), 1)
  await settle()
  assert.equal(conn.closed, true)
  assert.match(r.bridge.status()[0]!.error ?? '', /maxQueuedMemoryBytes/)
  assert.equal(countAcks(conn), 0)
  assert.ok(budget.heldBytes < 4 * MIB - before + 64, 'all of it is given back')
  budget.give(4 * MIB - before + 1)
  r.local.durability.resume()
})

for (const [what, packet] of [
  ['PUBREL of ids that nobody knows', '62 02 01 01'],
  ['messages that no route wants', '32 06 00 01 78 01 01 00'],
] as const)
  test(`a broker that reads nothing of what it is answered is not read from for ever: ${what}`, async (t) => {
    const r = await rig(t, [UP, DOWN])
    const conn = await r.upstream.accepted()
    await conn.granted()
    await settle()
    conn.stream.pause()
    const many = Buffer.concat(Array.from({ length: 1_000 }, () => Buffer.from(packet.replaceAll(' ', ''), 'hex')))
    let taken = 0
    for (; taken < 1_000 && conn.stream.writableLength < 64 * 1024; taken++) {
      conn.stream.write(many)
      if (taken % 10 === 0) await settle()
    }
    assert.ok(taken < 300, `${taken} thousand packets were taken`)
    // One that goes on reading is read from again; one that does not is left.
    conn.stream.resume()
    await settle()
    assert.equal(conn.stream.writableLength, 0)
    assert.equal(conn.closed, false)
    conn.stream.pause()
    for (let i = 0; i < 300; i++) conn.stream.write(many)
    await settle()
    for (let i = 0; i < 10 && !conn.stream.destroyed; i++) await r.clock.advance(10_000)
    assert.equal(r.upstream.connections.length, 2)
  })
