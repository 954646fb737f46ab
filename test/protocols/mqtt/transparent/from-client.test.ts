/** What policies deny of a client's packets, and who answers. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { NO_PROPERTIES } from '../../../../protocols/mqtt/codec/properties.ts'
import type { SubscriptionRequest } from '../../../../protocols/mqtt/codec/packet.ts'
import { Rig, settled, VERSIONS } from './rig.ts'

const RULES = {
  rules: [
    { action: 'publish', topics: ['mine/#'], effect: 'allow' },
    { action: 'subscribe', topics: ['mine/#'], effect: 'allow' },
  ],
} as const
const policy = { rules: RULES.rules.map((rule) => ({ ...rule, topics: [...rule.topics] })) }
const asking = (filter: string): SubscriptionRequest => ({
  filter,
  qos: 1,
  noLocal: false,
  retainAsPublished: false,
  retainHandling: 0,
})

test('MQTT 5: a denied PUBLISH is answered with 0x87, or dropped with QoS 0, and the broker sees nothing of it', async () => {
  const rig = await Rig.start()
  const { device, broker } = await rig.connected({ policy })
  device.publish('other', 'x')
  device.publish('other', 'x', { qos: 1, packetId: 1 })
  device.publish('other', 'x', { qos: 2, packetId: 2 })
  device.publish('$SYS/x', 'x', { qos: 1, packetId: 3 })
  device.publish('mine/a', 'y', { qos: 1, packetId: 4 })
  assert.deepEqual(await device.seen(), ['puback #1 0x87', 'pubrec #2 0x87', 'puback #3 0x87'])
  assert.deepEqual(await broker.seen(), ['publish mine/a y q1 #4'])
  assert.equal(rig.metric('mesh_mqtt_publishes_refused_total', { reason: 'not-authorized' }), 4)
})

test('3.1.1: a denied PUBLISH closes, or is acknowledged where the policy says so', async () => {
  const rig = await Rig.start()
  const one = await rig.connected({ version: 4, policy })
  one.device.publish('other', 'x')
  assert.deepEqual(await one.broker.seen(), [])
  assert.equal(one.device.closed, false)
  one.device.publish('other', 'x', { qos: 1, packetId: 1 })
  assert.equal((await one.device.outcome).error?.code, 'MESH_MQTT_NOT_AUTHORIZED')
  assert.deepEqual(await one.broker.seen(), [])
  const { device, broker } = await rig.connected({
    version: 4,
    policy: { ...policy, deniedPublishes: 'acknowledge' },
  })
  device.publish('other', 'x', { qos: 1, packetId: 1 })
  device.publish('other', 'x', { qos: 2, packetId: 2 })
  assert.deepEqual(await device.seen(), ['puback #1', 'pubrec #2'])
  device.ack('pubrel', 2)
  device.ack('pubrel', 3)
  assert.deepEqual(await device.seen(), ['pubcomp #2'])
  assert.deepEqual(await broker.seen(), ['pubrel #3'])
})

test('topic aliases: policies ask about the topic behind them', async () => {
  const rig = await Rig.start()
  const { device, broker } = await rig.connected({ policy, connack: { properties: { topicAliasMaximum: 2 } } })
  device.publish('mine/a', '1', { topicAlias: 1 })
  device.publish('', '2', { topicAlias: 1 })
  device.publish('other', '3', { topicAlias: 1 })
  device.publish('', '4', { topicAlias: 1, qos: 1, packetId: 4 })
  assert.deepEqual(await broker.seen(), ['publish mine/a 1 q0', 'publish  2 q0'])
  assert.deepEqual(await device.seen(), ['puback #4 0x87'])
  // The broker was never told what the alias is now.
  rig.t.usePolicy({}, [device])
  device.publish('', '5', { topicAlias: 1 })
  device.publish('', '6', { topicAlias: 1 })
  assert.deepEqual(await broker.seen(), ['publish other 5 q0', 'publish  6 q0'])
  device.publish('mine/a', '7', { topicAlias: 3 })
  assert.deepEqual(await device.seen(), ['disconnect 0x94'])
})

test('a SUBSCRIBE of which some filters are denied: the broker gets the others, the client one answer in order', async () => {
  for (const version of VERSIONS) {
    const rig = await Rig.start()
    const { device, broker } = await rig.connected({ version, policy })
    const denied = version === 5 ? 0x87 : 0x80
    const subscribe = (packetId: number, ...filters: string[]): void =>
      device.send({ type: 'subscribe', packetId, properties: NO_PROPERTIES, subscriptions: filters.map(asking) })
    subscribe(1, 'other', 'mine/a', '#', '$share/g/mine/b')
    const passed = await broker.take('subscribe')
    assert.deepEqual(
      passed.subscriptions.map(({ filter }) => filter),
      ['mine/a', '$share/g/mine/b'],
    )
    subscribe(2, 'other')
    assert.deepEqual(await device.seen(), [`suback ${denied}`])
    broker.send({ type: 'suback', packetId: 1, reasons: [1, 0x80], properties: NO_PROPERTIES })
    assert.deepEqual(await device.seen(), [`suback ${denied},1,${denied},128`])
    subscribe(1, 'mine/c')
    await broker.granted()
    assert.deepEqual(await device.seen(), ['suback 1'])
    assert.deepEqual(await broker.seen(), [])
  }
})

test('answers of the broker that do not fit what was asked end the connection', async () => {
  const rig = await Rig.start()
  const { device, broker } = await rig.connected({ policy })
  device.send({
    type: 'subscribe',
    packetId: 1,
    properties: NO_PROPERTIES,
    subscriptions: [asking('mine/a'), asking('other')],
  })
  await broker.take('subscribe')
  broker.send({ type: 'suback', packetId: 1, reasons: [1, 1], properties: NO_PROPERTIES })
  assert.equal((await device.outcome).error?.code, 'MESH_UPSTREAM_PROTOCOL')
})

test('a changed rule counts from the next packet on', async () => {
  const rig = await Rig.start()
  const { device, broker } = await rig.connected()
  device.publish('other', '1')
  await settled()
  rig.t.usePolicy(policy, [device])
  device.publish('other', '2')
  device.publish('mine/a', '3')
  assert.deepEqual(await broker.seen(), ['publish other 1 q0', 'publish mine/a 3 q0'])
})
