/**
 * Where each message of Envoy's stands in a resource that decodes: what is put into it shows what the decoders make of
 * a field.
 */
import type { JsonObject } from '@bufbuild/protobuf'
import { placesOfFilters } from './filter-places.ts'
import { placesOfTunnels, tcpOfTunnels } from './tunnel-places.ts'
import { any, list, part, top, type Place } from './place.ts'
import { JWKS } from './values.ts'

const ADDRESS = { address: { socket_address: { address: '127.0.0.1', port_value: 1 } } }
const HCM = 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'
const TCP = 'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy'
const L4_RBAC = 'envoy.extensions.filters.network.rbac.v3.RBAC'
const HTTP_RBAC = 'envoy.extensions.filters.http.rbac.v3.RBAC'
const TLS = 'envoy.extensions.transport_sockets.tls.v3'
const OPTIONS = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions'
const FAULT = 'envoy.extensions.filters.http.fault.v3.HTTPFault'
const JWT_PACKAGE = 'envoy.extensions.filters.http.jwt_authn.v3'
const JWT = `${JWT_PACKAGE}.JwtAuthentication`
const JWT_PROVIDER: JsonObject = { issuer: 'i', local_jwks: { inline_string: JWKS } }
const ROUTER_TYPE = 'envoy.extensions.filters.http.router.v3.Router'
const ROUTER = {
  name: 'envoy.filters.http.router',
  typed_config: any('envoy.extensions.filters.http.router.v3.Router', {}),
}
const HCM_BASE: JsonObject = {
  stat_prefix: 's',
  rds: { route_config_name: 'r', config_source: { ads: {} } },
  http_filters: [ROUTER],
}
const PEM_FILES = { certificate_chain: { inline_string: 'chain' }, private_key: { inline_string: 'key' } }
const ROOTS = { trusted_ca: { inline_string: 'roots' } }
const RULES: JsonObject = {
  action: 'ALLOW',
  policies: { p: { permissions: [{ any: true }], principals: [{ any: true }] } },
}

