import { test } from 'node:test'
import assert from 'node:assert/strict'
import { compileRegex } from '../../../../core/regex.ts'
import { parseCidr } from '../../../../model/ip.ts'
import type { StringMatch } from '../../../../model/matcher.ts'
import type { Permission, Policy, PolicyRule } from '../../../../model/policy.ts'
import type { AuthzFacts } from '../../../../protocols/authz.ts'
import type { Authorizer } from '../../../../protocols/mqtt/authorization/authorizer.ts'
import { createMeshAuthorizer, findTopicTruth } from '../../../../protocols/mqtt/authorization/mesh-authorizer.ts'
import { policyOf, peerOf, TestBroker } from '../../../helpers/mqtt/broker.ts'
import { settle } from '../../../helpers/sim-clock.ts'

const A = 'spiffe://t/ns/x/sa/a'
const text = (value: string, kind: 'exact' | 'prefix' | 'suffix' = 'exact'): StringMatch => ({
  kind,
  value,
  ignoreCase: false,
})
const regex = (source: string): StringMatch => {
  const made = compileRegex(source)
  return 'problem' in made ? assert.fail(made.problem) : { kind: 'regex', regex: made }
}
const topic = (value: string, kind: 'exact' | 'prefix' | 'suffix' = 'exact'): Permission => ({
  kind: 'mqtt',
  key: 'topic',
  match: text(value, kind),
})
const action = (value: string): Permission => ({ kind: 'mqtt', key: 'action', match: text(value) })
const and = (...of: Permission[]): Permission => ({ kind: 'and', of })
const rule = (principal: string | undefined, ...permissions: Permission[]): PolicyRule => ({
  name: 'ns[x]-policy[p]-rule[0]',
  permissions,
  principals: [principal === undefined ? { kind: 'any' } : { kind: 'authenticated', name: text(principal) }],
})
const policy = (what: Policy['action'], ...rules: PolicyRule[]): Policy => ({ action: what, rules, shadow: undefined })
const facts = (uri: string | undefined): AuthzFacts => ({
  peer: uri === undefined ? undefined : peerOf(uri),
  directRemoteIp: '10.0.0.1',
  remoteIp: '10.0.0.1',
  destinationIp: '10.0.0.2',
  destinationPort: 1883,
  serverName: '',
  header: undefined,
  path: undefined,
  mqtt: 'undecided',
})
const may = (policies: readonly Policy[], uri: string | null = A): Authorizer =>
  createMeshAuthorizer(policies, facts(uri ?? undefined))

for (const [match, asked, truth] of [
  [text('a/b'), 'a/b', 2],
  [text('a/b'), 'a/c', 0],
  [text('a/+'), 'a/c', 2],
  [text('a/#'), 'a', 2],
  [text('a/#'), 'a/+/c', 2],
  [text('a/#'), '#', 1],
  [text('a/b'), 'a/+', 1],
  [text('a/b'), 'b/+', 0],
  [text('#'), '$SYS/x', 0],
  [text('sites/7/', 'prefix'), 'sites/7/x', 2],
  [text('sites/7/', 'prefix'), 'sites/70', 0],
  [text('sites/7/', 'prefix'), 'sites/7/#', 2],
  [text('sites/7/', 'prefix'), 'sites/7/+/a', 2],
  [text('sites/7/', 'prefix'), 'sites/+/a', 1],
  [text('sites/7/', 'prefix'), 'sites/#', 1],
  [text('sites/7/', 'prefix'), 'other/#', 0],
  [text('sites/7/', 'prefix'), '#', 1],
  [text('$SYS', 'prefix'), '#', 0],
  [text('$SYS', 'prefix'), '+/x', 0],
  [text('/state', 'suffix'), 'a/state', 2],
  [text('/state', 'suffix'), '+/state', 2],
  [text('/state', 'suffix'), 'a/#', 1],
  [text('/state', 'suffix'), 'a/+', 1],
  [text('/state', 'suffix'), '+/x', 0],
  [regex('.+'), '#', 2],
  [regex('a/.*'), 'a/b', 2],
  [regex('a/.*'), 'a/#', 1],
] as const)
  test(`a topic condition ${JSON.stringify('value' in match ? [match.kind, match.value] : match.regex.source)} of ${asked}: ${['never', 'for some', 'always'][truth]}`, () => {
    assert.equal(findTopicTruth(match, asked), truth)
  })

