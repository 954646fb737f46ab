/** Fields that ask for a removal, a limit or a refusal, and that meshlet does not act upon: what they are for is blocked. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { fromJson, toBinary, type JsonObject } from '@bufbuild/protobuf'
import { decode, type ModelOf } from '../../../../control-sync/decode/decode.ts'
import type { Decoded } from '../../../../model/snapshot.ts'
import { loadFullRegistry } from '../../../../proto/full/registry.ts'

const T = 'type.googleapis.com/envoy.extensions'
const TYPES = {
  cluster: 'envoy.config.cluster.v3.Cluster',
  endpoint: 'envoy.config.endpoint.v3.ClusterLoadAssignment',
  listener: 'envoy.config.listener.v3.Listener',
  route: 'envoy.config.route.v3.RouteConfiguration',
} as const
/** From Envoy's own messages: meshlet's leave fields out. */
function read<K extends keyof typeof TYPES>(kind: K, json: JsonObject): Extract<Decoded<ModelOf<K>>, { ok: true }> {
  const registry = loadFullRegistry()
  const schema = registry.getMessage(TYPES[kind])!
  const decoded = decode(kind, toBinary(schema, fromJson(schema, json, { registry })))
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded as Extract<Decoded<ModelOf<K>>, { ok: true }>
}

const cluster = (more: JsonObject): string => read('cluster', { name: 'c', ...more }).value.blocked ?? 'not blocked'
const policy = (typed_config: JsonObject): JsonObject => ({
  load_balancing_policy: { policies: [{ typed_extension_config: { name: 'p', typed_config } }] },
})
/** Of a type that the registry does not have. */
const struct = (type: string): JsonObject => ({
  '@type': 'type.googleapis.com/xds.type.v3.TypedStruct',
  type_url: `${T}.${type}`,
})
const MUTATION = { '@type': `${T}.filters.http.header_mutation.v3.HeaderMutation` }
const CODEC = struct('filters.http.upstream_codec.v3.UpstreamCodec')
const options = (typed_config: JsonObject): JsonObject => ({
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': `${T}.upstreams.http.v3.HttpProtocolOptions`,
      explicit_http_config: { http_protocol_options: {} },
      http_filters: [{ name: 'f', typed_config }],
    },
  },
})
const forward = (dns_cache_config: JsonObject): JsonObject => ({
  lb_policy: 'CLUSTER_PROVIDED',
  cluster_type: {
    name: 'envoy.clusters.dynamic_forward_proxy',
    typed_config: {
      '@type': `${T}.clusters.dynamic_forward_proxy.v3.ClusterConfig`,
      dns_cache_config: { name: 'n', ...dns_cache_config },
    },
  },
})
for (const [why, more, want] of [
  ['endpoints of a subset', { lb_subset_config: { subset_selectors: [{ keys: ['version'] }] } }, /lb_subset_config/],
  [
    'endpoints of a subset, by a policy',
    policy(struct('load_balancing_policies.subset.v3.Subset')),
    /load_balancing_policy/,
  ],
  ['a policy about the order only', policy(struct('load_balancing_policies.random.v3.Random')), /^not blocked$/],
  [
    "connections of one client's own",
    { connection_pool_per_downstream_connection: true },
    /connection_pool_per_downstream_connection/,
  ],
  ['addresses that are kept out', forward({ resolved_address_filter: {} }), /resolved_address_filter/],
  ['a filter that takes away, on the way to the endpoint', options(MUTATION), /http_filters.*HeaderMutation/],
  ['a filter that is there anyway', options(CODEC), /^not blocked$/],
] as [string, JsonObject, RegExp][])
  test(`a cluster: ${why}`, () => assert.match(cluster(more), want))

test('drop_overloads: nothing is sent; the rest of a policy of endpoints changes nothing', () => {
  const address = { socket_address: { address: '10.0.0.1', port_value: 80 } }
  const load = (of: JsonObject): number =>
    read('endpoint', {
      cluster_name: 'c',
      endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }],
      policy: of,
    }).value.localities.length
  assert.equal(load({ drop_overloads: [{ category: 'c', drop_percentage: { numerator: 1 } }] }), 0)
  assert.equal(load({ overprovisioning_factor: 140 }), 1)
})

