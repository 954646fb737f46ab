/** A listener whose routes go through the filters that ask others, keep bodies or change them. */
const T = 'type.googleapis.com/envoy'
const HTTP = 'envoy.filters.http'

const filter = (name: string, type: string, config: object): object => ({
  name: `${HTTP}.${name}`,
  typed_config: { '@type': `${T}.extensions.filters.http.${type}`, ...config },
})
const of = (name: string, type: string, config: object): object => ({
  [`${HTTP}.${name}`]: { '@type': `${T}.extensions.filters.http.${type}`, ...config },
})
const anyHeader = { patterns: [{ prefix: 'x-' }] }
const always = { default_value: true, runtime_key: 'none' }

/** In the order of their passing. All but those of every route are off where a route does not switch them on. */
const FILTERS = [
  filter('rbac', 'rbac.v3.RBAC', {
    rules: {
      action: 'DENY',
      policies: {
        private: { permissions: [{ url_path: { path: { prefix: '/private' } } }], principals: [{ any: true }] },
      },
    },
  }),
  filter('health_check', 'health_check.v3.HealthCheck', {
    pass_through_mode: true,
    cache_time: '0.05s',
    headers: [{ name: 'x-a', string_match: { exact: 'a' } }],
  }),
  filter('compressor', 'compressor.v3.Compressor', {
    compressor_library: {
      name: 'gzip',
      typed_config: { '@type': `${T}.extensions.compression.gzip.compressor.v3.Gzip`, window_bits: 9 },
    },
    request_direction_config: { common_config: { enabled: always, min_content_length: 1 } },
    response_direction_config: { common_config: { min_content_length: 1 } },
  }),
  filter('grpc_web', 'grpc_web.v3.GrpcWeb', {}),
  filter('ext_authz', 'ext_authz.v3.ExtAuthz', {
    transport_api_version: 'V3',
    failure_mode_allow: true,
    failure_mode_allow_header_add: true,
    with_request_body: { max_request_bytes: 64, allow_partial_message: true },
    allowed_headers: anyHeader,
    http_service: {
      server_uri: { uri: 'http://odd', cluster: 'odd', timeout: '0.3s' },
      authorization_response: {
        allowed_upstream_headers: anyHeader,
        allowed_upstream_headers_to_append: anyHeader,
        allowed_client_headers: anyHeader,
        allowed_client_headers_on_success: anyHeader,
        dynamic_metadata_from_headers: anyHeader,
      },
    },
  }),
  filter('fault', 'fault.v3.HTTPFault', {
    delay: { fixed_delay: '0.03s', percentage: { numerator: 20 } },
    abort: { http_status: 503, percentage: { numerator: 5 } },
  }),
  filter('stateful_session', 'stateful_session.v3.StatefulSession', {
    session_state: {
      name: 'cookie',
      typed_config: {
        '@type': `${T}.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState`,
        cookie: { name: 'a', path: '/' },
      },
    },
  }),
  filter('buffer', 'buffer.v3.Buffer', { max_request_bytes: 64 }),
  filter('router', 'router.v3.Router', {}),
]
const off = (name: string, type: string): object => of(name, type, { disabled: true })
const NO_AUTH = off('ext_authz', 'ext_authz.v3.ExtAuthzPerRoute')
const NO_BUFFER = off('buffer', 'buffer.v3.BufferPerRoute')

const route = (prefix: string, cluster: string, action: object, filters: object): object => ({
  match: { prefix },
  route: { cluster, timeout: '2s', ...action },
  typed_per_filter_config: filters,
})
const redirects = {
  internal_redirect_policy: { max_internal_redirects: 2, redirect_response_codes: [301, 302, 303, 307] },
}
const mirrors = { request_mirror_policies: [{ cluster: 'odd' }] }
const retries = { retry_policy: { retry_on: '5xx,reset,connect-failure', num_retries: 2 } }

export const FILTERED_MANAGER = {
  '@type': `${T}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
  stat_prefix: 'filtered',
  normalize_path: true,
  upgrade_configs: [{ upgrade_type: 'websocket' }],
  local_reply_config: {
    mappers: [
      {
        filter: {
          status_code_filter: { comparison: { op: 'GE', value: { default_value: 500, runtime_key: 'none' } } },
        },
        body: { inline_string: 'an answer of our own' },
        headers_to_add: [{ header: { key: 'x-own', value: '%RESPONSE_CODE% %REQ(x-a)%' } }],
      },
    ],
  },
  route_config: {
    name: 'filtered',
    virtual_hosts: [
      {
        name: 'all',
        domains: ['*'],
        routes: [
          route('/odd2', 'odd2', { ...mirrors, ...retries }, { ...NO_AUTH, ...NO_BUFFER }),
          route('/odd', 'odd', redirects, { ...NO_AUTH }),
          route('/refused', 'refused', retries, { ...NO_BUFFER }),
          route('/', 'origin', mirrors, {}),
        ],
      },
    ],
  },
  http_filters: FILTERS,
}
