/**
 * What istiod sends of an ambient mesh (istio pilot/pkg/xds/endpoints/endpoint_builder.go,
 * networking/core/cluster_tls.go).
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { listClusters, formatClustersAsJson, formatClusters } from '../../../agent/admin/clusters-page.ts'
import { EMPTY_TABLES, type Tables } from '../../../model/tables.ts'
import { isInClear, selectTransport, type Cluster, type ClusterLoad } from '../../../model/cluster.ts'
import { decode } from '../../../control-sync/decode/decode.ts'
import { sample } from '../../helpers/control-plane/resources.ts'

const ENVOY = 'type.googleapis.com/envoy'
const endpoint = (address: JsonObject, filter_metadata: JsonObject): JsonObject => ({
  endpoint: { address },
  metadata: { filter_metadata },
})
const plain = endpoint(
  { socket_address: { address: '10.0.0.1', port_value: 8080 } },
  { 'envoy.transport_socket_match': { tlsMode: 'istio' } },
)
const onlyTunnel = endpoint(
  { envoy_internal_address: { server_listener_name: 'connect_originate', endpoint_id: '10.0.0.3:8080' } },
  {
    'envoy.transport_socket_match': { tunnel: 'http' },
    'envoy.filters.listener.original_dst': { local: '10.0.0.3:8080' },
  },
)
const waypoint = endpoint(
  { envoy_internal_address: { server_listener_name: 'connect_originate', endpoint_id: '10.0.0.9:15008' } },
  { 'envoy.filters.listener.original_dst': { local: '10.96.0.1:80', waypoint: '10.0.0.9:15008' } },
)

function loadOf(...lb_endpoints: JsonObject[]): { value: ClusterLoad; ignored: readonly string[] } {
  const decoded = decode(
    'endpoint',
    sample({
      '@type': `${ENVOY}.config.endpoint.v3.ClusterLoadAssignment`,
      cluster_name: 'c',
      endpoints: [{ lb_endpoints }],
    }).bytes,
  )
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded
}
const RAW: JsonObject = {
  name: 'envoy.transport_sockets.raw_buffer',
  typed_config: { '@type': `${ENVOY}.extensions.transport_sockets.raw_buffer.v3.RawBuffer` },
}
function clusterOf(...transport_socket_matches: JsonObject[]): { value: Cluster; ignored: readonly string[] } {
  const decoded = decode(
    'cluster',
    sample({
      '@type': `${ENVOY}.config.cluster.v3.Cluster`,
      name: 'c',
      type: 'EDS',
      eds_cluster_config: {},
      transport_socket_matches,
    }).bytes,
  )
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded
}
const TUNNELS: JsonObject = {
  name: 'hbone',
  match: { tunnel: 'http' },
  transport_socket: {
    name: 'envoy.transport_sockets.internal_upstream',
    typed_config: {
      '@type': `${ENVOY}.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport`,
      passthrough_metadata: [{ kind: { host: {} }, name: 'envoy.filters.listener.original_dst' }],
      transport_socket: RAW,
    },
  },
}
const CLEAR: JsonObject = { name: 'tlsMode-disabled', match: {}, transport_socket: RAW }

test('an endpoint behind an internal listener is where its tunnel leads, and by way of whom', () => {
  const { value, ignored } = loadOf(plain, onlyTunnel, waypoint)
  const [locality] = value.localities
  assert.deepEqual(
    locality?.endpoints.map((e) => [e.address, e.port, e.via]),
    [
      ['10.0.0.1', 8080, undefined],
      ['10.0.0.3', 8080, { listener: 'connect_originate' }],
      ['10.96.0.1', 80, { listener: 'connect_originate', waypoint: { host: '10.0.0.9', port: 15008 } }],
    ],
  )
  assert.deepEqual(ignored, [])
})

test('a tunnel that leads to no address, or by way of none, gets nothing', () => {
  const to = (section: JsonObject): JsonObject => ({
    endpoint: { address: { envoy_internal_address: { server_listener_name: 'connect_originate' } } },
    metadata: { filter_metadata: { 'envoy.filters.listener.original_dst': section } },
  })
  for (const local of ['app.default:80', '10.0.0.1', '10.0.0.1:0', '10.0.0.1:65536', '::1:80', '[fe80::1%lo]:80'])
    assert.deepEqual(loadOf(to({ local })).value.localities[0]!.endpoints, [], local)
  assert.deepEqual(loadOf(to({ local: '10.0.0.1:80', waypoint: 'w:1' })).value.localities[0]!.endpoints, [])
  assert.deepEqual(
    loadOf(to({ local: '[2001:db8::1]:80' })).value.localities[0]!.endpoints.map((e) => e.address),
    ['2001:db8::1'],
  )
})

test('internal_upstream is for endpoints behind internal listeners, and they have no other transport', () => {
  const { value: cluster, ignored } = clusterOf(TUNNELS, CLEAR)
  assert.deepEqual(ignored, [])
  const [direct, tunnelled] = loadOf(plain, onlyTunnel).value.localities[0]!.endpoints
  const labelled = { ...direct!, transportLabels: { tunnel: 'http' } }
  assert.deepEqual(selectTransport(cluster, direct!), { kind: 'plaintext' })
  assert.deepEqual(selectTransport(cluster, tunnelled!), { kind: 'plaintext', internal: true })
  assert.equal(selectTransport(cluster, labelled).kind, 'blocked')
  assert.equal(selectTransport(clusterOf(CLEAR).value, tunnelled!).kind, 'blocked')
  assert.deepEqual(
    [tunnelled, direct].map((e) => isInClear(selectTransport(cluster, e!))),
    [false, true],
  )
})

test('/clusters shows tunnels', () => {
  const tables: Tables = {
    ...EMPTY_TABLES,
    clusterNames: () => ['c'],
    cluster: () => clusterOf(TUNNELS).value,
    load: () => loadOf(onlyTunnel).value,
  }
  const all = listClusters([], tables)
  assert.deepEqual(
    formatClusters(all)
      .split('\n')
      .filter((l) => l.includes('tunnel')),
    ['c::10.0.0.3:8080::tunnel::connect_originate'],
  )
  assert.match(
    JSON.stringify(formatClustersAsJson(all)),
    /"envoy_internal_address":\{"server_listener_name":"connect_originate","endpoint_id":"10\.0\.0\.3:8080"\}/,
  )
})

test('additional_addresses of an endpoint; what is no socket is one way less', () => {
  const address = (of: string): JsonObject => ({ address: { socket_address: { address: of, port_value: 80 } } })
  const internal: JsonObject = { address: { envoy_internal_address: { server_listener_name: 'x' } } }
  const made = loadOf({
    endpoint: { ...address('10.0.0.1'), additional_addresses: [address('2001:db8::1'), internal] },
  })
  assert.deepEqual(made.value.localities[0]!.endpoints[0]!.others, [{ address: '2001:db8::1', port: 80 }])
  assert.equal(made.ignored.length, 1)
})
