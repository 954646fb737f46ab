import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TestBroker } from '../../helpers/mqtt/broker.ts'

for (const version of [4, 5] as const) {
  test(`MQTT ${version === 4 ? '3.1.1' : '5.0'}: what one client publishes the other gets, in each QoS`, async () => {
    const t = new TestBroker()
    const [sub, pub] = [t.open({ version }), t.open({ version })]
    assert.equal((await sub.connect({ clientId: 'sub' })).reason, 0)
    await pub.connect({ clientId: 'pub' })
    assert.deepEqual((await sub.subscribe('a/+', { qos: 2 })).reasons, [2])
    pub.publish('a/b', 'zero')
    pub.publish('a/b', 'one', { qos: 1, packetId: 1 })
    pub.publish('a/b', 'two', { qos: 2, packetId: 2 })
    pub.publish('b/b', 'other')
    assert.deepEqual(await sub.seen(), ['publish a/b zero q0', 'publish a/b one q1 #1', 'publish a/b two q2 #2'])
    assert.deepEqual(await pub.seen(), ['puback #1', 'pubrec #2'])
    pub.ack('pubrel', 2)
    sub.ack('puback', 1)
    sub.ack('pubrec', 2)
    assert.deepEqual(await pub.seen(), ['pubcomp #2'])
    assert.deepEqual(await sub.seen(), ['pubrel #2'])
    sub.ack('pubcomp', 2)
    assert.deepEqual(await sub.seen(), [])
  })
}
