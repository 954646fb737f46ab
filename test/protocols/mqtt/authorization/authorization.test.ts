import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { MqttRule } from '../../../../model/mqtt-policy.ts'
import { Acl, AclTree, READ, WRITE } from '../../../../protocols/mqtt/authorization/acl.ts'
import { createAuthorizer, type Grounds } from '../../../../protocols/mqtt/authorization/authorization.ts'
import type { Authorizer, Client } from '../../../../protocols/mqtt/authorization/authorizer.ts'
import { policyOf } from '../../../helpers/mqtt/broker.ts'

const CLIENT: Client = {
  clientId: 'press-1',
  user: undefined,
  groups: [],
  spiffeUri: 'spiffe://t/ns/site/sa/press',
  serviceAccount: 'press',
}
type Rule = Partial<MqttRule> & Pick<MqttRule, 'action' | 'effect'>
const may = (rules: readonly Rule[], client: Partial<Client> = {}): ReturnType<typeof createAuthorizer> =>
  createAuthorizer({ policy: policyOf({ rules }) }, { ...CLIENT, ...client })

test('without rules everything is allowed; with a rule for an action its rest is denied', () => {
  assert.equal(may([]).mayPublish('a'), true)
  const some = may([{ action: 'publish', topics: ['a/#'], effect: 'allow' }])
  assert.deepEqual(
    [some.mayPublish('a/b'), some.mayPublish('b'), some.maySubscribe('b'), some.mayConnect()],
    [true, false, true, true],
  )
})
test('the first match wins', () => {
  const some = may([
    { action: 'publish', topics: ['a/secret'], effect: 'deny' },
    { action: 'publish', topics: ['a/+'], effect: 'allow' },
  ])
  assert.deepEqual([some.mayPublish('a/secret'), some.mayPublish('a/open')], [false, true])
})
test('%c and %s stand for client id and service account', () => {
  const some = may([{ action: 'publish', topics: ['c/%c/#', 's/%s'], effect: 'allow' }])
  assert.deepEqual(
    ['c/press-1/x', 's/press', 'c/other/x', 's/ana'].map((t) => some.mayPublish(t)),
    [true, true, false, false],
  )
})
test('a user name that nobody has proved: %u allows nothing, and denies whatever user it may be', () => {
  const allow = may([{ action: 'publish', topics: ['u/%u', 'u/%u/#', '%u'], effect: 'allow' }])
  assert.deepEqual(
    ['u/ana', 'u/ana/x', 'u/', 'ana', 'u/%u', 'u/+'].map((t) => allow.mayPublish(t)),
    [false, false, false, false, false, false],
  )
  const deny = may([
    { action: 'subscribe', topics: ['private/%u/#', 'box-%u'], effect: 'deny' },
    { action: 'subscribe', effect: 'allow' },
  ])
  assert.deepEqual(
    ['private/ana/x', 'private/#', 'box-ana', 'other/x'].map((f) => deny.maySubscribe(f)),
    [false, false, false, true],
  )
})
test('a user that was proved: %u is its name, in allow and in deny', () => {
  const rules: Rule[] = [
    { action: 'publish', topics: ['u/%u/secret'], effect: 'deny' },
    { action: 'publish', topics: ['u/%u/#'], effect: 'allow' },
  ]
  const ana = may(rules, { user: 'ana' })
  assert.deepEqual(
    ['u/ana/x', 'u/ana/secret', 'u/bob/x', 'u/%u/x'].map((t) => ana.mayPublish(t)),
    [true, false, false, false],
  )
  for (const user of ['+', '#', 'ana/../bob', 'a/b', '']) {
    const odd = may([{ action: 'publish', topics: ['u/%u'], effect: 'allow' }], { user })
    assert.deepEqual(
      ['u/ana', 'u/+', 'u/#', 'u/', `u/${user}`].map((t) => odd.mayPublish(t)),
      [false, false, false, false, false],
    )
  }
})
test('what may be received is checked by the rules for subscriptions', () => {
  const some = may([
    { action: 'subscribe', topics: ['a/secret'], effect: 'deny' },
    { action: 'subscribe', topics: ['a/+'], effect: 'allow' },
  ])
  assert.deepEqual(
    [
      some.mayReceive('a/x'),
      some.mayReceive('a/secret'),
      some.mayReceive('$share/g/a/x'),
      some.restrictsReceiving,
      may([]).restrictsReceiving,
    ],
    [true, false, false, true, false],
  )
})
test('CVE-2017-7650: a client id with a wildcard or a separator does not widen a rule', () => {
  for (const clientId of ['#', '+', 'a/b']) {
    assert.equal(
      may([{ action: 'publish', topics: ['c/%c'], effect: 'allow' }], { clientId }).mayPublish(
        `c/${clientId === '#' ? 'x' : clientId}`,
      ),
      false,
      clientId,
    )
    assert.equal(
      may(
        [
          { action: 'publish', topics: ['c/%c'], effect: 'deny' },
          { action: 'publish', effect: 'allow' },
        ],
        { clientId },
      ).mayPublish('z'),
      false,
      `deny ${clientId}`,
    )
  }
})
test('without a certificate nobody is a principal', () => {
  const rules: Rule[] = [{ action: 'connect', principals: ['spiffe://t/ns/site/*'], effect: 'allow' }]
  assert.deepEqual(
    [
      may(rules).mayConnect(),
      may(rules, { spiffeUri: undefined }).mayConnect(),
      may(rules, { spiffeUri: 'spiffe://t/ns/other/sa/press' }).mayConnect(),
    ],
    [true, false, false],
  )
})
test('an allow rule has to cover a subscription whole, a deny rule refuses what it shares a topic with', () => {
  const some = may([
    { action: 'subscribe', topics: ['a/secret/#'], effect: 'deny' },
    { action: 'subscribe', topics: ['a/#'], effect: 'allow' },
  ])
  assert.deepEqual(
    ['a/open', 'a/open/#', 'a/#', '#', 'a/secret/x', '$share/g/a/open', '$share/g/a/+', '$share/g'].map((f) =>
      some.maySubscribe(f),
    ),
    [true, true, false, false, false, true, false, false],
  )
})
test('client ids are compared exactly', () => {
  const rules: Rule[] = [{ action: 'publish', clientIds: ['press-1'], effect: 'allow' }]
  assert.deepEqual([may(rules).mayPublish('x'), may(rules, { clientId: 'press-10' }).mayPublish('x')], [true, false])
})

