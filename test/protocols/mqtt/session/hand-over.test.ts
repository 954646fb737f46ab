/** [MQTT-4.8.2-5], [MQTT-4.8.2-6]: what a member had not acknowledged when its session ended, QoS 1 and 2. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { settle } from '../../../helpers/sim-clock.ts'

const SHARED = '$share/g/jobs/#'
const KEEP = { cleanStart: false, properties: { sessionExpirySec: 60 } } as const
type Client = ReturnType<TestBroker['open']>

async function member(t: TestBroker, clientId: string, isKept: boolean, qos: 1 | 2 = 1): Promise<Client> {
  const c = t.open()
  await c.connect({ clientId, ...(isKept ? KEEP : {}) })
  await c.subscribe(SHARED, { qos })
  return c
}
async function send(t: TestBroker, from: Client, texts: readonly string[], qos: 1 | 2 = 1): Promise<void> {
  for (const [i, text] of texts.entries()) from.publish('jobs/a', text, { qos, packetId: i + 1 })
  await from.seen()
}
const textOf = (line: string): string => line.split(' ')[2]!

for (const isKept of [false, true])
  test(`${isKept ? 'a kept session that expires' : 'a session that ends with its connection'} gives its QoS 1 messages to another member`, async () => {
    const t = new TestBroker()
    const [first, second] = [await member(t, 'first', isKept), await member(t, 'second', isKept)]
    const pub = t.open()
    await pub.connect({ clientId: 'pub' })
    await send(t, pub, ['1', '2', '3', '4'])
    const mine = (await first.seen()).map(textOf)
    const others = (await second.take('publish'), await second.take('publish'))
    assert.equal(mine.length, 2)
    first.ack('puback', 1)
    await settle()
    first.stream.destroy()
    await settle()
    if (isKept) {
      assert.deepEqual(await second.seen(), [], 'it may come back')
      await t.clock.advance(61_000)
    }
    const handed = await second.seen()
    assert.deepEqual(handed.map(textOf), mine.slice(1))
    assert.ok(others)
    assert.equal(t.metrics.total('mesh_mqtt_shared_handed_over_total'), 1)
  })

for (const how of ['disconnect', 'clean start'] as const)
  test(`what is still being written when a member ends goes to another one (${how})`, async () => {
    const t = new TestBroker()
    const [first, second] = [await member(t, 'first', true), await member(t, 'second', true)]
    const pub = t.open()
    await pub.connect({ clientId: 'pub' })
    t.durability.hold()
    await send(t, pub, ['1', '2'])
    if (how === 'disconnect') first.disconnect(0, { sessionExpirySec: 0 })
    else void t.open().connect({ clientId: 'first', cleanStart: true })
    await settle()
    t.durability.resume()
    assert.deepEqual(await pub.seen(), ['puback #1', 'puback #2'])
    assert.deepEqual((await second.seen()).map(textOf).toSorted(), ['1', '2'])
  })

test('[MQTT-4.8.2-5] QoS 2 goes to nobody else; with the last member gone QoS 1 is dropped and counted', async () => {
  const t = new TestBroker()
  const [first, second] = [await member(t, 'first', true, 2), await member(t, 'second', true, 2)]
  const pub = t.open()
  await pub.connect({ clientId: 'pub' })
  await send(t, pub, ['1', '2'], 2)
  assert.equal((await first.seen()).length, 1)
  await second.seen()
  first.disconnect(0, { sessionExpirySec: 0 })
  first.stream.destroy()
  assert.deepEqual(await second.seen(), [])
  await send(t, pub, ['3'])
  await second.seen()
  second.disconnect(0, { sessionExpirySec: 0 })
  second.stream.destroy()
  await settle()
  assert.equal(t.metrics.total('mesh_mqtt_messages_dropped_total', { reason: 'no-member' }), 1)
})

test('a clean start of the same client id is an end, too; so is a session that gives way', async () => {
  const t = new TestBroker()
  const [first, second] = [await member(t, 'first', true), await member(t, 'second', true)]
  const pub = t.open()
  await pub.connect({ clientId: 'pub' })
  await send(t, pub, ['1', '2'])
  const [mine] = (await first.seen()).map(textOf)
  await second.seen()
  first.stream.destroy()
  await settle()
  await t.open().connect({ clientId: 'first', cleanStart: true })
  assert.deepEqual((await second.seen()).map(textOf), [mine])
})

test('whoever comes, goes, acknowledges or expires: a QoS 1 message stays with a group as long as it has a member', async () => {
  const act = fc.oneof(
    fc.record({ kind: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ kind: fc.constant('join' as const), isKept: fc.boolean() }),
    fc.record({ kind: fc.constant('leave' as const), which: fc.nat(9) }),
    fc.record({ kind: fc.constant('ack' as const), which: fc.nat(9), all: fc.boolean() }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 14 }), async (acts) => {
      const t = new TestBroker()
      const pub = t.open()
      await pub.connect({ clientId: 'pub' })
      // One that stays, and acknowledges at the end only.
      const members: { c: Client; isKept: boolean; got: { id: number; text: string }[] }[] = []
      const acked = new Set<string>()
      const join = async (isKept: boolean, n: number): Promise<void> => {
        members.push({ c: await member(t, `m${n}`, isKept), isKept, got: [] })
      }
      const look = async (): Promise<void> => {
        for (const { c, got } of members)
          for (const line of await c.seen()) {
            const match = /^publish \S+ (\S+) q1 #(\d+)/.exec(line)
            if (match) got.push({ text: match[1]!, id: Number(match[2]) })
          }
      }
      const ack = ({ c, got }: (typeof members)[number], count: number): void => {
        for (const { id, text } of got.splice(0, count)) {
          c.ack('puback', id)
          acked.add(text)
        }
      }
      await join(false, 0)
      let sent = 0
      for (const [n, one] of acts.entries()) {
        if (one.kind === 'join') await join(one.isKept, n + 1)
        if (one.kind === 'publish')
          for (let i = 0; i < one.count; i++) pub.publish('jobs/a', String(++sent), { qos: 1, packetId: sent })
        await look()
        const at = members.length > 1 && 'which' in one ? 1 + (one.which % (members.length - 1)) : 0
        if (one.kind === 'ack') ack(members[at]!, one.all ? 100 : 1)
        if (one.kind === 'leave' && at > 0) {
          const [gone] = members.splice(at, 1)
          gone!.c.stream.destroy()
        }
        await settle()
      }
      await t.clock.advance(61_000)
      for (let round = 0; round < 5; round++) {
        await look()
        for (const one of members) ack(one, 100)
        await settle()
      }
      assert.deepEqual(
        Array.from({ length: sent }, (_, i) => String(i + 1)).filter((text) => !acked.has(text)),
        [],
      )
    }),
    { numRuns: 40 },
  )
})

test('what a member got of a subscription of its own, because it was retained, is given to nobody [MQTT-4.8.2]', async () => {
  const t = new TestBroker()
  const [first, second] = [await member(t, 'first', true), await member(t, 'second', false)]
  second.publish('jobs/a', 'kept', { qos: 1, packetId: 1, retain: true })
  for (const c of [first, second])
    for (const packet of await c.seen()) if (packet.startsWith('publish')) c.ack('puback', 1)
  await first.subscribe('jobs/a', { qos: 1 })
  assert.deepEqual((await first.seen()).map(textOf), ['kept'])
  await first.unsubscribe('jobs/a')
  first.disconnect(0, { sessionExpirySec: 0 })
  first.stream.destroy()
  assert.deepEqual(await second.seen(), [])
  assert.equal(second.closed, false)
})
