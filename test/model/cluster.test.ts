import { test } from 'node:test'
import assert from 'node:assert/strict'
import { isBlocked, selectTransport, turnsTlsOn, type Cluster, type Endpoint } from '../../model/cluster.ts'

type Matches = Cluster['transportMatches']
const plaintext = { kind: 'plaintext' } as const
const blocked = { kind: 'blocked', reason: 'why' } as const
const tls = { kind: 'tls' } as Cluster['transport']
const cluster = (transport: Cluster['transport'], transportMatches: Matches = [], reason?: string): Cluster =>
  ({ name: 'c', transport, transportMatches, ...(reason === undefined ? {} : { blocked: reason }) }) as Cluster
const endpoint = (transportLabels: Endpoint['transportLabels'] = {}): Endpoint => ({ transportLabels }) as Endpoint
const when = (match: Readonly<Record<string, string>>, transport: Cluster['transport']): Matches[number] => ({
  name: 'm',
  match,
  transport,
})

const ISTIO = cluster(plaintext, [when({ tlsMode: 'istio' }, tls), when({}, plaintext)])

test('an endpoint gets the transport of the first match whose labels it all has', () => {
  const two = cluster(blocked, [when({ a: '1', b: '2' }, tls), when({ a: '1' }, plaintext)])
  assert.deepEqual(
    [{ a: '1', b: '2', c: '3' }, { a: '1' }, { a: '1', b: '3' }, { b: '2' }, {}].map(
      (labels) => selectTransport(two, endpoint(labels as Endpoint['transportLabels'])).kind,
    ),
    ['tls', 'plaintext', 'plaintext', 'blocked', 'blocked'],
  )
  assert.equal(selectTransport(ISTIO, endpoint({ tlsMode: 'istio' })).kind, 'tls')
  assert.equal(selectTransport(ISTIO, endpoint()).kind, 'plaintext')
})

test('TLS is turned on where what went in clear is to be encrypted or goes no more, and nowhere else', () => {
  const turned = (was: Cluster, now: Cluster): boolean => turnsTlsOn(was, now, endpoint({ tlsMode: 'istio' }))
  assert.deepEqual(
    [
      turned(cluster(plaintext), ISTIO),
      turned(cluster(plaintext), cluster(blocked)),
      turned(cluster(plaintext), cluster(plaintext)),
      turned(ISTIO, cluster(plaintext)),
      turned(ISTIO, cluster(tls)),
      turned(cluster(blocked), ISTIO),
    ],
    [true, true, false, false, false, false],
  )
})

test('a cluster is blocked as a whole, or by a transport of some of its endpoints', () => {
  assert.deepEqual(
    [
      cluster(tls),
      ISTIO,
      cluster(tls, [], 'why'),
      cluster(tls, [], ''),
      cluster(tls, [when({ a: '1' }, plaintext), when({ b: '1' }, blocked)]),
    ].map(isBlocked),
    [false, false, true, true, true],
  )
})
