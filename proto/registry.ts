/**
 * Every message that may stand inside an Any: for JSON and YAML in Envoy's mapping (directory mode, config dump) and
 * for canonical hashes.
 */
import { createRegistry, type Registry } from '@bufbuild/protobuf'
import { file_envoy_config_cluster_v3_cluster as clusters } from './gen/envoy/config/cluster/v3/cluster_pb.ts'
import { file_envoy_config_endpoint_v3_endpoint as endpoints } from './gen/envoy/config/endpoint/v3/endpoint_pb.ts'
import { file_envoy_config_listener_v3_listener as listeners } from './gen/envoy/config/listener/v3/listener_pb.ts'
import { file_envoy_config_route_v3_route as routes } from './gen/envoy/config/route/v3/route_pb.ts'
import { file_envoy_config_route_v3_route_components as routeParts } from './gen/envoy/config/route/v3/route_components_pb.ts'
import { file_envoy_config_core_v3_extension as extensions } from './gen/envoy/config/core/v3/extension_pb.ts'
import { file_envoy_config_trace_v3_opentelemetry as openTelemetry } from './gen/envoy/config/trace/v3/opentelemetry_pb.ts'
import { file_envoy_config_trace_v3_zipkin as zipkin } from './gen/envoy/config/trace/v3/zipkin_pb.ts'
import { file_envoy_extensions_access_loggers_file_v3_file as fileLog } from './gen/envoy/extensions/access_loggers/file/v3/file_pb.ts'
import { file_envoy_extensions_access_loggers_filters_cel_v3_cel as celFilter } from './gen/envoy/extensions/access_loggers/filters/cel/v3/cel_pb.ts'
import { file_envoy_extensions_access_loggers_stream_v3_stream as streamLog } from './gen/envoy/extensions/access_loggers/stream/v3/stream_pb.ts'
import { file_envoy_extensions_access_loggers_grpc_v3_als as grpcLog } from './gen/envoy/extensions/access_loggers/grpc/v3/als_pb.ts'
import { file_envoy_extensions_access_loggers_open_telemetry_v3_logs_service as openTelemetryLog } from './gen/envoy/extensions/access_loggers/open_telemetry/v3/logs_service_pb.ts'
import { file_envoy_extensions_tracers_opentelemetry_resource_detectors_v3_environment_resource_detector as environmentDetector } from './gen/envoy/extensions/tracers/opentelemetry/resource_detectors/v3/environment_resource_detector_pb.ts'
import { file_envoy_extensions_tracers_opentelemetry_resource_detectors_v3_static_config_resource_detector as staticDetector } from './gen/envoy/extensions/tracers/opentelemetry/resource_detectors/v3/static_config_resource_detector_pb.ts'
import { file_envoy_extensions_filters_http_cors_v3_cors as cors } from './gen/envoy/extensions/filters/http/cors/v3/cors_pb.ts'
import { file_envoy_extensions_filters_http_fault_v3_fault as fault } from './gen/envoy/extensions/filters/http/fault/v3/fault_pb.ts'
import { file_envoy_extensions_filters_http_grpc_stats_v3_config as grpcStats } from './gen/envoy/extensions/filters/http/grpc_stats/v3/config_pb.ts'
import { file_envoy_extensions_filters_http_jwt_authn_v3_config as jwtAuthn } from './gen/envoy/extensions/filters/http/jwt_authn/v3/config_pb.ts'
import { file_envoy_extensions_filters_http_rbac_v3_rbac as httpRbac } from './gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.ts'
import { file_envoy_extensions_filters_http_router_v3_router as router } from './gen/envoy/extensions/filters/http/router/v3/router_pb.ts'
import { file_envoy_extensions_filters_listener_http_inspector_v3_http_inspector as httpInspector } from './gen/envoy/extensions/filters/listener/http_inspector/v3/http_inspector_pb.ts'
import { file_envoy_extensions_filters_listener_original_dst_v3_original_dst as originalDst } from './gen/envoy/extensions/filters/listener/original_dst/v3/original_dst_pb.ts'
import { file_envoy_extensions_filters_listener_proxy_protocol_v3_proxy_protocol as proxyProtocol } from './gen/envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol_pb.ts'
import { file_envoy_extensions_filters_listener_tls_inspector_v3_tls_inspector as tlsInspector } from './gen/envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector_pb.ts'
import { file_envoy_extensions_filters_network_http_connection_manager_v3_http_connection_manager as manager } from './gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts'
import { file_envoy_extensions_filters_network_rbac_v3_rbac as networkRbac } from './gen/envoy/extensions/filters/network/rbac/v3/rbac_pb.ts'
import { file_envoy_extensions_filters_network_tcp_proxy_v3_tcp_proxy as tcpProxy } from './gen/envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy_pb.ts'
import { file_envoy_extensions_filters_http_ext_authz_v3_ext_authz as extAuthz } from './gen/envoy/extensions/filters/http/ext_authz/v3/ext_authz_pb.ts'
import { file_envoy_extensions_filters_network_ext_authz_v3_ext_authz as tcpExtAuthz } from './gen/envoy/extensions/filters/network/ext_authz/v3/ext_authz_pb.ts'
import { file_envoy_extensions_filters_http_local_ratelimit_v3_local_rate_limit as localRateLimit } from './gen/envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit_pb.ts'
import { file_envoy_extensions_filters_network_local_ratelimit_v3_local_rate_limit as tcpLocalRateLimit } from './gen/envoy/extensions/filters/network/local_ratelimit/v3/local_rate_limit_pb.ts'
import { file_envoy_extensions_filters_network_connection_limit_v3_connection_limit as connectionLimit } from './gen/envoy/extensions/filters/network/connection_limit/v3/connection_limit_pb.ts'
import { file_envoy_extensions_path_match_uri_template_v3_uri_template_match as uriTemplate } from './gen/envoy/extensions/path/match/uri_template/v3/uri_template_match_pb.ts'
import { file_envoy_extensions_request_id_uuid_v3_uuid as requestId } from './gen/envoy/extensions/request_id/uuid/v3/uuid_pb.ts'
import { file_envoy_extensions_retry_host_previous_hosts_v3_previous_hosts as previousHosts } from './gen/envoy/extensions/retry/host/previous_hosts/v3/previous_hosts_pb.ts'
import { file_envoy_extensions_retry_priority_previous_priorities_v3_previous_priorities_config as previousPriorities } from './gen/envoy/extensions/retry/priority/previous_priorities/v3/previous_priorities_config_pb.ts'
import { file_envoy_extensions_clusters_dynamic_forward_proxy_v3_cluster as forwardProxyCluster } from './gen/envoy/extensions/clusters/dynamic_forward_proxy/v3/cluster_pb.ts'
import { file_envoy_extensions_compression_gzip_compressor_v3_gzip as gzip } from './gen/envoy/extensions/compression/gzip/compressor/v3/gzip_pb.ts'
import { file_envoy_extensions_compression_brotli_compressor_v3_brotli as brotli } from './gen/envoy/extensions/compression/brotli/compressor/v3/brotli_pb.ts'
import { file_envoy_extensions_compression_zstd_compressor_v3_zstd as zstd } from './gen/envoy/extensions/compression/zstd/compressor/v3/zstd_pb.ts'
import { file_envoy_extensions_filters_http_compressor_v3_compressor as compressor } from './gen/envoy/extensions/filters/http/compressor/v3/compressor_pb.ts'
import { file_envoy_extensions_filters_http_grpc_web_v3_grpc_web as grpcWeb } from './gen/envoy/extensions/filters/http/grpc_web/v3/grpc_web_pb.ts'
import { file_envoy_extensions_http_header_formatters_preserve_case_v3_preserve_case as preserveCase } from './gen/envoy/extensions/http/header_formatters/preserve_case/v3/preserve_case_pb.ts'
import { file_envoy_extensions_internal_redirect_previous_routes_v3_previous_routes_config as previousRoutes } from './gen/envoy/extensions/internal_redirect/previous_routes/v3/previous_routes_config_pb.ts'
import { file_envoy_extensions_internal_redirect_safe_cross_scheme_v3_safe_cross_scheme_config as safeCrossScheme } from './gen/envoy/extensions/internal_redirect/safe_cross_scheme/v3/safe_cross_scheme_config_pb.ts'
import { file_envoy_extensions_internal_redirect_allow_listed_routes_v3_allow_listed_routes_config as allowListedRoutes } from './gen/envoy/extensions/internal_redirect/allow_listed_routes/v3/allow_listed_routes_config_pb.ts'
import { file_envoy_extensions_filters_http_buffer_v3_buffer as buffer } from './gen/envoy/extensions/filters/http/buffer/v3/buffer_pb.ts'
import { file_envoy_extensions_filters_http_dynamic_forward_proxy_v3_dynamic_forward_proxy as forwardProxy } from './gen/envoy/extensions/filters/http/dynamic_forward_proxy/v3/dynamic_forward_proxy_pb.ts'
import { file_envoy_extensions_filters_http_health_check_v3_health_check as healthCheck } from './gen/envoy/extensions/filters/http/health_check/v3/health_check_pb.ts'
import { file_envoy_extensions_filters_http_ratelimit_v3_rate_limit as globalRateLimit } from './gen/envoy/extensions/filters/http/ratelimit/v3/rate_limit_pb.ts'
import { file_envoy_extensions_filters_network_ratelimit_v3_rate_limit as tcpRateLimit } from './gen/envoy/extensions/filters/network/ratelimit/v3/rate_limit_pb.ts'
import { file_envoy_extensions_filters_http_header_mutation_v3_header_mutation as headerMutation } from './gen/envoy/extensions/filters/http/header_mutation/v3/header_mutation_pb.ts'
import { file_envoy_extensions_filters_network_sni_dynamic_forward_proxy_v3_sni_dynamic_forward_proxy as sniForwardProxy } from './gen/envoy/extensions/filters/network/sni_dynamic_forward_proxy/v3/sni_dynamic_forward_proxy_pb.ts'
import { file_envoy_extensions_filters_http_stateful_session_v3_stateful_session as statefulSession } from './gen/envoy/extensions/filters/http/stateful_session/v3/stateful_session_pb.ts'
import { file_envoy_extensions_http_stateful_session_cookie_v3_cookie as sessionCookie } from './gen/envoy/extensions/http/stateful_session/cookie/v3/cookie_pb.ts'
import { file_envoy_extensions_http_stateful_session_header_v3_header as sessionHeader } from './gen/envoy/extensions/http/stateful_session/header/v3/header_pb.ts'
import { file_envoy_extensions_transport_sockets_proxy_protocol_v3_upstream_proxy_protocol as proxyProtocolUpstream } from './gen/envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol_pb.ts'
import { file_envoy_extensions_filters_http_set_filter_state_v3_set_filter_state as setFilterState } from './gen/envoy/extensions/filters/http/set_filter_state/v3/set_filter_state_pb.ts'
import { file_envoy_extensions_transport_sockets_internal_upstream_v3_internal_upstream as internalUpstream } from './gen/envoy/extensions/transport_sockets/internal_upstream/v3/internal_upstream_pb.ts'
import { file_envoy_extensions_transport_sockets_raw_buffer_v3_raw_buffer as rawBuffer } from './gen/envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer_pb.ts'
import { file_envoy_extensions_transport_sockets_tls_v3_secret as secrets } from './gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts'
import { file_envoy_extensions_transport_sockets_tls_v3_tls as tls } from './gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts'
import { file_envoy_extensions_upstreams_http_v3_http_protocol_options as httpOptions } from './gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts'
import { file_istio_mesh_v1alpha1_proxy as proxyConfig } from './gen/istio/mesh/v1alpha1/proxy_pb.ts'
import { file_istio_networking_nds_v1_nds as names } from './gen/istio/networking/nds/v1/nds_pb.ts'
import { file_istio_peer_metadata_config as peerMetadata } from './gen/istio/peer_metadata/config_pb.ts'
import { file_istio_stats_config as stats } from './gen/istio/stats/config_pb.ts'
import { file_udpa_type_v1_typed_struct as udpaStruct } from './gen/udpa/type/v1/typed_struct_pb.ts'
import { file_xds_type_v3_typed_struct as xdsStruct } from './gen/xds/type/v3/typed_struct_pb.ts'

