/** ext_authz as istiod and users write it: what becomes of each field, and what refuses everything. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import { decodeFilter, type } from './fields/filter-rig.ts'

const SERVER = { uri: 'http://auth.test:8000/x', cluster: 'auth', timeout: '1s' }
const GRPC = { envoy_grpc: { cluster_name: 'auth', authority: 'auth.test' }, timeout: '2s' }

const decoded = (config: JsonObject): ReturnType<typeof decodeFilter> =>
  decodeFilter('authz', { '@type': type('extensions.filters.http.ext_authz.v3.ExtAuthz'), ...config })
const name = (exact: string): JsonObject => ({ patterns: [{ exact }] })
const match = (value: string): object => ({ kind: 'exact', value, ignoreCase: false })

test('a service over HTTP, with the defaults of Envoy', () => {
  const { filter, blocked, ignored } = decoded({ http_service: { server_uri: SERVER } })
  assert.deepEqual([blocked, ignored], [[], []])
  assert.ok(filter.kind === 'ext-authz')
  assert.deepEqual(filter.authz, {
    service: {
      kind: 'http',
      cluster: 'auth',
      authority: 'auth.test:8000',
      timeoutMs: 1_000,
      headers: [],
      pathPrefix: '',
      path: undefined,
      upstream: [],
      upstreamAppended: [],
      client: undefined,
      clientOnSuccess: [],
      metadata: [],
    },
    failureAllows: false,
    failureIsTold: false,
    statusOnError: 403,
    body: undefined,
    reroutes: false,
    enabledBy: undefined,
    enabledFraction: 1,
    deniesOthers: false,
    allowed: undefined,
    disallowed: [],
    metadata: [],
    sendsServerName: false,
    validates: false,
  })
})

const ALL: JsonObject = {
  http_service: {
    server_uri: { ...SERVER, timeout: '0s' },
    path_prefix: '/check',
    path_override: '/all',
    authorization_request: { allowed_headers: name('x-old'), headers_to_add: [{ key: 'X-By', value: 'mesh' }] },
    authorization_response: {
      allowed_upstream_headers: name('x-user'),
      allowed_upstream_headers_to_append: name('x-more'),
      allowed_client_headers: name('x-why'),
      allowed_client_headers_on_success: name('x-told'),
      dynamic_metadata_from_headers: name('x-meta'),
    },
  },
  failure_mode_allow: true,
  failure_mode_allow_header_add: true,
  with_request_body: { max_request_bytes: 8, allow_partial_message: true, pack_as_bytes: true },
  clear_route_cache: true,
  status_on_error: { code: 'ServiceUnavailable' },
  metadata_context_namespaces: ['envoy.filters.http.jwt_authn'],
  filter_enabled: { default_value: { numerator: 50 } },
  filter_enabled_metadata: {
    filter: 'envoy.filters.http.rbac',
    path: [{ key: 'istio_ext_authz_shadow_effective_policy_id' }],
    value: { string_match: { prefix: 'istio-ext-authz' } },
  },
  deny_at_disable: { default_value: true, runtime_key: 'k' },
  disallowed_headers: name('x-secret'),
  include_tls_session: true,
  validate_mutations: true,
}
test('all that istiod and Envoy may say', () => {
  const { filter, blocked, ignored } = decoded(ALL)
  assert.deepEqual([blocked, ignored], [[], []])
  assert.ok(filter.kind === 'ext-authz')
  const { service, ...rest } = filter.authz
  assert.deepEqual(service, {
    kind: 'http',
    cluster: 'auth',
    authority: 'auth.test:8000',
    timeoutMs: 200,
    headers: ['x-by', 'mesh'],
    pathPrefix: '/check',
    path: '/all',
    upstream: [match('x-user')],
    upstreamAppended: [match('x-more')],
    client: [match('x-why')],
    clientOnSuccess: [match('x-told')],
    metadata: [match('x-meta')],
  })
  const { enabledBy, ...others } = rest
  assert.deepEqual(enabledBy?.path, ['istio_ext_authz_shadow_effective_policy_id'])
  assert.deepEqual(others, {
    failureAllows: true,
    failureIsTold: true,
    statusOnError: 503,
    body: { maxBytes: 8, partial: true, asBytes: true },
    reroutes: true,
    enabledFraction: 0.5,
    deniesOthers: true,
    allowed: [match('x-old')],
    disallowed: [match('x-secret')],
    metadata: ['envoy.filters.http.jwt_authn'],
    sendsServerName: true,
    validates: true,
  })
})

test('a service over gRPC; allowed_headers go before the deprecated ones', () => {
  const { filter } = decoded({
    grpc_service: { ...GRPC, initial_metadata: [{ key: 'a', value: 'b' }] },
    allowed_headers: name('x'),
  })
  assert.ok(filter.kind === 'ext-authz')
  assert.deepEqual(filter.authz.service, {
    kind: 'grpc',
    cluster: 'auth',
    authority: 'auth.test',
    timeoutMs: 2_000,
    headers: ['a', 'b'],
  })
  assert.deepEqual(filter.authz.allowed, [match('x')])
})

for (const [what, config] of Object.entries({
  'no service': {},
  'a service that is no cluster': { grpc_service: { timeout: '1s' } },
  'no cluster': { http_service: { server_uri: { uri: 'http://a' } } },
  'a body without a bound': { grpc_service: GRPC, with_request_body: { max_request_bytes: 1_000_000_000 } },
  'metadata that nobody writes': {
    grpc_service: GRPC,
    filter_enabled_metadata: { filter: 'a', path: [{ key: 'b' }], value: { present_match: true } },
  },
  'a command operator': { grpc_service: { ...GRPC, initial_metadata: [{ key: 'a', value: '%REQ(x)%' }] } },
}) as [string, JsonObject][])
  test(`the chain refuses everything: ${what}`, () => {
    const { filter, blocked } = decoded(config)
    assert.equal(filter.kind, 'blocked')
    assert.notDeepEqual(blocked, [])
  })