test('an allow by principal and topic: the rest is denied', () => {
  const policies = [
    policy(
      'allow',
      rule(A, and(topic('in/+'), action('publish'))),
      rule(A, and(topic('out/', 'prefix'), action('subscribe'))),
      rule('spiffe://t/ns/x/sa/admin', { kind: 'any' }),
    ),
  ]
  const a = may(policies)
  assert.deepEqual(
    ['in/1', 'in/1/2', 'out/1'].map((t) => [a.mayPublish(t), a.mayReceive(t)]),
    [
      [true, false],
      [false, false],
      [false, true],
    ],
  )
  assert.deepEqual(
    ['out/#', 'out/1', '$share/g/out/#', '#', 'in/1', '$share/x'].map((f) => a.maySubscribe(f)),
    [true, true, true, false, false, false],
  )
  const admin = may(policies, 'spiffe://t/ns/x/sa/admin')
  assert.deepEqual([admin.mayPublish('x'), admin.maySubscribe('#'), admin.mayConnect()], [true, true, true])
  for (const stranger of ['spiffe://t/ns/x/sa/b', null])
    assert.deepEqual([may(policies, stranger).mayConnect(), may(policies, stranger).mayPublish('in/1')], [false, false])
})
test('a deny of topics: wildcard subscriptions that touch them are refused, connections are not', () => {
  const policies = [
    policy('deny', rule(undefined, topic('secret/', 'prefix')), rule(A, and(topic('a/+/x'), action('publish')))),
  ]
  const a = may(policies)
  assert.deepEqual(
    [a.mayConnect(), a.mayPublish('secret/x'), a.mayPublish('a/1/x'), a.mayPublish('a/1')],
    [true, false, false, true],
  )
  assert.deepEqual(
    ['#', 'secret/#', '+/x', 'a/#', '$share/g/secret/1', 'b/#'].map((f) => a.maySubscribe(f)),
    [false, false, false, true, false, true],
  )
  assert.deepEqual([a.mayReceive('secret/x'), a.mayReceive('a/1/x')], [false, true])
})
test('not: what is left over, for a connection as for a packet', () => {
  const policies = [policy('allow', rule(undefined, { kind: 'not', of: topic('secret/#') }))]
  const a = may(policies)
  assert.deepEqual(
    [a.mayConnect(), a.mayPublish('x'), a.mayPublish('secret/x'), a.maySubscribe('a/#'), a.maySubscribe('#')],
    [true, true, false, true, false],
  )
  const deny = may([policy('deny', rule(undefined, { kind: 'not', of: topic('open/#') }))])
  assert.deepEqual([deny.mayConnect(), deny.mayPublish('open/x'), deny.mayPublish('x')], [true, true, false])
})
test('conditions that are not understood, and those of the connection, count beside', () => {
  const unknown: Permission = { kind: 'unsupported', what: 'metadata' }
  const allow = may([policy('allow', rule(undefined, and(topic('a'), unknown)))])
  assert.deepEqual([allow.mayConnect(), allow.mayPublish('a')], [false, false])
  const deny = may([policy('deny', rule(undefined, and(topic('a'), unknown)))])
  assert.deepEqual([deny.mayConnect(), deny.mayPublish('a'), deny.mayPublish('b')], [true, false, true])
  const port = may([policy('allow', rule(undefined, and(topic('a'), { kind: 'destination-port', from: 1, to: 1 })))])
  assert.deepEqual([port.mayConnect(), port.mayPublish('a')], [false, false])
  const address = may([
    {
      action: 'deny',
      rules: [
        {
          name: 'r',
          permissions: [topic('a')],
          principals: [{ kind: 'direct-remote-ip', range: parseCidr('10.0.0.0', 8)! }],
        },
      ],
      shadow: undefined,
    },
  ])
  assert.equal(address.mayPublish('a'), false)
})
test('without a connection nothing is published, and nothing is taken away', () => {
  const gone = createMeshAuthorizer([policy('allow', rule(A, topic('a')))], undefined)
  assert.deepEqual([gone.mayPublish('a'), gone.mayReceive('b'), gone.maySubscribe('#')], [false, true, true])
})

