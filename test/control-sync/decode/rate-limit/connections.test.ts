/** Network filters that limit connections, or ask a service about them. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import type { FilterChain } from '../../../../model/listener.ts'
import { good, issues, tcp } from '../listener/listener-rig.ts'

const filter = (kind: string, message: string, config: JsonObject): JsonObject => ({
  filters: [
    {
      name: 'f',
      typed_config: {
        '@type': `type.googleapis.com/envoy.extensions.filters.network.${kind}.v3.${message}`,
        stat_prefix: 's',
        ...config,
      },
    },
    tcp,
  ],
})
const rate = (more: JsonObject): JsonObject =>
  filter('local_ratelimit', 'LocalRateLimit', { token_bucket: { max_tokens: 2, fill_interval: '1s' }, ...more })
const count = (more: JsonObject): JsonObject =>
  filter('connection_limit', 'ConnectionLimit', { max_connections: 3, ...more })
const authz = (more: JsonObject): JsonObject =>
  filter('ext_authz', 'ExtAuthz', { grpc_service: { envoy_grpc: { cluster_name: 'auth' }, timeout: '2s' }, ...more })
const global = (more: JsonObject): JsonObject =>
  filter('ratelimit', 'RateLimit', {
    domain: 'd',
    rate_limit_service: { grpc_service: { envoy_grpc: { cluster_name: 'limits' }, timeout: '2s' } },
    descriptors: [{ entries: [{ key: 'k', value: 'a %% %DOWNSTREAM_REMOTE_ADDRESS%' }] }],
    ...more,
  })
const valued = (value: string): JsonObject => ({ descriptors: [{ entries: [{ key: 'k', value }] }] })
const chainOf = (filters: JsonObject): FilterChain => good({}, filters).value.filterChains[0]!

test('connections by rate, and by number', () => {
  assert.deepEqual(chainOf(rate({ share_key: 'k' })).limits, [
    { kind: 'rate', statPrefix: 's', bucket: { maxTokens: 2, tokensPerFill: 1, fillMs: 1_000 }, shareKey: 'k' },
  ])
  assert.deepEqual(chainOf(count({ delay: '0.5s' })).limits, [{ kind: 'count', statPrefix: 's', max: 3, delayMs: 500 }])
})

test('connections that a service counts', () => {
  const made = {
    kind: 'service',
    statPrefix: 's',
    domain: 'd',
    service: { kind: 'grpc', cluster: 'limits', authority: 'limits', timeoutMs: 20, headers: [] },
    descriptors: [[['k', 'a %% %DOWNSTREAM_REMOTE_ADDRESS%']]],
    failureDenies: false,
  }
  assert.deepEqual(chainOf(global({})).limits, [made])
  const denies = chainOf(global({ failure_mode_deny: true, timeout: '0.5s' })).limits
  assert.deepEqual(denies, [{ ...made, failureDenies: true, service: { ...made.service, timeoutMs: 500 } }])
})

test('runtime_enabled: there is no runtime layer, so what is off by default is off', () => {
  const off = { runtime_enabled: { default_value: false, runtime_key: 'k' } }
  assert.equal(chainOf(rate(off)).limits, undefined)
  assert.equal(chainOf(count(off)).limits, undefined)
  const on = { runtime_enabled: { default_value: true, runtime_key: 'k' } }
  assert.equal(chainOf(count(on)).limits?.length, 1)
})

test('ext_authz of connections', () => {
  const metadata = {
    filter: 'envoy.filters.network.rbac',
    path: [{ key: 'istio_ext_authz_shadow_effective_policy_id' }],
    value: { string_match: { prefix: 'istio-ext-authz' } },
  }
  const [made] = chainOf(
    authz({
      failure_mode_allow: true,
      include_peer_certificate: true,
      include_tls_session: true,
      filter_enabled_metadata: metadata,
    }),
  ).authz!
  assert.deepEqual(made, {
    statPrefix: 's',
    service: { kind: 'grpc', cluster: 'auth', authority: 'auth', timeoutMs: 2_000, headers: [] },
    failureAllows: true,
    enabledBy: {
      filter: 'envoy.filters.network.rbac',
      path: ['istio_ext_authz_shadow_effective_policy_id'],
      value: { kind: 'string', match: { kind: 'prefix', value: 'istio-ext-authz', ignoreCase: false } },
      invert: false,
    },
    sendsServerName: true,
    sendsCertificate: true,
  })
})

for (const [name, filters, problem] of [
  ['no tokens', rate({ token_bucket: { max_tokens: 0, fill_interval: '1s' } }), /max_tokens: must be 1 or more/],
  ['an interval below 50 ms', rate({ token_bucket: { max_tokens: 1, fill_interval: '0.001s' } }), /50 ms or more/],
  ['no connections', count({ max_connections: 0 }), /max_connections: must be 1 or more/],
  ['a delay before now', count({ delay: '-1s' }), /delay: a duration may not be negative/],
  ['no domain', global({ domain: '' }), /domain: is missing/],
  ['no descriptors', global({ descriptors: [] }), /descriptors: is empty/],
  ['no entries', global({ descriptors: [{}] }), /descriptors\[0\].entries: is empty/],
  ['no key', global({ descriptors: [{ entries: [{ value: 'v' }] }] }), /entries\[0\].key: is missing/],
  ['nobody who counts', global({ rate_limit_service: {} }), /grpc_service: is missing/],
  ['what is known of requests', global(valued('%REQ(x)%')), /%REQ\(x\)% is not known of a connection/],
  ['what is known after TLS', global(valued('%DOWNSTREAM_PEER_SUBJECT%')), /not known of a connection/],
  ['what nobody knows', global(valued('%WHAT%')), /%WHAT% is not supported/],
  ['a lone percent sign', global(valued('5% of')), /is not supported/],
  ['no service', authz({ grpc_service: {} }), /only envoy_grpc is supported/],
  [
    'metadata that nobody writes',
    authz({ filter_enabled_metadata: { filter: 'x', path: [{ key: 'a' }], value: { bool_match: true } } }),
    /asks for metadata that nobody here writes/,
  ],
] as readonly (readonly [string, JsonObject, RegExp])[])
  test(`the chain is blocked: ${name}`, () => assert.match(String(issues({}, filters)), problem))
