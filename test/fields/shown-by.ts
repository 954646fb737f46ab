/**
 * Fields whose tests speak the model's words and not Envoy's: the test file, and what in it is about the field. By
 * message and field, `*` for every message.
 */
export const SHOWN_BY: Readonly<Record<string, readonly [file: string, text: string]>> = {
  'Cluster.close_connections_on_host_health_failure': [
    'test/protocols/upstream/health/cluster-checks.test.ts',
    'closesOnHealthFailure of [false, true]',
  ],
  'Cluster.CommonLbConfig.ignore_new_hosts_until_first_hc': [
    'test/protocols/upstream/health/cluster-checks.test.ts',
    'leavesOutNewHosts of [false, true]',
  ],
  'OutlierDetection.successful_active_health_check_uneject_host': [
    'test/protocols/upstream/health/cluster-checks.test.ts',
    'returnsWhenWell of [true, false]',
  ],
  'Endpoint.health_check_config': ['test/protocols/upstream/health/cluster-checks.test.ts', 'check: { port: 9000'],
  'RouteAction.internal_redirect_policy': [
    'test/protocols/http/filters/internal-redirect.test.ts',
    'internalRedirects',
  ],
  'InternalRedirectPolicy.response_headers_to_copy': [
    'test/protocols/http/filters/internal-redirect.test.ts',
    'copies',
  ],
  'HttpConnectionManager.local_reply_config': ['test/protocols/http/exchange/reply/send.test.ts', 'localReply'],
  'Listener.continue_on_listener_filters_timeout': ['test/protocols/downstream/sniff.test.ts', 'onTimeout'],
  'FilterChainMatch.source_prefix_ranges': ['test/protocols/downstream/filter-chain.test.ts', 'sourceRanges'],
  'HttpConnectionManager.codec_type': ['test/protocols/certificate-expiry.test.ts', 'CODECS.http2'],
  'HttpConnectionManager.xff_num_trusted_hops': ['test/protocols/http/filters/forwarded.test.ts', 'xffTrustedHops'],
  'HttpConnectionManager.request_timeout': [
    'test/protocols/http/exchange/timeouts.test.ts',
    'a request whose body does not come in time',
  ],
  'HttpConnectionManager.preserve_external_request_id': [
    'test/protocols/http/filters/forwarded.test.ts',
    'keep-external',
  ],
  '*.response_headers_to_add': ['test/protocols/http/heads.test.ts', 'response: { remove: [], add: [add] }'],
  '*.response_headers_to_remove': ['test/protocols/http/filters/header-edit.test.ts', 'remove'],
  '*.include_request_attempt_count': ['test/protocols/http/exchange/exchange.test.ts', 'includeAttemptCount: true'],
  'HeaderMatcher.prefix_match': ['test/model/matcher.test.ts', "'prefix'"],
  'HeaderMatcher.suffix_match': ['test/model/matcher.test.ts', "'suffix'"],
  'HeaderMatcher.contains_match': ['test/model/matcher.test.ts', "'contains'"],
  'HeaderMatcher.safe_regex_match': ['test/model/matcher.test.ts', "'regex'"],
  'HeaderMatcher.treat_missing_header_as_empty': ['test/model/matcher.test.ts', 'missingAsEmpty'],
  'RouteAction.host_rewrite_literal': ['test/protocols/http/filters/forwarded.test.ts', "value: 'other.example'"],
  'RouteAction.regex_rewrite': ['test/protocols/router.test.ts', "kind: 'regex'"],
  'RouteAction.append_x_forwarded_host': [
    'test/protocols/http/filters/forwarded.test.ts',
    'appendForwardedHost of [true, false]',
  ],
  'HttpConnectionManager.forward_client_cert_details': [
    'test/protocols/http/filters/forwarded.test.ts',
    "'append-forward'",
  ],
  'RedirectAction.path_redirect': ['test/protocols/http/filters/redirect.test.ts', "kind: 'full'"],
  'RedirectAction.regex_rewrite': ['test/protocols/http/filters/redirect.test.ts', "kind: 'regex'"],
  'RedirectAction.scheme_redirect': ['test/protocols/http/filters/redirect.test.ts', "scheme: 'https'"],
  'RetryPolicy.retry_host_predicate': ['test/protocols/upstream/cluster-runtime.test.ts', 'avoidPreviousHosts: true'],
  'RetryPolicy.host_selection_retry_max_attempts': [
    'test/protocols/upstream/cluster-runtime.test.ts',
    'maxHostPicks: 5',
  ],
  'RetryPolicy.retriable_status_codes': ['test/protocols/http/exchange/retry.test.ts', 'statusCodes: new Set([418])'],
  'RouteAction.HashPolicy.connection_properties': ['test/protocols/http/filters/hash.test.ts', "kind: 'source-ip'"],
  'RouteAction.HashPolicy.query_parameter': ['test/protocols/http/filters/hash.test.ts', 'query parameter'],
  'Cluster.maglev_lb_config': ['test/protocols/upstream/balancing/hash-balancers.test.ts', 'maglev'],
  'Cluster.CommonLbConfig.healthy_panic_threshold': ['test/protocols/upstream/hosts.test.ts', 'panicPercent'],
  'OutlierDetection.base_ejection_time': ['test/protocols/upstream/outlier.test.ts', 'baseEjectionMs'],
  'OutlierDetection.enforcing_consecutive_local_origin_failure': [
    'test/protocols/upstream/outlier.test.ts',
    'consecutiveLocalFailures',
  ],
  'Cluster.upstream_connection_options': ['test/protocols/upstream/dial.test.ts', 'keepAlive'],
  'UpstreamConnectionOptions.happy_eyeballs_config': [
    'test/protocols/upstream/happy-eyeballs.test.ts',
    'happy_eyeballs_config',
  ],
  'UpstreamConnectionOptions.tcp_keepalive': ['test/protocols/upstream/dial.test.ts', 'keepAlive'],
  'TcpKeepalive.keepalive_time': ['test/protocols/upstream/dial.test.ts', 'keepAlive'],
  'CertificateValidationContext.system_root_certs': ['test/protocols/tls/client.test.ts', 'system'],
  'HttpConnectionManager.set_current_client_cert_details': [
    'test/protocols/http/filters/forwarded.test.ts',
    'xfccElement',
  ],
  'RouteConfiguration.ignore_port_in_host_matching': ['test/protocols/router.test.ts', 'ignorePortInHost'],
  'RetryPolicy.num_retries': ['test/protocols/http/exchange/retry.test.ts', 'maxRetries'],
  'RetryPolicy.per_try_timeout': ['test/protocols/http/exchange/timeouts.test.ts', 'perTryTimeoutMs'],
  'Endpoint.hostname': ['test/protocols/upstream/dial.test.ts', 'hostname'],
  'Principal.or_ids': ['test/protocols/authz.test.ts', "'or'"],
}
