import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'

type Peer = ReturnType<TestBroker['open']>
/** By topic behind `$SYS/broker/`: value, QoS and whether it is a retained one. */
async function heard(peer: Peer): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>()
  for (const line of await peer.seen()) {
    const [, topic, value, rest] =
      /^publish \$SYS\/broker\/(.+?) (meshlet version \S+|\S+ seconds|[\d.]+) (.*)$/.exec(line) ?? []
    if (topic !== undefined) found.set(topic, `${value} ${rest!.replace(/ #\d+/, '')}`)
  }
  return found
}

test('who subscribes gets all values as retained ones, then what has changed, until nobody listens', async () => {
  const t = new TestBroker({ sysIntervalSec: 10 })
  const peer = t.open()
  await peer.connect({ clientId: 'watcher' })
  await peer.subscribe('$SYS/#', { qos: 2, retainAsPublished: true })
  const first = await heard(peer)
  assert.equal(first.get('version'), 'meshlet version 1.2.3 q2 retain')
  assert.equal(first.get('clients/connected'), '1 q2 retain')
  assert.equal(first.get('uptime'), '0 seconds q2 retain')
  assert.ok(first.size > 50, String(first.size))
  for (const id of Array.from({ length: 65 }, (_, i) => i + 1)) peer.ack('pubrec', id, 0x80)

  const other = t.open()
  await other.connect({ clientId: 'other' })
  other.publish('a', 'four')
  await t.clock.advance(10_000)
  const then = await heard(peer)
  assert.equal(then.get('clients/connected'), '2 q2 retain')
  assert.equal(then.get('publish/messages/received'), '1 q2 retain')
  assert.equal(then.get('publish/bytes/received'), '4 q2 retain')
  assert.equal(then.get('uptime'), '10 seconds q2 retain')
  assert.equal(then.get('load/publish/received/1min'), `${(6 * (1 - Math.exp(-10 / 60))).toFixed(2)} q2 retain`)
  assert.equal(then.has('version'), false)
  assert.equal(then.has('clients/disconnected'), false)
})

test('nothing of it is on the disk, in retained messages, or in what # matches', async () => {
  const t = new TestBroker({ sysIntervalSec: 10 })
  const [all, kept] = [t.open(), t.open()]
  await all.connect({ clientId: 'all' })
  await all.subscribe('#', { qos: 2 })
  await all.subscribe('+/broker/uptime', { qos: 2 })
  await kept.connect({ clientId: 'kept', properties: { sessionExpirySec: 1000 } })
  await kept.subscribe('$SYS/broker/uptime', { qos: 1 })
  assert.deepEqual(await kept.seen(), ['publish $SYS/broker/uptime 0 seconds q0 retain'])
  await t.clock.advance(10_000)
  assert.deepEqual(await kept.seen(), ['publish $SYS/broker/uptime 10 seconds q0'])
  kept.disconnect()
  await t.clock.advance(30_000)
  assert.deepEqual(await all.seen(), [])
  assert.equal(t.durability.queue('session/kept')?.lastSeq, 0)
  assert.deepEqual([t.durability.retained.size, t.broker.stats.retained], [0, 0])
})

test('rules count for it, shared subscriptions too, and an interval of 0 is none', async () => {
  const policy = {
    rules: [{ action: 'subscribe' as const, topics: ['$SYS/broker/uptime'], effect: 'allow' as const }],
    wideSubscriptions: 'filter' as const,
  }
  const t = new TestBroker({ sysIntervalSec: 10 })
  const [limited, one, two] = [t.open({ policy }), t.open({ listener: 'free' }), t.open({ listener: 'free' })]
  await limited.connect({ clientId: 'limited' })
  await limited.subscribe('$SYS/#')
  assert.deepEqual(await limited.seen(), ['publish $SYS/broker/uptime 0 seconds q0 retain'])
  for (const [peer, clientId] of [
    [one, 'one'],
    [two, 'two'],
  ] as const) {
    await peer.connect({ clientId })
    await peer.subscribe('$share/g/$SYS/broker/uptime')
  }
  await t.clock.advance(10_000)
  await t.clock.advance(10_000)
  assert.deepEqual((await limited.seen()).length, 2)
  assert.deepEqual([(await one.seen()).length, (await two.seen()).length], [1, 1])

  const off = new TestBroker({ sysIntervalSec: 0 })
  const peer = off.open()
  await peer.connect({})
  await peer.subscribe('$SYS/#')
  await off.clock.advance(60_000)
  assert.deepEqual(await peer.seen(), [])
})
