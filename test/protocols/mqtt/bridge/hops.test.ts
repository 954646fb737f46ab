import { test } from 'node:test'
import assert from 'node:assert/strict'
import { withHop } from '../../../../protocols/mqtt/bridge/hops.ts'
import { decodeForwarded, encodeProperties } from '../../../../protocols/mqtt/codec/properties.ts'
import { DOWN, rig } from './rig.ts'

const pairs = (properties: Uint8Array) => decodeForwarded(properties).userProperties

test('hops are counted beside what else a message says, whose order stays [MQTT-3.3.2-18]', () => {
  const none = withHop(new Uint8Array(0), 3)!
  assert.deepEqual(pairs(none), [['meshlet-hops', '1']])
  const said = encodeProperties({
    contentType: 'x',
    userProperties: [
      ['b', '1'],
      ['a', '2'],
    ],
  })
  const one = withHop(said, 3)!
  const two = withHop(one, 3)!
  assert.deepEqual(pairs(two), [
    ['b', '1'],
    ['a', '2'],
    ['meshlet-hops', '2'],
  ])
  assert.equal(decodeForwarded(two).contentType, 'x')
  assert.equal(withHop(withHop(two, 3)!, 3), undefined)
})
for (const [value, want] of [
  ['x', '1'],
  ['-5', '1'],
  ['99999999999', '1'],
  ['7', '8'],
] as const)
  test(`a count that somebody else wrote: ${value}`, () => {
    const said = encodeProperties({ userProperties: [['meshlet-hops', value]] })
    assert.deepEqual(pairs(withHop(said, 200)!), [['meshlet-hops', want]])
  })
test('the name in a value is no count', () => {
  const said = encodeProperties({ userProperties: [['a', 'meshlet-hops']] })
  assert.deepEqual(pairs(withHop(said, 1)!), [
    ['a', 'meshlet-hops'],
    ['meshlet-hops', '1'],
  ])
})

test('a message that went round is acknowledged, dropped and counted', async (t) => {
  const r = await rig(t, [DOWN], { maxHops: 2 })
  const conn = await r.upstream.accepted()
  await conn.granted()
  const local = r.local.open()
  await local.connect()
  await local.subscribe('commands/#', { qos: 1 })
  for (const [packetId, hops] of [
    [1, '1'],
    [2, '2'],
  ] as const)
    conn.publish('commands/a', hops, {
      qos: 1,
      packetId,
      properties: encodeProperties({ userProperties: [['meshlet-hops', hops]] }),
    })
  assert.deepEqual(await conn.seen(), ['puback #2', 'puback #1'].toSorted())
  assert.deepEqual(await local.seen(), ['publish commands/a 1 q1 #1'])
  assert.equal(r.dropped('loop'), 1)
})
