/**
 * Fields for which a value of their kind alone says nothing: others have to be there, or only some values are taken. By
 * message and field.
 */
import type { JsonObject, JsonValue } from '@bufbuild/protobuf'

const ADDRESS = { socket_address: { address: '127.0.0.1', port_value: 9 } }
const RANGE = { address_prefix: '10.0.0.0', prefix_len: 8 }
const ROUTE = { match: { prefix: '/x' }, route: { cluster: 'd' } }
const REWRITE = { pattern: { regex: 'a' }, substitution: 'b' }
const SDS = (name: string): JsonValue => ({ name })
const TLS = {
  '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
  sni: 'b.example',
}
const ROOTS = { trusted_ca: { inline_string: 'others' } }
const HEADER_SESSION = {
  name: 'h',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState',
    name: 'x-session',
  },
}
const PEM = { certificate_chain: { inline_string: 'c' }, private_key: { inline_string: 'k' } }
const FILE_LOG = {
  name: 'file',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog',
    path: '/dev/stdout',
  },
}
const TEMPLATE = {
  name: 'envoy.path.match.uri_template.uri_template_matcher',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig',
    path_template: '/a/*',
  },
}
const TRACER = {
  name: 't',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.config.trace.v3.ZipkinConfig',
    collector_cluster: 'y',
    collector_endpoint_version: 'HTTP_JSON',
  },
}
const RETRY = { retry_on: 'gateway-error' }

/** What else has to be set for a field to mean something. */
/** Keys of somebody (RFC 8037 §A.2), once with an id. */
export const JWKS = '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
const OTHER_JWKS = JWKS.replace('}]}', ',"kid":"a"}]}')

export const WITH: Readonly<Record<string, JsonObject>> = {
  'Cluster.eds_cluster_config': { type: 'EDS' },
  'Cluster.ring_hash_lb_config': { lb_policy: 'RING_HASH' },
  'Cluster.original_dst_lb_config': {
    type: 'ORIGINAL_DST',
    lb_policy: 'CLUSTER_PROVIDED',
    load_assignment: undefined as never,
  },
  'Cluster.maglev_lb_config': { lb_policy: 'MAGLEV' },
  'Cluster.least_request_lb_config': { lb_policy: 'LEAST_REQUEST' },
  'CircuitBreakers.Thresholds.priority': { max_connections: 7 },
  'OutlierDetection.consecutive_gateway_failure': { enforcing_consecutive_gateway_failure: 100 },
  'OutlierDetection.consecutive_local_origin_failure': { split_external_local_origin_errors: true },
  'OutlierDetection.enforcing_consecutive_local_origin_failure': { split_external_local_origin_errors: true },
  'UpstreamHttpProtocolOptions.override_auto_sni_header': { auto_sni: true },
  'RBAC.shadow_rules_stat_prefix': { shadow_rules: {} },
  'JwtProvider.pad_forward_payload_header': { forward_payload_header: 'x-p' },
}

