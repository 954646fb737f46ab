import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Metrics } from '../../../../core/metrics.ts'
import { MeshError } from '../../../../core/errors.ts'
import type { QueueShare } from '../../../../protocols/mqtt/durability.ts'
import { findQuota, UserQuotas, type Quota } from '../../../../protocols/mqtt/session/user-quotas.ts'
import { policyOf, TestBroker } from '../../../helpers/mqtt/broker.ts'
import type { MqttPeer } from '../../../helpers/mqtt/peer.ts'
import { settle, SimClock } from '../../../helpers/sim-clock.ts'

const quota = (over: Partial<Quota>): Quota => policyOf({ quotas: [over] }).quotas[0]!
const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const
const DEVICE = 'spiffe://cluster.local/ns/site/sa/device'
const met = (t: TestBroker, kind: string): number => t.metrics.total('mesh_mqtt_quota_met_total', { quota: kind })

test('the first quota that is about a client is its own', () => {
  const all = [
    quota({ users: ['vip'], maxSessions: 9 }),
    quota({ groups: ['b*'], maxSessions: 5 }),
    quota({ maxSessions: 1 }),
  ]
  const of = (user: string | undefined, groups: string[] = []): number | undefined =>
    findQuota(all, { clientId: 'c', user, groups, spiffeUri: undefined, serviceAccount: undefined })?.maxSessions
  assert.deepEqual([of('vip', ['big']), of('ana', ['big']), of('ana'), of(undefined)], [9, 5, 1, 1])
  assert.equal(
    findQuota([], { clientId: 'c', user: 'a', groups: [], spiffeUri: undefined, serviceAccount: undefined }),
    undefined,
  )
})

test('a second is sent at once, then what comes in; what was taken beyond is owed, by all connections together', async () => {
  const clock = new SimClock()
  using quotas = new UserQuotas({ clock, metrics: new Metrics() })
  const q = quota({ maxMessagesPerSec: 10, maxBytesPerSec: 1_000 })
  const [one, other] = [quotas.enterRate('user ana'), quotas.enterRate('user ana')]
  const bob = quotas.enterRate('user bob')
  for (let i = 0; i < 10; i++) assert.equal(one.charge(10, q), 0)
  assert.equal(one.charge(10, q), 100)
  assert.equal(other.charge(10, q), 200)
  assert.equal(bob.charge(1_000, q), 0)
  assert.equal(bob.charge(500, q), 500)
  await clock.advance(100)
  assert.deepEqual([one.charge(10, q), bob.charge(100, q)], [200, 500])
  await clock.advance(60_000)
  assert.equal(one.charge(1_000, q), 0, 'a pause saves no more than a second')
  assert.equal(one.charge(1, q), 1)
  for (const tooMuch of [10_001, 10_000]) assert.equal(other.charge(tooMuch, q), undefined)
  assert.equal(one.charge(9_999, q), 10_000)
  assert.equal(other.charge(1, q), undefined, 'nobody is kept unread for longer than ten seconds')
  for (const each of [one, other, bob]) each[Symbol.dispose]()
  assert.equal(quotas.rates, 1, 'who owes something is remembered')
  using again = quotas.enterRate('user ana')
  assert.equal(again.charge(0, q), 10_000)
})
test('what a share has sent is forgotten when it owes nothing, and given back once', async () => {
  const clock = new SimClock()
  const quotas = new UserQuotas({ clock, metrics: new Metrics() })
  const q = quota({ maxMessagesPerSec: 1 })
  for (let i = 0; i < 1_000; i++) {
    const rate = quotas.enterRate(`address 10.0.0.${i}`)
    rate.charge(1, q)
    rate[Symbol.dispose]()
    rate[Symbol.dispose]()
  }
  assert.equal(quotas.rates, 1_000)
  await clock.advance(1_000)
  assert.deepEqual([quotas.rates, clock.pendingTimers], [0, 0])
  const late = quotas.enterRate('x')
  late.charge(1, q)
  late[Symbol.dispose]()
  quotas[Symbol.dispose]()
  assert.equal(clock.pendingTimers, 0)
})
test('another quota counts at once, and wipes out no debt', () => {
  using quotas = new UserQuotas({ clock: new SimClock(), metrics: new Metrics() })
  using rate = quotas.enterRate('x')
  assert.equal(rate.charge(300, quota({ maxBytesPerSec: 100 })), 2_000)
  assert.equal(rate.charge(0, quota({ maxBytesPerSec: 1_000 })), 200)
  assert.equal(rate.charge(0, quota({ maxMessagesPerSec: 1 })), 0)
})
test('connections are leases', () => {
  using quotas = new UserQuotas({ clock: new SimClock(), metrics: new Metrics() })
  const q = quota({ maxConnections: 1 })
  const first = quotas.connect('a', { quota: q, ending: 0 })
  assert.throws(
    () => quotas.connect('a', { quota: q, ending: 0 }),
    (err) =>
      err instanceof MeshError && err.code === 'MESH_MQTT_QUOTA' && /1 connections belong to a/.test(err.message),
  )
  const taking = quotas.connect('a', { quota: q, ending: 1 })
  first[Symbol.dispose]()
  first[Symbol.dispose]()
  assert.throws(() => quotas.connect('a', { quota: q, ending: 0 }))
  taking[Symbol.dispose]()
  quotas.connect('a', { quota: q, ending: 0 })
})

