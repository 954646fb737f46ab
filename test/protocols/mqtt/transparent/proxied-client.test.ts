/** A client of a listener of mode transparent from its first byte to its last. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { encode, publishPacket } from '../../../../protocols/mqtt/codec/encode.ts'
import { PROXY, Rig, settled, VERSIONS } from './rig.ts'

test('CONNECT, PUBLISH of each QoS and SUBSCRIBE pass, and the answers come back', async () => {
  for (const version of VERSIONS) {
    const rig = await Rig.start()
    const { device, broker } = await rig.connected({ version })
    device.publish('a', '0')
    device.publish('a', '1', { qos: 1, packetId: 1 })
    device.publish('a', '2', { qos: 2, packetId: 2 })
    assert.deepEqual(await broker.seen(), ['publish a 0 q0', 'publish a 1 q1 #1', 'publish a 2 q2 #2'])
    broker.ack('puback', 1)
    broker.ack('pubrec', 2)
    assert.deepEqual(await device.seen(), ['puback #1', 'pubrec #2'])
    device.ack('pubrel', 2)
    assert.deepEqual(await broker.seen(), ['pubrel #2'])
    broker.ack('pubcomp', 2)
    assert.deepEqual(await device.seen(), ['pubcomp #2'])
    const suback = device.subscribe('a/#', { qos: 1 })
    await broker.granted()
    assert.deepEqual((await suback).reasons, [1])
    broker.publish('a/b', 'hello', { qos: 1, packetId: 7, retain: true })
    assert.deepEqual(await device.seen(), ['publish a/b hello q1 #7 retain'])
    assert.equal(rig.t.broker.stats.sessions, 0)
    assert.equal(rig.metric('mesh_mqtt_proxied_connections'), 1)
  }
})

test('what a client says passes byte for byte, cut at every offset', async () => {
  const said = Buffer.concat([
    encode(publishPacket({ topic: 'a/ü', payload: Buffer.from([0, 255]), qos: 1, packetId: 9, topicAlias: 0 }), 5),
    Buffer.from('c000', 'hex'),
    encode(publishPacket({ topic: 'b', payload: Buffer.alloc(200, 1) }), 5),
  ])
  const rig = await Rig.start()
  for (let at = 1; at < said.length; at++) {
    const { device, broker } = await rig.connected()
    const got: Buffer[] = []
    broker.onBytes = (chunk) => got.push(chunk)
    device.stream.write(said.subarray(0, at))
    await settled()
    device.stream.write(said.subarray(at))
    await settled()
    assert.equal(Buffer.concat(got).toString('hex'), said.toString('hex'), `cut at ${at}`)
    device.stream.destroy()
    await device.outcome
  }
})

test('a broker that is not reached: CONNACK 0x88, and 3 for 3.1.1, and it is counted', async () => {
  for (const [version, reason] of [
    [5, 0x88],
    [4, 3],
  ] as const) {
    const rig = new Rig()
    const device = rig.open({ version })
    assert.equal((await device.connect()).reason, reason)
    assert.notEqual((await device.outcome).error, undefined)
    assert.equal(rig.metric('mesh_mqtt_proxy_unavailable_total'), 1)
    const unknown = rig.open({ version, proxy: { ...PROXY, cluster: 'nobody' } })
    assert.equal((await unknown.connect()).reason, reason)
    assert.equal((await unknown.outcome).error?.code, 'MESH_NO_CLUSTER')
  }
})

test('a broker that never answers CONNECT is given up after connectTimeoutMs, and one that breaks off at once', async () => {
  const rig = await Rig.start()
  const device = rig.open()
  const connack = device.connect()
  await settled()
  await rig.t.clock.advance(10_000)
  assert.equal((await connack).reason, 0x88)
  assert.equal((await device.outcome).error?.code, 'MESH_UPSTREAM_TIMEOUT')
  await rig.upstream.next()
  const other = rig.open()
  const refused = other.connect()
  const broker = await rig.upstream.next()
  broker.end()
  assert.equal((await refused).reason, 0x88)
})

test('what the broker refuses is refused in its words', async () => {
  const rig = await Rig.start()
  const device = rig.open()
  const connack = device.connect()
  const broker = await rig.upstream.next()
  await broker.take('connect')
  broker.connack(0x86, { properties: { reasonString: 'who?' } })
  const { reason, properties } = await connack
  assert.deepEqual([reason, properties.reasonString], [0x86, 'who?'])
  assert.equal((await device.outcome).error?.code, 'MESH_MQTT_UPSTREAM_REFUSED')
})

test('DISCONNECT reaches the broker; without it the connection ends without, so that the will is published', async () => {
  const rig = await Rig.start()
  const one = await rig.connected()
  one.device.publish('a', 'last')
  one.device.disconnect()
  assert.deepEqual(await one.broker.seen(), ['publish a last q0', 'disconnect 0x0'])
  assert.equal(one.broker.closed, true)
  const other = await rig.connected()
  other.device.publish('a', 'last')
  other.device.stream.end()
  assert.deepEqual(await other.broker.seen(), ['publish a last q0'])
  assert.equal(other.broker.closed, true)
  assert.equal((await other.device.outcome).error, undefined)
  assert.equal(rig.metric('mesh_mqtt_proxied_connections'), 0)
})

test('the end of the broker is the end of the client, behind what the broker said', async () => {
  const rig = await Rig.start()
  const { device, broker } = await rig.connected()
  broker.publish('a', 'last')
  broker.send({ type: 'disconnect', reason: 0x8e, properties: {} })
  assert.deepEqual(await device.seen(), ['publish a last q0', 'disconnect 0x8e'])
  assert.equal((await device.outcome).error?.code, 'MESH_UPSTREAM_RESET')
  assert.equal(device.closed, true)
  const other = await rig.connected()
  other.broker.end()
  assert.deepEqual(await other.device.seen(), [])
  assert.equal((await other.device.outcome).error?.code, 'MESH_UPSTREAM_RESET')
})

test('a silent client is let go after one and a half keep-alives, without a DISCONNECT to the broker', async () => {
  const rig = await Rig.start()
  const { device, broker } = await rig.connected({ connect: { keepAliveSec: 10 } })
  await rig.t.clock.advance(14_000)
  device.send({ type: 'pingreq' })
  assert.deepEqual(await broker.seen(), ['pingreq'])
  await rig.t.clock.advance(14_999)
  assert.equal(device.closed, false)
  await rig.t.clock.advance(1)
  assert.deepEqual(await device.seen(), ['disconnect 0x8d'])
  assert.deepEqual(await broker.seen(), [])
  assert.equal(broker.closed, true)
})

test('a second CONNECT, and a packet of the broker that only clients send, end both connections', async () => {
  const rig = await Rig.start()
  const one = await rig.connected()
  one.device.raw('1000')
  assert.equal((await one.device.outcome).error?.code, 'MESH_MQTT_PROTOCOL')
  const other = await rig.connected()
  other.broker.raw('c000')
  assert.equal((await other.device.outcome).error?.code, 'MESH_UPSTREAM_PROTOCOL')
  assert.deepEqual(await other.broker.seen(), [])
})

test('rules that do not let the client be connected any more end it; draining says 0x8b', async () => {
  const rig = await Rig.start()
  const { device, broker } = await rig.connected()
  rig.t.usePolicy({ rules: [{ action: 'connect', effect: 'deny' }] }, [device])
  assert.deepEqual(await device.seen(), ['disconnect 0x87'])
  assert.deepEqual(await broker.seen(), [])
  const other = await rig.connected()
  other.device.drain.abort()
  assert.deepEqual(await other.device.seen(), ['disconnect 0x8b'])
  const denied = rig.open({ policy: { rules: [{ action: 'connect', effect: 'deny' }] } })
  assert.equal((await denied.connect()).reason, 0x87)
})

test('rules that change while the broker is asked count, too', async () => {
  const rig = await Rig.start()
  const device = rig.open()
  const connack = device.connect()
  const broker = await rig.upstream.next()
  await broker.take('connect')
  rig.t.usePolicy({ rules: [{ action: 'connect', effect: 'deny' }] }, [device])
  broker.connack(0)
  assert.equal((await connack).reason, 0x87)
})

test('an enhanced authentication is between client and broker where the node has no users', async () => {
  const rig = await Rig.start()
  const device = rig.open()
  const method = { authenticationMethod: 'X', authenticationData: Buffer.from('1') }
  // AUTH comes first.
  const early = device.connect({ properties: method }).catch(() => 'auth')
  const broker = await rig.upstream.next()
  assert.equal((await broker.take('connect')).properties.authenticationMethod, 'X')
  broker.send({ type: 'auth', reason: 0x18, properties: method })
  assert.equal(await early, 'auth')
  device.send({ type: 'auth', reason: 0x18, properties: method })
  await broker.take('auth')
  broker.connack(0, { properties: method })
  assert.equal((await device.take('connack')).properties.authenticationMethod, 'X')
})

test('memory and counts are given back on each way to the end', async () => {
  const rig = await Rig.start()
  for (const end of ['device', 'broker', 'cut'] as const) {
    const { device, broker } = await rig.connected({
      connack: { properties: { topicAliasMaximum: 5 } },
    })
    device.publish('a/long/topic', 'x', { topicAlias: 1 })
    device.stream.write(Buffer.from('30ff01', 'hex'))
    await settled()
    if (end === 'device') device.stream.destroy()
    else if (end === 'broker') broker.end()
    else device.abort.abort()
    await device.outcome
    await settled()
    assert.equal(rig.budget.heldBytes, 0, end)
    assert.equal(rig.metric('mesh_mqtt_proxied_connections'), 0)
  }
})
