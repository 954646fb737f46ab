/** The limits of retained messages hold for all of them: pipelined, as wills, from a bridge. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Retained, RetainedMessage } from '../../../../protocols/mqtt/topics/retained.ts'
import type { StoredMessage } from '../../../../protocols/mqtt/durability.ts'
import { measureMessageBytes } from '../../../../protocols/mqtt/shared-message.ts'
import { MemoryDurability } from '../../../helpers/mqtt/memory-durability.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { publishPacket } from '../../../../protocols/mqtt/codec/encode.ts'
import { settle, SimClock } from '../../../helpers/sim-clock.ts'

const message = (topic: string, text: string): StoredMessage => ({
  topic,
  payload: Buffer.from(text),
  qos: 1,
  retain: true,
  properties: Buffer.alloc(0),
  expiresAtMs: undefined,
})
const LIMITS = { maxRetainedMessages: 3 }

test('pipelined PUBLISH: what is on its way to the disk counts, and what fails gives its place back', async () => {
  const t = new TestBroker()
  const pub = t.open({ policy: { limits: LIMITS } })
  await pub.connect({ clientId: 'pub' })
  t.durability.hold()
  const burst = (from: number): void =>
    pub.send(
      ...Array.from({ length: 6 }, (_, i) =>
        publishPacket({ topic: `a/${from + i}`, payload: Buffer.from('x'), qos: 1, packetId: from + i, retain: true }),
      ),
    )
  burst(1)
  await settle()
  assert.equal(t.durability.pending, 3)
  t.durability.fail()
  assert.deepEqual(
    await pub.seen(),
    [1, 2, 3].map((id) => `puback #${id} 0x80`).concat([4, 5, 6].map((id) => `puback #${id} 0x97`)),
  )
  burst(11)
  await settle()
  t.durability.resume()
  assert.deepEqual(await pub.seen(), [
    'puback #11',
    'puback #12',
    'puback #13',
    'puback #14 0x97',
    'puback #15 0x97',
    'puback #16 0x97',
  ])
  assert.deepEqual([t.broker.stats.retained, t.durability.retained.size], [3, 3])
})

test('bytes: a topic that is written again and again in one go needs room once', async () => {
  const t = new TestBroker()
  const pub = t.open({ policy: { limits: { maxRetainedBytes: 5_000 } } })
  await pub.connect({ clientId: 'pub' })
  for (let i = 1; i <= 50; i++) pub.publish('a', 'x'.repeat(4_000), { qos: 1, packetId: i, retain: true })
  assert.ok((await pub.seen()).every((said) => !said.includes('0x97')))
  pub.publish('b', 'x'.repeat(1_000), { qos: 1, packetId: 60, retain: true })
  assert.deepEqual(await pub.seen(), ['puback #60 0x97'])
})

test('wills and bridges: delivered, but not retained above the limit', async () => {
  const t = new TestBroker()
  const sub = t.open({ policy: { limits: LIMITS } })
  await sub.connect({ clientId: 'sub' })
  await sub.subscribe('#')
  for (let i = 0; i < 6; i++) {
    const c = t.open({ policy: { limits: LIMITS } })
    await c.connect({
      clientId: `c${i}`,
      will: {
        topic: `will/${i}`,
        payload: Buffer.from('gone'),
        qos: 1,
        retain: true,
        properties: Buffer.alloc(0),
        delaySec: 0,
        messageExpirySec: undefined,
      },
    })
    c.stream.destroy()
  }
  assert.equal((await sub.seen()).length, 6)
  assert.equal(t.broker.stats.retained, 3)
  await Promise.all([1, 2, 3].map((i) => t.broker.publish(message(`bridge/${i}`, 'x'), 'upstream')))
  assert.equal((await sub.seen()).length, 3)
  assert.equal(t.broker.stats.retained, 3)
  assert.equal(t.metrics.total('mesh_mqtt_messages_dropped_total', { reason: 'retained-limit' }), 6)
  await t.broker.publish(message('will/0', ''), 'upstream')
  assert.equal(t.broker.stats.retained, 2)
})

test('whatever is reserved, saved, given back and deleted in whatever order, no limit is passed and nothing is left over', async () => {
  const step = fc.record({
    topic: fc.constantFrom('a', 'b', 'c', 'd'),
    bytes: fc.integer({ min: 0, max: 400 }),
    end: fc.constantFrom('save', 'give back', 'later'),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const durability = new MemoryDurability()
      const retained = new Retained({ durability, clock: new SimClock() })
      const limits = { maxRetainedMessages: 3, maxRetainedBytes: 900 }
      const open: (() => void)[] = []
      for (const { topic, bytes, end } of steps) {
        const one = message(topic, 'x'.repeat(bytes))
        const place = retained.reserve(one, limits)
        if (!place) continue
        if (end === 'save') await retained.save(one, place)
        else if (end === 'give back') place[Symbol.dispose]()
        else open.push(() => place[Symbol.dispose]())
        const held = retained.find('#')
        assert.ok(held.length <= 3 && held.reduce((sum, m) => sum + measureMessageBytes(m.toMessage()), 0) <= 900)
      }
      for (const release of open) {
        release()
        release()
      }
      for (const { topic } of retained.find('#')) {
        const empty = message(topic, '')
        await retained.save(empty, retained.reserve(empty, limits)!)
      }
      assert.equal(retained.size, 0)
      // All of the room is there again.
      const whole = message('e', 'x'.repeat(900 - measureMessageBytes(message('e', ''))))
      assert.ok(retained.reserve(whole, limits))
      assert.equal(retained.reserve(message('f', 'x'), limits), undefined)
    }),
  )
})

test('a kept message says all that came, small or large, with properties and expiry, and lets go of the chunk it came in', () => {
  for (const bytes of [0, 1, 100, 511, 512, 513, 9_000]) {
    const chunk = Buffer.alloc(
      100_000,
      Uint8Array.from({ length: 256 }, (_, i) => i),
    )
    const came = {
      ...message('t/ü', ''),
      payload: chunk.subarray(3, 3 + bytes),
      properties: chunk.subarray(200, 200 + (bytes % 7)),
      retain: true,
      qos: 2,
      expiresAtMs: 1_800_000_000_000,
      expirySec: 7,
    } as const
    const kept = new RetainedMessage(came, 3)
    const given = kept.toMessage()
    assert.deepEqual(
      { ...given, payload: Buffer.from(given.payload), properties: Buffer.from(given.properties) },
      bytes + (bytes % 7) > 512 ? { ...came, holders: 0, block: undefined } : came,
    )
    assert.ok(given.payload.buffer !== chunk.buffer)
  }
})

test('what the store read at the start is held once', async () => {
  const durability = new MemoryDurability()
  await durability.saveRetained('a', message('a', 'kept'))
  let forgotten = 0
  durability.forgetRetained = () => {
    forgotten++
  }
  const retained = new Retained({ durability, clock: new SimClock() })
  assert.deepEqual([retained.size, forgotten], [1, 1])
})

test('when memory is short nothing more is retained, but what is there may change and go', async () => {
  const memory = { isFull: false }
  const retained = new Retained({
    durability: new MemoryDurability(),
    clock: new SimClock(),
    isMemoryFull: () => memory.isFull,
  })
  const limits = { maxRetainedMessages: 9, maxRetainedBytes: 9_000 }
  const one = message('a', 'xx')
  await retained.save(one, retained.reserve(one, limits)!)
  memory.isFull = true
  const may = (topic: string, payload: string): boolean => {
    const place = retained.reserve(message(topic, payload), limits)
    place?.[Symbol.dispose]()
    return place !== undefined
  }
  assert.deepEqual([may('a', 'yy'), may('a', ''), may('a', 'yyy'), may('b', 'y')], [true, true, false, false])
  memory.isFull = false
  assert.equal(may('b', 'y'), true)
})