const hcmChain = (message: JsonObject): JsonObject => ({ filters: [{ name: 'hcm', typed_config: any(HCM, message) }] })
const listener = top('listener', 'envoy.config.listener.v3.Listener', {
  name: 'l',
  address: ADDRESS.address,
  traffic_direction: 'INBOUND',
  filter_chains: [hcmChain(HCM_BASE)],
})
const chain = part(listener, 'envoy.config.listener.v3.FilterChain', hcmChain(HCM_BASE), (m) => ({
  filter_chains: list(m),
}))
const match = part(chain, 'envoy.config.listener.v3.FilterChainMatch', {}, (m) => ({ filter_chain_match: m }))
const listenerFilter = part(
  listener,
  'envoy.config.listener.v3.ListenerFilter',
  {
    name: 'envoy.filters.listener.tls_inspector',
    typed_config: any('envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector', {}),
  },
  (m) => ({ listener_filters: list(m) }),
)
const PROXY_PROTOCOL = 'envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol'
const proxyProtocol = part(listener, PROXY_PROTOCOL, {}, (m) => ({
  listener_filters: [{ name: 'pp', typed_config: any(PROXY_PROTOCOL, m) }],
}))
/** With rules: what is not implemented and changes what they are asked about refuses. */
const hcm = part(
  listener,
  HCM,
  {
    ...HCM_BASE,
    http_filters: [{ name: 'envoy.filters.http.rbac', typed_config: any(HTTP_RBAC, { rules: RULES }) }, ROUTER],
  },
  (m) => ({ filter_chains: [hcmChain(m)] }),
)
const TRACE = 'envoy.config.trace.v3'
const ZIPKIN_BASE: JsonObject = { collector_cluster: 'z', collector_endpoint_version: 'HTTP_JSON' }
const provider = (name: string, config: JsonObject): JsonObject => ({
  name: 't',
  typed_config: any(`${TRACE}.${name}`, config),
})
const tracing = part(hcm, `${HCM}.Tracing`, { provider: provider('ZipkinConfig', ZIPKIN_BASE) }, (m) => ({
  tracing: m,
}))
const LOG = 'envoy.config.accesslog.v3'
const FILE_LOG = 'envoy.extensions.access_loggers.file.v3.FileAccessLog'
const FORMAT = 'envoy.config.core.v3.SubstitutionFormatString'
const FILE_BASE: JsonObject = { path: '/dev/stdout' }
const accessLog = part(hcm, `${LOG}.AccessLog`, { name: 'l', typed_config: any(FILE_LOG, FILE_BASE) }, (m) => ({
  access_log: list(m),
}))
const tcp = tcpOfTunnels
const l4 = part(listener, L4_RBAC, { stat_prefix: 's', rules: RULES }, (m) => ({
  filter_chains: [
    {
      filters: [
        { name: 'rbac', typed_config: any(L4_RBAC, m) },
        { name: 'tcp', typed_config: any(TCP, tcp.base) },
      ],
    },
  ],
}))
const httpRbac = part(hcm, HTTP_RBAC, { rules: RULES }, (m) => ({
  http_filters: [{ name: 'envoy.filters.http.rbac', typed_config: any(HTTP_RBAC, m) }, ROUTER],
}))
const rules = part(httpRbac, 'envoy.config.rbac.v3.RBAC', RULES, (m) => ({ rules: m }))
const policy = part(
  rules,
  'envoy.config.rbac.v3.Policy',
  { permissions: [{ any: true }], principals: [{ any: true }] },
  (m) => ({ policies: { p: m } }),
)
const fault = part(hcm, FAULT, { abort: { http_status: 500, percentage: { numerator: 1 } } }, (m) => ({
  http_filters: [{ name: 'envoy.filters.http.fault', typed_config: any(FAULT, m) }, ROUTER],
}))
const jwt = part(hcm, JWT, { providers: { p: JWT_PROVIDER } }, (m) => ({
  http_filters: [{ name: 'envoy.filters.http.jwt_authn', typed_config: any(JWT, m) }, ROUTER],
}))
const jwtProvider = part(jwt, `${JWT_PACKAGE}.JwtProvider`, JWT_PROVIDER, (m) => ({ providers: { p: m } }))
const jwtRule = part(jwt, `${JWT_PACKAGE}.RequirementRule`, { match: { prefix: '/' } }, (m) => ({
  providers: { p: JWT_PROVIDER },
  requirement_map: { n: { provider_name: 'p' } },
  rules: list(m),
}))
const jwtRequirement = part(jwtRule, `${JWT_PACKAGE}.JwtRequirement`, { provider_name: 'p' }, (m) => ({ requires: m }))
const REMOTE_JWKS: JsonObject = { http_uri: { uri: 'https://id.test/k', cluster: 'id', timeout: '1s' } }
const remoteJwks = part({ ...jwtProvider, base: { issuer: 'i' } }, `${JWT_PACKAGE}.RemoteJwks`, REMOTE_JWKS, (m) => ({
  remote_jwks: m,
}))
const AUTHZ_PACKAGE = 'envoy.extensions.filters.http.ext_authz.v3'
const AUTHZ = `${AUTHZ_PACKAGE}.ExtAuthz`
const AUTHZ_HTTP: JsonObject = { server_uri: { uri: 'http://auth', cluster: 'auth', timeout: '1s' } }
const authz = part(hcm, AUTHZ, { http_service: AUTHZ_HTTP }, (m) => ({
  http_filters: [{ name: 'envoy.filters.http.ext_authz', typed_config: any(AUTHZ, m) }, ROUTER],
}))
const authzHttp = part(authz, `${AUTHZ_PACKAGE}.HttpService`, AUTHZ_HTTP, (m) => ({ http_service: m }))
const authzAnswer = part(authzHttp, `${AUTHZ_PACKAGE}.AuthorizationResponse`, {}, (m) => ({
  authorization_response: m,
}))
const authzRequest = part(authzHttp, `${AUTHZ_PACKAGE}.AuthorizationRequest`, {}, (m) => ({ authorization_request: m }))
const authzBody = part(authz, `${AUTHZ_PACKAGE}.BufferSettings`, { max_request_bytes: 9 }, (m) => ({
  with_request_body: m,
}))
const LIMIT = 'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit'
const BUCKET: JsonObject = { max_tokens: 9, fill_interval: '9s' }
const localLimit = part(hcm, LIMIT, { stat_prefix: 's', token_bucket: BUCKET }, (m) => ({
  http_filters: [{ name: 'envoy.filters.http.local_ratelimit', typed_config: any(LIMIT, m) }, ROUTER],
}))
const GLOBAL = 'envoy.extensions.filters.http.ratelimit.v3.RateLimit'
const globalLimit = part(
  hcm,
  GLOBAL,
  { domain: 'd', rate_limit_service: { grpc_service: { envoy_grpc: { cluster_name: 'l' } } } },
  (m) => ({ http_filters: [{ name: 'envoy.filters.http.ratelimit', typed_config: any(GLOBAL, m) }, ROUTER] }),
)
const network = (type: string, base: JsonObject): Place =>
  part(listener, type, base, (m) => ({
    filter_chains: [
      {
        filters: [
          { name: 'f', typed_config: any(type, m) },
          { name: 'tcp', typed_config: any(TCP, tcp.base) },
        ],
      },
    ],
  }))
