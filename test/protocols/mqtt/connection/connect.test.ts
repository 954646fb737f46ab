import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TestBroker, WILL } from '../../../helpers/mqtt/broker.ts'
import type { MqttListener } from '../../../../model/mqtt-policy.ts'
import { settle } from '../../../helpers/sim-clock.ts'
import { connectPacket } from '../../../helpers/mqtt/peer.ts'

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
    name: '[MQTT-3.1.2-2] a level that was never one, of a bridge: in the form of 3.1.1',
    version: 4 as const,
    hex: '10 0e 0004 4d515454 82 02 003c 0002 6162',
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

for (const [name, hex] of [
  ['MQTT 3.1', '10 10 0006 4d5149736470 03 02 003c 0002 6162'],
  ["mosquitto's bridge, 3.1.1", '10 0e 0004 4d515454 84 02 003c 0002 6162'],
  ["mosquitto's bridge, 3.1", '10 10 0006 4d5149736470 83 02 003c 0002 6162'],
] as const) {
  test(`accepted: ${name}; a bridge keeps RETAIN and gets nothing back that it sent`, async () => {
    const t = new TestBroker()
    const [c, other] = [t.open({ version: 4 }), t.open()]
    c.raw(hex)
    assert.equal((await c.take('connack')).reason, 0)
    await other.connect({ clientId: 'other' })
    await c.subscribe('a/#', { qos: 1 })
    c.publish('a/own', 'x')
    other.publish('a/r', 'y', { retain: true })
    const isBridge = name.includes('bridge')
    assert.deepEqual(
      await c.seen(),
      isBridge ? ['publish a/r y q0 retain'] : ['publish a/own x q0', 'publish a/r y q0'],
    )
  })
}

/** Reasons of the CONNACKs that have come. */
async function refusal(c: ReturnType<TestBroker['open']>): Promise<number[]> {
  for (let i = 0; i < 4; i++) await settle()
  return c.received.splice(0).flatMap((packet) => (packet.type === 'connack' ? [packet.reason] : []))
}
for (const version of [4, 5] as const) {
  test(`maxQos: a client of MQTT ${version === 5 ? '5.0' : '3.1.1'} is told it where it can be, and ends where it goes beyond`, async () => {
    const t = new TestBroker()
    const policy = { listener: { maxQos: 1 } } as const
    const c = t.open({ version, policy })
    assert.equal((await c.connect({ clientId: 'a' })).properties.maximumQos, version === 5 ? 1 : undefined)
    // [MQTT-3.2.2-10]: SUBSCRIBE is taken with any, and granted what there is.
    assert.deepEqual((await c.subscribe('t', { qos: 2 })).reasons, [1])
    c.publish('t', 'x', { qos: 1, packetId: 1 })
    assert.deepEqual(await c.seen(), ['publish t x q1 #1', 'puback #1'])
    c.publish('t', 'y', { qos: 2, packetId: 2 })
    assert.deepEqual([await c.seen(), c.closed], [version === 5 ? ['disconnect 0x9b'] : [], true])
    const willing = t.open({ version, policy })
    willing.send(connectPacket({ version, clientId: 'b', will: { ...WILL, qos: 2 } }))
    assert.deepEqual([await refusal(willing), willing.closed], [version === 5 ? [0x9b] : [], true])
  })
  test(`retainAvailable: false, MQTT ${version === 5 ? '5.0' : '3.1.1'}: neither messages nor wills are retained`, async () => {
    const t = new TestBroker()
    const policy = { listener: { retainAvailable: false } } as const
    const c = t.open({ version, policy })
    assert.equal((await c.connect({ clientId: 'a' })).properties.retainAvailable, version === 5 ? 0 : undefined)
    c.publish('t', 'x', { retain: true })
    assert.deepEqual([await c.seen(), c.closed], [version === 5 ? ['disconnect 0x9a'] : [], true])
    const willing = t.open({ version, policy })
    willing.send(connectPacket({ version, clientId: 'b', will: { ...WILL, retain: true } }))
    assert.deepEqual([await refusal(willing), willing.closed], [version === 5 ? [0x9a] : [], true])
    assert.equal(t.broker.stats.retained, 0)
  })
}

test('protocolVersions: others are told that their version is not supported, before anybody asks who they are', async () => {
  const t = new TestBroker()
  const of =
    (protocolVersions: NonNullable<MqttListener['protocolVersions']>) =>
    async (version: 4 | 5, is31 = false) => {
      const c = t.open({ version, policy: { listener: { protocolVersions } } })
      c.send(connectPacket({ version, clientId: 'a', is31 }))
      return refusal(c)
    }
  const new5 = of(['5.0'])
  assert.deepEqual([await new5(5), await new5(4), await new5(4, true)], [[0], [1], [1]])
  const old = of(['3.1', '3.1.1'])
  assert.deepEqual([await old(5), await old(4), await old(4, true)], [[0x84], [0], [0]])
})

test('allowZeroLengthClientIds: without a client id nobody comes in, with one everybody does', async () => {
  const t = new TestBroker()
  const of = async (version: 4 | 5, clientId: string, allowZeroLengthClientIds: boolean) => {
    const c = t.open({ version, policy: { listener: { allowZeroLengthClientIds } } })
    c.send(connectPacket({ version, clientId }))
    return refusal(c)
  }
  assert.deepEqual([await of(5, '', false), await of(4, '', false)], [[0x85], [2]])
  assert.deepEqual([await of(5, 'a', false), await of(4, 'b', false)], [[0], [0]])
  assert.deepEqual([await of(5, '', true), await of(4, '', true)], [[0], [0]])
})