let made: Registry | undefined

const FORWARD_PROXY = [forwardProxyCluster, forwardProxy, sniForwardProxy]
const FILTERS = [headerMutation, healthCheck, globalRateLimit, tcpRateLimit]
const TUNNELS = [setFilterState, internalUpstream]
const BODIES_AND_REDIRECTS = [
  buffer,
  gzip,
  brotli,
  zstd,
  compressor,
  grpcWeb,
  preserveCase,
  previousRoutes,
  safeCrossScheme,
  allowListedRoutes,
]

/** Built at first use: a directory, a dump or the first resource with an Any inside. */
export function loadRegistry(): Registry {
  made ??= createRegistry(
    clusters,
    endpoints,
    listeners,
    routes,
    routeParts,
    extensions,
    openTelemetry,
    zipkin,
    fileLog,
    celFilter,
    streamLog,
    grpcLog,
    openTelemetryLog,
    environmentDetector,
    staticDetector,
    cors,
    fault,
    grpcStats,
    jwtAuthn,
    httpRbac,
    router,
    httpInspector,
    originalDst,
    proxyProtocol,
    tlsInspector,
    manager,
    networkRbac,
    tcpProxy,
    extAuthz,
    tcpExtAuthz,
    localRateLimit,
    tcpLocalRateLimit,
    connectionLimit,
    uriTemplate,
    requestId,
    previousHosts,
    previousPriorities,
    ...FORWARD_PROXY,
    ...BODIES_AND_REDIRECTS,
    ...TUNNELS,
    ...FILTERS,
    statefulSession,
    sessionCookie,
    sessionHeader,
    proxyProtocolUpstream,
    rawBuffer,
    secrets,
    tls,
    httpOptions,
    proxyConfig,
    names,
    peerMetadata,
    stats,
    udpaStruct,
    xdsStruct,
  )
  return made
}
