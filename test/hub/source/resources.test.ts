import { test } from 'node:test'
import assert from 'node:assert/strict'
import {
  CLUSTER,
  hashContent,
  ENDPOINT,
  sortForPush,
  isByName,
  LISTENER,
  selectType,
  overlay,
  makeResourceSet,
  ROUTE,
  hashVersion,
  type HubResource,
} from '../../../hub/source/resources.ts'

const SECRET = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret'
const resource = (name: string, content: string, typeUrl: string = CLUSTER): HubResource => {
  const value = Buffer.from(content)
  return { name, typeUrl, version: hashContent(value), value }
}

test('what is referred to comes before what refers to it, everything else after', () => {
  assert.deepEqual(sortForPush([SECRET, ROUTE, LISTENER, ENDPOINT, CLUSTER]), [
    CLUSTER,
    ENDPOINT,
    LISTENER,
    ROUTE,
    SECRET,
  ])
})

test('endpoints, routes and secrets are asked for by name, clusters and listeners as a whole', () => {
  assert.deepEqual([CLUSTER, LISTENER, ENDPOINT, ROUTE, SECRET].map(isByName), [false, false, true, true, true])
})

test('a version is that of the content, whatever the order, and another for any other name or content', () => {
  const [a, b] = [resource('a', '1'), resource('b', '2')]
  assert.equal(hashVersion([a, b]), hashVersion([b, a]))
  assert.match(hashVersion([a]), /^[0-9a-f]{16}$/)
  const all = [[a], [b], [a, b], [resource('a', '2')], [resource('ab', '1')], []].map(hashVersion)
  assert.equal(new Set(all).size, all.length)
})

test('a set has its resources by type and name, and a version of all of them', () => {
  const set = makeResourceSet([resource('a', '1'), resource('b', '2'), resource('r', '3', ROUTE)])
  assert.deepEqual([...selectType(set, CLUSTER).keys()], ['a', 'b'])
  assert.equal(selectType(set, LISTENER).size, 0)
  assert.equal(set.removals, 'now')
  const again = makeResourceSet([resource('r', '3', ROUTE), resource('b', '2'), resource('a', '1')], 'later')
  assert.deepEqual([again.version, again.removals], [set.version, 'later'])
  assert.notEqual(
    makeResourceSet([resource('a', '1'), resource('b', '2'), resource('r', '4', ROUTE)]).version,
    set.version,
  )
  assert.notEqual(makeResourceSet([resource('a', '1')]).version, makeResourceSet([resource('a', '1', ROUTE)]).version)
})

test("a node's own resources lie over the shared ones; of types that it has none of the maps are shared", () => {
  const shared = makeResourceSet([resource('a', '1'), resource('b', '2'), resource('r', '3', ROUTE)])
  const own = makeResourceSet([resource('b', 'own'), resource('c', 'own')])
  const set = overlay(shared, own, 'later')
  assert.deepEqual(
    [...selectType(set, CLUSTER).values()].map((r) => [r.name, Buffer.from(r.value).toString()]),
    [
      ['a', '1'],
      ['b', 'own'],
      ['c', 'own'],
    ],
  )
  assert.equal(selectType(set, ROUTE), selectType(shared, ROUTE))
  assert.deepEqual([set.removals, set.version === shared.version], ['later', false])
  assert.equal(overlay(shared, makeResourceSet([]), 'now').version, shared.version)
})
