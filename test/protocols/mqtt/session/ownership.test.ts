import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../helpers/sim-clock.ts'
import { peerOf, TestBroker } from '../../../helpers/mqtt/broker.ts'
import type { PeerIdentity } from '../../../../model/identity.ts'

const KEEP = { cleanStart: false, properties: { sessionExpirySec: 3600 } } as const
const PUMP = 'spiffe://t/ns/site/sa/pump'
const OTHER = 'spiffe://t/ns/site/sa/other'
const certificate = (p: Partial<PeerIdentity>): PeerIdentity => ({
  ...peerOf(PUMP),
  spiffeId: undefined,
  uriSans: [],
  ...p,
})
/** Only the pump may have what is secret. */
const RULES = {
  rules: [
    { action: 'subscribe', topics: ['secret/#'], principals: [PUMP], effect: 'allow' },
    { action: 'subscribe', topics: ['open/#'], effect: 'allow' },
  ],
} as const

/** The pump's kept session with `secret/#` and one message in its queue; the pump is away. */
async function keptByPump(t: TestBroker, clientId = 'pump-1'): Promise<void> {
  const pump = t.open({ spiffe: PUMP, policy: RULES })
  await pump.connect({ clientId, ...KEEP })
  await pump.subscribe('secret/#', { qos: 1 })
  pump.disconnect()
  await settle()
  const publisher = t.open({ policy: RULES })
  await publisher.connect({ clientId: 'publisher' })
  publisher.publish('secret/a', 'queued', { qos: 1, packetId: 1 })
  assert.deepEqual(await publisher.seen(), ['puback #1'])
}

for (const { name, version, clean, spiffe, listener } of [
  { name: 'another identity', version: 5, clean: false, spiffe: OTHER, listener: 'mqtt' },
  { name: 'another identity with a clean start', version: 5, clean: true, spiffe: OTHER, listener: 'mqtt' },
  { name: 'nobody in particular', version: 5, clean: false, spiffe: undefined, listener: 'plain' },
  { name: 'nobody in particular, 3.1.1', version: 4, clean: false, spiffe: undefined, listener: 'plain' },
] as const) {
  test(`MQTT 5.0 §5.4.2: ${name} does not get the session of a client id that is another's, and does not end it`, async () => {
    const t = new TestBroker()
    await keptByPump(t)
    const thief = t.open({ version, listener, policy: RULES, ...(spiffe && { spiffe }) })
    const answer = await thief.connect({
      clientId: 'pump-1',
      cleanStart: clean,
      ...(version === 5 && { properties: { sessionExpirySec: 60 } }),
    })
    assert.deepEqual([answer.reason, answer.sessionPresent], [version === 5 ? 0x87 : 5, false])
    assert.equal((await thief.outcome).error?.code, 'MESH_MQTT_NOT_OWNER')
    assert.equal(t.metrics.total('mesh_mqtt_foreign_client_ids_total'), 1)
    const pump = t.open({ spiffe: PUMP, policy: RULES })
    assert.equal((await pump.connect({ clientId: 'pump-1', ...KEEP })).sessionPresent, true)
    assert.deepEqual(await pump.seen(), ['publish secret/a queued q1 #1'])
  })
}

test('a live connection of another owner is not taken over: it goes on and gets its messages', async () => {
  const t = new TestBroker()
  for (const keep of [KEEP, { cleanStart: true }]) {
    const pump = t.open({ spiffe: PUMP })
    await pump.connect({ clientId: 'pump-1', ...keep })
    await pump.subscribe('a')
    const thief = t.open({ spiffe: OTHER })
    assert.equal((await thief.connect({ clientId: 'pump-1' })).reason, 0x87)
    const publisher = t.open()
    await publisher.connect({ clientId: '' })
    publisher.publish('a', 'hi')
    assert.deepEqual(await pump.seen(), ['publish a hi q0'])
    assert.equal(t.metrics.total('mesh_mqtt_takeovers_total'), 0)
    pump.send({ type: 'disconnect', reason: 0, properties: { ...('properties' in keep && { sessionExpirySec: 0 }) } })
    await settle()
  }
})