const downstream = part(
  chain,
  `${TLS}.DownstreamTlsContext`,
  { common_tls_context: { tls_certificates: [PEM_FILES], validation_context: ROOTS } },
  (m) => ({ transport_socket: { name: 'tls', typed_config: any(`${TLS}.DownstreamTlsContext`, m) } }),
)

const table = top('route', 'envoy.config.route.v3.RouteConfiguration', {
  name: 'r',
  virtual_hosts: [{ name: 'v', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'c' } }] }],
})
const host = part(
  table,
  'envoy.config.route.v3.VirtualHost',
  { name: 'v', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'c' } }] },
  (m) => ({ virtual_hosts: list(m) }),
)
const route = part(host, 'envoy.config.route.v3.Route', { match: { prefix: '/' }, route: { cluster: 'c' } }, (m) => ({
  routes: list(m),
}))
const action = part(route, 'envoy.config.route.v3.RouteAction', { cluster: 'c', max_grpc_timeout: '9s' }, (m) => ({
  route: m,
}))
const MUTATION = 'envoy.extensions.filters.http.header_mutation.v3'
const headerMutation = part(hcm, `${MUTATION}.HeaderMutation`, {}, (m) => ({
  http_filters: [{ name: 'm', typed_config: any(`${MUTATION}.HeaderMutation`, m) }, ROUTER],
}))
const CORS = 'envoy.extensions.filters.http.cors.v3.CorsPolicy'
const cors = part(route, CORS, { allow_origin_string_match: [{ exact: 'a' }] }, (m) => ({
  typed_per_filter_config: { 'envoy.filters.http.cors': any(CORS, m) },
}))
const SESSION_PACKAGE = 'envoy.extensions.filters.http.stateful_session.v3'
const SESSION = `${SESSION_PACKAGE}.StatefulSession`
const COOKIES = 'envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState'
const SESSION_BASE: JsonObject = { session_state: { name: 'c', typed_config: any(COOKIES, { cookie: { name: 's' } }) } }
const session = part(hcm, SESSION, SESSION_BASE, (m) => ({
  http_filters: [{ name: 's', typed_config: any(SESSION, m) }, ROUTER],
}))
const redirect: Place = {
  type: 'envoy.config.route.v3.RedirectAction',
  base: { host_redirect: 'h' },
  embed: (m) => host.embed({ ...host.base, routes: [{ match: { prefix: '/' }, redirect: m }] }),
}
const direct: Place = {
  type: 'envoy.config.route.v3.DirectResponseAction',
  base: { status: 200 },
  embed: (m) => host.embed({ ...host.base, routes: [{ match: { prefix: '/' }, direct_response: m }] }),
}
const weighted = part(
  action,
  'envoy.config.route.v3.WeightedCluster',
  { clusters: [{ name: 'c', weight: 1 }] },
  (m) => ({ cluster: undefined as never, weighted_clusters: m }),
)

