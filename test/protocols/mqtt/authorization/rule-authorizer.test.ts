import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { MqttPolicy, MqttRule } from '../../../../model/mqtt-policy.ts'
import type { Authorizer, Client } from '../../../../protocols/mqtt/authorization/authorizer.ts'
import { createRuleAuthorizer } from '../../../../protocols/mqtt/authorization/rule-authorizer.ts'
import { policyOf } from '../../../helpers/mqtt/broker.ts'

const ANA: Client = {
  clientId: 'press-1',
  user: 'ana',
  groups: ['fitters', 'night'],
  spiffeUri: 'spiffe://plant.example/ns/site/sa/press',
  trustDomain: 'plant.example',
  namespace: 'site',
  serviceAccount: 'press',
}
type Rule = Partial<MqttRule> & Pick<MqttRule, 'action' | 'effect'>
const may = (
  rules: readonly Rule[],
  client: Partial<Client> = {},
  wideSubscriptions: MqttPolicy['wideSubscriptions'] = 'refuse',
): Authorizer => createRuleAuthorizer(policyOf({ rules, wideSubscriptions }), { ...ANA, ...client })

for (const [about, yes, no] of [
  [{ users: ['ana'] }, {}, { user: 'anabel' }],
  [{ users: ['an*'] }, { user: 'anabel' }, { user: 'bob' }],
  [{ users: ['bob', 'an*'] }, {}, { user: undefined }],
  [{ users: ['*'] }, { user: 'anybody' }, { user: undefined }],
  [{ groups: ['night'] }, {}, { groups: ['nights'] }],
  [{ groups: ['ni*'] }, {}, { groups: [] }],
  [{ clientIds: ['press-1'] }, {}, { clientId: 'press-11' }],
  [{ clientIds: ['press-*'] }, { clientId: 'press-9' }, { clientId: 'pres' }],
  [{ users: ['ana'], clientIds: ['press-*'] }, {}, { clientId: 'other' }],
  [{ users: ['ana'], principals: ['spiffe://plant.example/*'] }, {}, { spiffeUri: undefined }],
] as const satisfies readonly (readonly [Partial<MqttRule>, Partial<Client>, Partial<Client>])[])
  test(`a rule is about who it names: ${JSON.stringify(about)}`, () => {
    const rules: Rule[] = [{ action: 'publish', topics: ['t'], effect: 'allow', ...about }]
    assert.deepEqual([may(rules, yes).mayPublish('t'), may(rules, no).mayPublish('t')], [true, false])
    const deny: Rule[] = [
      { action: 'publish', topics: ['t'], effect: 'deny', ...about },
      { action: 'publish', effect: 'allow' },
    ]
    assert.deepEqual([may(deny, yes).mayPublish('t'), may(deny, no).mayPublish('t')], [false, true])
  })

test('%n and %d stand for namespace and trust domain; who has none has no such topic', () => {
  const rules: Rule[] = [{ action: 'publish', topics: ['%d/%n/%s/%u/%c'], effect: 'allow' }]
  assert.equal(may(rules).mayPublish('plant.example/site/press/ana/press-1'), true)
  assert.equal(may(rules, { namespace: undefined }).mayPublish('plant.example//press/ana/press-1'), false)
})
test('a value with $ where the topic begins opens nothing of the server, and denies all', () => {
  for (const [topic, client] of [
    ['%u/#', { user: '$SYS' }],
    ['%c/#', { clientId: '$SYS' }],
    ['%c/#', { clientId: '$' }],
  ] as const) {
    const allow = may([{ action: 'subscribe', topics: [topic], effect: 'allow' }], client)
    assert.deepEqual([allow.maySubscribe('$SYS/#'), allow.mayReceive('$SYS/x')], [false, false])
    const deny = may(
      [
        { action: 'publish', topics: [topic], effect: 'deny' },
        { action: 'publish', effect: 'allow' },
      ],
      client,
    )
    assert.equal(deny.mayPublish('a'), false)
  }
  assert.equal(
    may([{ action: 'publish', topics: ['u/%u'], effect: 'allow' }], { user: '$SYS' }).mayPublish('u/$SYS'),
    true,
  )
})

test('what may be received: rules for subscribe and those for receive', () => {
  const some = may([
    { action: 'receive', topics: ['a/secret'], effect: 'deny' },
    { action: 'receive', effect: 'allow' },
    { action: 'subscribe', topics: ['a/#'], effect: 'allow' },
  ])
  assert.deepEqual(
    [some.maySubscribe('a/#'), some.mayReceive('a/open'), some.mayReceive('a/secret'), some.mayReceive('b')],
    [true, true, false, false],
  )
  assert.deepEqual([some.restrictsReceiving, some.filtersDelivery], [true, true])
  const only = may([{ action: 'receive', topics: ['a'], effect: 'allow' }])
  assert.deepEqual([only.maySubscribe('#'), only.mayReceive('a'), only.mayReceive('b')], [true, true, false])
})

test('wide subscriptions: refused, or granted when something of them may be received', () => {
  const rules: Rule[] = [
    { action: 'subscribe', topics: ['a/secret/#'], effect: 'deny' },
    { action: 'subscribe', topics: ['a/#', 'b/+'], effect: 'allow' },
  ]
  const filters = [
    '#',
    'a/#',
    'a/open',
    'a/secret',
    'a/secret/+',
    '+/+',
    'b/#',
    'c/#',
    '$share/g/#',
    '$share/g/a/secret/x',
    '$share/g/b/x',
    '$SYS/#',
  ]
  const of = (wide: MqttPolicy['wideSubscriptions']): string =>
    filters.map((filter) => (may(rules, {}, wide).maySubscribe(filter) ? 'y' : '-')).join('')
  assert.equal(of('refuse'), '--y-------y-')
  assert.equal(of('filter'), 'yyy--yy-y-y-')
  for (const wide of ['refuse', 'filter'] as const)
    assert.deepEqual(
      ['a/x', 'a/secret', 'a/secret/x', 'b/x', 'b/x/y', 'c'].map((topic) => may(rules, {}, wide).mayReceive(topic)),
      [true, false, false, true, false, false],
    )
  assert.deepEqual([may(rules).filtersDelivery, may(rules, {}, 'filter').filtersDelivery], [false, true])
})
