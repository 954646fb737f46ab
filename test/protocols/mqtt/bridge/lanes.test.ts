import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../helpers/sim-clock.ts'
import type { UpstreamConn } from '../../../helpers/mqtt/upstream.ts'
import { bridgePolicy, DOWN, rig, type Rig, type RouteInput } from './rig.ts'

const LOW: RouteInput = { match: 'low/#', direction: 'up' }
const HIGH: RouteInput = { match: 'high/#', direction: 'up', priority: 5 }
const BOUNDED: RouteInput = { match: 'bounded/#', direction: 'up', maxQueuedMessages: 2, whenFull: 'drop-newest' }

const MAIN = 'up/cloud/edge-1/cloud'
const depths = (r: Rig): Record<string, number> =>
  Object.fromEntries(
    [...r.local.durability.queues.values()].map(({ name, depth }) => [name.replaceAll('\0', '|'), depth]),
  )
const topicsOf = (words: readonly string[]): string[] => words.map((word) => word.split(' ').slice(1, 3).join(' '))
/** Acknowledges everything that comes until nothing does. @returns what came */
async function drained(conn: UpstreamConn): Promise<string[]> {
  const all: string[] = []
  for (;;) {
    const words = await conn.seen()
    if (words.length === 0) return all
    all.push(...words)
    for (const word of words) conn.ack('puback', Number(/#(\d+)/.exec(word)![1]))
  }
}

test('routes of one priority without bounds share the queue that there always was', async (t) => {
  const r = await rig(t, [LOW, { ...LOW, match: 'x/#', whenFull: 'drop-oldest' }, DOWN])
  await r.publish('low/a', '1')
  assert.deepEqual(depths(r), { [MAIN]: 1 })
})
test('each priority, and each route with bounds, has a queue of its own with packet ids of its own', async (t) => {
  const r = await rig(t, [LOW, HIGH, BOUNDED])
  const conn = await r.upstream.accepted()
  for (const topic of ['low/a', 'high/a', 'bounded/a', 'low/b']) await r.publish(topic, 'x')
  const words = await conn.seen()
  assert.deepEqual(topicsOf(words).sort(), ['bounded/a x', 'high/a x', 'low/a x', 'low/b x'])
  assert.equal(new Set(words.map((word) => /#\d+/.exec(word)![0])).size, 4)
  const queues = [...r.local.durability.queues.values()]
  assert.deepEqual(
    queues.map(({ priority, limits, whenFull, depth }) => [priority, limits?.maxMessages, whenFull, depth]),
    [
      [5, undefined, undefined, 1],
      [0, undefined, undefined, 2],
      [0, 2, 'drop-newest', 1],
    ],
  )
})

test('what has the highest priority goes first, and one message in nine is of the lowest', async (t) => {
  const r = await rig(t, [LOW, HIGH])
  await r.upstream.accepted()
  r.upstream.refuse()
  r.upstream.cut()
  await settle()
  for (let i = 0; i < 40; i++) await r.publish('low/a', String(i))
  for (let i = 0; i < 400; i++) await r.publish('high/a', String(i))
  r.upstream.restore()
  const conn = await r.reconnected({ sessionPresent: true, properties: { receiveMaximum: 16 } })
  const order = topicsOf(await drained(conn))
  assert.equal(order.length, 440)
  const firstLow = order.findIndex((word) => word.startsWith('low'))
  assert.ok(firstLow >= 64 && firstLow < 100, `the first of the lowest came as number ${firstLow}`)
  const lowest = order.slice(0, 360).filter((word) => word.startsWith('low')).length
  assert.ok(lowest >= 30 && lowest <= 40, `${lowest} of the first 360`)
  for (const topic of ['low/a', 'high/a'])
    assert.deepEqual(
      order.filter((word) => word.startsWith(topic)).map((word) => Number(word.split(' ')[1])),
      Array.from({ length: topic === 'low/a' ? 40 : 400 }, (_, i) => i),
      'in order within its queue',
    )
})

test('a change of priorities on a running session keeps what waits: it goes first, in order, and with the packet ids it had', async (t) => {
  const r = await rig(t, [LOW, { ...HIGH, priority: 0 }])
  const conn = await r.upstream.accepted()
  await r.publish('high/a', '1')
  await r.publish('low/a', '1')
  assert.deepEqual(await conn.seen(), ['publish high/a 1 q1 #1', 'publish low/a 1 q1 #2'])
  await r.bridge.apply(bridgePolicy([LOW, HIGH]))
  await r.publish('high/a', '2')
  await r.publish('low/a', '2')
  const next = await r.upstream.accepted({ sessionPresent: true })
  assert.deepEqual(await next.seen(), ['publish high/a 1 q1 #1 dup', 'publish low/a 1 q1 #2 dup'])
  next.ack('puback', 1)
  assert.deepEqual(await next.seen(), [])
  next.ack('puback', 2)
  const words = await next.seen()
  assert.deepEqual(topicsOf(words), ['high/a 2', 'low/a 2'])
  // And back again.
  await r.bridge.apply(bridgePolicy([LOW]))
  await r.publish('low/a', '3')
  const third = await r.upstream.accepted({ sessionPresent: true })
  assert.deepEqual(
    await third.seen(),
    words.map((word) => `${word} dup`),
  )
  for (const word of words) third.ack('puback', Number(/#(\d+)/.exec(word)![1]))
  assert.deepEqual(await third.seen(), ['publish low/a 3 q1 #3'])
  assert.equal(r.bridge.status()[0]!.queued, 1)
})

test('over a restart each queue has the packet ids that it had, whatever the order of the routes', async (t) => {
  const first = await rig(t, [LOW, HIGH])
  const before = await first.upstream.accepted()
  for (const topic of ['low/a', 'high/a']) await first.publish(topic, '1', { qos: 2 })
  const words = (await before.seen()).sort()
  const r = await first.restart([{ ...HIGH, match: 'other/#', priority: 9 }, HIGH, LOW])
  t.after(() => r.bridge[Symbol.asyncDispose]())
  const conn = await r.upstream.accepted({ sessionPresent: true })
  assert.deepEqual(
    (await conn.seen()).sort(),
    words.map((word) => `${word} dup`),
  )
})

test('a route that is removed loses nothing of what waits', async (t) => {
  const r = await rig(t, [LOW, BOUNDED])
  await r.upstream.accepted()
  r.upstream.refuse()
  r.upstream.cut()
  await settle()
  await r.publish('bounded/a', '1')
  await r.bridge.apply(bridgePolicy([LOW, HIGH]))
  await r.publish('low/a', '1')
  r.upstream.restore()
  const conn = await r.reconnected({ sessionPresent: true })
  assert.deepEqual(topicsOf(await drained(conn)), ['bounded/a 1', 'low/a 1'])
})

test('a route that is removed loses nothing of what is being written', async (t) => {
  const r = await rig(t, [LOW, HIGH, BOUNDED])
  await r.upstream.accepted()
  r.local.durability.hold()
  const published = r.publish('bounded/a', '1')
  await settle()
  const applied = r.bridge.apply(bridgePolicy([LOW, HIGH]))
  await settle()
  r.local.durability.resume()
  await Promise.all([published, applied])
  const conn = await r.reconnected({ sessionPresent: true })
  assert.deepEqual(topicsOf(await drained(conn)), ['bounded/a 1'])
})

test('a peer that has lost the session gets everything anew, of all queues', async (t) => {
  const r = await rig(t, [LOW, HIGH])
  const conn = await r.upstream.accepted()
  for (const topic of ['low/a', 'high/a']) await r.publish(topic, '1', { qos: 2 })
  for (const word of await conn.seen()) conn.ack('pubrec', Number(/#(\d+)/.exec(word)![1]))
  assert.equal((await conn.seen()).filter((word) => word.startsWith('pubrel')).length, 2)
  conn.end()
  const again = await r.reconnected({ sessionPresent: false })
  const words = await again.seen()
  assert.deepEqual(topicsOf(words).sort(), ['high/a 1', 'low/a 1'])
  assert.ok(words.every((word) => !word.endsWith('dup')))
})

test('packet ids of subscriptions are none that a message may have', async (t) => {
  const r = await rig(t, [LOW, HIGH, DOWN])
  const conn = await r.upstream.accepted()
  assert.ok((await conn.granted()).packetId > 24 * 2_730)
})