test('the same owner takes over as ever, on another listener too when it proves a SPIFFE id, also after a restart', async () => {
  let t = new TestBroker()
  await keptByPump(t)
  t = t.restart()
  const thief = t.open({ spiffe: OTHER, policy: RULES })
  assert.equal((await thief.connect({ clientId: 'pump-1', ...KEEP })).reason, 0x87)
  const pump = t.open({ spiffe: PUMP, policy: RULES, listener: 'other' })
  assert.equal((await pump.connect({ clientId: 'pump-1', ...KEEP })).sessionPresent, true)
  assert.deepEqual(await pump.seen(), ['publish secret/a queued q1 #1'])
})

test('without a certificate the listener is the owner', async () => {
  const t = new TestBroker()
  const first = t.open({ listener: 'a' })
  await first.connect({ clientId: 'x', ...KEEP })
  const again = t.open({ listener: 'a' })
  assert.equal((await again.connect({ clientId: 'x', ...KEEP })).sessionPresent, true)
  const elsewhere = t.open({ listener: 'b' })
  assert.equal((await elsewhere.connect({ clientId: 'x', ...KEEP })).reason, 0x87)
})

test('a certificate without a SPIFFE id owns by its subject and names, through a renewal; one without either by its fingerprint', async () => {
  const t = new TestBroker()
  const connects = async (peer: PeerIdentity, clientId: string, listener = 'mqtt'): Promise<number> =>
    (await t.open({ peer, listener }).connect({ clientId, ...KEEP })).reason
  const named = certificate({ subject: 'O=site', dnsSans: ['pump-1'], sha256: 'aa' })
  assert.deepEqual(
    [
      await connects(named, 'x'),
      await connects({ ...named, sha256: 'bb' }, 'x'),
      await connects({ ...named, dnsSans: ['pump-2'] }, 'x'),
      await connects(named, 'x', 'other roots'),
      await connects(certificate({ sha256: 'aa' }), 'y'),
      await connects(certificate({ sha256: 'aa' }), 'y'),
      await connects(certificate({ sha256: 'bb' }), 'y'),
    ],
    [0, 0, 0x87, 0x87, 0, 0, 0x87],
  )
})

test('whoever proves an identity starts anew where nobody proved one, and inherits nothing', async () => {
  const t = new TestBroker()
  const squatter = t.open({ listener: 'plain' })
  await squatter.connect({
    clientId: 'pump-1',
    ...KEEP,
    will: {
      topic: 'gone',
      payload: Buffer.from('w'),
      qos: 0,
      retain: false,
      delaySec: 60,
      properties: new Uint8Array(0),
      messageExpirySec: undefined,
    },
  })
  await squatter.subscribe('a', { qos: 1 })
  squatter.publish('b', 'x', { qos: 2, packetId: 7 })
  await squatter.seen()
  squatter.stream.destroy()
  await settle()
  const publisher = t.open()
  await publisher.connect({ clientId: 'publisher' })
  publisher.publish('a', 'queued', { qos: 1, packetId: 1 })
  await publisher.seen()
  const pump = t.open({ spiffe: PUMP })
  assert.equal((await pump.connect({ clientId: 'pump-1', ...KEEP })).sessionPresent, false)
  assert.deepEqual(await pump.seen(), [])
  assert.deepEqual(
    [[...t.durability.inbound('pump-1')], t.durability.queues.size, t.durability.sessions.size],
    [[], 0, 0],
  )
  const back = t.open({ listener: 'plain' })
  assert.equal((await back.connect({ clientId: 'pump-1', ...KEEP })).reason, 0x87)
})

