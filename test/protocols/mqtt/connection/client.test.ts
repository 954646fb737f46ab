import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle, SimClock } from '../../../helpers/sim-clock.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { PacketParser } from '../../../../protocols/mqtt/codec/parser.ts'
import { connectPacket } from '../../../helpers/mqtt/peer.ts'

test('the first packet must be CONNECT, and a second one ends the connection', async () => {
  const t = new TestBroker()
  const a = t.open()
  a.raw('c000')
  assert.equal((await a.outcome).error?.code, 'MESH_MQTT_PROTOCOL')
  assert.deepEqual(await a.seen(), [])
  const b = t.open()
  await b.connect()
  b.send(connectPacket())
  assert.deepEqual(await b.seen(), ['disconnect 0x82'])
})

test('somebody who never sends CONNECT is let go after connectTimeoutMs', async () => {
  const t = new TestBroker()
  const c = t.open()
  await t.clock.advance(9_999)
  assert.equal(c.closed, false)
  await t.clock.advance(1)
  assert.equal((await c.outcome).error?.code, 'MESH_REQUEST_TIMEOUT')
})

test('[MQTT-3.1.2-22] silence of one and a half keep-alives ends the connection, PINGREQ does not', async () => {
  const t = new TestBroker()
  const c = t.open()
  await c.connect({ keepAliveSec: 10 })
  await t.clock.advance(14_000)
  c.send({ type: 'pingreq' })
  await t.clock.advance(14_999)
  assert.deepEqual(await c.seen(), ['pingresp'])
  await t.clock.advance(1)
  assert.deepEqual(await c.seen(), ['disconnect 0x8d'])
  assert.equal((await c.outcome).error?.code, 'MESH_MQTT_KEEP_ALIVE')
})

test('draining: MQTT 5 gets DISCONNECT 0x8b, 3.1.1 the end; aborted: the end at once', async () => {
  for (const version of [4, 5] as const) {
    const t = new TestBroker()
    const c = t.open({ version })
    await c.connect()
    c.drain.abort()
    assert.deepEqual(await c.seen(), version === 5 ? ['disconnect 0x8b'] : [])
    assert.equal(c.closed, true)
    const d = t.open({ version })
    await d.connect()
    d.abort.abort()
    assert.equal((await d.outcome).error, undefined)
    assert.deepEqual(await d.seen(), [])
    assert.equal(t.broker.stats.connections, 0)
  }
})

test('packets that come with CONNECT in one chunk wait for CONNACK and are then taken in order', async () => {
  const t = new TestBroker()
  await t.durability.createQueue('session/c') // left by an earlier one: it has to go first
  t.durability.hold()
  const c = t.open()
  c.send(connectPacket({ cleanStart: false, properties: { sessionExpirySec: 9 } }), { type: 'pingreq' })
  assert.deepEqual(await c.seen(), [])
  t.durability.resume()
  assert.deepEqual(await c.seen(), ['connack', 'pingresp'])
})

test('a peer that asks for ever and reads nothing is not read from', async () => {
  const t = new TestBroker()
  const c = t.open()
  await c.connect()
  c.stream.pause()
  for (let i = 0; i < 50; i++) {
    c.stream.write(Buffer.alloc(60_000, Buffer.from('c000', 'hex')))
    await settle()
  }
  assert.ok(c.conn.receivedBytes < 1_500_000, String(c.conn.receivedBytes))
  const read = c.conn.receivedBytes
  c.stream.resume()
  await settle()
  await settle()
  assert.ok(c.conn.receivedBytes > read)
})

/** Time goes by with each look. */
class BusyClock extends SimClock {
  #looks = 0
  override monotonicMs(): number {
    return super.monotonicMs() + ++this.#looks
  }
}

test('one who sends ten thousand packets in one chunk lets others have their turn meanwhile, and gets all answers', async () => {
  const t = new TestBroker({ clock: new BusyClock() })
  const [busy, other] = [t.open(), t.open()]
  await busy.connect({ clientId: 'busy' })
  await other.connect({ clientId: 'other' })
  let answered = 0
  busy.stream.on('data', (chunk: Buffer) => (answered += chunk.length / 2))
  let before = -1
  other.stream.on('data', () => (before = answered))
  busy.stream.write(Buffer.alloc(20_000, Buffer.from('c000', 'hex')))
  other.send({ type: 'pingreq' })
  for (let turns = 0; turns < 10_000 && answered < 10_000; turns++) await new Promise(setImmediate)
  assert.equal(answered, 10_000)
  assert.ok(before >= 0 && before < 1_000, `${before} answers came before the other's`)
})

test('what comes behind the end is kept by nobody, while a client that reads nothing has its last words to come', async (t) => {
  const b = new TestBroker()
  const c = b.open()
  await c.connect()
  c.stream.pause()
  c.send(connectPacket())
  await settle()
  const { mock } = t.mock.method(PacketParser.prototype, 'push')
  for (let i = 0; i < 8; i++) c.stream.write(Buffer.alloc(64 * 1024))
  await settle()
  assert.deepEqual([c.conn.receivedBytes > 512 * 1024, mock.callCount()], [true, 0])
})
