/**
 * Filters that only observe: leaving them out lets nobody through and changes no byte that a peer relies on. By
 * configuration type.
 */

/** `blocks`: inbound, where a filter may be what keeps somebody out. `skips`: outbound. */
export type Unknown = 'blocks' | 'skips'

/** Clusters of that kind resolve by themselves what they are asked for. */
const FORWARD_PROXY = 'envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig'
const STATS = 'stats.PluginConfig'
/** Hands what the other end of a tunnel says of itself on to statistics. */
const PEER_BAGGAGE = 'envoy.extensions.network_filters.peer_metadata.Config'

export const OBSERVING_HTTP_FILTERS: ReadonlySet<string> = new Set([
  FORWARD_PROXY,
  STATS,
  'io.istio.http.peer_metadata.Config',
  'envoy.extensions.filters.http.grpc_stats.v3.FilterConfig',
  // Chooses the ALPN names towards a sidecar; the data path does that by itself.
  'istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig',
])

/** Of these, what the data path does without being told, or what nobody misses. */
export const DONE_ANYWAY: ReadonlySet<string> = new Set([
  FORWARD_PROXY,
  PEER_BAGGAGE,
  // Read on their own (telemetry/filters.ts).
  STATS,
  'io.istio.http.peer_metadata.Config',
  'envoy.extensions.filters.http.grpc_stats.v3.FilterConfig',
  'istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig',
  'envoy.tcp.metadataexchange.config.MetadataExchange',
])

export const OBSERVING_NETWORK_FILTERS: ReadonlySet<string> = new Set([
  STATS,
  PEER_BAGGAGE,
  'envoy.tcp.metadataexchange.config.MetadataExchange',
])

/** The TCP proxy behind it goes to the cluster that the client's SNI names; it has no settings. */
export const SNI_CLUSTER = {
  name: 'envoy.filters.network.sni_cluster',
  type: 'envoy.extensions.filters.network.sni_cluster.v3.SniCluster',
} as const

/** What the sniffing and the listener's own fields do. */
export const LISTENER_FILTERS = {
  tls: 'envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector',
  http: 'envoy.extensions.filters.listener.http_inspector.v3.HttpInspector',
  originalDst: 'envoy.extensions.filters.listener.original_dst.v3.OriginalDst',
  proxyProtocol: 'envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol',
} as const

/**
 * Sends on with the client's own address as source, which Node cannot; istiod has it where the interception mode is
 * TPROXY.
 */
export const ORIGINAL_SRC = {
  name: 'envoy.filters.listener.original_src',
  type: 'envoy.extensions.filters.listener.original_src.v3.OriginalSrc',
} as const

/** Older resources name these without a configuration. */
export const LISTENER_FILTER_NAMES: Readonly<Record<string, keyof typeof LISTENER_FILTERS>> = {
  'envoy.filters.listener.tls_inspector': 'tls',
  'envoy.filters.listener.http_inspector': 'http',
  'envoy.filters.listener.original_dst': 'originalDst',
  'envoy.filters.listener.proxy_protocol': 'proxyProtocol',
}

/**
 * HTTP filters that refuse, limit or take away. Where they are not run, on the way to an endpoint, they may not get
 * lost.
 */
const KEEPING_HTTP_FILTERS = [
  'rbac.v3.RBAC',
  'jwt_authn.v3.JwtAuthentication',
  'ext_authz.v3.ExtAuthz',
  'ext_proc.v3.ExternalProcessor',
  'local_ratelimit.v3.LocalRateLimit',
  'ratelimit.v3.RateLimit',
  'admission_control.v3.AdmissionControl',
  'header_mutation.v3.HeaderMutation',
  'buffer.v3.Buffer',
  'lua.v3.Lua',
  'wasm.v3.Wasm',
].map((name) => `envoy.extensions.filters.http.${name}`)

/** @param bytes of the filters: types stand in them as text, also of a TypedStruct */
export function findKeepingFilter(bytes: Uint8Array): string | undefined {
  const all = Buffer.from(bytes)
  return KEEPING_HTTP_FILTERS.find((type) => all.includes(type))
}
