import { test } from 'node:test'
import assert from 'node:assert/strict'
import { findAttribute, isAttributeGroup } from '../../../../model/access-log/cel/attributes.ts'
import { factsOf } from '../../access-log-facts.ts'

const facts = factsOf({ fields: { ':path': '/p' }, flags: ['LH', 'DR'], upstream: { host: '10.0.0.2', port: 8 } })
for (const [name, want] of [
  ['request.query', ''],
  ['source.address', '10.0.0.9:0'],
  ['destination.port', 80],
  ['upstream.address', '10.0.0.2:8'],
  ['connection.id', 46],
  ['connection.mtls', false],
  ['response.flags', 1 + 2 ** 28],
  ['response.grpc_status', undefined],
] as const)
  test(`attribute ${name}`, () => {
    assert.deepEqual(findAttribute(name)?.(facts), want)
  })
test('names of objects are no attributes', () => {
  assert.equal(findAttribute('constructor'), undefined)
  assert.deepEqual([isAttributeGroup('request'), isAttributeGroup('constructor')], [true, false])
})
