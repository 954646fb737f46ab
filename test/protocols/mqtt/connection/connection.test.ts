import { test } from 'node:test'
import assert from 'node:assert/strict'
import { settle } from '../../../helpers/sim-clock.ts'
import { TestBroker } from '../../../helpers/mqtt/broker.ts'

test('CONNACK tells the limits and what was decided otherwise', async () => {
  const t = new TestBroker()
  const c = t.open({
    policy: {
      limits: {
        receiveMaximum: 9,
        maxPacketBytes: 999,
        maxSessionExpirySec: 60,
        maxKeepAliveSec: 30,
        maxTopicAliases: 4,
      },
    },
  })
  const { properties } = await c.connect({
    clientId: '',
    keepAliveSec: 0,
    properties: { sessionExpirySec: 0xffff_ffff },
  })
  const { assignedClientId, ...rest } = properties
  assert.match(assignedClientId ?? '', /^edge-[a-z0-9]{22}$/)
  assert.deepEqual(rest, {
    receiveMaximum: 9,
    maximumPacketBytes: 999,
    topicAliasMaximum: 4,
    sessionExpirySec: 60,
    serverKeepAliveSec: 30,
  })
})

for (const { name, version, hex, connect, policy, want } of [
  {
    name: '[MQTT-3.1.3-8] 3.1.1: an empty client id needs clean session',
    version: 4 as const,
    connect: { clientId: '', cleanStart: false },
    want: 2,
  },
  {
    name: '5.0: enhanced authentication is not offered',
    version: 5 as const,
    connect: { properties: { authenticationMethod: 'SCRAM' } },
    want: 0x8c,
  },
  {
    name: '5.0: not authorized',
    version: 5 as const,
    policy: { rules: [{ action: 'connect' as const, clientIds: ['other'], effect: 'allow' as const }] },
    want: 0x87,
  },
  {
    name: '3.1.1: not authorized',
    version: 4 as const,
    policy: { rules: [{ action: 'connect' as const, clientIds: ['other'], effect: 'allow' as const }] },
    want: 5,
  },
  {
    name: '[MQTT-3.1.2-2] MQTT 3.1',
    version: 4 as const,
    hex: '10 10 0006 4d5149736470 03 02 003c 0002 6162',
    want: 1,
  },
  {
    name: '[MQTT-3.1.2-2] MQTT 6',
    version: 5 as const,
    hex: '10 0f 0004 4d515454 06 02 003c 00 0002 6162',
    want: 0x84,
  },
]) {
  test(`refused with CONNACK ${want}: ${name}`, async () => {
    const t = new TestBroker()
    const c = t.open({ version, ...(policy && { policy }) })
    if (hex) c.raw(hex)
    const { reason } = hex ? await c.take('connack') : await c.connect(connect)
    assert.equal(reason, want)
    assert.ok((await c.outcome).error)
    assert.equal(t.broker.stats.sessions, 0)
    assert.equal(t.metrics.total('mesh_mqtt_connects_total', { outcome: 'refused' }), 1)
  })
}

test('the first packet must be CONNECT, and a second one ends the connection', async () => {
  const t = new TestBroker()
  const a = t.open()
  a.raw('c000')
  assert.equal((await a.outcome).error?.code, 'MESH_MQTT_PROTOCOL')
  assert.deepEqual(await a.seen(), [])
  const b = t.open()
  await b.connect()
  b.send({
    type: 'connect',
    version: 5,
    cleanStart: true,
    keepAliveSec: 0,
    clientId: 'c',
    username: undefined,
    password: undefined,
    will: undefined,
    properties: {},
  })
  assert.deepEqual(await b.seen(), ['disconnect 0x82'])
})

test('somebody who never sends CONNECT is let go after connectTimeoutMs', async () => {
  const t = new TestBroker()
  const c = t.open()
  await t.clock.advance(9_999)
  assert.equal(c.closed, false)
  await t.clock.advance(1)
  assert.equal((await c.outcome).error?.code, 'MESH_REQUEST_TIMEOUT')
})

