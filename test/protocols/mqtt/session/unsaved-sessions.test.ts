/** A kept session is in memory alone until it holds something. A crash takes it then, and nothing else. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { connectPacket, type MqttPeer } from '../../../helpers/mqtt/peer.ts'
import { settle } from '../../../helpers/sim-clock.ts'

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const
const PUMP = 'spiffe://cluster.local/ns/site/sa/pump'
const text = (s: string): Uint8Array => Buffer.from(s)
const will = {
  topic: 'will',
  payload: text('gone'),
  qos: 1,
  retain: false,
  properties: text(''),
  delaySec: 30,
  messageExpirySec: undefined,
} as const
const isPresent = async (t: TestBroker, clientId = 'x', spiffe?: string): Promise<boolean> =>
  (await t.open(spiffe === undefined ? {} : { spiffe }).connect({ clientId, ...KEEP })).sessionPresent

test('CONNECT, takeover, disconnect, resumption and expiry of a session that holds nothing do not touch the disk', async () => {
  const t = new TestBroker()
  const a = t.open()
  assert.equal((await a.connect({ clientId: 'x', ...KEEP })).sessionPresent, false)
  const b = t.open()
  assert.equal((await b.connect({ clientId: 'x', ...KEEP })).sessionPresent, true, 'taken over')
  b.publish('a', 'at most once')
  b.disconnect()
  await t.clock.advance(3_000_000)
  const c = t.open()
  assert.equal((await c.connect({ clientId: 'x', ...KEEP })).sessionPresent, true, 'resumed')
  c.stream.destroy()
  await t.clock.advance(3_599_000)
  assert.equal(t.broker.stats.sessions, 1)
  await t.clock.advance(1_000)
  assert.deepEqual([t.broker.stats.sessions, t.durability.commits], [0, 0])
})

test("after a crash such a session is not present and nobody's; after an orderly end it is there with its owner", async () => {
  const t = new TestBroker()
  await t.open({ spiffe: PUMP }).connect({ clientId: 'x', ...KEEP })
  t.open({ spiffe: PUMP }).send(connectPacket({ clientId: 'short' }))
  await settle()
  assert.equal(await isPresent(t.restart(), 'x', PUMP), false)
  const back = await t.stop()
  assert.deepEqual([...back.durability.sessions.keys()], ['x'])
  assert.equal((await back.open().connect({ clientId: 'x', ...KEEP })).reason, 0x87)
  assert.equal(await isPresent(back, 'x', PUMP), true)
})

const FIRSTS: Readonly<Record<string, (c: MqttPeer) => void>> = {
  'a subscription': (c) => c.send(subscribe('a', 0)),
  'a subscription that needs a queue': (c) => c.send(subscribe('a', 1)),
  'a QoS 2 message': (c) => c.publish('a', 'x', { qos: 2, packetId: 7 }),
  'a QoS 1 message, which its client has to send again': (c) => c.publish('a', 'x', { qos: 1, packetId: 7 }),
  'a will that waits': (c) => c.stream.destroy(),
}
for (const [what, act] of Object.entries(FIRSTS)) {
  test(`${what} brings its session to the disk, with the first transaction`, async () => {
    const t = new TestBroker()
    const c = t.open({ spiffe: PUMP })
    await c.connect({ clientId: 'x', ...KEEP, will })
    t.durability.hold()
    act(c)
    await settle()
    assert.equal(t.durability.sessions.size, 0)
    t.durability.commit()
    assert.equal(t.durability.sessions.get('x')?.owner?.name, PUMP)
    t.durability.resume()
    assert.equal(await isPresent(t.restart(), 'x', PUMP), true)
  })
}

test('a subscription that the disk refused leaves the session in memory, and the next one brings it along', async () => {
  const t = new TestBroker()
  const c = t.open()
  await c.connect({ clientId: 'x', ...KEEP })
  t.durability.hold()
  c.send(subscribe('a', 0), subscribe('b', 0))
  await settle()
  t.durability.fail()
  t.durability.resume()
  assert.deepEqual(await c.seen(), ['suback 128', 'suback 128'])
  await c.subscribe('c')
  const back = t.restart()
  assert.deepEqual(
    back.durability.sessions.get('x')?.subscriptions.map((s) => s.filter),
    ['c'],
  )
})

for (const keep of [KEEP, { cleanStart: true }]) {
  test(`what could not be deleted is gone before a new session of its id is granted, ${keep.cleanStart ? 'also one that is not kept' : 'and does not come back'}`, async () => {
    const t = new TestBroker()
    const old = t.open()
    await old.connect({ clientId: 'x', ...KEEP })
    await old.subscribe('secret', { qos: 1 })
    old.disconnect()
    await settle()
    t.durability.hold()
    await t.clock.advance(3_600_000)
    t.durability.fail()
    await settle()
    assert.deepEqual([t.broker.stats.sessions, t.durability.sessions.size], [0, 1])
    const next = t.open()
    const answer = next.connect({ clientId: 'x', ...keep })
    await settle()
    assert.equal(t.durability.pending, 1)
    t.durability.resume()
    assert.deepEqual(
      [(await answer).sessionPresent, t.durability.sessions.size, t.durability.queues.size],
      [false, 0, 0],
    )
    assert.equal(await isPresent(t.restart()), false)
  })
}

test('a deletion under way does not take the successor that subscribes behind it', async () => {
  const t = new TestBroker()
  const old = t.open()
  await old.connect({ clientId: 'x', ...KEEP })
  await old.subscribe('a', { qos: 1 })
  const next = t.open()
  next.send(connectPacket({ clientId: 'x', properties: KEEP.properties }), subscribe('b', 1))
  assert.deepEqual(await next.seen(), ['connack', 'suback 1'])
  assert.deepEqual(
    t
      .restart()
      .durability.sessions.get('x')
      ?.subscriptions.map((s) => s.filter),
    ['b'],
  )
})

function subscribe(filter: string, qos: 0 | 1) {
  return {
    type: 'subscribe' as const,
    packetId: 7,
    properties: {},
    subscriptions: [{ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 as const }],
  }
}
