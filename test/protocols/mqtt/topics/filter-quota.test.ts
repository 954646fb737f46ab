import { test } from 'node:test'
import assert from 'node:assert/strict'
import { collectNow } from '../../../../core/runtime/full-gc.ts'
import { MemoryBudget } from '../../../../core/runtime/memory-budget.ts'
import { createAuthorizer } from '../../../../protocols/mqtt/authorization/authorization.ts'
import { FilterQuota } from '../../../../protocols/mqtt/topics/filter-quota.ts'
import { estimateFilterBytes } from '../../../../protocols/mqtt/topics/filter-cost.ts'
import type { Session } from '../../../../protocols/mqtt/session/session.ts'
import { Subscriptions } from '../../../../protocols/mqtt/topics/subscriptions.ts'
import { policyOf, TestBroker } from '../../../helpers/mqtt/broker.ts'
import type { MqttPeer } from '../../../helpers/mqtt/peer.ts'

const MIB = 1024 * 1024
const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const
const deep = (i: number): string =>
  `${i}/${Array.from({ length: 62 }, (_, k) => String.fromCharCode(97 + ((i + k) % 26))).join('/')}`

/** @returns how many were granted */
async function subscribed(peer: MqttPeer, count: number, filterOf: (i: number) => string): Promise<number> {
  let [granted, answered] = [0, 0]
  for (let i = 0; i < count; i++) {
    peer.send({
      type: 'subscribe',
      packetId: 1,
      subscriptions: [{ filter: filterOf(i), qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
      properties: {},
    })
    while ((i % 20 === 19 || i === count - 1) && answered <= i) {
      for (const seen of await peer.seen()) {
        answered++
        if (seen === 'suback 0') granted++
      }
    }
  }
  return granted
}

for (const { name, filterOf, most } of [
  { name: 'long', filterOf: (i: number) => String(i).padEnd(60_000, 'x'), most: 35 },
  { name: 'deep', filterOf: deep, most: 165 },
] as const) {
  test(
    `${name} filters have a bound per session and per address, kept or not; who asks for usual ones gets them, and what ends gives back`,
    { timeout: 60_000 },
    async () => {
      const t = new TestBroker({ budget: new MemoryBudget({ maxBytes: 8 * MIB }) })
      const greedy = t.open({ host: '10.0.0.1' })
      await greedy.connect({ clientId: 'greedy-1', ...KEEP })
      const first = await subscribed(greedy, 200, filterOf)
      assert.ok(first > 10 && first <= most, `${first} were granted`)
      for (let i = 2; i < 8; i++) {
        const more = t.open({ host: '10.0.0.1' })
        await more.connect({ clientId: `greedy-${i}`, ...KEEP })
        await subscribed(more, most + 5, filterOf)
        more.disconnect()
      }
      const modest = t.open({ host: '10.0.0.2' })
      await modest.connect({ clientId: 'modest' })
      assert.equal(await subscribed(modest, 100, (i) => `site/+/pump/${i}/state`), 100)
      assert.equal(await subscribed(greedy, 1, () => 'a/usual/one'.padEnd(60_000, 'x')), 0)
      for (let i = 0; i < first; i++)
        greedy.send({ type: 'unsubscribe', packetId: 2, filters: [filterOf(i)], properties: {} })
      for (let answered = 0; answered < first;) answered += (await greedy.seen()).length
      assert.equal(await subscribed(greedy, 200, filterOf), first)
    },
  )
}

test('room: what is taken is counted for session and share, follows the session to another share, and is given back', () => {
  const room = new FilterQuota(4_000, () => false)
  const [a, b] = [{ share: 'x' }, { share: 'x' }] as unknown as [
    Session & { share: string },
    Session & { share: string },
  ]
  assert.deepEqual([room.has(a, 1_000), room.has(a, 1_001)], [true, false])
  for (const session of [a, b]) room.change(session, 1_000)
  assert.deepEqual([room.has(a, 1), room.bytes], [false, 2_000])
  a.share = 'y'
  room.move(a, 'x')
  room.change(a, -1_000)
  room.change(b, -1_000)
  assert.deepEqual([room.has(a, 1_000), room.has(b, 1_000), room.bytes], [true, true, 0])
  assert.ok(estimateFilterBytes(deep(1)) > 62 * 200)
})

test('answers that are remembered for topics are bounded in bytes: long topics, and topics with many receivers', () => {
  collectNow('major')
  const subscriptions = new Subscriptions(64 * MIB)
  const may = createAuthorizer(
    { policy: policyOf({ rules: [{ action: 'publish', topics: ['#'], effect: 'allow' }] }) },
    { clientId: 'c', user: undefined, groups: [], spiffeUri: undefined, serviceAccount: undefined },
  )
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < 4_000; i++) {
    const topic = String(i).padEnd(60_000, 'x')
    subscriptions.match(topic)
    assert.ok(may.mayPublish(topic))
  }
  collectNow('major')
  const held = process.memoryUsage().heapUsed - before
  assert.ok(subscriptions.match('t'), 'and still there')
  assert.ok(held < 100 * MIB, `${held} bytes of 240 MB that were asked about`)
})

test('room: when memory is short a share has a thirty-second of it', () => {
  const memory = { isFull: false }
  const room = new FilterQuota(3_200, () => memory.isFull)
  const [a, b] = [{ share: 'x' }, { share: 'y' }] as unknown as [Session, Session]
  room.change(a, 60)
  assert.equal(room.has(a, 100), true)
  memory.isFull = true
  assert.deepEqual([room.has(a, 40), room.has(a, 41), room.has(b, 100), room.has(b, 101)], [true, false, true, false])
})

test('a share that comes back among many that have gone has what it has now', () => {
  const room = new FilterQuota(1_000, () => false)
  const sessions = Array.from({ length: 200 }, (_, i) => ({ share: `s${i}` }) as Session)
  for (let round = 0; round < 3; round++)
    for (const one of sessions) {
      room.change(one, 100)
      assert.deepEqual([room.has(one, 150), room.has(one, 151), room.bytes], [true, false, 100])
      room.change(one, -100)
      assert.ok(room.has(one, 250))
    }
})
