/** What a request is counted by. Envoy is asked the same in test/conformance/envoy/filters. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { RateLimitAction, RateLimitRule } from '../../../../../model/http/rate-limit.ts'
import { collectDescriptors, describeRequest } from '../../../../../protocols/http/filters/rate-limit/descriptors.ts'
import { RequestHead } from '../../../../../protocols/http/message.ts'
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
  return describeRequest(settings, { request, remoteIp, routed: undefined })
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
  assert.deepEqual(described([header('x-none', true)]), [])
})
test('what is not supported is told in place of descriptors', () =>
  assert.deepEqual(described([{ kind: 'unsupported', what: 'it' }]), { unsupported: 'it' }))

test('a rule with a runtime key counts at a service, where no runtime says otherwise, and is left out here', () => {
  const rule: RateLimitRule = { stage: 0, actions: [{ kind: 'constant', key: 'c', value: 'v' }], hasRuntimeKey: true }
  const settings = limitOf({ descriptors: ANY, rules: [rule] })
  const facts = { request: requestOf('/'), remoteIp: '10.1.2.3', routed: undefined }
  assert.deepEqual(collectDescriptors(settings, facts, 'service'), [[['c', 'v']]])
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
