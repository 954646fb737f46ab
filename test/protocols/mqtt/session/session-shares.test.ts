/** Who gives way when there are as many sessions as there may be, and what nobody can take from others. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'
import { settle } from '../../../helpers/sim-clock.ts'

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 7 * 24 * 3600 } } as const
const DEVICE = 'spiffe://cluster.local/ns/site/sa/device'
type Open = Parameters<TestBroker['open']>[0]

async function leave(t: TestBroker, clientId: string, open: Open, p: { subscribes?: boolean } = {}): Promise<number> {
  const c = t.open(open)
  const { reason } = await c.connect({ clientId, ...KEEP })
  if (reason === 0 && p.subscribes) await c.subscribe('a', { qos: 1 })
  c.stream.destroy()
  await settle()
  return reason
}
/** At its end. */
const ids = async (t: TestBroker): Promise<string[]> => [...(await t.stop()).durability.sessions.keys()]

test('200 anonymous CONNECTs for seven days keep nobody out: sessions that never subscribed go first, the longest left alone in front', async () => {
  const t = new TestBroker()
  const policy = { limits: { maxSessions: 100 } }
  assert.equal(await leave(t, 'mine', { policy, host: '10.0.0.9' }, { subscribes: true }), 0)
  for (let i = 0; i < 200; i++) await leave(t, `flood${i}`, { policy, host: '10.0.0.1' })
  assert.ok(t.broker.stats.sessions <= 100)
  for (const host of ['10.0.0.1', '10.0.0.2'])
    assert.equal(await leave(t, `device at ${host}`, { policy, host }, { subscribes: true }), 0)
  assert.equal(await leave(t, 'proved', { policy, host: '10.0.0.1', spiffe: DEVICE }, { subscribes: true }), 0)
  const left = await ids(t)
  assert.deepEqual([left.includes('mine'), left.includes('flood0'), left.includes('flood199')], [true, false, true])
  assert.ok(t.metrics.total('mesh_mqtt_sessions_gave_way_total', { why: 'unused' }) > 100)
})

test('an address that subscribes with every session gets its share, and gives way to smaller ones as long as nothing waits', async () => {
  const t = new TestBroker()
  const policy = { limits: { maxSessions: 20 } }
  let refused = 0
  for (let i = 0; i < 60; i++)
    if ((await leave(t, `flood${i}`, { policy, host: '10.0.0.1' }, { subscribes: true })) === 0x97) refused++
  assert.equal(refused, 45)
  for (let i = 0; i < 12; i++)
    assert.equal(await leave(t, `d${i}`, { policy, host: `10.0.1.${i}` }, { subscribes: true }), 0)
  assert.equal(t.broker.stats.sessions, 20)
  assert.equal(t.metrics.total('mesh_mqtt_sessions_gave_way_total', { why: 'share' }), 7)
  const pub = t.open({ policy: { limits: { maxSessions: 1_000 } } })
  await pub.connect({ clientId: 'pub' })
  pub.publish('a', 'kept', { qos: 1, packetId: 1 })
  assert.deepEqual(await pub.seen(), ['puback #1'])
  assert.equal(
    await leave(t, 'late', { policy, host: '10.0.2.1' }),
    0x97,
    'messages that were acknowledged are not given up for somebody new',
  )
})

test('a message that is on its way to the disk is not given up for somebody new', async () => {
  const t = new TestBroker()
  const policy = { limits: { maxSessions: 4 } }
  for (let i = 0; i < 3; i++)
    assert.equal(await leave(t, `d${i}`, { policy, host: '10.0.0.1' }, { subscribes: true }), 0)
  const pub = t.open({ policy: { limits: { maxSessions: 1_000 } } })
  await pub.connect({ clientId: 'pub' })
  t.durability.hold()
  pub.publish('a', 'kept', { qos: 1, packetId: 1 })
  await settle()
  const late = t.open({ policy, host: '10.0.2.1' })
  assert.equal((await late.connect({ clientId: 'late' })).reason, 0x97)
  t.durability.resume()
  assert.deepEqual(await pub.seen(), ['puback #1'])
})

test('of one certificate and of one address there may be as many as is set, whoever is connected or not', async () => {
  const t = new TestBroker()
  const policy = { limits: { maxSessionsPerPrincipal: 2, maxSessionsPerAddress: 1 } }
  const open = async (clientId: string, p: Open): Promise<number> =>
    (await t.open({ policy, ...p }).connect({ clientId })).reason
  assert.deepEqual(
    [
      await open('a', { spiffe: DEVICE }),
      await open('b', { spiffe: DEVICE, host: '10.0.0.2' }),
      await open('c', { spiffe: DEVICE }),
    ],
    [0, 0, 0x97],
  )
  assert.deepEqual([await open('d', {}), await open('e', {}), await open('f', { host: '10.0.0.3' })], [0, 0x97, 0])
  assert.equal(await open('a', { spiffe: DEVICE }), 0, 'who has one comes back to it')
})

test('many at once do not pass the bound together, and one for which the disk fails gives its place back', async () => {
  const t = new TestBroker()
  const policy = { limits: { maxSessions: 3 } }
  // Left by earlier ones: they have to go first.
  for (let i = 0; i < 8; i++) await t.durability.createQueue(`session/c${i}`)
  t.durability.hold()
  const many = Array.from({ length: 8 }, (_, i) =>
    t.open({ policy, host: `10.0.0.${i}` }).connect({ clientId: `c${i}`, ...KEEP }),
  )
  await settle()
  assert.equal(t.durability.pending, 3)
  t.durability.fail()
  t.durability.resume()
  const answers = await Promise.all(many)
  assert.deepEqual(
    answers.map((a) => a.reason).sort((a, b) => a - b),
    [0x88, 0x88, 0x88, 0x97, 0x97, 0x97, 0x97, 0x97],
  )
  assert.equal(await leave(t, 'next', { policy }), 0)
})

test('after a restart shares are what they were, and who may have sent QoS 2 is somebody', async () => {
  const t = new TestBroker()
  const policy = { limits: { maxSessions: 4 } }
  const sender = t.open({ policy, host: '10.0.0.5' })
  await sender.connect({ clientId: 'sender', ...KEEP })
  sender.publish('a', 'once', { qos: 2, packetId: 1 })
  await settle()
  sender.stream.destroy()
  for (let i = 0; i < 3; i++) await leave(t, `flood${i}`, { policy, host: '10.0.0.1' })
  const back = await t.stop()
  for (let i = 0; i < 3; i++) assert.equal(await leave(back, `new${i}`, { policy, host: '10.0.0.2' }), 0)
  assert.deepEqual(
    (await ids(back)).toSorted(),
    ['flood2', 'new1', 'new2', 'sender'],
    'each address has its share of two',
  )
})
