/** One cluster while it is made: fields in Envoy's JSON, and what decides about others (core/cluster_builder.go). */
import type { JsonValue } from '@bufbuild/protobuf'
import { makeAny, compact, makeExtension, makeTypedStruct, type Json } from '../json.ts'
import { isHttp2, type Protocol } from '../mesh/protocols.ts'
import type { Service } from '../mesh/services.ts'

export type Discovery = 'EDS' | 'STATIC' | 'STRICT_DNS' | 'LOGICAL_DNS' | 'ORIGINAL_DST'
type Fields = Record<string, JsonValue | undefined>
export type HttpOptions = {
  common?: Fields
  upstream?: Fields
  protocol?: { readonly explicit_http_config: Fields } | { readonly use_downstream_protocol_config: Json }
}
export type ClusterDraft = {
  readonly fields: Fields
  discovery: Discovery
  /** `filter_metadata.istio`. */
  metadata: Record<string, JsonValue> | undefined
  http: HttpOptions | undefined
}

const CONNECT_TIMEOUT = '10s'
export const MAX = 4_294_967_295
const HTTP_OPTIONS = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions'
export const METADATA_EXCHANGE: Json = makeExtension(
  'istio.metadata_exchange',
  makeTypedStruct('envoy.tcp.metadataexchange.config.MetadataExchange', {
    enable_discovery: true,
    protocol: 'istio-peer-exchange',
  }),
)
const NO_LIMITS: Json = {
  max_connections: MAX,
  max_pending_requests: MAX,
  max_requests: MAX,
  max_retries: MAX,
}
export const makeNoLimits = (): Record<string, JsonValue> => ({ ...NO_LIMITS })

export function draftCluster(name: string, discovery: Discovery, protocol: Protocol): ClusterDraft {
  const draft: ClusterDraft = {
    fields: { name, alt_stat_name: `${name};`, connect_timeout: CONNECT_TIMEOUT, common_lb_config: {} },
    discovery,
    metadata: undefined,
    http: undefined,
  }
  if (isHttp2(protocol)) useHttp2(draft)
  else if (protocol === 'auto') useDownstreamProtocol(draft)
  return draft
}

export function useHttp2(draft: ClusterDraft): void {
  draft.http ??= {}
  draft.http.protocol ??= { explicit_http_config: { http2_protocol_options: {} } }
}
export function useDownstreamProtocol(draft: ClusterDraft): void {
  draft.http ??= {}
  draft.http.protocol = {
    use_downstream_protocol_config: { http_protocol_options: {}, http2_protocol_options: {} },
  }
}
export function isHttp2Cluster({ http }: ClusterDraft): boolean {
  const protocol = http?.protocol
  return (
    protocol !== undefined &&
    'explicit_http_config' in protocol &&
    protocol.explicit_http_config['http2_protocol_options'] !== undefined
  )
}

export function describeService({ hostname, namespace }: Pick<Service, 'hostname' | 'namespace'>): Json {
  return { host: hostname, name: hostname, namespace }
}

export function buildCluster({ fields, discovery, metadata, http }: ClusterDraft): Json {
  return compact({
    ...fields,
    type: discovery,
    metadata: metadata && { filter_metadata: { istio: metadata } },
    typed_extension_protocol_options: http && { [HTTP_OPTIONS]: buildHttpOptions(http) },
  })
}

function buildHttpOptions({ common, upstream, protocol }: HttpOptions): Json {
  const fallback = { explicit_http_config: { http_protocol_options: {} } }
  return makeAny(HTTP_OPTIONS, {
    common_http_protocol_options: common && compact(common),
    upstream_http_protocol_options: upstream && compact(upstream),
    ...(protocol === undefined
      ? fallback
      : 'explicit_http_config' in protocol
        ? { explicit_http_config: compact(protocol.explicit_http_config) }
        : protocol),
  })
}

const PASSTHROUGH_HTTP: Json = {
  [HTTP_OPTIONS]: makeAny(HTTP_OPTIONS, {
    common_http_protocol_options: { idle_timeout: '300s' },
    use_downstream_protocol_config: { http_protocol_options: {}, http2_protocol_options: {} },
  }),
}

/** For what nothing is known of: BlackHoleCluster, PassthroughCluster, InboundPassthroughCluster. */
export function makeFixedClusters(addresses: { readonly hasIpv4: boolean; readonly hasIpv6: boolean }): Json[] {
  const { hasIpv4, hasIpv6 } = addresses
  const passthrough = {
    type: 'ORIGINAL_DST',
    connect_timeout: CONNECT_TIMEOUT,
    lb_policy: 'CLUSTER_PROVIDED',
    alt_stat_name: 'PassthroughCluster;',
    circuit_breakers: { thresholds: [NO_LIMITS] },
    typed_extension_protocol_options: PASSTHROUGH_HTTP,
  }
  const source = (address: string): Json => ({ address, port_value: 0 })
  return [
    { name: 'BlackHoleCluster', type: 'STATIC', connect_timeout: CONNECT_TIMEOUT, alt_stat_name: 'BlackHoleCluster;' },
    { name: 'PassthroughCluster', ...passthrough, filters: [METADATA_EXCHANGE] },
    {
      name: 'InboundPassthroughCluster',
      ...passthrough,
      upstream_bind_config: {
        source_address: source(hasIpv4 ? '127.0.0.6' : '::6'),
        ...(hasIpv4 && hasIpv6 ? { extra_source_addresses: [{ address: source('::6') }] } : {}),
      },
    },
  ]
}
