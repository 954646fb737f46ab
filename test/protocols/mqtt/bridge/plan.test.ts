import { test } from 'node:test'
import assert from 'node:assert/strict'
import { renamed, sessionPlans } from '../../../../protocols/mqtt/bridge/plan.ts'
import { policyOf } from '../../../helpers/mqtt/broker.ts'

for (const { name, topic, stripPrefix = '', addPrefix = '', want } of [
  { name: 'nothing to do', topic: 'a/b', want: 'a/b' },
  { name: 'a prefix goes', topic: 'a/b', stripPrefix: 'a/', want: 'b' },
  { name: 'a prefix comes', topic: 'a/b', addPrefix: 'site/', want: 'site/a/b' },
  { name: 'one for the other', topic: 'a/b', stripPrefix: 'a/', addPrefix: 'site/', want: 'site/b' },
  {
    name: 'a prefix that is not there is not missed',
    topic: 'x/b',
    stripPrefix: 'a/',
    addPrefix: 'site/',
    want: 'site/x/b',
  },
  { name: '[MQTT-4.7.3-1] a topic never becomes empty', topic: 'a/', stripPrefix: 'a/', want: 'a/' },
  {
    name: '[MQTT-4.7.3-3] a topic never becomes longer than 65,535 bytes',
    topic: 'ü'.repeat(30_000),
    addPrefix: 'p'.repeat(6_000),
    want: 'ü'.repeat(30_000),
  },
  {
    name: 'up to that it may',
    topic: 'x'.repeat(60_000),
    addPrefix: 'p'.repeat(5_535),
    want: 'p'.repeat(5_535) + 'x'.repeat(60_000),
  },
])
  test(`rename: ${name}`, () => assert.equal(renamed(topic, { stripPrefix, addPrefix }), want))

const route = (r: object) => ({ match: '#', direction: 'up', cluster: 'cloud', ...r })
const plans = (...routes: object[]) => [...sessionPlans(policyOf({ routes: routes as never }).routes, 'edge').values()]

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
  ])
    assert.notEqual(plans(other, b)[0]!.fingerprint, plans(a, b)[0]!.fingerprint)
})
