/**
 * Which fields of which message the decoders act upon, or that have no effect on traffic by their nature (names,
 * statistics, metadata). Every other field that arrives is reported as ignored or, where that could weaken a policy,
 * refused. A message that is not in the table is acted upon as a whole.
 */
const HEADER_CHANGES =
  'request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove'

const TABLE: Record<string, string> = {
  'envoy.config.cluster.v3.Cluster':
    'name type cluster_type eds_cluster_config connect_timeout lb_policy load_assignment circuit_breakers http2_protocol_options dns_refresh_rate dns_lookup_family outlier_detection ' +
    'cleanup_interval upstream_bind_config original_dst_lb_config ring_hash_lb_config least_request_lb_config maglev_lb_config round_robin_lb_config transport_socket transport_socket_matches metadata common_lb_config ' +
    'alt_stat_name typed_extension_protocol_options upstream_connection_options max_requests_per_connection filters http_protocol_options ' +
    'health_checks close_connections_on_host_health_failure ignore_health_on_host_removal',
  'envoy.config.cluster.v3.Cluster.CommonLbConfig':
    'healthy_panic_threshold locality_weighted_lb_config consistent_hashing_lb_config override_host_status ignore_new_hosts_until_first_hc',
  'envoy.config.cluster.v3.Cluster.CommonLbConfig.ConsistentHashingLbConfig': 'use_hostname_for_hashing',
  'envoy.config.cluster.v3.Cluster.LeastRequestLbConfig': 'choice_count slow_start_config',
  'envoy.config.cluster.v3.Cluster.RoundRobinLbConfig': 'slow_start_config',
  'envoy.config.cluster.v3.Cluster.SlowStartConfig': 'slow_start_window aggression min_weight_percent',
  // The one key that istiod names is read from the endpoint.
  'envoy.config.cluster.v3.Cluster.OriginalDstLbConfig': 'upstream_port_override metadata_key',
  'envoy.config.cluster.v3.Cluster.RingHashLbConfig': 'minimum_ring_size maximum_ring_size',
  'envoy.config.cluster.v3.CircuitBreakers': 'thresholds',
  'envoy.config.cluster.v3.CircuitBreakers.Thresholds':
    'priority max_connections max_pending_requests max_requests max_retries retry_budget track_remaining',
  'envoy.config.cluster.v3.OutlierDetection':
    'consecutive_5xx interval base_ejection_time max_ejection_percent enforcing_consecutive_5xx consecutive_gateway_failure ' +
    'enforcing_consecutive_gateway_failure split_external_local_origin_errors consecutive_local_origin_failure enforcing_consecutive_local_origin_failure max_ejection_time ' +
    'always_eject_one_host max_ejection_time_jitter successful_active_health_check_uneject_host',
  'envoy.config.cluster.v3.UpstreamConnectionOptions': 'tcp_keepalive happy_eyeballs_config',
  'envoy.config.core.v3.TcpKeepalive': 'keepalive_probes keepalive_time keepalive_interval',
  'envoy.config.core.v3.BindConfig': 'source_address',
  'envoy.config.core.v3.SocketAddress': 'address port_value ipv4_compat',
  'envoy.config.endpoint.v3.ClusterLoadAssignment': 'cluster_name endpoints',
  'envoy.config.endpoint.v3.LocalityLbEndpoints': 'locality lb_endpoints load_balancing_weight priority metadata',
  'envoy.config.endpoint.v3.LbEndpoint': 'endpoint health_status metadata load_balancing_weight',
  'envoy.config.endpoint.v3.Endpoint': 'address hostname additional_addresses health_check_config',
  'envoy.config.core.v3.HealthCheck':
    'timeout interval interval_jitter unhealthy_threshold healthy_threshold reuse_connection http_health_check tcp_health_check grpc_health_check no_traffic_interval ' +
    'unhealthy_interval unhealthy_edge_interval healthy_edge_interval interval_jitter_percent always_log_health_check_failures initial_jitter tls_options ' +
    'transport_socket_match_criteria no_traffic_healthy_interval always_log_health_check_success',
  'envoy.config.core.v3.HttpProtocolOptions':
    'idle_timeout max_connection_duration max_requests_per_connection max_headers_count max_stream_duration headers_with_underscores_action max_response_headers_kb',
  'envoy.config.core.v3.Http1ProtocolOptions': 'allow_absolute_url header_key_format',
  'envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig':
    'formatter_type_on_envoy_headers',
  'envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig': 'dns_cache_config',
  'envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig':
    'name dns_lookup_family dns_refresh_rate host_ttl max_hosts',
  'envoy.config.core.v3.Http2ProtocolOptions': '',
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions':
    'common_http_protocol_options upstream_http_protocol_options explicit_http_config use_downstream_protocol_config',
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig':
    'http_protocol_options http2_protocol_options',
  'envoy.config.core.v3.UpstreamHttpProtocolOptions': 'auto_sni auto_san_validation override_auto_sni_header',
  'envoy.config.listener.v3.Listener':
    'name address filter_chains default_filter_chain listener_filters listener_filters_timeout continue_on_listener_filters_timeout use_original_dst bind_to_port transparent ' +
    'traffic_direction metadata stat_prefix access_log internal_listener additional_addresses',
  'envoy.config.listener.v3.AdditionalAddress': 'address',
  'envoy.config.listener.v3.FilterChain': 'filter_chain_match filters transport_socket metadata name',
  'envoy.config.listener.v3.FilterChainMatch':
    'destination_port prefix_ranges direct_source_prefix_ranges source_type source_prefix_ranges source_ports server_names transport_protocol application_protocols',
  'envoy.config.listener.v3.ListenerFilter': 'name typed_config filter_disabled',
  'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy':
    'stat_prefix cluster weighted_clusters idle_timeout access_log hash_policy max_connect_attempts max_downstream_connection_duration tunneling_config',
  'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig':
    'hostname use_post headers_to_add propagate_response_headers propagate_response_trailers',
  'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight': 'name weight',
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager':
    'codec_type stat_prefix rds route_config http_filters server_name access_log use_remote_address xff_num_trusted_hops ' +
    'stream_idle_timeout request_timeout common_http_protocol_options max_request_headers_kb generate_request_id preserve_external_request_id request_id_extension tracing forward_client_cert_details set_current_client_cert_details ' +
    'upgrade_configs normalize_path merge_slashes path_with_escaped_slashes_action proxy_100_continue http_protocol_options strip_matching_host_port strip_any_host_port strip_trailing_host_dot skip_xff_append append_x_forwarded_port server_header_transformation via local_reply_config',
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig':
    'upgrade_type enabled',
  'envoy.config.route.v3.RouteConfiguration': `name virtual_hosts validate_clusters ignore_port_in_host_matching internal_only_headers typed_per_filter_config metadata request_mirror_policies most_specific_header_mutations_wins ${HEADER_CHANGES}`,
  'envoy.config.route.v3.VirtualHost': `name domains routes require_tls retry_policy rate_limits include_request_attempt_count typed_per_filter_config metadata request_mirror_policies ${HEADER_CHANGES}`,
  'envoy.config.route.v3.Route': `name match route redirect direct_response decorator metadata typed_per_filter_config stat_prefix ${HEADER_CHANGES}`,
  'envoy.config.route.v3.RouteAction':
    'rate_limits include_vh_rate_limits cluster weighted_clusters prefix_rewrite regex_rewrite host_rewrite_literal timeout idle_timeout retry_policy hash_policy upgrade_configs append_x_forwarded_host ' +
    'max_stream_duration max_grpc_timeout grpc_timeout_offset request_mirror_policies cluster_header cluster_not_found_response_code ' +
    'internal_redirect_policy auto_host_rewrite host_rewrite_header host_rewrite_path_regex',
  'envoy.config.route.v3.RouteAction.UpgradeConfig': 'upgrade_type enabled',
  'envoy.config.route.v3.RouteAction.RequestMirrorPolicy':
    'cluster cluster_header runtime_fraction disable_shadow_host_suffix_append',
  'envoy.config.route.v3.RouteAction.HashPolicy.Cookie': 'name ttl path',
  'envoy.config.route.v3.RouteAction.HashPolicy.Header': 'header_name regex_rewrite',
  'envoy.config.route.v3.WeightedCluster': 'clusters runtime_key_prefix',
  'envoy.config.route.v3.WeightedCluster.ClusterWeight': `name weight ${HEADER_CHANGES}`,
  'envoy.config.route.v3.RetryPolicy':
    'retry_on num_retries per_try_timeout retry_priority retry_host_predicate host_selection_retry_max_attempts retriable_status_codes retry_back_off retriable_request_headers',
  'envoy.extensions.filters.http.router.v3.Router': 'suppress_envoy_headers dynamic_stats',
  'envoy.config.core.v3.HeaderValueOption': 'header append append_action keep_empty_value',
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing':
    'client_sampling random_sampling overall_sampling max_path_tag_length custom_tags provider',
  'envoy.config.trace.v3.ZipkinConfig':
    'collector_cluster collector_endpoint trace_id_128bit shared_span_context collector_endpoint_version collector_hostname trace_context_option collector_service',
  'envoy.config.trace.v3.OpenTelemetryConfig': 'grpc_service service_name http_service resource_detectors sampler',
  'envoy.config.core.v3.HttpService': 'http_uri request_headers_to_add',
  'envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig':
    'common_config body attributes resource_attributes disable_builtin_labels stat_prefix formatters http_service grpc_service log_name ' +
    'buffer_flush_interval buffer_size_bytes filter_state_objects_to_log',
  'envoy.extensions.access_loggers.grpc.v3.CommonGrpcAccessLogConfig':
    'log_name grpc_service buffer_flush_interval buffer_size_bytes filter_state_objects_to_log transport_api_version',
  'envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig':
    'common_config additional_request_headers_to_log additional_response_headers_to_log additional_response_trailers_to_log',
  'envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig': 'common_config',
  'envoy.config.route.v3.Decorator': 'operation',
  'envoy.extensions.filters.http.compressor.v3.Compressor.ResponseDirectionConfig':
    'common_config disable_on_etag_header remove_accept_encoding_header uncompressible_response_codes weaken_etag_on_compress',
  'envoy.config.core.v3.GrpcService': 'envoy_grpc timeout initial_metadata',
  'envoy.config.core.v3.GrpcService.EnvoyGrpc': 'cluster_name authority',
  'envoy.config.core.v3.SubstitutionFormatString':
    'text_format json_format text_format_source omit_empty_values content_type formatters',
  // Bytes of TCP are counted when somebody asks, and series stay.
  'stats.PluginConfig': 'disable_host_header_fallback tcp_reporting_duration metrics',
  'stats.MetricConfig': 'dimensions name tags_to_remove match drop',
  // What else it says is about statistics that Envoy alone has.
  'envoy.extensions.filters.http.grpc_stats.v3.FilterConfig':
    'emit_filter_state stats_for_all_methods enable_upstream_stats replace_dots_in_grpc_service_name',
  'io.istio.http.peer_metadata.Config':
    'downstream_discovery upstream_discovery downstream_propagation upstream_propagation',
  'envoy.extensions.filters.http.ext_authz.v3.ExtAuthz':
    'grpc_service http_service failure_mode_allow failure_mode_allow_header_add with_request_body clear_route_cache status_on_error metadata_context_namespaces filter_enabled ' +
    'filter_enabled_metadata deny_at_disable transport_api_version stat_prefix allowed_headers disallowed_headers include_tls_session include_peer_certificate validate_mutations ' +
    'charge_cluster_response_stats emit_filter_state_stats filter_metadata emit_client_span',
  'envoy.extensions.filters.http.ext_authz.v3.HttpService':
    'server_uri path_prefix path_override authorization_request authorization_response',
  'envoy.extensions.filters.http.ext_authz.v3.CheckSettings':
    'context_extensions disable_request_body_buffering with_request_body',
  'envoy.extensions.filters.http.fault.v3.HTTPFault': 'delay abort headers',
  'envoy.extensions.filters.common.fault.v3.FaultDelay': 'fixed_delay percentage',
  'envoy.extensions.filters.http.fault.v3.FaultAbort': 'http_status grpc_status percentage',
  'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext':
    'common_tls_context sni auto_host_sni auto_sni_san_validation',
  'envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext': 'common_tls_context require_client_certificate',
  'envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol':
    'rules allow_requests_without_proxy_protocol pass_through_tlvs disallowed_versions',
  'envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport': 'config transport_socket',
  'envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport':
    'passthrough_metadata transport_socket',
  'envoy.extensions.filters.http.set_filter_state.v3.Config': 'on_request_headers',
  // The look takes what it needs, whatever it was to begin with.
  'envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector': 'initial_read_buffer_size',
  'envoy.extensions.transport_sockets.tls.v3.TlsParameters':
    'tls_minimum_protocol_version tls_maximum_protocol_version cipher_suites',
  'envoy.extensions.transport_sockets.tls.v3.CommonTlsContext':
    'tls_params tls_certificates tls_certificate_sds_secret_configs validation_context validation_context_sds_secret_config ' +
    'combined_validation_context alpn_protocols',
  'envoy.extensions.transport_sockets.tls.v3.TlsCertificate': 'certificate_chain private_key',
  'envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext':
    'trusted_ca system_root_certs match_typed_subject_alt_names match_subject_alt_names verify_certificate_hash verify_certificate_spki ' +
    'require_signed_certificate_timestamp crl allow_expired_certificate trust_chain_verification custom_validator_config ca_certificate_provider_instance max_verify_depth only_verify_leaf_cert_crl',
}

