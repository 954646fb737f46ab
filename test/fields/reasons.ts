/**
 * Why a field may be neither acted upon, refused nor reported, and why one of a message about security may be ignored.
 * `*` stands for every message.
 */
export const NO_EFFECT: Readonly<Record<string, string>> = {
  '*.metadata': 'free-form, for filters that are not there',
  '*.stat_prefix': 'a name of statistics',
  'AccessLog.name': 'a name for messages',
  'DnsCacheConfig.name': 'each cluster has its own hosts',
  'FilterConfig.dns_cache_config': 'hosts are those of the cluster',
  'FilterConfig.save_upstream_address': 'for filter state, which nobody reads',
  'SubstitutionFormatString.content_type': 'of local_reply_config, where it counts; a line of a log has none',
  'Gzip.chunk_size': 'of pieces of the output',
  'Brotli.chunk_size': 'of pieces of the output',
  'Zstd.chunk_size': 'of pieces of the output',
  'SubstitutionFormatString.formatters': 'operators are known by their own names',
  'TcpProxy.TunnelingConfig.propagate_response_headers': 'for filter state, which nobody reads',
  'TcpProxy.TunnelingConfig.propagate_response_trailers': 'for filter state, which nobody reads',
  'InternalUpstreamTransport.passthrough_metadata': 'where a tunnel leads is read from the endpoint itself',
  'Cluster.OriginalDstLbConfig.metadata_key': 'the waypoint that it is about is read from the endpoint itself',
  'Cluster.alt_stat_name': 'a name of statistics',
  'ExtAuthz.transport_api_version': 'there is one version left (v3)',
  'ExtAuthz.charge_cluster_response_stats': 'statistics',
  'ExtAuthz.emit_filter_state_stats': 'statistics',
  'ExtAuthz.filter_metadata': 'free-form, for filters that are not there',
  'ExtAuthz.emit_client_span': 'there are no spans of it',
  'JwksAsyncFetch.fast_listener': 'a listener opens at once, and requests wait for the keys that they need',
  'RBAC.rules_stat_prefix': 'a name of statistics',
  'RBAC.track_per_rule_stats': 'statistics',
  'CircuitBreakers.Thresholds.track_remaining': 'statistics',
  'ListenerFilter.name': 'the type of the configuration tells what it is',
  'HttpConnectionManager.request_id_extension': 'request ids are UUIDs; what else it says is about traces',
  'Router.dynamic_stats': 'statistics',
  'HttpProtocolOptions.max_response_headers_kb': 'of clusters only, as in Envoy',
  'Http1ProtocolOptions.allow_absolute_url': 'absolute targets are always taken; outbound it makes an explicit proxy',
  'RouteConfiguration.validate_clusters': 'a cluster that does not exist is answered with 503 either way',
  'WeightedCluster.runtime_key_prefix': 'there is no runtime layer',
  'Cluster.cleanup_interval': 'hosts of original destinations are forgotten when they are idle',
  'CertificateValidationContext.only_verify_leaf_cert_crl': 'the whole chain is checked, which is stricter',
  'SubjectAltNameMatcher.oid': 'of OTHER_NAME, which is refused',
  'RBAC.enforcement_type': 'a connection is checked when it comes and again when the rules change',
}

const WITHOUT_SUBSETS = 'without effect at a cluster without lb_subset_config, as in Envoy; that one blocks its cluster'
/** What these say is kept, or something stricter. */
export const HARMLESS: Readonly<Record<string, string>> = {
  'DownstreamTlsContext.full_scan_certs_on_sni_mismatch': 'there is one certificate',
  'DownstreamTlsContext.prefer_client_ciphers': 'an order among suites that are all permitted',
  'ExtAuthz.send_tls_alert_on_denial': 'the connection is closed either way',
  'UpstreamTlsContext.allow_renegotiation': 'never, which is stricter',
  'UpstreamTlsContext.max_session_keys': 'sessions resume with the certificate that was checked',
  'UpstreamTlsContext.enforce_rsa_key_usage': "OpenSSL looks at the purpose of the endpoint's certificate",
  'CommonTlsContext.key_log': 'secrets are not written',
  'TlsCertificate.ocsp_staple': 'nothing is stapled: who insists on it refuses',
  'TlsCertificate.signed_certificate_timestamp': 'none is shown: who insists on it refuses',
  'TlsCertificate.watched_directory': 'files are read when the resource comes',
  'CertificateValidationContext.watched_directory': 'files are read when the resource comes',
  'RBAC.audit_logging_options': 'decisions are in the access log',
  'HttpConnectionManager.internal_address_config': 'nobody counts as internal, which is stricter',
  'RouteAction.metadata_match': WITHOUT_SUBSETS,
  'WeightedCluster.ClusterWeight.metadata_match': WITHOUT_SUBSETS,
  'TcpProxy.metadata_match': WITHOUT_SUBSETS,
  'TcpProxy.WeightedCluster.ClusterWeight.metadata_match': WITHOUT_SUBSETS,
  'Cluster.load_balancing_policy': 'in turn instead; one with subsets blocks the cluster',
  'HttpProtocolOptions.http_filters': 'those that refuse, limit or take away block the cluster',
  'Router.upstream_http_filters': 'those that refuse, limit or take away block the filter chain',
  'RouteAction.RequestMirrorPolicy.request_headers_mutations': 'nothing is mirrored',
  'RetryPolicy.retriable_request_headers': 'nothing is tried again',
  'RateLimit.hits_addend': 'counts in the rules of filters only, as in Envoy',
  'HttpConnectionManager.request_headers_timeout': 'a head has a time of its own',
}

/** Messages that decide who gets in and what is seen of them. */
export const ABOUT_SECURITY =
  /\.(transport_sockets\.tls\.v3|rbac\.v3)\.|\.(FilterChainMatch|RouteMatch|HeaderMatcher|QueryParameterMatcher)$/
