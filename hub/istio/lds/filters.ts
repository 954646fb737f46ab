/** Filters that are the same everywhere (xds/filters/filters.go). */
import { makeAny, makeExtension, makeTypedStruct, type Json } from '../json.ts'

const PEER_METADATA = 'io.istio.http.peer_metadata.Config'
const HTTP = 'envoy.extensions.filters.http'
const LISTENER = 'envoy.extensions.filters.listener'

export const TCP_METADATA: Json = makeExtension(
  'istio.metadata_exchange',
  makeTypedStruct('envoy.tcp.metadataexchange.config.MetadataExchange', {
    enable_discovery: true,
    protocol: 'istio-peer-exchange',
  }),
)
const DISCOVERY = [{ istio_headers: {} }, { workload_discovery: {} }]
const PROPAGATION = [{ istio_headers: {} }]
export const INBOUND_METADATA: Json = makeExtension(
  'istio.metadata_exchange',
  makeTypedStruct(PEER_METADATA, { downstream_discovery: DISCOVERY, downstream_propagation: PROPAGATION }),
)
export const OUTBOUND_METADATA: Json = makeExtension(
  'istio.metadata_exchange',
  makeTypedStruct(PEER_METADATA, { upstream_discovery: DISCOVERY, upstream_propagation: PROPAGATION }),
)

export const GRPC_STATS: Json = makeExtension(
  'envoy.filters.http.grpc_stats',
  makeAny(`${HTTP}.grpc_stats.v3.FilterConfig`, { emit_filter_state: true, stats_for_all_methods: false }),
)
export const ALPN: Json = makeExtension(
  'istio.alpn',
  makeAny('istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig', {
    alpn_override: [
      { upstream_protocol: 'HTTP10', alpn_override: ['istio-http/1.0', 'istio', 'http/1.0'] },
      { upstream_protocol: 'HTTP11', alpn_override: ['istio-http/1.1', 'istio', 'http/1.1'] },
      { upstream_protocol: 'HTTP2', alpn_override: ['istio-h2', 'istio', 'h2'] },
    ],
  }),
)
export const GRPC_WEB: Json = makeExtension('envoy.filters.http.grpc_web', makeAny(`${HTTP}.grpc_web.v3.GrpcWeb`))
export const FAULT: Json = makeExtension('envoy.filters.http.fault', makeAny(`${HTTP}.fault.v3.HTTPFault`))
export const CORS: Json = makeExtension('envoy.filters.http.cors', makeAny(`${HTTP}.cors.v3.Cors`))
export const ROUTER: Json = makeExtension('envoy.filters.http.router', makeAny(`${HTTP}.router.v3.Router`))

export const ORIGINAL_DST: Json = makeExtension(
  'envoy.filters.listener.original_dst',
  makeAny(`${LISTENER}.original_dst.v3.OriginalDst`),
)
export const ORIGINAL_SRC: Json = makeExtension(
  'envoy.filters.listener.original_src',
  makeAny(`${LISTENER}.original_src.v3.OriginalSrc`, { mark: 1337 }),
)
export const TLS_INSPECTOR: Json = makeExtension(
  'envoy.filters.listener.tls_inspector',
  makeAny(`${LISTENER}.tls_inspector.v3.TlsInspector`, { initial_read_buffer_size: 512 }),
)
export const HTTP_INSPECTOR: Json = makeExtension(
  'envoy.filters.listener.http_inspector',
  makeAny(`${LISTENER}.http_inspector.v3.HttpInspector`),
)

export function makeTcpProxy(fields: Json): Json {
  return makeExtension(
    'envoy.filters.network.tcp_proxy',
    makeAny('envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy', fields),
  )
}

export const PLAIN_HTTP_ALPN = ['http/1.1', 'h2c']
export const MTLS_HTTP_ALPN = ['istio-http/1.0', 'istio-http/1.1', 'istio-h2']
export const MTLS_TCP_ALPN = ['istio-peer-exchange', 'istio']
export const MTLS_ALPN = ['istio', 'istio-peer-exchange', ...MTLS_HTTP_ALPN]
