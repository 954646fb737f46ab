/** The retained value and the receivers of a message change in one moment, as every subscriber sees it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import type { MqttPeer } from '../../../helpers/mqtt/peer.ts'
import { NO_PROPERTIES } from '../../../../protocols/mqtt/codec/properties.ts'

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const
type Kind = 'passing' | 'kept'
async function client(t: TestBroker, clientId: string, kind: Kind): Promise<MqttPeer> {
  const c = t.open()
  await c.connect({ clientId, ...(kind === 'kept' ? KEEP : {}) })
  return c
}
function ask(c: MqttPeer, filter: string, qos: 0 | 1): void {
  c.send({
    type: 'subscribe',
    packetId: 99,
    properties: NO_PROPERTIES,
    subscriptions: [{ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
  })
}
const valuesOf = (seen: readonly string[]): string[] =>
  seen.filter((word) => word.startsWith('publish')).map((word) => word.split(' ')[2]!)

for (const kind of ['passing', 'kept'] as const) {
  for (const qos of [0, 1] as const) {
    test(`who subscribes (${kind} session, QoS ${qos}) while a retained message commits gets it`, async () => {
      const t = new TestBroker()
      const pub = await client(t, 'pub', 'passing')
      const sub = await client(t, 'sub', kind)
      t.durability.hold()
      pub.publish('a/1', 'new', { qos: 1, retain: true, packetId: 1 })
      await pub.seen()
      ask(sub, 'a/#', qos)
      for (let i = 0; i < 4; i++) {
        t.durability.commit()
        await pub.seen()
      }
      t.durability.resume()
      assert.deepEqual(valuesOf(await sub.seen()), ['new'])
    })

    test(`the last that comes (${kind} session, QoS ${qos}) is the newest value, whenever it was published`, async () => {
      for (let commits = 0; commits < 5; commits++) {
        const t = new TestBroker()
        const pub = await client(t, 'pub', 'passing')
        pub.publish('a/1', 'v1', { qos: 1, retain: true, packetId: 1 })
        await pub.seen()
        const sub = await client(t, 'sub', kind)
        if (kind === 'kept') await sub.subscribe('other', { qos: 1 })
        t.durability.hold()
        ask(sub, 'a/#', qos)
        const seen: string[] = []
        for (let i = 0; i < 5; i++) {
          if (i === commits) pub.publish('a/1', 'v2', { qos: 1, retain: true, packetId: 2 })
          seen.push(...(await sub.seen()))
          t.durability.commit()
          seen.push(...(await sub.seen()))
        }
        t.durability.resume()
        seen.push(...(await sub.seen()))
        assert.equal(valuesOf(seen).at(-1), 'v2', `${commits}: ${seen.join(', ')}`)
      }
    })
  }
}

test('a change that is refused leaves the old value to who subscribed meanwhile', async () => {
  const t = new TestBroker()
  const pub = await client(t, 'pub', 'passing')
  pub.publish('a/1', 'v1', { qos: 1, retain: true, packetId: 1 })
  await pub.seen()
  const sub = await client(t, 'sub', 'passing')
  t.durability.hold()
  pub.publish('a/1', 'v2', { qos: 1, retain: true, packetId: 2 })
  await pub.seen()
  ask(sub, 'a/#', 0)
  assert.deepEqual(await sub.seen(), ['suback 0'])
  t.durability.fail()
  assert.deepEqual([await pub.seen(), await sub.seen()], [['puback #2 0x80'], ['publish a/1 v1 q0 retain']])
})

test('a deletion on its way: who subscribes then gets nothing', async () => {
  const t = new TestBroker()
  const pub = await client(t, 'pub', 'passing')
  pub.publish('a/1', 'v1', { qos: 1, retain: true, packetId: 1 })
  await pub.seen()
  const sub = await client(t, 'sub', 'passing')
  t.durability.hold()
  pub.publish('a/1', '', { qos: 1, retain: true, packetId: 2 })
  await pub.seen()
  ask(sub, 'a/#', 0)
  await sub.seen()
  t.durability.resume()
  assert.deepEqual(await sub.seen(), [])
})

test('3.1.1: a retained message that waits for room is no reason to wait for it, and comes live when there is room', async () => {
  const t = new TestBroker()
  const pub = t.open({ version: 4 })
  await pub.connect({ clientId: 'pub' })
  pub.publish('a/1', 'v1', { qos: 1, retain: true, packetId: 1 })
  await pub.seen()
  t.durability.refuse('MESH_STORAGE_FULL')
  pub.publish('a/1', 'v2', { qos: 1, retain: true, packetId: 2 })
  await pub.seen()
  const sub = await client(t, 'sub', 'passing')
  await sub.subscribe('a/#')
  assert.deepEqual(await sub.seen(), ['publish a/1 v1 q0 retain'])
  t.durability.refuse(undefined)
  await t.clock.advance(20_000)
  assert.deepEqual(await sub.seen(), ['publish a/1 v2 q0'])
})

test('700 topics that change while somebody subscribes to all: each comes, and the newest value last', async () => {
  const t = new TestBroker()
  const pub = await client(t, 'pub', 'passing')
  const subs = [await client(t, 'p', 'passing'), await client(t, 'k', 'kept')]
  t.durability.hold()
  for (let i = 0; i < 700; i++) {
    if (i === 300) for (const sub of subs) ask(sub, 'a/#', 1)
    pub.publish(`a/${i}`, 'x', { qos: 0, retain: true })
    if (i % 100 === 50) {
      await pub.seen()
      t.durability.commit()
    }
  }
  t.durability.resume()
  for (const sub of subs) {
    const topics = new Set<string>()
    for (let round = 0; round < 20; round++) {
      for (const packet of sub.received.splice(0)) {
        if (packet.type !== 'publish') continue
        topics.add(packet.topic)
        if (packet.qos === 1) sub.ack('puback', packet.packetId)
      }
      await pub.seen()
    }
    assert.equal(topics.size, 700)
  }
})

test('who finds that a retained message has expired does not delete the one that replaces it', async () => {
  const t = new TestBroker()
  const [pub, sub] = [await client(t, 'pub', 'passing'), await client(t, 'sub', 'passing')]
  pub.publish('a/1', 'old', { qos: 1, retain: true, packetId: 1, messageExpirySec: 10 })
  await pub.seen()
  await t.clock.advance(11_000)
  t.durability.hold()
  pub.publish('a/1', 'new', { qos: 1, retain: true, packetId: 2 })
  await pub.seen()
  ask(sub, 'a/#', 1)
  await sub.seen()
  t.durability.resume()
  assert.deepEqual(await pub.seen(), ['puback #2'])
  assert.deepEqual(valuesOf(await sub.seen()), ['new'])
  const later = await client(t.restart(), 'later', 'passing')
  ask(later, 'a/#', 1)
  assert.deepEqual(valuesOf(await later.seen()), ['new'])
})
