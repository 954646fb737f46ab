/**
 * What istiod sends of an ambient mesh (istio pilot/pkg/xds/endpoints/endpoint_builder.go,
 * networking/core/cluster_tls.go): recorded, and no hindrance to the rest.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { create, toBinary, type JsonObject } from '@bufbuild/protobuf'
import { listClusters, formatClustersAsJson, formatClusters } from '../../../agent/admin/clusters-page.ts'
import { EMPTY_TABLES, type Tables } from '../../../model/tables.ts'
import type { Cluster, ClusterLoad } from '../../../model/cluster.ts'
import { decode } from '../../../control-sync/decode/decode.ts'
import { Cluster_DiscoveryType, ClusterSchema } from '../../../proto/gen/envoy/config/cluster/v3/cluster_pb.ts'
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
const both = endpoint(
  { socket_address: { address: '10.0.0.2', port_value: 8080 } },
  { istio: { workload: 'w;n;s;v1;c', tunnel: 'http' } },
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
/** By hand: the type of the tunnel's transport socket is none of ours. */
function clusterOf(...matches: { name: string; match: JsonObject; type: string }[]): {
  value: Cluster
  ignored: readonly string[]
} {
  const decoded = decode(
    'cluster',
    toBinary(
      ClusterSchema,
      create(ClusterSchema, {
        name: 'c',
        clusterDiscoveryType: { case: 'type', value: Cluster_DiscoveryType.EDS },
        edsClusterConfig: {},
        transportSocketMatches: matches.map(({ name, match, type }) => ({
          name,
          match,
          transportSocket: {
            name,
            configType: {
              case: 'typedConfig' as const,
              value: { typeUrl: `type.googleapis.com/${type}`, value: new Uint8Array(0) },
            },
          },
        })),
      }),
    ),
  )
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded
}

test('an endpoint that has a tunnel besides is used as ever, and says so', () => {
  const [locality] = loadOf(plain, both).value.localities
  assert.deepEqual(
    locality?.endpoints.map((e) => [e.address, e.tunnel]),
    [
      ['10.0.0.1', undefined],
      ['10.0.0.2', 'http'],
    ],
  )
  assert.equal('tunnelled' in locality!, false)
})

test('an endpoint with nothing but a tunnel gets nothing, in plain text least of all; it is recorded and reported', () => {
  const { value, ignored } = loadOf(plain, onlyTunnel, waypoint)
  const [locality] = value.localities
  assert.deepEqual(
    locality?.endpoints.map((e) => e.address),
    ['10.0.0.1'],
  )
  assert.deepEqual(locality?.tunnelled, [
    { target: '10.0.0.3:8080', waypoint: undefined, listener: 'connect_originate', weight: 1, health: 'healthy' },
    { target: '10.96.0.1:80', waypoint: '10.0.0.9:15008', listener: 'connect_originate', weight: 1, health: 'healthy' },
  ])
  assert.deepEqual(
    ignored,
    [1, 2].map(
      (i) => `endpoints[0].lb_endpoints[${i}].endpoint.address (HBONE is not spoken: this endpoint gets nothing)`,
    ),
  )
})

test('a cluster of an ambient mesh is not refused for its tunnel; its other transports stay in order', () => {
  const { value, ignored } = clusterOf(
    {
      name: 'hbone',
      match: { tunnel: 'http' },
      type: 'envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport',
    },
    { name: 'tlsMode-disabled', match: {}, type: 'envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer' },
  )
  assert.deepEqual(value.transportMatches, [{ name: 'tlsMode-disabled', match: {}, transport: { kind: 'plaintext' } }])
  assert.deepEqual(ignored, ['transport_socket_matches[0].transport_socket (HBONE is not spoken)'])
})

test('/clusters shows both', () => {
  const tables: Tables = {
    ...EMPTY_TABLES,
    clusterNames: () => ['c'],
    cluster: () => clusterOf().value,
    load: () => loadOf(both, onlyTunnel).value,
  }
  const all = listClusters([], tables)
  assert.deepEqual(
    formatClusters(all)
      .split('\n')
      .filter((l) => l.includes('tunnel')),
    ['c::10.0.0.2:8080::tunnel::http', 'c::10.0.0.3:8080::tunnel::only (not spoken)'],
  )
  assert.match(
    JSON.stringify(formatClustersAsJson(all)),
    /"envoy_internal_address":\{"server_listener_name":"connect_originate","endpoint_id":"10\.0\.0\.3:8080"\}/,
  )
})

test('the internal listener that would open tunnels is no mistake: it has no port and no chain, and is left out in words', () => {
  const { bytes } = sample({
    '@type': `${ENVOY}.config.listener.v3.Listener`,
    name: 'connect_originate',
    traffic_direction: 'OUTBOUND',
  })
  // internal_listener = 27, empty; our protos do not have it.
  const decoded = decode('listener', Buffer.concat([bytes, Buffer.from([0xda, 0x01, 0x00])]))
  assert.ok(decoded.ok)
  assert.deepEqual(
    [
      decoded.blocked,
      decoded.skipped.length,
      decoded.value.bindToPort,
      decoded.value.filterChains,
      decoded.value.defaultFilterChain,
    ],
    [[], 1, false, [], undefined],
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