test('[MQTT-3.1.2-22] silence of one and a half keep-alives ends the connection, PINGREQ does not', async () => {
  const t = new TestBroker()
  const c = t.open()
  await c.connect({ keepAliveSec: 10 })
  await t.clock.advance(14_000)
  c.send({ type: 'pingreq' })
  await t.clock.advance(14_999)
  assert.deepEqual(await c.seen(), ['pingresp'])
  await t.clock.advance(1)
  assert.deepEqual(await c.seen(), ['disconnect 0x8d'])
  assert.equal((await c.outcome).error?.code, 'MESH_MQTT_KEEP_ALIVE')
})

test('draining: MQTT 5 gets DISCONNECT 0x8b, 3.1.1 the end; aborted: the end at once', async () => {
  for (const version of [4, 5] as const) {
    const t = new TestBroker()
    const c = t.open({ version })
    await c.connect()
    c.drain.abort()
    assert.deepEqual(await c.seen(), version === 5 ? ['disconnect 0x8b'] : [])
    assert.equal(c.closed, true)
    const d = t.open({ version })
    await d.connect()
    d.abort.abort()
    assert.equal((await d.outcome).error, undefined)
    assert.deepEqual(await d.seen(), [])
    assert.equal(t.broker.stats.connections, 0)
  }
})

test('packets that come with CONNECT in one chunk wait for CONNACK and are then taken in order', async () => {
  const t = new TestBroker()
  await t.durability.createQueue('session/c') // left by an earlier one: it has to go first
  t.durability.hold()
  const c = t.open()
  c.send(
    {
      type: 'connect',
      version: 5,
      cleanStart: false,
      keepAliveSec: 0,
      clientId: 'c',
      username: undefined,
      password: undefined,
      will: undefined,
      properties: { sessionExpirySec: 9 },
    },
    { type: 'pingreq' },
  )
  assert.deepEqual(await c.seen(), [])
  t.durability.resume()
  assert.deepEqual(await c.seen(), ['connack', 'pingresp'])
})

test('limits on connections, sessions and subscriptions are refused with their reason', async () => {
  const t = new TestBroker()
  const policy = { limits: { maxConnections: 2, maxSessions: 1, maxSubscriptionsPerSession: 1 } }
  const a = t.open({ policy })
  await a.connect({ clientId: 'a' })
  assert.deepEqual((await a.subscribe('x')).reasons, [0])
  assert.deepEqual((await a.subscribe('x', { qos: 1 })).reasons, [1])
  assert.deepEqual((await a.subscribe('y')).reasons, [0x97])
  const b = t.open({ policy })
  assert.equal((await b.connect({ clientId: 'b' })).reason, 0x97)
  await b.outcome
  t.open({ policy })
  const c = t.open({ policy })
  assert.equal((await c.outcome).error?.code, 'MESH_LISTENER_FULL')
})

test('SUBACK tells what is wrong with each filter, 3.1.1 only that something is', async () => {
  for (const [version, want] of [
    [5, [0x8f, 0x8f, 0x87, 1]],
    [4, [0x80, 0x80, 0x80, 1]],
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
      subscriptions: ['a#', '$share/g', 'other', 'ok/x'].map(one),
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

test('a policy that changed while the connection stays counts for the next packet', async () => {
  const t = new TestBroker()
  const c = t.open()
  await c.connect()
  c.publish('a', 'x', { qos: 1, packetId: 1 })
  await settle()
  const { mqttPolicySchema } = await import('../../../../model/mqtt-policy.ts')
  const mqtt = mqttPolicySchema().parse({ rules: [{ action: 'publish', topics: ['b'], effect: 'allow' }] })
  c.conn.chain = { codec: { kind: 'mqtt', mqtt, transport: 'tcp' } } as never
  c.publish('a', 'x', { qos: 1, packetId: 2 })
  assert.deepEqual(await c.seen(), ['puback #1', 'puback #2 0x87'])
})

test('a peer that asks for ever and reads nothing is not read from', async () => {
  const t = new TestBroker()
  const c = t.open()
  await c.connect()
  c.stream.pause()
  for (let i = 0; i < 50; i++) {
    c.stream.write(Buffer.alloc(60_000, Buffer.from('c000', 'hex')))
    await settle()
  }
  assert.ok(c.conn.receivedBytes < 1_500_000, String(c.conn.receivedBytes))
  const read = c.conn.receivedBytes
  c.stream.resume()
  await settle()
  await settle()
  assert.ok(c.conn.receivedBytes > read)
})