test('through the broker: reason codes, delivery, retained, kept sessions, and policies that change', async () => {
  const t = new TestBroker()
  const meshPolicies = [
    policy('allow', rule(A, and(topic('in/#'), action('publish'))), rule(A, and(topic('+/open'), action('subscribe')))),
  ]
  const writer = t.open({ listener: 'inside' })
  await writer.connect({ clientId: 'writer' })
  writer.publish('in/open', 'kept', { retain: true })
  const withPolicies = { ...policyOf(), meshPolicies }
  const client = t.open({ mqtt: withPolicies, spiffe: A })
  await client.connect({ properties: { sessionExpirySec: 3600 } })
  client.publish('in/x', '1', { qos: 1, packetId: 1 })
  client.publish('out/x', '2', { qos: 1, packetId: 2 })
  assert.deepEqual(await client.seen(), ['puback #1', 'puback #2 0x87'])
  assert.deepEqual((await client.subscribe('#')).reasons, [0x87])
  assert.deepEqual((await client.subscribe('+/open', { qos: 1 })).reasons, [1])
  assert.deepEqual(await client.seen(), ['publish in/open kept q0 retain'])
  writer.publish('a/open', '3', { qos: 1, packetId: 3 })
  assert.deepEqual(await client.seen(), ['publish a/open 3 q1 #1'])
  client.ack('puback', 1)
  const stranger = t.open({ mqtt: withPolicies, spiffe: 'spiffe://t/ns/x/sa/b' })
  assert.equal((await stranger.connect({ clientId: 'b' })).reason, 0x87)
  client.stream.destroy()
  await settle()
  writer.publish('b/open', '4', { qos: 1, packetId: 4 })
  await settle()
  const narrower = {
    ...policyOf(),
    meshPolicies: [policy('allow', rule(A, and(topic('a/open'), action('subscribe'))))],
  }
  const back = t.open({ mqtt: narrower, spiffe: A })
  await back.connect({ cleanStart: false, properties: { sessionExpirySec: 3600 } })
  assert.deepEqual(await back.seen(), [], 'what waited is not for it any more')
  assert.equal(t.metrics.total('mesh_mqtt_subscriptions_revoked_total'), 1)
})

test('a delayed will goes by the last connection; after a restart, which nobody knows, it is not published', async () => {
  for (const restarts of [false, true]) {
    let t = new TestBroker()
    const mqtt = { ...policyOf(), meshPolicies: [policy('allow', rule(A, and(topic('in/#'), action('publish'))))] }
    const client = t.open({ mqtt, spiffe: A })
    await client.connect({
      properties: { sessionExpirySec: 3600 },
      will: {
        topic: 'in/will',
        payload: Buffer.from('gone'),
        qos: 1,
        retain: false,
        delaySec: 10,
        messageExpirySec: undefined,
        properties: Buffer.alloc(0),
      },
    })
    client.stream.destroy()
    await settle()
    if (restarts) t = await t.stop()
    const reader = t.open({ listener: 'inside' })
    await reader.connect({ clientId: 'reader' })
    await reader.subscribe('#', { qos: 1 })
    await t.clock.advance(10_000)
    assert.deepEqual(await reader.seen(), restarts ? [] : ['publish in/will gone q1 #1'])
    assert.equal(t.metrics.total('mesh_mqtt_messages_dropped_total', { reason: 'not-authorized' }), restarts ? 1 : 0)
  }
})
