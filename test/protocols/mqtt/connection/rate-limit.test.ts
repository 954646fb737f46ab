/** Clients that publish faster than their user may: they are read from later, and lose nothing by it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../../../core/log.ts'
import { Metrics } from '../../../../core/metrics.ts'
import { publishPacket } from '../../../../protocols/mqtt/codec/encode.ts'
import { RateLimit } from '../../../../protocols/mqtt/connection/rate-limit.ts'
import { createCounters } from '../../../../protocols/mqtt/counters.ts'
import { UserQuotas } from '../../../../protocols/mqtt/session/user-quotas.ts'
import { policyOf, TestBroker } from '../../../helpers/mqtt/broker.ts'
import { settle, SimClock } from '../../../helpers/sim-clock.ts'

const policy = { quotas: [{ maxMessagesPerSec: 2 }] }
type Open = ReturnType<TestBroker['open']>
async function opened(t: TestBroker, clientId: string, p: Parameters<TestBroker['open']>[0] = {}): Promise<Open> {
  const client = t.open({ policy, ...p })
  await client.connect({ clientId })
  return client
}
const met = (t: TestBroker, kind: string): number => t.metrics.total('mesh_mqtt_quota_met_total', { quota: kind })

test('messages over the rate wait in order, those in the same segment, too, and PINGREQ behind them', async () => {
  const t = new TestBroker()
  const client = await opened(t, 'c')
  const packets = [1, 2, 3, 4, 5, 6].map((packetId) =>
    publishPacket({ topic: 'a', payload: Buffer.from('x'), qos: 1, packetId }),
  )
  client.send(...packets, { type: 'pingreq' })
  assert.deepEqual(await client.seen(), ['puback #1', 'puback #2', 'puback #3'])
  await t.clock.advance(499)
  assert.deepEqual(await client.seen(), [])
  await t.clock.advance(1)
  assert.deepEqual(await client.seen(), ['puback #4'])
  await t.clock.advance(500)
  assert.deepEqual(await client.seen(), ['puback #5'])
  await t.clock.advance(1_000)
  assert.deepEqual(await client.seen(), ['puback #6', 'pingresp'])
  assert.equal(client.closed, false)
  assert.ok(met(t, 'message-rate') > 0)
})
test('what stands in the socket waits there, and a keep-alive does not run out over it', async () => {
  const t = new TestBroker()
  const client = t.open({ policy })
  await client.connect({ keepAliveSec: 1 })
  for (let id = 1; id <= 12; id++) {
    client.publish('a', 'x', { qos: 1, packetId: id })
    await settle()
  }
  assert.equal((await client.seen()).length, 3)
  for (let i = 0; i < 9; i++) await t.clock.advance(500)
  assert.equal((await client.seen()).length, 9)
  assert.equal(client.closed, false)
  await t.clock.advance(10_000)
  assert.equal(client.closed, true, 'then it is silent itself')
})
test('connections of one user share the rate, others have their own', async () => {
  const t = new TestBroker()
  const [one, other, stranger] = [
    await opened(t, 'one', { host: '10.0.0.1' }),
    await opened(t, 'other', { host: '10.0.0.1' }),
    await opened(t, 'stranger', { host: '10.0.0.2' }),
  ]
  for (let id = 1; id <= 5; id++) for (const c of [one, other, stranger]) c.publish('a', 'x', { qos: 1, packetId: id })
  const counts = async (): Promise<number[]> =>
    Promise.all([one, other, stranger].map(async (c) => (await c.seen()).length))
  const first = await counts()
  assert.deepEqual([first[0]! + first[1]!, first[2]], [4, 3])
  await t.clock.advance(1_000)
  const second = await counts()
  assert.ok(second[0]! + second[1]! <= 3, `${second.join()}: neither pays for itself alone`)
  await t.clock.advance(10_000)
  const rest = await counts()
  const all = [0, 1, 2].map((i) => first[i]! + second[i]! + rest[i]!)
  assert.deepEqual(all, [5, 5, 5])
})
test('what would take more than ten seconds is refused, where an acknowledgement can say so; else the connection ends', async () => {
  const t = new TestBroker()
  const bytes = { quotas: [{ maxBytesPerSec: 100 }] }
  const five = await opened(t, 'five', { policy: bytes, host: '10.0.0.1' })
  five.publish('a', 'x'.repeat(1_101), { qos: 1, packetId: 1 })
  five.publish('a', 'x'.repeat(1_101), { qos: 2, packetId: 2 })
  five.publish('a', 'x', { qos: 1, packetId: 3 })
  assert.deepEqual(await five.seen(), ['puback #1 0x97', 'pubrec #2 0x97', 'puback #3'])
  five.publish('a'.repeat(1_200), '', { qos: 1, packetId: 4 })
  assert.deepEqual(await five.seen(), ['puback #4 0x97'], 'a topic has bytes, too')
  assert.equal(t.metrics.total('mesh_mqtt_publishes_refused_total', { reason: 'quota' }), 3)
  five.publish('a', 'x'.repeat(1_101))
  assert.deepEqual(await five.seen(), ['disconnect 0x96'])
  const four = await opened(t, 'four', { policy: bytes, version: 4, host: '10.0.0.2' })
  four.publish('a', 'x'.repeat(1_101), { qos: 1, packetId: 1 })
  await settle()
  assert.deepEqual([four.closed, await four.seen()], [true, []])
  assert.equal(met(t, 'byte-rate'), 5)
})
test('a changed quota counts for whoever is connected', async () => {
  const t = new TestBroker()
  const client = await opened(t, 'c')
  for (let id = 1; id <= 9; id++) client.publish('a', 'x', { qos: 1, packetId: id })
  assert.equal((await client.seen()).length, 3)
  t.usePolicy({}, [client])
  await t.clock.advance(500)
  assert.equal((await client.seen()).length, 6)
})
test('a connection that ends while it is held leaves no timer, and what it owes is still owed', async () => {
  const t = new TestBroker()
  const before = t.clock.pendingTimers
  const client = await opened(t, 'c')
  for (let id = 1; id <= 4; id++) client.publish('a', 'x', { qos: 1, packetId: id })
  await client.seen()
  client.stream.destroy()
  await settle()
  const again = await opened(t, 'again')
  again.publish('a', 'x', { qos: 1, packetId: 1 })
  again.publish('a', 'x', { qos: 1, packetId: 2 })
  assert.deepEqual(await again.seen(), ['puback #1'])
  again.stream.destroy()
  await t.clock.advance(10_000)
  assert.equal(t.clock.pendingTimers, before)
})

test('what a connection holds of its user is given back at its end, once, held or not', async () => {
  const [clock, metrics] = [new SimClock(), new Metrics()]
  const quotas = new UserQuotas({ clock, metrics })
  for (const messages of [1, 5]) {
    const limit = new RateLimit({
      state: {
        quotas,
        counters: createCounters(metrics),
        ctx: { clock, metrics, log: silentLog, random: { float: () => 0 } },
      },
      share: 'user ana',
      clientId: 'c',
      quota: () => policyOf(policy).quotas[0],
      reading: {
        hold: () => {},
        release: () => assert.fail('it is over'),
        takePackets: () => assert.fail('it is over'),
      },
    })
    for (let i = 0; i < messages; i++) limit.charge(1)
    limit[Symbol.dispose]()
    limit[Symbol.dispose]()
    await clock.advance(10_000)
    assert.deepEqual([quotas.rates, clock.pendingTimers], [0, 0])
  }
})
