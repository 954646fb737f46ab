/** Listeners of an ambient mesh as istiod sends them (networking/core/listener_waypoint.go), and what is not quite that. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject, JsonValue } from '@bufbuild/protobuf'
import { decode } from '../../../../control-sync/decode/decode.ts'
import type { Cluster } from '../../../../model/cluster.ts'
import type { Codec, Listener } from '../../../../model/listener.ts'
import { sample } from '../../../helpers/control-plane/resources.ts'

const ENVOY = 'type.googleapis.com/envoy'
const CONNECT: JsonObject = {
  match: { connect_matcher: {} },
  route: { cluster: 'main_internal', upgrade_configs: [{ upgrade_type: 'CONNECT', connect_config: {} }] },
}
const state = (object_key: string, text: string): JsonObject => ({
  object_key,
  format_string: { text_format_source: { inline_string: text } },
  shared_with_upstream: 'ONCE',
})
const AUTHORITY: readonly JsonObject[] = [
  state('envoy.filters.listener.original_dst.local_ip', '%REQ(:AUTHORITY)%'),
  state('io.istio.connect_authority', '%REQ(:AUTHORITY)%'),
  state('envoy.filters.listener.original_dst.remote_ip', '%DOWNSTREAM_REMOTE_ADDRESS%'),
  state('io.istio.peer_principal', '%DOWNSTREAM_PEER_URI_SAN%'),
]
const stateFilter = (on_request_headers: readonly JsonObject[]): JsonObject => ({
  name: 'connect_authority',
  typed_config: {
    '@type': `${ENVOY}.extensions.filters.http.set_filter_state.v3.Config`,
    on_request_headers: [...on_request_headers],
  },
})
const ROUTER: JsonObject = {
  name: 'envoy.filters.http.router',
  typed_config: { '@type': `${ENVOY}.extensions.filters.http.router.v3.Router` },
}
const LUA: JsonObject = {
  name: 'lua',
  typed_config: { '@type': 'type.googleapis.com/udpa.type.v1.TypedStruct', type_url: 'x/envoy.lua.Lua', value: {} },
}

function listenerOf(more: JsonObject): Listener {
  const decoded = decode(
    'listener',
    sample({ '@type': `${ENVOY}.config.listener.v3.Listener`, name: 'l', ...more }).bytes,
  )
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value as Listener
}
function terminate(routes: JsonValue[], http_filters: JsonObject[], domains = ['*']): Codec {
  const manager: JsonObject = {
    '@type': `${ENVOY}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 'connect_terminate',
    route_config: { name: 'default', virtual_hosts: [{ name: 'default', domains, routes }] },
    http_filters,
    upgrade_configs: [{ upgrade_type: 'CONNECT' }],
    http2_protocol_options: { allow_connect: true },
  }
  const made = listenerOf({
    address: { socket_address: { address: '0.0.0.0', port_value: 15008 } },
    filter_chains: [{ filters: [{ name: 'http', typed_config: manager }] }],
  })
  return made.filterChains[0]!.codec
}

test('connect_terminate ends tunnels, each for the internal listener of its cluster', () => {
  assert.deepEqual(terminate([CONNECT], [stateFilter(AUTHORITY), ROUTER]), {
    kind: 'hbone',
    hbone: { cluster: 'main_internal' },
  })
})

test('what would say something else of a tunnel than what is done blocks it', () => {
  for (const [what, codec] of [
    ['an unknown filter', terminate([CONNECT], [LUA, ROUTER])],
    [
      'another identity',
      terminate([CONNECT], [stateFilter([state('io.istio.peer_principal', '%REQ(x-who)%')]), ROUTER]),
    ],
    [
      'another destination',
      terminate(
        [CONNECT],
        [stateFilter([state('envoy.filters.listener.original_dst.local_ip', '%REQ(x-to)%')]), ROUTER],
      ),
    ],
    ['some authorities only', terminate([CONNECT], [ROUTER], ['a.example'])],
    [
      'two clusters',
      terminate([CONNECT, { ...CONNECT, route: { ...(CONNECT['route'] as JsonObject), cluster: 'b' } }], [ROUTER]),
    ],
  ] as const)
    assert.equal(codec.kind, 'blocked', what)
})

test('a listener that takes more than CONNECT, or does not end it, is one for HTTP', () => {
  const get: JsonObject = { match: { prefix: '/' }, route: { cluster: 'a' } }
  const goesOn: JsonObject = {
    match: { connect_matcher: {} },
    route: { cluster: 'a', upgrade_configs: [{ upgrade_type: 'CONNECT' }] },
  }
  for (const routes of [
    [CONNECT, get],
    [goesOn],
    [{ ...CONNECT, match: { connect_matcher: {}, headers: [{ name: 'a', present_match: true }] } }],
  ])
    assert.equal(terminate(routes, [ROUTER]).kind, 'http')
})

const tunnelling = (config: JsonObject): JsonObject => ({
  filter_chains: [
    {
      filters: [
        {
          name: 'tcp',
          typed_config: {
            '@type': `${ENVOY}.extensions.filters.network.tcp_proxy.v3.TcpProxy`,
            stat_prefix: 's',
            cluster: 'connect_originate',
            tunneling_config: config,
          },
        },
      ],
    },
  ],
})
const TO_WHERE_IT_WAS_GOING = { hostname: '%DOWNSTREAM_LOCAL_ADDRESS%' }

test('connect_originate opens tunnels to where a connection was going; it has no port', () => {
  const made = listenerOf({ internal_listener: {}, ...tunnelling(TO_WHERE_IT_WAS_GOING) })
  const { codec } = made.filterChains[0]!
  assert.deepEqual([made.internal, made.bindToPort, made.address], [true, false, ''])
  assert.ok(codec.kind === 'tcp' && codec.tcp.tunnels)
})

test('tunneling_config elsewhere, to another host or by POST is blocked: bytes would reach somebody else', () => {
  const port: JsonObject = { address: { socket_address: { address: '127.0.0.1', port_value: 80 } } }
  for (const [what, more] of [
    ['a port', { ...port, ...tunnelling(TO_WHERE_IT_WAS_GOING) }],
    ['a constant host', { internal_listener: {}, ...tunnelling({ hostname: 'a.example:80' }) }],
    ['POST', { internal_listener: {}, ...tunnelling({ ...TO_WHERE_IT_WAS_GOING, use_post: true }) }],
  ] as const)
    assert.equal(listenerOf(more).filterChains[0]!.codec.kind, 'blocked', what)
})

test('the cluster that leads to an internal listener, and the one that goes to another port of the destination', () => {
  const clusterOf = (more: JsonObject): Cluster => {
    const decoded = decode(
      'cluster',
      sample({ '@type': `${ENVOY}.config.cluster.v3.Cluster`, name: 'c', ...more }).bytes,
    )
    assert.ok(decoded.ok, JSON.stringify(decoded))
    return decoded.value as Cluster
  }
  const lb_endpoints = [
    { endpoint: { address: { envoy_internal_address: { server_listener_name: 'main_internal' } } } },
  ]
  assert.deepEqual(
    clusterOf({ type: 'STATIC', load_assignment: { cluster_name: 'c', endpoints: [{ lb_endpoints }] } }).discovery,
    { kind: 'internal', listener: 'main_internal' },
  )
  const original: JsonObject = { type: 'ORIGINAL_DST', lb_policy: 'CLUSTER_PROVIDED' }
  assert.deepEqual(clusterOf({ ...original, original_dst_lb_config: { upstream_port_override: 15008 } }).discovery, {
    kind: 'original-dst',
    portOverride: 15008,
  })
  assert.deepEqual(clusterOf(original).discovery, { kind: 'original-dst' })
})
