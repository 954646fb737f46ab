import { test } from 'node:test'
import assert from 'node:assert/strict'
import { planSessions } from '../../../../protocols/mqtt/bridge/plan.ts'
import type { StoredMessage } from '../../../../protocols/mqtt/durability.ts'
import { policyOf } from '../../../helpers/mqtt/broker.ts'

const route = (r: object) => ({ match: '#', direction: 'up', cluster: 'cloud', ...r })
const plans = (...routes: object[]) => [...planSessions(policyOf({ routes: routes as never }), 'edge').values()]

test('routes with the same cluster and client id share a session, whether the id is given or follows from the node', () => {
  const [one, two] = plans(
    route({}),
    route({ direction: 'down', clientId: 'edge/cloud' }),
    route({ clientId: 'other' }),
  )
  assert.deepEqual([one!.clientId, one!.up.length, one!.down.length], ['edge/cloud', 1, 1])
  assert.deepEqual([two!.clientId, two!.queueName, two!.origin], ['other', 'up/cloud/other', '\0bridge/cloud/other'])
})
test('the fingerprint knows what matters and not the order', () => {
  const a = route({ match: 'a/#' })
  const b = route({ match: 'b/#', direction: 'down' })
  assert.equal(plans(a, b)[0]!.fingerprint, plans(b, a)[0]!.fingerprint)
  for (const other of [
    { ...a, match: 'c/#' },
    { ...a, maxQos: 1 },
    { ...a, addPrefix: 'x' },
    { ...a, stripPrefix: 'x' },
    { ...a, direction: 'down' },
    { ...a, minQos: 1 },
    { ...a, retain: 'clear' },
    { ...a, ttlSec: 5 },
    { ...a, topic: 'x/$1' },
    { ...a, sendRetained: false },
    { ...a, match: 'spBv1.0/#', sparkplug: { hostId: 'scada' } },
  ])
    assert.notEqual(plans(other, b)[0]!.fingerprint, plans(a, b)[0]!.fingerprint)
})

const message = (p: Partial<StoredMessage> = {}): StoredMessage => ({
  topic: 'a',
  payload: Buffer.from('x'),
  qos: 1,
  retain: false,
  properties: Buffer.alloc(0),
  expiresAtMs: undefined,
  ...p,
})
const NOW_MS = Date.UTC(2026, 0, 1)
for (const { name, r = {}, given = {}, want } of [
  { name: 'a floor', r: { minQos: 1 }, given: { qos: 0 }, want: { qos: 1 } },
  { name: 'a ceiling', r: { maxQos: 1 }, given: { qos: 2 }, want: { qos: 1 } },
  { name: 'both at once', r: { minQos: 1, maxQos: 1 }, given: { qos: 2 }, want: { qos: 1 } },
  { name: 'RETAIN is set', r: { retain: 'set' }, want: { retain: true } },
  { name: 'RETAIN is cleared', r: { retain: 'clear' }, given: { retain: true }, want: { retain: false } },
  { name: 'a time to live', r: { ttlSec: 5 }, want: { expiresAtMs: NOW_MS + 5_000, expirySec: 5 } },
  {
    name: 'a longer time to live',
    r: { ttlSec: 5 },
    given: { expiresAtMs: NOW_MS + 4_000, expirySec: 4 },
    want: { expiresAtMs: NOW_MS + 4_000, expirySec: 4 },
  },
  {
    name: 'a topic',
    r: { match: '+/x', topic: '$1/${node.id}/${cluster}' },
    given: { topic: 'b/x' },
    want: { topic: 'b/edge/cloud' },
  },
] as { name: string; r?: object; given?: Partial<StoredMessage>; want: Partial<StoredMessage> }[])
  test(`what a route makes of a message: ${name}`, () => {
    const sent = message(given)
    assert.deepEqual(plans(route(r))[0]!.up[0]!.make(sent, NOW_MS), { ...sent, ...want })
  })
test('a route that changes nothing gives the message itself', () => {
  const given = message()
  assert.equal(plans(route({ minQos: 1, ttlSec: 5 }))[0]!.up[0]!.make({ ...given, qos: 0 }, NOW_MS).qos, 1)
  assert.equal(plans(route({}))[0]!.up[0]!.make(given, NOW_MS), given)
})
test('a route with a floor for the disk has a queue of its own', () => {
  const [plan] = plans(route({}), route({ match: 'b/#', minDiskFreeBytes: 5 }))
  const floors = plan!.lanes.map(({ limits }) => limits && [limits.maxBytes, limits.minDiskFreeBytes])
  assert.deepEqual(floors, [undefined, [Infinity, 5]])
})
test('direction both is a route up and one down, which find each other', () => {
  const [plan] = plans(route({ match: 'sensors/+/#', direction: 'both', topic: 'sites/${node.id}/$1/$2' }))
  const [up, down] = [plan!.up[0]!, plan!.down[0]!]
  assert.deepEqual([up.filter, down.filter], ['sensors/+/#', 'sites/edge/+/#'])
  const there = up.make(message({ topic: 'sensors/t1/a/b' }), NOW_MS)
  assert.deepEqual([there.topic, down.make(there, NOW_MS).topic], ['sites/edge/t1/a/b', 'sensors/t1/a/b'])
})
test('routes of Sparkplug share a queue with their like only, and send QoS 0 with QoS 1 where they may', () => {
  const spb = (match: string, p: object = {}) =>
    route({ match: `spBv1.0/${match}`, sparkplug: { hostId: 'scada', ...p } })
  const [plan] = plans(
    route({}),
    spb('+/NDATA/#'),
    spb('+/DDATA/#'),
    spb('+/DEATH/#', { rebirth: 'gap' }),
    spb('x/#', { hostId: undefined }),
  )
  assert.deepEqual(
    plan!.lanes.map(({ sparkplug }) => [sparkplug?.hostId, sparkplug?.rebirth, sparkplug?.filters.length]),
    [
      [undefined, undefined, undefined],
      ['scada', 'session', 2],
      ['scada', 'gap', 1],
      [undefined, 'session', 1],
    ],
  )
  const qosOf = (p: object): number => plans(route(p))[0]!.up[0]!.make(message({ qos: 0 }), NOW_MS).qos
  assert.deepEqual(
    [{}, { match: 'spBv1.0/#', sparkplug: {} }, { match: 'spBv1.0/#', sparkplug: {}, maxQos: 0 }].map(qosOf),
    [0, 1, 0],
  )
})