const NAMES = { patterns: [{ exact: 'x-a' }] }
const GRPC = { envoy_grpc: { cluster_name: 'c' } }
export const VALUES: Readonly<Record<string, readonly JsonValue[]>> = {
  'Cluster.cluster_type': [
    {
      name: 'envoy.clusters.dynamic_forward_proxy',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig',
        dns_cache_config: { name: 'n' },
      },
    },
  ],
  'DnsCacheConfig.max_hosts': [7],
  'ClusterConfig.dns_cache_config': [{ name: 'm', max_hosts: 7 }],
  'StatefulSession.session_state': [HEADER_SESSION],
  'StatefulSession.status_on_strict_destination_not_found': [410],
  'StatefulSessionPerRoute.stateful_session': [{ session_state: HEADER_SESSION }],
  'CommonLbConfig.override_host_status': [{ statuses: ['DRAINING'] }],
  'HttpConnectionManager.local_reply_config': [{ body_format: { text_format: 'x' } }],
  'Compressor.compressor_library': [
    {
      name: 'm',
      typed_config: { '@type': 'type.googleapis.com/envoy.extensions.compression.brotli.compressor.v3.Brotli' },
    },
  ],
  'Compressor.response_direction_config': [{ disable_on_etag_header: true }],
  'Compressor.request_direction_config': [{}],
  'Compressor.ResponseDirectionConfig.common_config': [{ min_content_length: 9 }],
  'CompressorPerRoute.overrides': [{ response_direction_config: {} }],
  'Gzip.window_bits': [10],
  'Brotli.window_bits': [11],
  'Brotli.input_block_bits': [17],
  'Cluster.original_dst_lb_config': [{ upstream_port_override: 15_008 }],
  'InternalUpstreamTransport.transport_socket': [{ name: 'tls', typed_config: TLS }],
  'Cluster.OriginalDstLbConfig.upstream_port_override': [15_008],
  'TcpProxy.tunneling_config': [{ hostname: '%DOWNSTREAM_LOCAL_ADDRESS%' }],
  'RouteAction.internal_redirect_policy': [{}],
  'InternalRedirectPolicy.max_internal_redirects': [7],
  'InternalRedirectPolicy.redirect_response_codes': [[301]],
  'InternalRedirectPolicy.predicates': [
    [
      {
        name: 'p',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig',
        },
      },
    ],
  ],
  'InternalRedirectPolicy.response_headers_to_copy': [['x-a']],
  'LocalReplyConfig.mappers': [[{ filter: { not_health_check_filter: {} } }]],
  'LocalReplyConfig.body_format': [{ text_format: 'x' }],
  'ResponseMapper.filter': [{ not_health_check_filter: {} }],
  'ResponseMapper.status_code': [400],
  'ResponseMapper.body': [{ inline_string: 'x' }],
  'ResponseMapper.body_format_override': [{ text_format: 'x' }],
  'ResponseMapper.headers_to_add': [[{ header: { key: 'x', value: 'y' } }]],
  'ProxyProtocolUpstreamTransport.config': [{ version: 'V2' }],
  'ProxyProtocolUpstreamTransport.transport_socket': [{ name: 'tls', typed_config: TLS }],
  'LocalRateLimit.status': [{ code: 503 }],
  'LocalRateLimit.rate_limits': [[{ actions: [{ remote_address: {} }] }]],
  'RateLimit.descriptors': [[{ entries: [{ key: 'other' }] }]],
  'RateLimit.rate_limits': [[{ actions: [{ remote_address: {} }] }]],
  'RateLimit.request_type': ['internal'],
  'RateLimit.rate_limited_status': [{ code: 503 }],
  'RateLimit.status_on_error': [{ code: 503 }],
  'RateLimit.rate_limit_service': [{ grpc_service: { envoy_grpc: { cluster_name: 'other' } } }],
  'RateLimitPerRoute.rate_limits': [[{ actions: [{ remote_address: {} }] }]],
  'RouteAction.rate_limits': [[{ actions: [{ remote_address: {} }] }]],
  'VirtualHost.rate_limits': [[{ actions: [{ remote_address: {} }] }]],
  'RateLimit.actions': [[{ destination_cluster: {} }]],
  'RateLimit.limit': [{ dynamic_metadata: { metadata_key: { key: 'f', path: [{ key: 'a' }] } } }],
  'ExtAuthz.grpc_service': [GRPC],
  'ExtAuthz.http_service': [{ server_uri: { uri: 'http://b', cluster: 'b', timeout: '2s' } }],
  'ExtAuthz.with_request_body': [{ max_request_bytes: 7 }],
  'ExtAuthz.filter_enabled_metadata': [
    {
      filter: 'envoy.filters.http.rbac',
      path: [{ key: 'istio_ext_authz_shadow_effective_policy_id' }],
      value: { string_match: { prefix: 'istio-ext-authz' } },
    },
  ],
  'ExtAuthz.allowed_headers': [NAMES],
  'ExtAuthz.disallowed_headers': [NAMES],
  'ExtAuthz.status_on_error': [{ code: 'ServiceUnavailable' }],
  'ExtAuthz.deny_at_disable': [{ default_value: true, runtime_key: 'k' }],
  'ExtAuthz.filter_enabled': [{ default_value: { numerator: 50 } }],
  'HttpService.server_uri': [{ uri: 'http://b', cluster: 'b', timeout: '2s' }],
  'HttpService.path_prefix': ['/p'],
  'HttpService.authorization_request': [{ headers_to_add: [{ key: 'x-a', value: 'b' }] }],
  'HttpService.authorization_response': [{ allowed_client_headers: NAMES }],
  'AuthorizationRequest.allowed_headers': [NAMES],
  'AuthorizationRequest.headers_to_add': [[{ key: 'x-a', value: 'b' }]],
  'AuthorizationResponse.allowed_upstream_headers': [NAMES],
  'AuthorizationResponse.allowed_client_headers': [NAMES],
  'AuthorizationResponse.allowed_upstream_headers_to_append': [NAMES],
  'AuthorizationResponse.allowed_client_headers_on_success': [NAMES],
  'AuthorizationResponse.dynamic_metadata_from_headers': [NAMES],
  'CheckSettings.with_request_body': [{ max_request_bytes: 7 }],
  'Listener.address': [ADDRESS],
  'Listener.default_filter_chain': [
    {
      filters: [
        {
          name: 'tcp',
          typed_config: {
            '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
            stat_prefix: 's',
            cluster: 'd',
          },
        },
      ],
    },
  ],
  'Listener.listener_filters': [[{ name: 'envoy.filters.listener.tls_inspector' }]],
  'FilterChain.filter_chain_match': [{ destination_port: 9 }],
  'FilterChain.transport_socket': [
    {
      name: 'tls',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
        common_tls_context: { tls_certificates: [PEM] },
      },
    },
  ],
  'FilterChain.filters': [
    [
      {
        name: 'tcp',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
          stat_prefix: 's',
          cluster: 'd',
        },
      },
    ],
  ],
  'FilterChainMatch.prefix_ranges': [[RANGE]],
  'FilterChainMatch.source_prefix_ranges': [[RANGE]],
  'FilterChainMatch.direct_source_prefix_ranges': [[RANGE]],
  'FilterChainMatch.transport_protocol': ['tls'],
  'ListenerFilter.typed_config': [
    { '@type': 'type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector' },
  ],
  'ListenerFilter.name': ['envoy.filters.listener.http_inspector'],
  'HttpConnectionManager.http_filters': [
    [
      {
        name: 'envoy.filters.http.cors',
        typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors' },
      },
    ],
  ],
  'HttpConnectionManager.access_log': [[FILE_LOG]],
  'HttpConnectionManager.tracing': [{ provider: TRACER }],
  'HttpConnectionManager.Tracing.client_sampling': [{ value: 5 }],
  'HttpConnectionManager.Tracing.random_sampling': [{ value: 5 }],
  'HttpConnectionManager.Tracing.overall_sampling': [{ value: 5 }],
  'HttpConnectionManager.Tracing.custom_tags': [[{ tag: 'a', literal: { value: 'b' } }]],
  'HttpConnectionManager.Tracing.provider': [TRACER],
  'ZipkinConfig.collector_endpoint_version': ['HTTP_PROTO'],
  'ZipkinConfig.trace_context_option': ['USE_B3_WITH_W3C_PROPAGATION'],
  'ZipkinConfig.shared_span_context': [false],
  'OpenTelemetryConfig.grpc_service': [{ envoy_grpc: { cluster_name: 'd' } }],
  'Listener.access_log': [[FILE_LOG]],
  'TcpProxy.access_log': [[FILE_LOG]],
  'AccessLog.filter': [{ not_health_check_filter: {} }],
  'AccessLogFilter.status_code_filter': [{ comparison: { op: 'GE', value: { default_value: 5, runtime_key: 'k' } } }],
  'AccessLogFilter.or_filter': [{ filters: [{ traceable_filter: {} }] }],
  'AccessLogFilter.duration_filter': [{ comparison: { op: 'GE', value: { default_value: 5, runtime_key: 'k' } } }],
  'AccessLogFilter.header_filter': [{ header: { name: 'x', present_match: true } }],
  'AccessLogFilter.metadata_filter': [
    { matcher: { filter: 'f', path: [{ key: 'a' }], value: { present_match: true } } },
  ],
  'AccessLogFilter.extension_filter': [
    {
      name: 'cel',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter',
        expression: 'response.code == 1',
      },
    },
  ],
  'FileAccessLog.format': ['%RESPONSE_CODE%'],
  'FileAccessLog.path': ['/elsewhere'],
  'FileAccessLog.typed_json_format': [{ a: 'b' }],
  'FileAccessLog.log_format': [{ text_format: 'x' }],
  'SubstitutionFormatString.text_format_source': [{ inline_string: 'y' }],
  'SubstitutionFormatString.json_format': [{ a: 'b' }],
  'HttpConnectionManager.set_current_client_cert_details': [{ uri: true }],
  'HttpConnectionManager.common_http_protocol_options': [{ idle_timeout: '7s' }],
  'HttpConnectionManager.route_config': [{ name: 'inline' }],
  'RouteConfiguration.virtual_hosts': [[{ name: 'w', domains: ['b.example'], routes: [ROUTE] }]],
  'RouteConfiguration.typed_per_filter_config': [
    {
      'envoy.filters.http.rbac': { '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute' },
    },
  ],
  'VirtualHost.typed_per_filter_config': [
    {
      'envoy.filters.http.rbac': { '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute' },
    },
  ],
  'VirtualHost.routes': [[ROUTE]],
  'VirtualHost.retry_policy': [RETRY],
  'Route.typed_per_filter_config': [
    {
      'envoy.filters.http.rbac': { '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute' },
    },
  ],
  'Route.match': [{ prefix: '/x' }],
  'Route.route': [{ cluster: 'd' }],
  'Route.direct_response': [{ status: 204 }],
  'RouteMatch.path_match_policy': [TEMPLATE],
  'Permission.uri_template': [TEMPLATE],
  'RouteMatch.safe_regex': [{ regex: '/a.*' }],
  'HeaderMatcher.safe_regex_match': [{ regex: 'a' }],
  'RouteMatch.headers': [[{ name: 'x', present_match: true }]],
  'RouteMatch.query_parameters': [[{ name: 'x', present_match: true }]],
  'HeaderMatcher.string_match': [{ exact: 'a' }],
  'QueryParameterMatcher.string_match': [{ exact: 'a' }],
  'QueryParameterMatcher.present_match': [true],
  'RouteAction.weighted_clusters': [{ clusters: [{ name: 'd', weight: 1 }] }],
  'RouteAction.regex_rewrite': [REWRITE],
  'RouteAction.retry_policy': [RETRY],
  'RouteAction.request_mirror_policies': [[{ cluster: 'd' }]],
  'VirtualHost.request_mirror_policies': [[{ cluster: 'd' }]],
  'RouteConfiguration.request_mirror_policies': [[{ cluster: 'd' }]],
  'RequestMirrorPolicy.runtime_fraction': [{ default_value: { numerator: 7 } }],
  'RouteAction.host_rewrite_path_regex': [REWRITE],
  'RouteAction.cluster_not_found_response_code': ['NOT_FOUND'],
  'RetryPolicy.retry_priority': [
    {
      name: 'envoy.retry_priorities.previous_priorities',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig',
        update_frequency: 2,
      },
    },
  ],
  'Cluster.RoundRobinLbConfig.slow_start_config': [{ slow_start_window: '7s' }],
  'Cluster.LeastRequestLbConfig.slow_start_config': [{ slow_start_window: '7s' }],
  'Cluster.SlowStartConfig.aggression': [{ default_value: 2 }],
  'Cluster.round_robin_lb_config': [{ slow_start_config: { slow_start_window: '7s' } }],
  'RouteAction.hash_policy': [[{ header: { header_name: 'x' } }]],
  'RouteAction.max_stream_duration': [{ max_stream_duration: '7s' }],
  'RouteAction.max_grpc_timeout': ['7s'],
  'RouteAction.upgrade_configs': [[{ upgrade_type: 'websocket' }]],
  'MaxStreamDuration.grpc_timeout_header_offset': ['1s'],
  'RedirectAction.regex_rewrite': [REWRITE],
  'DirectResponseAction.status': [204],
  'WeightedCluster.clusters': [[{ name: 'd', weight: 3 }]],
  'WeightedCluster.ClusterWeight.host_rewrite_literal': ['h'],
  'RetryPolicy.retry_on': ['reset'],
  'RetryPolicy.retry_host_predicate': [
    [
      {
        name: 'envoy.retry_host_predicates.previous_hosts',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate',
        },
      },
    ],
  ],
  'Cluster.eds_cluster_config': [{ service_name: 'other', eds_config: { ads: {} } }],
  'Cluster.ring_hash_lb_config': [{ minimum_ring_size: '9' }],
  'Cluster.maglev_lb_config': [{ table_size: '7' }],
  'SocketAddress.address': ['127.0.0.2'],
  'UpstreamHttpProtocolOptions.override_auto_sni_header': ['x-name'],
  'HttpProtocolOptions.upstream_http_protocol_options': [{ auto_sni: true }],
  'HTTPFault.headers': [[{ name: 'x', present_match: true }]],
  'Cluster.load_assignment': [
    { cluster_name: 'c', endpoints: [{ lb_endpoints: [{ endpoint: { address: ADDRESS } }] }] },
  ],
  'Cluster.transport_socket': [{ name: 'tls', typed_config: TLS }],
  'Cluster.transport_socket_matches': [
    [{ name: 'm', match: { k: 'v' }, transport_socket: { name: 'tls', typed_config: TLS } }],
  ],
  'Cluster.upstream_bind_config': [{ source_address: { address: '127.0.0.2', port_value: 0 } }],
  'Cluster.circuit_breakers': [{ thresholds: [{ max_connections: 7 }] }],
  'Cluster.least_request_lb_config': [{ choice_count: 5 }],
  'Cluster.common_lb_config': [{ healthy_panic_threshold: { value: 7 } }],
  'Cluster.upstream_connection_options': [{ tcp_keepalive: { keepalive_time: 7 } }],
  'Cluster.typed_extension_protocol_options': [
    {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
  ],
  'Cluster.RingHashLbConfig.minimum_ring_size': ['9'],
  'Cluster.RingHashLbConfig.maximum_ring_size': ['2048'],
  'Cluster.TransportSocketMatch.transport_socket': [{ name: 'tls', typed_config: TLS }],
  'BindConfig.source_address': [{ address: '127.0.0.2', port_value: 0 }],
  'UpstreamConnectionOptions.tcp_keepalive': [{ keepalive_time: 7 }],
  'HttpProtocolOptions.common_http_protocol_options': [{ idle_timeout: '7s' }],
  'HttpProtocolOptions.explicit_http_config': [{ http2_protocol_options: {} }],
  'LocalityLbEndpoints.lb_endpoints': [[{ endpoint: { address: ADDRESS } }]],
  'LbEndpoint.endpoint': [{ address: ADDRESS }],
  'Endpoint.address': [ADDRESS],
  'Endpoint.additional_addresses': [[{ address: ADDRESS }]],
  'Listener.additional_addresses': [[{ address: ADDRESS }]],
  'TcpProxy.hash_policy': [[{ source_ip: {} }]],
  'RouteAction.HashPolicy.Header.regex_rewrite': [REWRITE],
  'RouteAction.HashPolicy.Cookie.path': ['/p'],
  'Cluster.CommonLbConfig.consistent_hashing_lb_config': [{ use_hostname_for_hashing: true }],
  'TcpProxy.weighted_clusters': [{ clusters: [{ name: 'd', weight: 1 }] }],
  'DownstreamTlsContext.common_tls_context': [{ tls_certificates: [PEM], alpn_protocols: ['h2'] }],
  'CommonTlsContext.tls_certificates': [[PEM]],
  'CommonTlsContext.tls_certificate_sds_secret_configs': [[SDS('default')]],
  'CommonTlsContext.validation_context_sds_secret_config': [SDS('ROOTCA')],
  'CommonTlsContext.validation_context': [ROOTS],
  'CommonTlsContext.tls_params': [{ tls_minimum_protocol_version: 'TLSv1_3' }],
  'CommonTlsContext.combined_validation_context': [
    { default_validation_context: ROOTS, validation_context_sds_secret_config: SDS('ROOTCA') },
  ],
  'CertificateValidationContext.verify_certificate_hash': [['ab'.repeat(32)]],
  'CertificateValidationContext.verify_certificate_spki': [[Buffer.alloc(32).toString('base64')]],
  'CertificateValidationContext.match_typed_subject_alt_names': [
    [{ san_type: 'URI', matcher: { exact: 'spiffe://x' } }],
  ],
  'CertificateValidationContext.match_subject_alt_names': [[{ exact: 'a' }]],
  'Permission.destination_ip': [RANGE],
  'Principal.source_ip': [RANGE],
  'Principal.direct_remote_ip': [RANGE],
  'Principal.remote_ip': [RANGE],
  'RBAC.policies': [{ q: { permissions: [{ any: true }], principals: [{ any: true }] } }],
  'JwtAuthentication.providers': [{ q: { issuer: 'i', local_jwks: { inline_string: JWKS } } }],
  'JwtProvider.local_jwks': [{ inline_string: OTHER_JWKS }],
  'JwtProvider.remote_jwks': [{ http_uri: { uri: 'https://id.test/k', cluster: 'id', timeout: '1s' } }],
  'RemoteJwks.http_uri': [{ uri: 'https://id.test/other', cluster: 'id', timeout: '1s' }],
  'RemoteJwks.cache_duration': ['77s'],
  'RemoteJwks.async_fetch': [{ failed_refetch_duration: '77s' }],
  'RemoteJwks.retry_policy': [{ num_retries: 3 }],
  'JwksAsyncFetch.failed_refetch_duration': ['77s'],
  'JwtAuthentication.requirement_map': [{ n: { provider_name: 'p' } }],
  'JwtAuthentication.rules': [[{ match: { prefix: '/a' }, requires: { provider_name: 'p' } }]],
  'RequirementRule.match': [{ prefix: '/a' }],
  'RequirementRule.requires': [{ provider_name: 'p' }],
  'RequirementRule.requirement_name': ['n'],
  'JwtRequirement.provider_name': ['q'],
  'JwtRequirement.provider_and_audiences': [{ provider_name: 'p', audiences: ['x'] }],
  'JwtRequirement.requires_any': [{ requirements: [{ provider_name: 'p' }] }],
  'JwtRequirement.requires_all': [{ requirements: [{ provider_name: 'p' }] }],
  'HeaderMutation.mutations': [{ request_mutations: [{ remove: 'x' }] }],
  'Mutations.request_mutations': [[{ remove: 'x' }]],
  'Mutations.response_mutations': [[{ remove: 'x' }]],
  'CorsPolicy.allow_origin_string_match': [[{ prefix: 'b' }]],
  'CorsPolicy.filter_enabled': [{ default_value: { numerator: 7 } }],
  'CorsPolicy.shadow_enabled': [{ default_value: { numerator: 7 } }],
  'HTTPFault.abort': [{ http_status: 503, percentage: { numerator: 100 } }],
  'HTTPFault.delay': [{ fixed_delay: '1s', percentage: { numerator: 100 } }],
}
