/** What a request is counted by. Envoy is asked the same in test/conformance/envoy/filters. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { RateLimitAction, RateLimitRule } from '../../../../../model/http/rate-limit.ts'
import {
  collectDescriptors,
  describeRequest,
  hasDestination,
} from '../../../../../protocols/http/filters/rate-limit/descriptors.ts'
import { RequestHead } from '../../../../../protocols/http/message.ts'
import type { Routed } from '../../../../../protocols/router.ts'
import { cluster } from '../../harness.ts'
import { limitOf } from './limits.ts'

const ANY = [{ entries: [['k', 'v']] as const, bucket: { maxTokens: 1, tokensPerFill: 1, fillMs: 1 }, isShadow: false }]
const requestOf = (path: string): RequestHead =>
  new RequestHead({
    method: 'GET',
    scheme: 'http',
    authority: 'a',
    path,
    headers: ['x-user', 'j\xc3\xbcrgen'],
    version: 'HTTP/1.1',
    bodyLength: 0,
    upgrade: undefined,
    expectContinue: false,
  })
function described(actions: readonly RateLimitAction[], path = '/', remoteIp = '10.1.2.3'): unknown {
  const request = requestOf(path)
  const settings = limitOf({ descriptors: ANY, rules: [{ stage: 0, actions }] })
  const made = describeRequest(settings, { request, remoteIp, routed: undefined, ownCluster: 'own' })
  return 'unsupported' in made ? made : made.map(({ entries }) => entries)
}
const header = (name: string, mayLack = false): RateLimitAction => ({ kind: 'header', name, key: 'k', mayLack })

test('an entry for each action, as text', () =>
  assert.deepEqual(described([header('x-user'), { kind: 'constant', key: 'c', value: 'v' }]), [
    [
      ['k', 'jürgen'],
      ['c', 'v'],
    ],
  ]))
test('what is lacking leaves out the descriptor, or the entry where it may be', () => {
  assert.deepEqual(described([header('x-none'), { kind: 'constant', key: 'c', value: 'v' }]), [])
  assert.deepEqual(described([header('x-none', true), { kind: 'constant', key: 'c', value: 'v' }]), [[['c', 'v']]])
  // As Envoy, which asks by none.
  assert.deepEqual(described([header('x-none', true)]), [[]])
})
test('what is not supported is told in place of descriptors', () =>
  assert.deepEqual(described([{ kind: 'unsupported', what: 'it' }]), { unsupported: 'it' }))

test('a rule with a runtime key counts at a service, where no runtime says otherwise, and is left out here', () => {
  const rule: RateLimitRule = { stage: 0, actions: [{ kind: 'constant', key: 'c', value: 'v' }], hasRuntimeKey: true }
  const settings = limitOf({ descriptors: ANY, rules: [rule] })
  const facts = { request: requestOf('/'), remoteIp: '10.1.2.3', routed: undefined }
  assert.deepEqual(collectDescriptors(settings, facts, 'service'), [{ entries: [['c', 'v']] }])
  assert.deepEqual(describeRequest(settings, facts), [])
})

for (const [ip, v4Bits, v6Bits, text] of [
  ['10.1.255.3', 20, 128, '10.1.240.0/20'],
  ['10.1.2.3', 0, 128, '0.0.0.0/0'],
  ['::ffff:10.1.2.3', 24, 128, '10.1.2.0/24'],
  ['2001:db8:0:0:1:2:3:4', 32, 64, '2001:db8::/64'],
  ['2001:db8:0:0:1:2:3:4', 32, 80, '2001:db8:0:0:1::/80'],
] as const)
  test(`the address ${ip} as ${text}`, () =>
    assert.deepEqual(described([{ kind: 'masked-remote-address', v4Bits, v6Bits }], '/', ip), [
      [['masked_remote_address', text]],
    ]))

for (const [path, value] of [
  ['/?q=a%20b&q=c', 'a b'],
  ['/?%71=1', '1'],
  ['/?q', ''],
  ['/?q=%zz%4', '%zz%4'],
  ['/?q=%C3%BC', 'ü'],
] as const)
  test(`the parameter of ${path}`, () =>
    assert.deepEqual(described([{ kind: 'query', name: 'q', key: 'k', mayLack: false }], path), [[['k', value]]]))

test('the own cluster is what the node is called', () =>
  assert.deepEqual(described([{ kind: 'source-cluster' }]), [[['source_cluster', 'own']]]))

const FOUND = {
  f: { text: 't', number: 1, limit: { requests_per_unit: 7.9, unit: 'HOUR' }, odd: { requests_per_unit: '7' } },
}
const metadata = (name: string, byDefault = '', mayLack = false): RateLimitAction => ({
  kind: 'metadata',
  key: 'm',
  from: { filter: 'f', path: [name] },
  byDefault,
  mayLack,
})
const describedWith = (rule: Omit<RateLimitRule, 'stage'>, by: 'node' | 'service' = 'service'): unknown => {
  const request = requestOf('/')
  request.metadata = FOUND
  const facts = { request, remoteIp: '10.1.2.3', routed: undefined }
  return collectDescriptors(limitOf({ rules: [{ stage: 0, ...rule }] }), facts, by)
}

test('text that filters have found out is an entry, or what stands for it', () => {
  assert.deepEqual(describedWith({ actions: [metadata('text', 'd')] }), [{ entries: [['m', 't']] }])
  assert.deepEqual(describedWith({ actions: [metadata('number', 'd')] }), [{ entries: [['m', 'd']] }])
  assert.deepEqual(describedWith({ actions: [metadata('number')] }), [])
  assert.deepEqual(describedWith({ actions: [metadata('none', '', true)] }), [{ entries: [] }])
})

test('a service is told the limit that filters have found out, where it is one', () => {
  const actions = [{ kind: 'constant', key: 'c', value: 'v' }] as const
  const entries = [['c', 'v']]
  const limitAt = (name: string) => ({ actions, limit: { filter: 'f', path: [name] } })
  assert.deepEqual(describedWith(limitAt('limit')), [{ limit: { perUnit: 7, unit: 3 }, entries }])
  assert.deepEqual(describedWith(limitAt('limit'), 'node'), [{ entries }])
  for (const name of ['odd', 'text', 'none']) assert.deepEqual(describedWith(limitAt(name)), [{ entries }])
})

test('what a rule says of counting goes with its descriptor', () =>
  assert.deepEqual(describedWith({ actions: [header('x-user')], hits: 0, givesBack: true, tellsRest: false }), [
    { entries: [['k', 'jürgen']], hits: 0, givesBack: true, tellsRest: false },
  ]))

for (const [what, action, goes] of [
  ['one cluster', { clusters: [{ name: 'a' }] }, true],
  ['one that is not there', { clusters: [{ name: 'gone' }] }, false],
  ['weighted ones', { clusters: [{ name: 'gone' }, { name: 'a' }] }, true],
  ['the cluster of a header', { clusters: [], clusterHeader: 'x-cluster' }, true],
  ['that of a header which there is not', { clusters: [], clusterHeader: 'x-none' }, false],
  ['a redirect', { kind: 'redirect' }, false],
] as const)
  test(`whether a request goes to a cluster: ${what}`, () => {
    const request = requestOf('/')
    request.headers.push('x-cluster', 'a')
    const routed = { route: { action: { kind: 'forward', ...action } } } as unknown as Routed
    const tables = { cluster: (name: string) => (name === 'a' ? cluster([]) : undefined) }
    assert.equal(hasDestination(request, routed, tables), goes)
    assert.equal(hasDestination(request, undefined, tables), false)
  })