test('who is connected with a name and proves nothing does not keep its owner out either, and leaves nothing to it', async () => {
  for (const keep of [KEEP, { cleanStart: true }]) {
    const t = new TestBroker()
    const squatter = t.open({ listener: 'plain', policy: RULES })
    await squatter.connect({ clientId: 'pump-1', ...keep })
    await squatter.subscribe('open/a', { qos: 1 })
    const another = t.open({ listener: 'plain-2', policy: RULES })
    assert.equal(
      (await another.connect({ clientId: 'pump-1' })).reason,
      0x87,
      'nobody proves anything: the first one has it',
    )
    const pump = t.open({ spiffe: PUMP, policy: RULES })
    const answer = await pump.connect({ clientId: 'pump-1', ...KEEP })
    assert.deepEqual([answer.reason, answer.sessionPresent], [0, false])
    assert.equal((await squatter.outcome).error?.code, 'MESH_MQTT_TAKEN_OVER')
    const publisher = t.open({ policy: RULES })
    await publisher.connect({ clientId: '' })
    publisher.publish('open/a', 'hi', { qos: 1, packetId: 1 })
    assert.deepEqual(await publisher.seen(), ['puback #1'])
    assert.deepEqual(await pump.seen(), [])
    const again = t.open({ listener: 'plain', policy: RULES })
    assert.equal((await again.connect({ clientId: 'pump-1', ...keep })).reason, 0x87)
  }
})

test('an owner who was known by a listener that is gone gives way, and leaves nothing; one with a SPIFFE id does not', async () => {
  const t = new TestBroker()
  await t.open({ listener: 'old name' }).connect({ clientId: 'x', ...KEEP })
  await keptByPump(t)
  t.open().stream.destroy()
  const gone = t.open({ listener: 'old name' })
  assert.equal((await gone.connect({ clientId: 'x', ...KEEP })).sessionPresent, true)
  await gone.subscribe('a', { qos: 1 })
  gone.stream.destroy()
  await settle()
  t.policies.delete('old name')
  t.policies.delete('mqtt')
  const next = t.open({ listener: 'new name' })
  assert.deepEqual(
    await next.connect({ clientId: 'x', ...KEEP }).then(({ reason, sessionPresent }) => [reason, sessionPresent]),
    [0, false],
  )
  assert.equal((await t.open({ listener: 'new name' }).connect({ clientId: 'pump-1', ...KEEP })).reason, 0x87)
})

test('an id is free again when its session has expired or was ended by its owner', async () => {
  const t = new TestBroker()
  await keptByPump(t)
  await t.clock.advance(3_600_000)
  assert.equal((await t.open({ spiffe: OTHER }).connect({ clientId: 'pump-1' })).reason, 0)
})

test('a session of an older file is whose client comes first, with what that one may have', async () => {
  for (const { spiffe, gets } of [
    { spiffe: PUMP, gets: ['publish secret/a queued q1 #1'] },
    { spiffe: OTHER, gets: [] },
  ]) {
    let t = new TestBroker()
    await keptByPump(t)
    const stored = t.durability.sessions.get('pump-1')!
    t.durability.sessions.set('pump-1', { ...stored, owner: undefined })
    t = t.restart()
    const first = t.open({ spiffe, policy: RULES })
    assert.equal((await first.connect({ clientId: 'pump-1', ...KEEP })).sessionPresent, true)
    assert.deepEqual(await first.seen(), gets)
    first.publish('secret/b', 'live')
    assert.deepEqual(await first.seen(), gets.length > 0 ? ['publish secret/b live q0'] : [])
    assert.deepEqual(t.durability.sessions.get('pump-1')?.owner, { kind: 'spiffe', name: spiffe, listener: 'mqtt' })
    assert.equal(
      (await t.open({ policy: RULES, listener: 'plain' }).connect({ clientId: 'pump-1', ...KEEP })).reason,
      0x87,
    )
  }
})

test('no client id can stand for a bridge: its QoS 2 ids are its own', async () => {
  const { planSessions } = await import('../../../../protocols/mqtt/bridge/plan.ts')
  const { createMqttPolicySchema } = await import('../../../../model/mqtt-policy.ts')
  const policy = createMqttPolicySchema().parse({ routes: [{ match: '#', direction: 'down', cluster: 'up' }] })
  const [plan] = planSessions(policy, 'edge').values()
  assert.ok(plan!.origin.includes('\0'), 'no MQTT string holds U+0000 [MQTT-1.5.4-2]')
  const t = new TestBroker()
  const client = t.open()
  await client.connect({ clientId: plan!.origin.replaceAll('\0', ''), ...KEEP })
  client.publish('a', 'x', { qos: 2, packetId: 9 })
  await client.seen()
  assert.equal(t.durability.inbound(plan!.origin).size, 0)
})
