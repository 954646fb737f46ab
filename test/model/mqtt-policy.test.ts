import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createMqttPolicySchema } from '../../model/mqtt-policy.ts'

const schema = createMqttPolicySchema()
/** Where the policy is refused; empty: it is taken. */
const refused = (policy: unknown): string[] => {
  const { success, error } = schema.safeParse(policy)
  return success ? [] : error.issues.map((i) => i.path.join('.'))
}
const withFilter = (match: string): object => ({ routes: [{ match, direction: 'up', cluster: 'c' }] })

test('an empty policy has every default', () => {
  const { routes, rules, allowedOrigins, spool, limits } = schema.parse({})
  assert.deepEqual([routes, rules, allowedOrigins], [[], [], []])
  assert.deepEqual([spool.profile, spool.whenFull, limits.receiveMaximum], ['strict', 'refuse', 65_535])
  assert.deepEqual([limits.maxSessionsPerPrincipal, limits.maxSessionsPerAddress], [undefined, undefined])
})

for (const filter of ['a', '/', 'a/b', '+', '#', '+/+', 'a/+/b', 'a/#', '/#', '+/a/#', 'ä/$x'])
  test(`${filter} is a topic filter`, () => assert.deepEqual(refused(withFilter(filter)), []))
for (const filter of ['', 'a#', '#/a', 'a/#/b', 'a+', '+a/b', 'a/b+', '##', '++', 'a\0b'])
  test(`${JSON.stringify(filter)} is none`, () => assert.deepEqual(refused(withFilter(filter)), ['routes.0.match']))
test('a topic filter is as long as MQTT can send', () => {
  assert.deepEqual(refused(withFilter('a'.repeat(65_535))), [])
  assert.deepEqual(refused(withFilter('a'.repeat(65_536))), ['routes.0.match'])
})

test('a route carries what the message has and leaves the topic as it is, unless it says otherwise', () => {
  const [route] = schema.parse(withFilter('a')).routes
  assert.deepEqual(route, {
    match: 'a',
    direction: 'up',
    cluster: 'c',
    minQos: 0,
    maxQos: 2,
    stripPrefix: '',
    addPrefix: '',
    retain: 'keep',
    sendRetained: true,
    order: 'backlog-first',
    priority: 0,
  })
  assert.deepEqual(refused({ routes: [{ match: 'a', direction: 'up', cluster: 'c', maxQos: 3 }] }), ['routes.0.maxQos'])
  assert.deepEqual(refused({ routes: [{ match: 'a', direction: 'sideways', cluster: '' }] }), [
    'routes.0.direction',
    'routes.0.cluster',
  ])
})

test('a rule needs its action and its effect, and its topics are filters', () => {
  assert.deepEqual(refused({ rules: [{ action: 'connect', effect: 'allow' }] }), [])
  assert.deepEqual(refused({ rules: [{ topics: ['%c/+', 'a#'] }] }), [
    'rules.0.action',
    'rules.0.topics.1',
    'rules.0.effect',
  ])
})

for (const origin of ['*', 'null', 'https://panel.example', 'http://10.0.0.1:8080', 'app://x'])
  test(`${origin} is an origin`, () => assert.deepEqual(refused({ allowedOrigins: [origin] }), []))
for (const origin of [
  '',
  'panel.example',
  'https://',
  'https://a/',
  'https://a/b',
  'https://A',
  'https://a,b',
  'https://u@a',
])
  test(`${JSON.stringify(origin)} is none`, () =>
    assert.deepEqual(refused({ allowedOrigins: [origin] }), ['allowedOrigins.0']))

test('bounds: what the disk keeps free, what a packet can have, what a window can be', () => {
  for (const [policy, where] of [
    [{ spool: { minDiskFreeBytes: 16 * 1024 * 1024 - 1 } }, 'spool.minDiskFreeBytes'],
    [{ limits: { maxPacketBytes: 268_435_461 } }, 'limits.maxPacketBytes'],
    [{ limits: { maxConnectBytes: 0 } }, 'limits.maxConnectBytes'],
    [{ limits: { maxInflight: 65_536 } }, 'limits.maxInflight'],
    [{ limits: { receiveMaximum: 0 } }, 'limits.receiveMaximum'],
    [{ limits: { maxKeepAliveSec: 65_536 } }, 'limits.maxKeepAliveSec'],
    [{ limits: { maxTopicAliases: -1 } }, 'limits.maxTopicAliases'],
    [{ limits: { maxSessions: 1.5 } }, 'limits.maxSessions'],
  ] as const)
    assert.deepEqual(refused(policy), [where])
  assert.deepEqual(refused({ spool: { minDiskFreeBytes: 16 * 1024 * 1024 }, limits: { maxTopicAliases: 0 } }), [])
})

test('what is no setting is refused at every level', () => {
  assert.equal(schema.safeParse({ spol: {} }).success, false)
  assert.equal(schema.safeParse({ limits: { maxPacket: 1 } }).success, false)
  assert.equal(schema.safeParse({ rules: [{ action: 'connect', effect: 'allow', topic: 'a' }] }).success, false)
})