export const ACTED_ON: ReadonlyMap<string, ReadonlySet<string>> = new Map(
  Object.entries(TABLE).map(([type, fields]) => [type, new Set(fields.split(' '))]),
)

/**
 * Fields that are not acted upon and may not get lost either: they say what a policy is asked about (who the client is,
 * which host, which path), make a check of a peer stricter, or lead elsewhere. The piece that has one is refused
 * (`refuse`).
 */
const REFUSE: Record<string, string> = {
  'envoy.config.listener.v3.Listener': 'filter_chain_matcher deprecated_v1 fcds_config',
  'envoy.config.listener.v3.FilterChain': 'use_proxy_proto',
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig': 'filters',
  // Instead of a virtual host that comes by VHDS another one may serve its clients.
  'envoy.config.route.v3.RouteConfiguration': 'ignore_path_parameters_in_path_matching vhds',
  'envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication': 'filter_state_rules',
  'envoy.extensions.filters.http.ext_authz.v3.ExtAuthz':
    'typed_metadata_context_namespaces route_metadata_context_namespaces route_typed_metadata_context_namespaces encode_raw_headers ' +
    'decoder_header_mutation_rules enable_dynamic_metadata_ingestion shadow_mode clear_route_cache_headers bootstrap_metadata_labels_key',
  'envoy.extensions.filters.http.ext_authz.v3.CheckSettings': 'grpc_service http_service',
  'envoy.extensions.filters.network.ext_authz.v3.ExtAuthz':
    'metadata_context_namespaces typed_metadata_context_namespaces bootstrap_metadata_labels_key shadow_mode',
  // Without it the tokens would not be shared among the members.
  'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit': 'local_cluster_rate_limit',
  'envoy.config.route.v3.RouteAction': 'host_rewrite path_rewrite path_rewrite_policy',
  'envoy.config.route.v3.RedirectAction': 'path_rewrite',
  'envoy.config.route.v3.WeightedCluster.ClusterWeight': 'host_rewrite_literal cluster_header',
  // Without it a request may go to endpoints outside its subset, or over another client's connection.
  'envoy.config.cluster.v3.Cluster':
    'upstream_http_protocol_options transport_socket_matcher lb_subset_config connection_pool_per_downstream_connection',
  // Names that clients choose may lead to addresses that it keeps out.
  'envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig': 'resolved_address_filter',
  // A removal would be lost.
  'envoy.extensions.filters.http.header_mutation.v3.Mutations':
    'query_parameter_mutations response_trailers_mutations request_trailers_mutations',
  'envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext':
    'require_sni ocsp_staple_policy session_timeout disable_stateless_session_resumption disable_stateful_session_resumption session_ticket_keys ' +
    'session_ticket_keys_sds_secret_config',
  'envoy.extensions.transport_sockets.tls.v3.CommonTlsContext':
    'custom_handshaker custom_tls_certificate_selector tls_certificate_provider_instance tls_certificate_certificate_provider ' +
    'tls_certificate_certificate_provider_instance',
  'envoy.config.core.v3.SocketAddress': 'network_namespace_filepath',
  'envoy.extensions.transport_sockets.tls.v3.TlsParameters': 'ecdh_curves signature_algorithms compliance_policies',
  'envoy.extensions.transport_sockets.tls.v3.TlsCertificate': 'private_key_provider tls_params',
}
export const REFUSED: ReadonlyMap<string, ReadonlySet<string>> = new Map(
  Object.entries(REFUSE).map(([type, fields]) => [type, new Set(fields.split(' '))]),
)
