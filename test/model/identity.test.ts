import { test } from 'node:test'
import assert from 'node:assert/strict'
import { parseSpiffeId } from '../../model/identity.ts'

test('an id of Istio is taken apart', () => {
  const uri = 'spiffe://cluster.local/ns/edge/sa/gateway'
  assert.deepEqual(parseSpiffeId(uri), {
    uri,
    trustDomain: 'cluster.local',
    namespace: 'edge',
    serviceAccount: 'gateway',
  })
})

for (const path of [
  '',
  '/a',
  '/ns/edge',
  '/ns/edge/sa',
  '/ns/edge/sa/gateway/more',
  '/x/ns/edge/sa/gateway',
  '/a.b/_c-D',
])
  test(`spiffe://mesh${path} is an id without namespace and service account`, () => {
    const id = parseSpiffeId(`spiffe://mesh${path}`)
    assert.deepEqual([id?.trustDomain, id?.namespace, id?.serviceAccount], ['mesh', undefined, undefined])
  })

for (const uri of [
  '',
  'mesh/ns/a/sa/b',
  'https://mesh/ns/a/sa/b',
  'SPIFFE://mesh/ns/a/sa/b',
  'spiffe:///ns/a/sa/b',
  'spiffe://Mesh/ns/a/sa/b',
  'spiffe://user@mesh/a',
  'spiffe://mesh:443/a',
  'spiffe://mesh/',
  'spiffe://mesh/a/',
  'spiffe://mesh//a',
  'spiffe://mesh/a%20b',
  'spiffe://mesh/a?b',
  'spiffe://mesh/a#b',
  'spiffe://mesh/a\n',
  ' spiffe://mesh/a',
])
  test(`${JSON.stringify(uri)} is no id`, () => {
    assert.equal(parseSpiffeId(uri), undefined)
  })

test('an id has at most 2048 characters, its trust domain 255 (SPIFFE-ID §2.3)', () => {
  const ofLength = (n: number): string => `spiffe://mesh/${'a'.repeat(n - 'spiffe://mesh/'.length)}`
  assert.ok(parseSpiffeId(ofLength(2048)))
  assert.equal(parseSpiffeId(ofLength(2049)), undefined)
  assert.ok(parseSpiffeId(`spiffe://${'d'.repeat(255)}/a`))
  assert.equal(parseSpiffeId(`spiffe://${'d'.repeat(256)}/a`), undefined)
})