const cluster = top('cluster', 'envoy.config.cluster.v3.Cluster', {
  name: 'c',
  type: 'STRICT_DNS',
  load_assignment: { cluster_name: 'c', endpoints: [{ lb_endpoints: [{ endpoint: ADDRESS }] }] },
})
/** Towards TLS, which the automatic names are for. */
const options = part(cluster, OPTIONS, { explicit_http_config: { http_protocol_options: {} } }, (m) => ({
  transport_socket: {
    name: 'tls',
    typed_config: any(`${TLS}.UpstreamTlsContext`, { common_tls_context: { validation_context: ROOTS } }),
  },
  typed_extension_protocol_options: { [OPTIONS]: any(OPTIONS, m) },
}))
const upstream = part(
  cluster,
  `${TLS}.UpstreamTlsContext`,
  { sni: 'a.example', common_tls_context: { validation_context: ROOTS } },
  (m) => ({ transport_socket: { name: 'tls', typed_config: any(`${TLS}.UpstreamTlsContext`, m) } }),
)
const common = part(upstream, `${TLS}.CommonTlsContext`, { validation_context: ROOTS }, (m) => ({
  common_tls_context: m,
}))
const SOCKETS = 'envoy.extensions.transport_sockets'
const PROXY_UPSTREAM = `${SOCKETS}.proxy_protocol.v3.ProxyProtocolUpstreamTransport`
const IN_CLEAR: JsonObject = { name: 'raw', typed_config: any(`${SOCKETS}.raw_buffer.v3.RawBuffer`, {}) }
const proxyUpstream = part(cluster, PROXY_UPSTREAM, { transport_socket: IN_CLEAR }, (m) => ({
  transport_socket: { name: 'p', typed_config: any(PROXY_UPSTREAM, m) },
}))
const proxyConfig = part(proxyUpstream, 'envoy.config.core.v3.ProxyProtocolConfig', {}, (m) => ({ config: m }))
const FORWARD = 'envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig'
const FORWARD_BASE: JsonObject = { dns_cache_config: { name: 'n' } }
const forward = part(cluster, FORWARD, FORWARD_BASE, (m) => ({
  type: undefined as never,
  load_assignment: undefined as never,
  cluster_type: { name: 'envoy.clusters.dynamic_forward_proxy', typed_config: any(FORWARD, m) },
}))
const SNI_FORWARD = 'envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig'
const sniForward = part(listener, SNI_FORWARD, FORWARD_BASE, (m) => ({
  filter_chains: [
    {
      filters: [
        { name: 'sni', typed_config: any(SNI_FORWARD, m) },
        { name: 'tcp', typed_config: any(TCP, tcp.base) },
      ],
    },
  ],
}))
const load = top('endpoint', 'envoy.config.endpoint.v3.ClusterLoadAssignment', {
  cluster_name: 'c',
  endpoints: [{ lb_endpoints: [{ endpoint: ADDRESS }] }],
})
const locality = part(
  load,
  'envoy.config.endpoint.v3.LocalityLbEndpoints',
  { lb_endpoints: [{ endpoint: ADDRESS }] },
  (m) => ({ endpoints: list(m) }),
)
const lbEndpoint = part(locality, 'envoy.config.endpoint.v3.LbEndpoint', { endpoint: ADDRESS }, (m) => ({
  lb_endpoints: list(m),
}))

