import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../helpers/sim-clock.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const
const text = (s: string): Uint8Array => Buffer.from(s)

test('[MQTT-3.1.4-3] the same client id again: the old connection gets DISCONNECT 0x8e, the session goes on', async () => {
  const t = new TestBroker()
  const old = t.open()
  await old.connect({ clientId: 'x', ...KEEP })
  await old.subscribe('a', { qos: 1 })
  const next = t.open()
  assert.equal((await next.connect({ clientId: 'x', ...KEEP })).sessionPresent, true)
  assert.deepEqual(await old.seen(), ['disconnect 0x8e'])
  assert.equal((await old.outcome).error?.code, 'MESH_MQTT_TAKEN_OVER')
  next.publish('a', 'hi', { qos: 1, packetId: 1 })
  assert.deepEqual((await next.seen()).toSorted(), ['puback #1', 'publish a hi q1 #1'])
})

test('[MQTT-3.1.2-4] clean start deletes the session, its queue and its ids', async () => {
  const t = new TestBroker()
  const first = t.open()
  await first.connect({ clientId: 'x', ...KEEP })
  await first.subscribe('a', { qos: 1 })
  first.disconnect()
  await settle()
  const next = t.open()
  assert.equal((await next.connect({ clientId: 'x', cleanStart: true })).sessionPresent, false)
  assert.deepEqual([t.durability.sessions.size, t.durability.queues.size], [0, 0])
})

test('messages for a session without a connection wait and come in order, also after a restart', async () => {
  let t = new TestBroker()
  const sub = t.open()
  await sub.connect({ clientId: 'sub', ...KEEP })
  await sub.subscribe('a/#', { qos: 1 })
  sub.disconnect()
  const pub = t.open()
  await pub.connect({ clientId: 'pub' })
  for (let i = 1; i <= 5; i++) pub.publish(`a/${i}`, `m${i}`, { qos: 1, packetId: i })
  pub.publish('a/0', 'at most once')
  assert.deepEqual(await pub.seen(), ['puback #1', 'puback #2', 'puback #3', 'puback #4', 'puback #5'])
  t = t.restart()
  const again = t.open()
  assert.equal((await again.connect({ clientId: 'sub', ...KEEP })).sessionPresent, true)
  assert.deepEqual(
    (await again.seen()).map((s) => s.replace(' dup', '')),
    [1, 2, 3, 4, 5].map((i) => `publish a/${i} m${i} q1 #${i}`),
  )
  again.ack('puback', 2)
  await again.seen()
  assert.deepEqual([...t.durability.queue('session/sub')!.entries.keys()], [1, 3, 4, 5])
})

test('[MQTT-4.4.0-1] what was not acknowledged is sent again with DUP and its old id; after PUBREC only PUBREL', async () => {
  const t = new TestBroker()
  const sub = t.open()
  await sub.connect({ clientId: 'sub', ...KEEP })
  await sub.subscribe('a', { qos: 2 })
  sub.publish('a', 'one', { qos: 1, packetId: 1 })
  sub.publish('a', 'two', { qos: 2, packetId: 2 })
  sub.publish('a', 'three', { qos: 2, packetId: 3 })
  await sub.seen()
  sub.ack('pubrec', 2)
  assert.deepEqual(await sub.seen(), ['pubrel #2'])
  const again = t.open()
  await again.connect({ clientId: 'sub', ...KEEP })
  assert.deepEqual(await again.seen(), ['publish a one q1 #1 dup', 'pubrel #2', 'publish a three q2 #3 dup'])
  again.ack('pubcomp', 2)
  again.ack('puback', 1)
  again.ack('pubrec', 3, 0x97)
  await again.seen()
  assert.equal(t.durability.queue('session/sub')!.depth, 0)
})

test('PUBREL waits until the release is durable, or a crash could deliver twice', async () => {
  const t = new TestBroker()
  const sub = t.open()
  await sub.connect({ clientId: 'sub', ...KEEP })
  await sub.subscribe('a', { qos: 2 })
  sub.publish('a', 'x', { qos: 2, packetId: 9 })
  await sub.seen()
  t.durability.hold()
  sub.ack('pubrec', 1)
  assert.deepEqual(await sub.seen(), [])
  t.durability.commit()
  assert.deepEqual(await sub.seen(), ['pubrel #1'])
})

