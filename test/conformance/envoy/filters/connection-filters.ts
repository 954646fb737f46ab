/** Filters of connections as Envoy's configuration has them, and the services that they ask. */
import type http2 from 'node:http2'
import type { JsonObject } from '@bufbuild/protobuf'

export const type = (name: string): string => `type.googleapis.com/envoy.${name}`
export const filter = (kind: string, message: string, config: JsonObject): JsonObject => ({
  name: kind,
  typed_config: { '@type': type(`extensions.filters.network.${kind}.v3.${message}`), stat_prefix: 's', ...config },
})
export const rate = (tokens: number, more: JsonObject = {}): JsonObject =>
  filter('local_ratelimit', 'LocalRateLimit', {
    token_bucket: { max_tokens: tokens, tokens_per_fill: 1, fill_interval: '3600s' },
    ...more,
  })
export const count = (max: number, more: JsonObject = {}): JsonObject =>
  filter('connection_limit', 'ConnectionLimit', { max_connections: max, ...more })
export const authz = (more: JsonObject = {}, service = 'auth'): JsonObject =>
  filter('ext_authz', 'ExtAuthz', {
    grpc_service: { envoy_grpc: { cluster_name: service }, timeout: '0.3s' },
    transport_api_version: 'V3',
    ...more,
  })
export const global = (more: JsonObject = {}, service = 'auth'): JsonObject =>
  filter('ratelimit', 'RateLimit', {
    domain: 'd',
    timeout: '0.3s',
    rate_limit_service: {
      transport_api_version: 'V3',
      grpc_service: { envoy_grpc: { cluster_name: service } },
    },
    descriptors: [{ entries: [{ key: 'k', value: 'v' }] }],
    ...more,
  })
export const rbac = (action: 'ALLOW' | 'DENY'): JsonObject =>
  filter('rbac', 'RBAC', {
    rules: { action, policies: { p: { permissions: [{ any: true }], principals: [{ any: true }] } } },
  })
/** istiod's way to ask about some connections only. */
export const shadow = (): JsonObject =>
  filter('rbac', 'RBAC', {
    shadow_rules_stat_prefix: 'p_',
    shadow_rules: { action: 'DENY', policies: { p: { permissions: [{ any: true }], principals: [{ any: true }] } } },
  })
export const IF_MATCHED: JsonObject = {
  filter_enabled_metadata: {
    filter: 'envoy.filters.network.rbac',
    path: [{ key: 'p_shadow_effective_policy_id' }],
    value: { string_match: { exact: 'p' } },
  },
}
export const DENIES = { failure_mode_deny: true }
export const OFF = { runtime_enabled: { runtime_key: 'none', default_value: false } }

/** @param code of google.rpc.Status */
export function say(stream: http2.ServerHttp2Stream, code: number): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
  stream.end(Buffer.from(code === 0 ? [0, 0, 0, 0, 2, 10, 0] : [0, 0, 0, 0, 4, 10, 2, 8, code]))
}
/** @param code of RateLimitResponse */
export function answerCount(stream: http2.ServerHttp2Stream, code: number): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
  stream.end(Buffer.from([0, 0, 0, 0, 2, 8, code]))
}
export const HTTP2_CLUSTER = {
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': type('extensions.upstreams.http.v3.HttpProtocolOptions'),
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
}
