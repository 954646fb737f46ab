import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createMqttPolicySchema } from '../../../model/mqtt-policy.ts'

const schema = createMqttPolicySchema()
/** Where the policy is refused; empty: it is taken. */
const refused = (policy: unknown): string[] => {
  const { success, error } = schema.safeParse(policy)
  return success ? [] : error.issues.map((i) => i.path.join('.'))
}

const withRoute = (r: object): object => ({ routes: [{ match: 'a/+', direction: 'up', cluster: 'c', ...r }] })
for (const [r, place] of [
  [{ minQos: 2, maxQos: 1 }, 'minQos'],
  [{ topic: 'x/$2' }, 'topic'],
  [{ topic: 'x/$1', addPrefix: 'y/' }, 'topic'],
  [{ topic: 'x/$1', stripPrefix: 'a/' }, 'topic'],
  [{ direction: 'up', match: '$share/g/a' }, 'match'],
  [{ direction: 'both', match: '$share/g/a' }, 'match'],
  [{ direction: 'both', stripPrefix: 'b/' }, 'stripPrefix'],
  [{ direction: 'both', stripPrefix: 'a/+' }, 'stripPrefix'],
  [{ ttlSec: 0 }, 'ttlSec'],
  [{ retain: 'never' }, 'retain'],
  [{ order: 'newest-first' }, 'order'],
  [{ direction: 'down', order: 'live-first' }, 'order'],
  [{ sparkplug: {} }, 'sparkplug'],
  [{ match: 'spBv1.0/+/#', direction: 'down', sparkplug: {} }, 'sparkplug'],
  [{ match: 'spBv1.0/+/#', addPrefix: 'x/', sparkplug: {} }, 'sparkplug'],
  [{ match: 'spBv1.0/+/#', topic: 'x/$1/$2', sparkplug: {} }, 'sparkplug'],
  [{ match: 'spBv1.0/+/#', sparkplug: { legacyState: true } }, 'sparkplug'],
  [{ match: 'spBv1.0/+/#', sparkplug: { hostId: 'a/b' } }, 'sparkplug.hostId'],
  [{ match: 'spBv1.0/+/#', sparkplug: { hostId: '#' } }, 'sparkplug.hostId'],
  [{ match: 'spBv1.0/+/#', sparkplug: { rebirth: 'always' } }, 'sparkplug.rebirth'],
  [{ match: 'spBv1.0/+/#', sparkplug: { rebirthIntervalSec: 0 } }, 'sparkplug.rebirthIntervalSec'],
  [{ match: 'spBv1.0/+/#', sparkplug: { host: 'scada' } }, 'sparkplug'],
  [{ match: 'spBv1.0/+/#', order: 'live-first', sparkplug: {} }, 'sparkplug'],
] as const)
  test(`a route that cannot be: ${JSON.stringify(r)}`, () =>
    assert.deepEqual(refused(withRoute(r)), [`routes.0.${place}`]))
for (const r of [
  { minQos: 1, maxQos: 1 },
  { topic: 'sites/${node.id}/$1' },
  { direction: 'both', stripPrefix: 'a/', addPrefix: 'x/' },
  { direction: 'down', match: '$share/g/a/+', topic: '$1' },
  { match: 'spBv1.0/+/#', sparkplug: {} },
  { match: 'spBv1.0/plant/#', direction: 'both', sparkplug: { hostId: 'SCADA 1', legacyState: true, rebirth: 'gap' } },
])
  test(`a route that can be: ${JSON.stringify(r)}`, () => assert.deepEqual(refused(withRoute(r)), []))

test('a session has eight queues for what goes up at most: the route that is one too many is named', () => {
  const many = (count: number, p: object = {}): object => ({
    routes: Array.from({ length: count }, (_, i) => ({
      match: `a/${i}`,
      direction: 'up',
      cluster: 'c',
      maxQueuedMessages: 5,
      ...p,
    })),
  })
  assert.deepEqual(refused(many(8)), [])
  assert.deepEqual(refused(many(10)), ['routes.8', 'routes.9'])
  assert.deepEqual(refused(many(20, { maxQueuedMessages: undefined })), [])
  assert.deepEqual(refused(many(5, { order: 'live-first' })), ['routes.4'])
  assert.deepEqual(refused(many(20, { maxQueuedMessages: undefined, order: 'live-first' })), [])
})
