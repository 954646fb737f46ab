import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../helpers/sim-clock.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const

test('SUBACK tells what is wrong with each filter, 3.1.1 only that something is', async () => {
  for (const [version, want] of [
    [5, [0x8f, 0x87, 1]],
    [4, [0x80, 0x80, 1]],
  ] as const) {
    const t = new TestBroker()
    const c = t.open({ version, policy: { rules: [{ action: 'subscribe', topics: ['ok/#'], effect: 'allow' }] } })
    await c.connect()
    const one = (
      filter: string,
    ): Parameters<typeof c.subscribe>[1] & {
      filter: string
      qos: 1
      noLocal: boolean
      retainAsPublished: boolean
      retainHandling: 0
    } => ({ filter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 })
    c.send({
      type: 'subscribe',
      packetId: 1,
      properties: {},
      subscriptions: [`ok${'/x'.repeat(64)}`, 'other', 'ok/x'].map(one),
    })
    assert.deepEqual((await c.take('suback')).reasons, want)
    assert.deepEqual((await c.unsubscribe('ok/x')).reasons, version === 5 ? [0] : [])
    assert.deepEqual((await c.unsubscribe('ok/x')).reasons, version === 5 ? [0x11] : [])
  }
})

test('a kept subscription is durable before SUBACK, and one that cannot be kept is taken back', async () => {
  const t = new TestBroker()
  const c = t.open()
  await c.connect({ clientId: 'c', properties: { sessionExpirySec: 100 } })
  t.durability.hold()
  c.send({
    type: 'subscribe',
    packetId: 1,
    properties: {},
    subscriptions: [{ filter: 'a', qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
  })
  assert.deepEqual(await c.seen(), [])
  t.durability.resume()
  assert.deepEqual(await c.seen(), ['suback 0'])
  assert.equal(t.durability.sessions.get('c')?.subscriptions[0]?.filter, 'a')
  t.durability.refuse('MESH_STORAGE_FULL')
  assert.deepEqual((await c.subscribe('b')).reasons, [0x97])
  c.publish('b', 'x')
  c.publish('a', 'y')
  assert.deepEqual(await c.seen(), ['publish a y q0'])
})

const one = (filter: string, qos: 0 | 1 | 2 = 1) => ({
  type: 'subscribe' as const,
  packetId: 7,
  properties: {},
  subscriptions: [{ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 as const }],
})

test('what a kept session subscribes in one go is one commit of its own rows, and what it has already costs none', async () => {
  const t = new TestBroker()
  const rows: number[] = []
  const { durability } = t
  const save = durability.saveSubscriptions.bind(durability)
  durability.saveSubscriptions = (clientId, kept, gone) => {
    rows.push(kept.length + gone.length)
    return save(clientId, kept, gone)
  }
  const c = t.open()
  await c.connect({ clientId: 'x', ...KEEP })
  await c.subscribe('first', { qos: 1 })
  durability.hold()
  c.send(...Array.from({ length: 200 }, (_, i) => one(`a/${i}`)))
  await settle()
  assert.equal(durability.pending, 200)
  durability.commit()
  assert.equal((await c.seen()).length, 200)
  assert.deepEqual(new Set(rows), new Set([1]))
  c.send(...Array.from({ length: 200 }, (_, i) => one(`a/${i}`)))
  assert.equal((await c.seen()).length, 200)
  assert.deepEqual([durability.pending, rows.length], [0, 201])
  assert.equal(t.restart().durability.sessions.get('x')?.subscriptions.length, 201)
})

test('SUBSCRIBE and UNSUBSCRIBE in one go act and are answered in their order', async () => {
  const t = new TestBroker()
  const c = t.open()
  await c.connect({ clientId: 'x', ...KEEP })
  const without = { type: 'unsubscribe' as const, packetId: 8, filters: ['a'], properties: {} }
  c.send(one('a'), without, one('a', 2), one('b'), without)
  assert.deepEqual(await c.seen(), ['suback 1', 'unsuback', 'suback 2', 'suback 1', 'unsuback'])
  assert.deepEqual(
    t
      .restart()
      .durability.sessions.get('x')
      ?.subscriptions.map((s) => s.filter),
    ['b'],
  )
})

test('of subscriptions that the disk refuses the one is left that it has', async () => {
  const t = new TestBroker()
  const c = t.open()
  await c.connect({ clientId: 'x', ...KEEP })
  await c.subscribe('a', { qos: 1 })
  t.durability.hold()
  c.send(one('a', 2), one('a', 0), one('b'))
  await settle()
  t.durability.fail()
  assert.deepEqual(await c.seen(), ['suback 128', 'suback 128', 'suback 128'])
  t.durability.resume()
  const d = t.open()
  await d.connect({ clientId: 'y' })
  d.publish('a', 'hello', { qos: 2, packetId: 1 })
  d.publish('b', 'hello', { qos: 2, packetId: 2 })
  assert.deepEqual(await c.seen(), ['publish a hello q1 #1'])
})

test('one SUBSCRIBE of a megabyte of filters takes no more than a moment, whatever it repeats', async () => {
  const t = new TestBroker()
  const c = t.open({ policy: { limits: { maxSubscriptionsPerSession: 1_000 } } })
  await c.connect({ clientId: 'x', ...KEEP })
  const many = Array.from({ length: 100_000 }, (_, i) => one(`a/${i % 3_000}`).subscriptions[0]!)
  c.send({ ...one('a'), subscriptions: many })
  const suback = await c.take('suback')
  assert.deepEqual(
    [suback.reasons.filter((r) => r === 1).length, suback.reasons.filter((r) => r === 0x97).length],
    [34_000, 66_000],
  )
  assert.equal(t.durability.sessions.get('x')?.subscriptions.length, 1_000)
})

for (const filter of ['a#', 'a/#/b', 'a+', '', '$share/g', '$share//a', '$share/+/a']) {
  test(`a filter that is none ends the connection, as mosquitto does: ${filter || '(empty)'}`, async () => {
    for (const type of ['subscribe', 'unsubscribe'] as const) {
      for (const version of [4, 5] as const) {
        const t = new TestBroker()
        const c = t.open({ version })
        await c.connect()
        const request = { filter, qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
        if (type === 'subscribe') c.send({ type, packetId: 1, properties: {}, subscriptions: [request] })
        else c.send({ type, packetId: 1, properties: {}, filters: [filter] })
        assert.deepEqual(await c.seen(), version === 5 ? ['disconnect 0x81'] : [])
        assert.equal((await c.outcome).error?.code, 'MESH_MQTT_PROTOCOL')
      }
    }
  })
}

test('a retained message carries the identifier of the subscription that it came for, through a queue, too', async () => {
  const t = new TestBroker()
  const [pub, c] = [t.open(), t.open()]
  await pub.connect({ clientId: 'pub' })
  pub.publish('a/b', 'kept', { qos: 1, packetId: 1, retain: true })
  await pub.seen()
  await c.connect({ clientId: 'c', ...KEEP })
  await c.subscribe('a/#', { qos: 1, retainHandling: 2, properties: { subscriptionIds: [7] } })
  await c.subscribe('a/+', { qos: 1, properties: { subscriptionIds: [300_000] } })
  const got = await c.take('publish')
  assert.deepEqual([got.retain, got.subscriptionIds], [true, [300_000]])
  await c.subscribe('a/b', { qos: 1 })
  assert.deepEqual((await c.take('publish')).subscriptionIds, [])
})