/** READ and WRITE of what the letters say. */
const aclOf = (rights: Readonly<Record<string, string>>): Acl => {
  const own = new AclTree()
  for (const [topic, letters] of Object.entries(rights))
    own.add(topic.split('/'), (letters.includes('r') ? READ : 0) | (letters.includes('w') ? WRITE : 0), 'literal')
  return new Acl({ users: new Map([['ana', own]]), anonymous: undefined, patterns: undefined })
}
test('rules and acl file have both to agree; the file lets subscribe to everything and filters what is delivered', () => {
  const acl = aclOf({ 'a/+': 'rw', 'b/#': 'r', c: 'w' })
  const rules: Rule[] = [
    { action: 'publish', topics: ['a/x', 'b/x', 'c'], effect: 'allow' },
    { action: 'subscribe', topics: ['a/x', 'b/#', 'c'], effect: 'allow' },
  ]
  const of = (grounds: Partial<Grounds>, user = 'ana'): Authorizer =>
    createAuthorizer({ policy: policyOf({ rules: [] }), acl, ...grounds }, { ...CLIENT, user })
  const may = (one: Authorizer): string =>
    ['a/x', 'a/y', 'b/x', 'c', 'd']
      .map((t) => `${one.mayReceive(t) ? 'r' : '-'}${one.mayPublish(t) ? 'w' : '-'}`)
      .join(' ')
  assert.equal(may(of({})), 'rw rw r- -w --')
  assert.equal(may(of({ policy: policyOf({ rules }) })), 'rw -- r- -w --')
  assert.equal(may(of({ policy: policyOf({ rules }), acl: undefined })), 'rw -- rw rw --')
  assert.equal(may(of({}, 'bob')), '-- -- -- -- --')
  assert.deepEqual([of({}).maySubscribe('#'), of({}).filtersDelivery, of({}, 'bob').mayConnect()], [true, true, true])
  assert.equal(of({ policy: policyOf({ rules }) }).maySubscribe('#'), false)
})
test('an acl file that was never readable lets nobody in, and takes no subscription away', () => {
  const nobody = createAuthorizer({ policy: policyOf({}), acl: 'missing' }, CLIENT)
  assert.deepEqual(
    [nobody.mayConnect(), nobody.mayPublish('a'), nobody.mayReceive('a'), nobody.maySubscribe('a')],
    [false, false, false, true],
  )
})
