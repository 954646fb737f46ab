import { test } from 'node:test'
import assert from 'node:assert/strict'
import { AdsProtocol, type AdsResponse, type Known } from '../../../control-sync/ads/protocol.ts'
import type { ResourceKind } from '../../../model/snapshot.ts'

const versions = (known: Record<string, string>): Known =>
  new Map(Object.entries(known).map(([name, version]) => [name, { version }]))
const nothing = (): Known => new Map()
const none = (): ReadonlySet<string> => new Set()
const response = (kind: ResourceKind, nonce: string): AdsResponse => ({
  kind,
  nonce,
  systemVersion: 'v',
  resources: [],
  removed: [],
})

test("a first stream asks for what is a wildcard, in Envoy's order, and only its first request carries the node", () => {
  const requests = new AdsProtocol().open(nothing, none)
  assert.deepEqual(
    requests.map((r) => r.kind),
    ['cluster', 'listener', 'nameTable', 'proxyConfig'],
  )
  assert.deepEqual(
    requests.map((r) => r.withNode),
    [true, false, false, false],
  )
  assert.ok(requests.every((r) => r.subscribe.length === 0 && r.nonce === ''))
})

test('a stream after a restart names what is stored, so that the answer lists what is gone', () => {
  const requests = new AdsProtocol().open(
    (kind) => versions(kind === 'cluster' ? { a: '1', b: '' } : {}),
    (kind) => new Set(kind === 'endpoint' ? ['a'] : kind === 'route' ? ['80'] : []),
  )
  assert.deepEqual(
    requests.map((r) => r.kind),
    ['cluster', 'endpoint', 'listener', 'route', 'nameTable', 'proxyConfig'],
  )
  assert.deepEqual(requests[0]!.known, versions({ a: '1', b: '' }))
  assert.deepEqual(requests[1]!.subscribe, ['a'])
})

test('a kind by name is never asked for with an empty list: istiod would take it for a wildcard', () => {
  const protocol = new AdsProtocol()
  protocol.open(nothing, none)
  assert.equal(protocol.want('endpoint', new Set()), undefined)
  assert.deepEqual(protocol.want('endpoint', new Set(['a', 'b']))!.subscribe, ['a', 'b'])
})

test('a name that is subscribed is not subscribed again, one that nobody names any more is unsubscribed', () => {
  const protocol = new AdsProtocol()
  protocol.open(nothing, () => new Set(['a', 'b']))
  assert.equal(protocol.want('endpoint', new Set(['b', 'a'])), undefined)
  const change = protocol.want('endpoint', new Set(['b', 'c']))!
  assert.deepEqual([change.subscribe, change.unsubscribe, change.nonce], [['c'], ['a'], ''])
  assert.equal(protocol.want('endpoint', new Set(['b', 'c'])), undefined)
})

test('an answer carries the nonce and no subscription; with problems it is a nack that names them', () => {
  const protocol = new AdsProtocol()
  protocol.open(nothing, none)
  const ack = protocol.answer(response('cluster', 'n1'), [])
  assert.deepEqual([ack.nonce, ack.error, ack.subscribe, ack.unsubscribe], ['n1', undefined, [], []])
  assert.equal(
    protocol.answer(response('cluster', 'n2'), ['a: name: missing', 'b: type: unknown']).error,
    'a: name: missing; b: type: unknown',
  )
  assert.ok(protocol.answer(response('cluster', 'n3'), ['x'.repeat(100_000)]).error!.length <= 2_000)
})

test('what is known of a kind by name is told only for names that are wanted: istiod would watch the others, too', () => {
  const requests = new AdsProtocol().open(
    (kind) => versions(kind === 'endpoint' ? { a: '1', left: '2' } : {}),
    (kind) => new Set(kind === 'endpoint' ? ['a'] : []),
  )
  assert.deepEqual(requests.find((r) => r.kind === 'endpoint')!.known, versions({ a: '1' }))
})

test('a kind that this server does not serve is not asked for', () => {
  const protocol = new AdsProtocol(new Set<ResourceKind>(['proxyConfig', 'extension']))
  assert.deepEqual(
    protocol.open(nothing, none).map((r) => r.kind),
    ['cluster', 'listener', 'nameTable'],
  )
  assert.equal(protocol.want('extension', new Set(['x'])), undefined)
})

test('a refused name is given up and asked for in two messages; a kind that is asked for whole with an explicit *', () => {
  const protocol = new AdsProtocol()
  protocol.open(nothing, (kind) => new Set(kind === 'endpoint' ? ['a', 'b'] : []))
  assert.deepEqual(
    protocol.again('endpoint', ['a', 'gone']).map((r) => [r.unsubscribe, r.subscribe, r.nonce]),
    [
      [['a'], [], ''],
      [[], ['a'], ''],
    ],
  )
  assert.deepEqual(protocol.again('endpoint', ['gone']), [])
  assert.equal(protocol.want('endpoint', new Set(['a', 'b'])), undefined, 'it counts as subscribed all the time')
  assert.deepEqual(
    protocol.again('cluster', ['c']).map((r) => r.subscribe),
    [['*']],
  )
})

test('an answer that was on its way when its name was given up is not wanted', () => {
  const protocol = new AdsProtocol()
  protocol.open(nothing, (kind) => new Set(kind === 'endpoint' ? ['a', 'b'] : []))
  protocol.want('endpoint', new Set(['a']))
  assert.deepEqual(
    [protocol.takes('endpoint', 'a'), protocol.takes('endpoint', 'b'), protocol.takes('cluster', 'x')],
    [true, false, true],
  )
})