test('a session expires when its time is over, and its subscriptions with it', async () => {
  const t = new TestBroker()
  const c = t.open()
  await c.connect({ clientId: 'x', ...KEEP })
  await c.subscribe('a', { qos: 1 })
  c.disconnect()
  await t.clock.advance(3_599_000)
  assert.equal(t.broker.stats.sessions, 1)
  await t.clock.advance(1_000)
  assert.deepEqual([t.broker.stats.sessions, t.durability.sessions.size, t.durability.queues.size], [0, 0, 0])
})

test('a session that expired while the process was down is gone at the start; a clock that was set back keeps it', async () => {
  const t = new TestBroker()
  const c = t.open()
  await c.connect({ clientId: 'x', ...KEEP })
  c.disconnect()
  await settle()
  t.clock.setWallMs(t.clock.wallMs() - 10 * 365 * 24 * 3600 * 1000)
  const back = await t.stop()
  await settle()
  assert.equal(back.broker.stats.sessions, 1)
  await t.clock.advance(3_600_000)
  assert.equal(back.broker.stats.sessions, 0, 'at most the whole time again')
  t.clock.setWallMs(t.clock.wallMs() + 20 * 365 * 24 * 3600 * 1000)
  const late = await t.stop()
  await settle()
  assert.deepEqual([late.broker.stats.sessions, late.durability.sessions.size], [0, 0])
})

test('a session of the time before the clock was set is kept for its whole time from the restart on', async () => {
  const t = new TestBroker()
  t.clock.setWallMs(60_000)
  const c = t.open()
  await c.connect({ clientId: 'x', ...KEEP })
  c.disconnect()
  await settle()
  t.clock.setWallMs(1_700_000_000_000)
  const back = await t.stop()
  await settle()
  assert.equal(back.broker.stats.sessions, 1)
  await t.clock.advance(3_600_000)
  assert.equal(back.broker.stats.sessions, 0)
})

test('DISCONNECT may shorten the expiry, but not give one to a session that has none', async () => {
  const t = new TestBroker()
  const c = t.open()
  await c.connect({ clientId: 'x', ...KEEP })
  c.disconnect(0, { sessionExpirySec: 0 })
  await settle()
  assert.equal(t.broker.stats.sessions, 0)
  const d = t.open()
  await d.connect({ clientId: 'y' })
  d.disconnect(0, { sessionExpirySec: 5 })
  assert.deepEqual(await d.seen(), ['disconnect 0x82'])
})

test('3.1.1 without clean session is kept for the longest time that is allowed', async () => {
  const t = new TestBroker()
  const c = t.open({ version: 4, policy: { limits: { maxSessionExpirySec: 60 } } })
  await c.connect({ clientId: 'x', cleanStart: false })
  c.stream.destroy()
  await t.clock.advance(59_000)
  assert.equal(t.broker.stats.sessions, 1)
  await t.clock.advance(1_000)
  assert.equal(t.broker.stats.sessions, 0)
})

test('a new session that ends with its connection leaves nothing of the kept one whose client id it takes', async () => {
  const t = new TestBroker()
  const a = t.open()
  await a.connect({ clientId: 'x', ...KEEP })
  await a.subscribe('a', { qos: 1 })
  a.stream.destroy()
  await settle()
  const b = t.open()
  await b.connect({ clientId: 'x', cleanStart: false })
  b.stream.destroy()
  await settle()
  const c = t.open()
  assert.equal((await c.connect({ clientId: 'x', ...KEEP })).sessionPresent, false)
  assert.equal(t.durability.sessions.has('x'), false)
  await c.subscribe('c')
  assert.deepEqual(
    t
      .restart()
      .durability.sessions.get('x')
      ?.subscriptions.map(({ filter }) => filter),
    ['c'],
  )
})

test('the same by takeover: the deletion of the old one does not touch the new one', async () => {
  const t = new TestBroker()
  const a = t.open()
  await a.connect({ clientId: 'x', ...KEEP })
  await a.subscribe('a', { qos: 1 })
  a.stream.destroy()
  await settle()
  const b = t.open()
  await b.connect({ clientId: 'x', cleanStart: false })
  const c = t.open()
  assert.equal((await c.connect({ clientId: 'x', ...KEEP })).sessionPresent, false)
  await c.subscribe('c', { qos: 1 })
  await settle()
  assert.deepEqual(
    t.durability.sessions.get('x')?.subscriptions.map(({ filter }) => filter),
    ['c'],
  )
  assert.deepEqual([...t.durability.queues.keys()], ['session/x'])
  assert.deepEqual(await b.seen(), ['disconnect 0x8e'])
})