export const PLACES: readonly Place[] = [
  listener,
  chain,
  match,
  listenerFilter,
  proxyProtocol,
  hcm,
  part(hcm, `${HCM}.SetCurrentClientCertDetails`, {}, (m) => ({
    forward_client_cert_details: 'SANITIZE_SET',
    set_current_client_cert_details: m,
  })),
  part(hcm, `${HCM}.UpgradeConfig`, { upgrade_type: 'websocket' }, (m) => ({ upgrade_configs: list(m) })),
  part(hcm, 'envoy.config.core.v3.HttpProtocolOptions', {}, (m) => ({ common_http_protocol_options: m })),
  part(hcm, 'envoy.config.core.v3.Http1ProtocolOptions', {}, (m) => ({ http_protocol_options: m })),
  jwt,
  jwtProvider,
  jwtRule,
  tracing,
  part(tracing, `${TRACE}.ZipkinConfig`, ZIPKIN_BASE, (m) => ({ provider: provider('ZipkinConfig', m) })),
  part(tracing, `${TRACE}.OpenTelemetryConfig`, { grpc_service: { envoy_grpc: { cluster_name: 'c' } } }, (m) => ({
    provider: provider('OpenTelemetryConfig', m),
  })),
  part(tracing, 'envoy.type.tracing.v3.CustomTag', { tag: 'a', literal: { value: 'b' } }, (m) => ({
    custom_tags: list(m),
  })),
  accessLog,
  part(accessLog, `${LOG}.AccessLogFilter`, { or_filter: {} }, (m) => ({ filter: m })),
  part(accessLog, FILE_LOG, FILE_BASE, (m) => ({ typed_config: any(FILE_LOG, m) })),
  part(accessLog, FORMAT, { text_format: 'x' }, (m) => ({
    typed_config: any(FILE_LOG, { ...FILE_BASE, log_format: m }),
  })),
  jwtRequirement,
  remoteJwks,
  part(remoteJwks, `${JWT_PACKAGE}.JwksAsyncFetch`, {}, (m) => ({ async_fetch: m })),
  authz,
  authzHttp,
  authzRequest,
  authzAnswer,
  authzBody,
  localLimit,
  globalLimit,
  part(route, `${GLOBAL}PerRoute`, {}, (m) => ({
    typed_per_filter_config: { 'envoy.filters.http.ratelimit': any(`${GLOBAL}PerRoute`, m) },
  })),
  network('envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit', {
    stat_prefix: 's',
    token_bucket: BUCKET,
  }),
  network('envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit', {
    stat_prefix: 's',
    max_connections: 9,
  }),
  network('envoy.extensions.filters.network.ratelimit.v3.RateLimit', {
    stat_prefix: 's',
    domain: 'd',
    rate_limit_service: { grpc_service: { envoy_grpc: { cluster_name: 'l' } } },
    descriptors: [{ entries: [{ key: 'k', value: 'v' }] }],
  }),
  network('envoy.extensions.filters.network.ext_authz.v3.ExtAuthz', {
    stat_prefix: 's',
    grpc_service: { envoy_grpc: { cluster_name: 'auth' } },
  }),
  part(localLimit, 'envoy.type.v3.TokenBucket', BUCKET, (m) => ({ token_bucket: m })),
  part(
    localLimit,
    'envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor',
    { entries: [{ key: 'k' }], token_bucket: BUCKET },
    (m) => ({ descriptors: list(m) }),
  ),
  table,
  host,
  route,
  part(route, `${AUTHZ_PACKAGE}.CheckSettings`, { context_extensions: { a: 'b' } }, (m) => ({
    typed_per_filter_config: {
      'envoy.filters.http.ext_authz': any(`${AUTHZ_PACKAGE}.ExtAuthzPerRoute`, { check_settings: m }),
    },
  })),
  part(route, 'envoy.config.route.v3.RouteMatch', { prefix: '/' }, (m) => ({ match: m })),
  part(route, 'envoy.config.route.v3.HeaderMatcher', { name: 'x', present_match: true }, (m) => ({
    match: { prefix: '/', headers: list(m) },
  })),
  part(route, 'envoy.config.route.v3.QueryParameterMatcher', { name: 'x', string_match: { exact: 'b' } }, (m) => ({
    match: { prefix: '/', query_parameters: list(m) },
  })),
  part(route, 'envoy.config.core.v3.HeaderValueOption', { header: { key: 'x', value: 'y' } }, (m) => ({
    request_headers_to_add: list(m),
  })),
  action,
  part(action, 'envoy.config.route.v3.RateLimit', { actions: [{ remote_address: {} }] }, (m) => ({
    rate_limits: list(m),
  })),
  part(action, 'envoy.config.route.v3.RateLimit.Action', { generic_key: { descriptor_value: 'v' } }, (m) => ({
    rate_limits: [{ actions: list(m) }],
  })),
  cors,
  headerMutation,
  part(headerMutation, `${MUTATION}.Mutations`, {}, (m) => ({ mutations: m })),
  session,
  part(route, `${SESSION_PACKAGE}.StatefulSessionPerRoute`, {}, (m) => ({
    typed_per_filter_config: { s: any(`${SESSION_PACKAGE}.StatefulSessionPerRoute`, m) },
  })),
  part(session, 'envoy.type.http.v3.Cookie', { name: 's' }, (m) => ({
    session_state: { name: 'c', typed_config: any(COOKIES, { cookie: m }) },
  })),
  redirect,
  direct,
  weighted,
  part(weighted, 'envoy.config.route.v3.WeightedCluster.ClusterWeight', { name: 'c', weight: 1 }, (m) => ({
    clusters: list(m),
  })),
  part(action, 'envoy.config.route.v3.RetryPolicy', { retry_on: '5xx' }, (m) => ({ retry_policy: m })),
  part(action, 'envoy.config.route.v3.RouteAction.RequestMirrorPolicy', { cluster: 'd' }, (m) => ({
    request_mirror_policies: list(m),
  })),
  part(action, 'envoy.config.route.v3.RouteAction.HashPolicy', { header: { header_name: 'x' } }, (m) => ({
    hash_policy: list(m),
  })),
  part(action, 'envoy.config.route.v3.RouteAction.HashPolicy.Cookie', { name: 'x', ttl: '9s' }, (m) => ({
    hash_policy: [{ cookie: m }],
  })),
  part(action, 'envoy.config.route.v3.RouteAction.HashPolicy.Header', { header_name: 'x' }, (m) => ({
    hash_policy: [{ header: m }],
  })),
  part(action, 'envoy.config.route.v3.RouteAction.MaxStreamDuration', { grpc_timeout_header_max: '9s' }, (m) => ({
    max_stream_duration: m,
  })),
  cluster,
  part(cluster, 'envoy.config.cluster.v3.Cluster.CommonLbConfig', {}, (m) => ({
    lb_policy: 'MAGLEV',
    common_lb_config: m,
  })),
  part(cluster, 'envoy.config.cluster.v3.Cluster.LeastRequestLbConfig', {}, (m) => ({
    lb_policy: 'LEAST_REQUEST',
    least_request_lb_config: m,
  })),
  part(cluster, 'envoy.config.cluster.v3.Cluster.RoundRobinLbConfig', {}, (m) => ({ round_robin_lb_config: m })),
  part(cluster, 'envoy.config.cluster.v3.Cluster.SlowStartConfig', { slow_start_window: '9s' }, (m) => ({
    round_robin_lb_config: { slow_start_config: m },
  })),
  part(hcm, ROUTER_TYPE, {}, (m) => ({
    http_filters: [{ name: 'envoy.filters.http.router', typed_config: any(ROUTER_TYPE, m) }],
  })),
  part(cluster, 'envoy.config.cluster.v3.Cluster.RingHashLbConfig', {}, (m) => ({
    lb_policy: 'RING_HASH',
    ring_hash_lb_config: m,
  })),
  part(
    cluster,
    'envoy.config.cluster.v3.Cluster.TransportSocketMatch',
    { name: 'm', match: { j: 'w' }, transport_socket: { name: 'envoy.transport_sockets.raw_buffer' } },
    (m) => ({ transport_socket_matches: list(m) }),
  ),
  part(cluster, 'envoy.config.cluster.v3.CircuitBreakers.Thresholds', {}, (m) => ({
    circuit_breakers: { thresholds: list(m) },
  })),
  part(cluster, 'envoy.config.cluster.v3.OutlierDetection', {}, (m) => ({ outlier_detection: m })),
  part(cluster, 'envoy.config.cluster.v3.UpstreamConnectionOptions', {}, (m) => ({ upstream_connection_options: m })),
  part(cluster, 'envoy.config.core.v3.TcpKeepalive', {}, (m) => ({
    upstream_connection_options: { tcp_keepalive: m },
  })),
  part(cluster, 'envoy.config.core.v3.BindConfig', {}, (m) => ({ upstream_bind_config: m })),
  forward,
  part(forward, 'envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig', { name: 'n' }, (m) => ({
    dns_cache_config: m,
  })),
  sniForward,
  proxyUpstream,
  proxyConfig,
  part(proxyConfig, 'envoy.config.core.v3.TlvEntry', { type: 5, value: 'eA==' }, (m) => ({ added_tlvs: list(m) })),
  options,
  part(options, 'envoy.config.core.v3.UpstreamHttpProtocolOptions', { auto_sni: true }, (m) => ({
    upstream_http_protocol_options: m,
  })),
  load,
  locality,
  lbEndpoint,
  part(lbEndpoint, 'envoy.config.endpoint.v3.Endpoint', ADDRESS, (m) => ({ endpoint: m })),
  part(listener, 'envoy.config.core.v3.SocketAddress', { address: '::', port_value: 1 }, (m) => ({
    address: { socket_address: m },
  })),
  tcp,
  ...placesOfTunnels(cluster),
  part(tcp, `${TCP}.WeightedCluster.ClusterWeight`, { name: 'c', weight: 1 }, (m) => ({
    cluster: undefined as never,
    weighted_clusters: { clusters: list(m) },
  })),
  downstream,
  upstream,
  common,
  part(common, `${TLS}.TlsParameters`, {}, (m) => ({ tls_params: m })),
  part(common, `${TLS}.TlsCertificate`, PEM_FILES, (m) => ({ tls_certificates: list(m) })),
  part(common, `${TLS}.CertificateValidationContext`, ROOTS, (m) => ({ validation_context: m })),
  part(common, `${TLS}.SubjectAltNameMatcher`, { san_type: 'DNS', matcher: { exact: 'a.example' } }, (m) => ({
    validation_context: { ...ROOTS, match_typed_subject_alt_names: list(m) },
  })),
  l4,
  httpRbac,
  rules,
  policy,
  part(policy, 'envoy.config.rbac.v3.Permission', { destination_port: 1 }, (m) => ({ permissions: list(m) })),
  part(policy, 'envoy.config.rbac.v3.Principal', { authenticated: {} }, (m) => ({ principals: list(m) })),
  fault,
  ...placesOfFilters({ hcm, route, action }),
]
