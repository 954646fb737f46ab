/** Where in a policy a mistake is told; which ones are, is in refusals.test.ts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { authorizationPolicy } from '../../../../hub/istio/kinds/authorization-policy.ts'

const placesOf = (spec: unknown): string[] =>
  authorizationPolicy.safeParse(spec).error?.issues.map(({ path }) => path.join('.')) ?? []

test('each of several mistakes has its place', () => {
  const rules = [
    { from: [{ source: { serviceAccounts: ['a'], principals: ['b'] } }, { source: { trustDomains: ['a*b'] } }] },
    { to: [{ operation: {} }], when: [{ key: 'source.ip', values: ['here'] }] },
  ]
  assert.deepEqual(placesOf({ rules }), [
    'rules.0.from.0.source',
    'rules.0.from.1.source.trustDomains.0',
    'rules.1.to.0.operation',
    'rules.1.when.0.values.0',
  ])
})

test('DENY needs rules; ALLOW without any is one that allows nobody', () => {
  assert.deepEqual(placesOf({ action: 'DENY' }), ['rules'])
  assert.deepEqual(placesOf({ action: 'ALLOW' }), [])
})