test("a queue without its session, as a crash may leave it, is not the next session's", async () => {
  const t = new TestBroker()
  const queue = await t.durability.createQueue('session/x')
  await t.durability.append(
    { topic: 'a', payload: text('old'), qos: 1, retain: false, properties: text(''), expiresAtMs: undefined },
    [queue],
  )
  const c = t.open()
  await c.connect({ clientId: 'x', ...KEEP })
  await c.subscribe('a', { qos: 1 })
  assert.deepEqual(await c.seen(), [])
})

test('a session that is kept for longer than a timer can wait', async () => {
  const t = new TestBroker()
  const c = t.open({ policy: { limits: { maxSessionExpirySec: 90 * 24 * 3600 } } })
  await c.connect({ clientId: 'x', cleanStart: false, properties: { sessionExpirySec: 60 * 24 * 3600 } })
  c.disconnect()
  await t.clock.advance(60 * 24 * 3600 * 1000 - 1000)
  assert.equal(t.broker.stats.sessions, 1)
  await t.clock.advance(1000)
  assert.equal(t.broker.stats.sessions, 0)
})

test('a will for which the spool has no room is tried again', async () => {
  const t = new TestBroker()
  const watch = t.open()
  await watch.connect({ clientId: 'watch', ...KEEP })
  await watch.subscribe('will', { qos: 1 })
  const c = t.open()
  await c.connect({
    clientId: 'c',
    will: {
      topic: 'will',
      payload: text('gone'),
      qos: 1,
      retain: false,
      properties: text(''),
      delaySec: 0,
      messageExpirySec: undefined,
    },
  })
  t.durability.refuse('MESH_STORAGE_FULL')
  c.stream.destroy()
  await t.clock.advance(5_000)
  t.durability.refuse(undefined)
  await t.clock.advance(10_000)
  assert.deepEqual(await watch.seen(), ['publish will gone q1 #1'])
})

test('a will is published when the connection is lost and not after a normal DISCONNECT; 0x04 asks for it', async () => {
  const t = new TestBroker()
  const watch = t.open()
  await watch.connect({ clientId: 'watch' })
  await watch.subscribe('will')
  const will = {
    topic: 'will',
    payload: text('gone'),
    qos: 0,
    retain: false,
    properties: text(''),
    delaySec: 0,
    messageExpirySec: undefined,
  } as const
  for (const [end, want] of [
    ['destroy', 1],
    ['normal', 0],
    ['with will', 1],
  ] as const) {
    const c = t.open()
    await c.connect({ clientId: 'c', will })
    if (end === 'destroy') c.stream.destroy()
    else c.disconnect(end === 'normal' ? 0 : 4)
    assert.equal((await watch.seen()).length, want, end)
  }
})

test('[MQTT-3.1.3-9] a delayed will is not sent when the client comes back in time, and is when it does not, also over a restart', async () => {
  let t = new TestBroker()
  const will = {
    topic: 'will',
    payload: text('gone'),
    qos: 1,
    retain: false,
    properties: text(''),
    delaySec: 30,
    messageExpirySec: undefined,
  } as const
  const watch = t.open()
  await watch.connect({ clientId: 'watch', ...KEEP })
  await watch.subscribe('will', { qos: 1 })
  const first = t.open()
  await first.connect({ clientId: 'c', ...KEEP, will })
  first.stream.destroy()
  await t.clock.advance(29_000)
  const second = t.open()
  await second.connect({ clientId: 'c', ...KEEP, will })
  await t.clock.advance(60_000)
  assert.deepEqual(await watch.seen(), [])
  second.stream.destroy()
  await t.clock.advance(10_000)
  t = t.restart()
  await t.clock.advance(20_000)
  const again = t.open()
  await again.connect({ clientId: 'watch', ...KEEP })
  assert.deepEqual(await again.seen(), ['publish will gone q1 #1'])
})
