import { test } from 'node:test'
import assert from 'node:assert/strict'
import {
  describeClient,
  deriveOwner,
  formatOwner,
  ownsWhatIs,
  nameShare,
  type Owner,
} from '../../../../protocols/mqtt/session/owner.ts'
import { peerOf } from '../../../helpers/mqtt/broker.ts'

const PUMP = peerOf('spiffe://t/ns/site/sa/pump')
const GATEWAY = { ...PUMP, spiffeId: undefined, uriSans: [], subject: 'CN=gateway' }
const ANA = { name: 'ana', groups: ['operators'] }
const of = (
  listener: string,
  { peer, user }: { peer?: typeof PUMP | typeof GATEWAY; user?: { name: string; groups: string[] } } = {},
): Owner => deriveOwner({ peer, user }, listener)

test('a user is the same on every listener, with and without a certificate, and with other groups', () => {
  const ana = of('a', { user: ANA })
  for (const same of [
    of('b', { user: ANA }),
    of('b', { user: { name: 'ana', groups: [] } }),
    of('b', { user: ANA, peer: PUMP }),
  ]) {
    assert.equal(ownsWhatIs(ana, same), true)
    assert.equal(ownsWhatIs(same, ana), true)
  }
  for (const other of [of('a', { user: { name: 'bob', groups: [] } }), of('a'), of('a', { peer: PUMP })])
    assert.equal(ownsWhatIs(ana, other), false)
})

test('a user has what the certificate that it shows has made, but its certificate alone has nothing of the user', () => {
  for (const peer of [PUMP, GATEWAY]) {
    const [bare, user] = [of('a', { peer }), of('a', { peer, user: ANA })]
    assert.equal(ownsWhatIs(bare, user), true)
    assert.equal(ownsWhatIs(user, bare), false)
    assert.equal(ownsWhatIs(user, of('a', { peer, user: { name: 'bob', groups: [] } })), false)
  }
  assert.equal(ownsWhatIs(of('a', { peer: GATEWAY }), of('other roots', { peer: GATEWAY, user: ANA })), false)
})

test('a user that has the name of another kind of owner is not that owner', () => {
  const spiffe = of('a', { peer: PUMP })
  const user = of('a', { user: { name: spiffe.name, groups: [] } })
  assert.equal(ownsWhatIs(spiffe, user), false)
  assert.notEqual(nameShare(spiffe, ''), nameShare(user, ''))
  assert.equal(ownsWhatIs(of('a'), of('a', { user: { name: '', groups: [] } })), false)
})

test('rules see the proved user, its groups and the certificate beside', () => {
  assert.deepEqual(describeClient('c', of('a', { user: ANA, peer: PUMP })), {
    clientId: 'c',
    user: 'ana',
    groups: ['operators'],
    spiffeUri: 'spiffe://t/ns/site/sa/pump',
    trustDomain: 't',
    namespace: 'site',
    serviceAccount: 'pump',
  })
  assert.deepEqual(
    [
      describeClient('c', of('a', { peer: PUMP })).user,
      describeClient('c', of('a')).user,
      describeClient('c', undefined).user,
    ],
    [undefined, undefined, undefined],
  )
})

test('texts and shares name the kind of owner', () => {
  const all = [of('a', { user: ANA }), of('a', { peer: PUMP }), of('a', { peer: GATEWAY }), of('a')]
  assert.deepEqual(all.map(formatOwner), [
    'user ana',
    'spiffe://t/ns/site/sa/pump',
    '["CN=gateway"]',
    'a client without a certificate on listener a',
  ])
  assert.deepEqual(
    all.map((owner) => nameShare(owner, '192.0.2.1')),
    ['user ana', 'principal spiffe://t/ns/site/sa/pump', 'principal ["CN=gateway"] on a', 'address 192.0.2.1'],
  )
})