function route(action: JsonObject, more: JsonObject = {}): ReturnType<typeof firstAction> {
  return firstAction({ match: { prefix: '/' }, route: { cluster: 'd', ...action }, ...more })
}
const firstAction = (one: JsonObject): ModelOf<'route'>['virtualHosts'][number]['routes'][number]['action'] =>
  read('route', { name: 't', virtual_hosts: [{ name: 'h', domains: ['*'], routes: [one] }] }).value.virtualHosts[0]!
    .routes[0]!.action

test('metadata_match is harmless where a cluster has no subsets, and lb_subset_config blocks those that have', () =>
  assert.equal(route({ metadata_match: { filter_metadata: { 'envoy.lb': { version: '1' } } } }).kind, 'forward'))
test('request_headers_mutations of a mirror: it would get what is to be taken away, and gets nothing', () => {
  const mirrors = (more: JsonObject): unknown => {
    const action = route({ request_mirror_policies: [{ cluster: 'd', ...more }] })
    return action.kind === 'forward' && action.mirrors?.length
  }
  assert.equal(mirrors({ request_headers_mutations: [{ remove: 'authorization' }] }), 0)
  assert.equal(mirrors({ host_rewrite_literal: 'x' }), 1)
})
test('retriable_request_headers: no request is tried again, also not as the virtual host has it', () => {
  const retries = (more: JsonObject): unknown => {
    const action = route({ retry_policy: { retry_on: '5xx', ...more } })
    return action.kind === 'forward' && action.retry?.on.size
  }
  assert.equal(retries({ retriable_request_headers: [{ name: 'x-safe', present_match: true }] }), 0)
  assert.equal(retries({}), 1)
})
test('fcds_config: without chains that come by it another one may serve their clients: the listener is blocked', () =>
  assert.deepEqual(read('listener', { name: 'l', fcds_config: {} }).blocked.at(-1), {
    path: 'fcds_config',
    problem: 'is not supported',
  }))

test('vhds: without hosts that come by it another one may serve their clients: the table is blocked', () =>
  assert.deepEqual(read('route', { name: 't', vhds: {} }).blocked.at(-1), {
    path: 'vhds',
    problem: 'is not supported',
  }))

type HttpFilters = Extract<ModelOf<'listener'>['filterChains'][number]['codec'], { kind: 'http' }>['http']['filters']
function filtersOf(...http_filters: JsonObject[]): HttpFilters {
  const hcm = {
    '@type': `${T}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 's',
    rds: { route_config_name: 'r', config_source: { ads: {} } },
    http_filters: http_filters.map((typed_config, i) => ({ name: `f${i}`, typed_config })),
  }
  const { value } = read('listener', {
    name: 'l',
    address: { socket_address: { address: '127.0.0.1', port_value: 1 } },
    traffic_direction: 'OUTBOUND',
    filter_chains: [{ filters: [{ name: 'hcm', typed_config: hcm }] }],
  })
  const { codec } = value.filterChains[0]!
  return codec.kind === 'http' ? codec.http.filters : []
}
const reasons = (...filters: JsonObject[]): string[] =>
  filtersOf(...filters).flatMap((f) => (f.kind === 'blocked' ? f.reason : []))

for (const [field, remove] of [
  ['query_parameter_mutations', { remove: 'x' }],
  ['response_trailers_mutations', { remove: 'x' }],
  ['request_trailers_mutations', { remove: 'x' }],
] as const)
  test(`${field}: a removal would be lost: the filter is blocked, of a route the route`, () => {
    assert.match(reasons({ ...MUTATION, mutations: { [field]: [remove] } }).join(), new RegExp(field))
    const own = { '@type': `${MUTATION['@type']}PerRoute`, mutations: { [field]: [remove] } }
    const action = route({}, { typed_per_filter_config: { m: own } })
    assert.match(action.kind === 'blocked' ? action.reason : '', new RegExp(field))
  })
test('upstream_http_filters of the router: filters that take away are not run there, and block', () => {
  const router = (typed_config: JsonObject): JsonObject => ({
    '@type': `${T}.filters.http.router.v3.Router`,
    upstream_http_filters: [{ name: 'u', typed_config }],
  })
  assert.match(reasons(router(MUTATION)).join(), /upstream_http_filters.*HeaderMutation/)
  assert.deepEqual(reasons(router(CODEC)), [])
})
