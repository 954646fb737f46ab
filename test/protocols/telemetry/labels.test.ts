/** Tables of Istio's stats filter (istio/proxy, istio_stats.cc): what stands in which label. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Cluster } from '../../../model/cluster.ts'
import { UNKNOWN_WORKLOAD } from '../../../model/access-log/workload.ts'
import { findService, formatLabels, deriveLabels, type Ends } from '../../../protocols/telemetry/labels.ts'

const OWN = {
  name: 'gateway-vm',
  namespace: 'edge',
  canonicalService: 'gateway',
  canonicalRevision: 'v2',
  cluster: 'Kubernetes',
  app: 'gw',
  version: '2',
}
const PEER = { ...OWN, name: 'orders-v1', namespace: 'shop', canonicalService: 'orders', app: 'orders', version: '' }
const ends = (more: Partial<Ends>): Ends => ({
  reporter: 'source',
  own: OWN,
  peer: PEER,
  ownPrincipal: 'spiffe://cluster.local/ns/edge/sa/gateway',
  peerPrincipal: 'spiffe://cluster.local/ns/store/sa/orders',
  service: { host: 'orders.shop.svc.cluster.local', name: 'orders', namespace: 'shop' },
  ...more,
})

test('on the way out we are the source; the namespace of a certificate goes before what is said', () => {
  assert.equal(
    formatLabels(deriveLabels(ends({}))),
    'reporter="source",source_workload="gateway-vm",source_canonical_service="gateway",source_canonical_revision="v2",' +
      'source_workload_namespace="edge",source_principal="spiffe://cluster.local/ns/edge/sa/gateway",source_app="gw",source_version="2",' +
      'source_cluster="Kubernetes",destination_workload="orders-v1",destination_workload_namespace="store",' +
      'destination_principal="spiffe://cluster.local/ns/store/sa/orders",destination_app="orders",destination_version="unknown",' +
      'destination_service="orders.shop.svc.cluster.local",destination_canonical_service="orders",destination_canonical_revision="v2",' +
      'destination_service_name="orders",destination_service_namespace="shop",destination_cluster="Kubernetes",' +
      'connection_security_policy="unknown"',
  )
})

test('on the way in we are the destination', () => {
  const labels = deriveLabels(ends({ reporter: 'destination', service: { host: '', name: '', namespace: '' } }))
  assert.deepEqual(
    [labels.source_workload, labels.source_workload_namespace, labels.source_principal, labels.destination_workload],
    ['orders-v1', 'store', 'spiffe://cluster.local/ns/store/sa/orders', 'gateway-vm'],
  )
  assert.deepEqual(
    [labels.destination_service, labels.destination_service_name, labels.destination_service_namespace],
    ['gateway', 'gateway', 'edge'],
    'nobody says which service it is: our own',
  )
  assert.equal(labels.connection_security_policy, 'mutual_tls')
})

for (const [what, more] of [
  ['in clear', { ownPrincipal: undefined, peerPrincipal: undefined }],
  ['TLS without a certificate of the client', { peerPrincipal: undefined }],
] as const)
  test(`${what} there is no mutual TLS`, () => {
    assert.equal(deriveLabels(ends({ reporter: 'destination', ...more })).connection_security_policy, 'none')
  })

test('of a peer that nobody knows all is unknown, and its revision latest', () => {
  const text = formatLabels(deriveLabels(ends({ reporter: 'destination', peer: undefined, peerPrincipal: undefined })))
  for (const name of ['workload', 'canonical_service', 'workload_namespace', 'principal', 'app', 'version', 'cluster'])
    assert.match(text, new RegExp(`source_${name}="unknown"`))
  assert.match(text, /source_canonical_revision="latest"/)
  assert.match(formatLabels(deriveLabels(ends({ own: UNKNOWN_WORKLOAD }))), /source_app="unknown"/)
})

const named = (name: string, mesh?: Cluster['mesh']): Cluster => ({ name, ...(mesh && { mesh }) }) as unknown as Cluster
const said = (service?: NonNullable<Cluster['mesh']>['service']): Cluster =>
  named('outbound|80||x', { ...(service && { service }), isExternal: false, withoutExchange: false })

for (const [what, cluster, route, host, expected] of [
  ['as the cluster says', said({ host: 'a.b.svc', name: 'a', namespace: 'b' }), '', 'x', ['a.b.svc', 'a', 'b']],
  ['its name from the host', said({ host: 'a.b.svc', name: '', namespace: '' }), '', 'x', ['a.b.svc', 'a', '']],
  ['the host of the request', said(), '', 'api.example.com', ['api.example.com', 'api.example.com', '']],
  ['beyond the mesh', named('PassthroughCluster'), '', 'x:80', ['x:80', 'PassthroughCluster', '']],
  ['nowhere', undefined, 'block_all', 'x', ['x', 'BlackHoleCluster', '']],
  ['anywhere', said(), 'allow_any', 'x', ['x', 'PassthroughCluster', '']],
  ['not known', undefined, '', '', ['', '', '']],
] as const)
  test(`the service that was meant: ${what}`, () => {
    const { host: h, name, namespace } = findService(cluster, route, host)
    assert.deepEqual([h, name, namespace], expected)
  })

test('text: escaped, too long a value is unknown, labels removed, set and added', () => {
  const labels = {
    reporter: 'source',
    source_app: 'a"b\\c\nd',
    source_version: 'x'.repeat(600),
    grpc_response_status: '',
  }
  assert.equal(
    formatLabels(labels),
    'reporter="source",source_app="a\\"b\\\\c\\nd",source_version="unknown",grpc_response_status=""',
  )
  assert.equal(
    formatLabels(
      labels,
      new Map([
        ['source_app', undefined],
        ['source_version', '7'],
        ['destination_app', 'set'],
        ['site', 'north'],
      ]),
    ),
    'reporter="source",source_version="7",destination_app="set",grpc_response_status="",site="north"',
  )
})