const policy = { quotas: [{ principals: [DEVICE], maxConnections: 2, maxSessions: 3 }, { maxConnections: 1 }] }
async function connected(
  t: TestBroker,
  clientId: string,
  p: Parameters<TestBroker['open']>[0] = {},
): Promise<MqttPeer & { reason: number }> {
  const client = t.open({ policy, ...p })
  const { reason } = await client.connect({ clientId, ...KEEP })
  return Object.assign(client, { reason })
}

test('of one certificate, and of one address, so many connections; each that ends gives its place back, however it ends', async () => {
  const t = new TestBroker()
  const open = await Promise.all(['a', 'b', 'c'].map((id) => connected(t, id, { spiffe: DEVICE })))
  assert.deepEqual(
    open.map((c) => c.reason).toSorted((a, b) => a - b),
    [0, 0, 0x97],
  )
  assert.equal((await connected(t, 'x', { host: '10.0.0.1' })).reason, 0)
  assert.equal((await connected(t, 'y', { host: '10.0.0.1' })).reason, 0x97)
  assert.equal((await connected(t, 'z', { host: '10.0.0.2' })).reason, 0)
  assert.equal((await connected(t, 'y', { host: '10.0.0.2', version: 4 })).reason, 3)
  assert.equal(met(t, 'connections'), 3)
  const ends: ((c: MqttPeer) => void)[] = [
    (c) => c.disconnect(),
    (c) => c.stream.destroy(),
    (c) => c.raw('00 00'),
    (c) => c.send({ type: 'pingresp' }),
  ]
  for (const end of ends) {
    const client = await connected(t, 'w', { host: '10.0.0.3' })
    assert.equal(client.reason, 0)
    assert.equal((await connected(t, 'v', { host: '10.0.0.3' })).reason, 0x97)
    end(client)
    await settle()
  }
  assert.equal((await connected(t, 'w', { host: '10.0.0.3' })).reason, 0)
})
test('who takes a client id over is not counted twice; a refused one takes nothing away', async () => {
  const t = new TestBroker()
  const first = await connected(t, 'a')
  const next = await connected(t, 'a')
  assert.deepEqual([first.closed, next.reason], [true, 0])
  assert.equal((await connected(t, 'b')).reason, 0x97)
  const clean = t.open({ policy })
  assert.equal((await clean.connect({ clientId: 'other', cleanStart: true })).reason, 0x97)
  assert.deepEqual(await next.seen(), [])
  assert.equal(t.broker.stats.sessions, 1)
})
test('many at once get no more places than there are', async () => {
  const t = new TestBroker()
  const all = await Promise.all(Array.from({ length: 20 }, (_, i) => connected(t, `c${i}`, { spiffe: DEVICE })))
  assert.equal(all.filter((c) => c.reason === 0).length, 2)
})
test('sessions of one certificate: unused ones give way, then the newcomer is refused', async () => {
  const t = new TestBroker()
  for (const [i, reason] of [0, 0, 0, 0x97].entries()) {
    const client = await connected(t, `s${i}`, { spiffe: DEVICE })
    assert.equal(client.reason, reason)
    if (reason === 0) await client.subscribe('a', { qos: 1 })
    client.stream.destroy()
    await settle()
  }
  assert.equal(met(t, 'sessions'), 1)
  assert.equal((await connected(t, 's0', { spiffe: DEVICE })).reason, 0, 'its own session is there for it')
})
test('what waits for sessions of one owner counts together, for new queues, kept sessions and after a restart', async () => {
  const limited = { quotas: [{ principals: [DEVICE], maxQueuedBytes: 1_000, minDiskFreeBytes: 2_000 }] }
  let t = new TestBroker()
  for (const [clientId, spiffe] of [
    ['a', DEVICE],
    ['b', DEVICE],
    ['c', undefined],
  ] as const) {
    const client = t.open({ policy: limited, ...(spiffe !== undefined && { spiffe }) })
    await client.connect({ clientId, ...KEEP })
    await client.subscribe('t', { qos: 1 })
    client.stream.destroy()
    await settle()
  }
  const shares = (): (QueueShare | undefined)[] =>
    ['a', 'b', 'c'].map((id) => t.durability.queue(`session/${id}`)!.share)
  const check = (maxBytes: number): void => {
    const [a, b, c] = shares()
    assert.ok(a && a === b && a !== c)
    assert.deepEqual([a.maxBytes, c?.maxBytes], [maxBytes, Infinity])
    assert.deepEqual([a.minDiskFreeBytes, c?.minDiskFreeBytes], [2_000, undefined])
  }
  check(1_000)
  t = await t.stop()
  t.usePolicy(limited)
  check(1_000)
  t.usePolicy({ quotas: [{ maxQueuedBytes: 50 }] })
  assert.deepEqual(
    shares().map((one) => one?.maxBytes),
    [50, 50, 50],
  )
})
