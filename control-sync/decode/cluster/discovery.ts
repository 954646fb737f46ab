/** Where a cluster has its endpoints from: envoy.config.cluster.v3.Cluster.type and cluster_type. */
import type { Any } from '@bufbuild/protobuf/wkt'
import type { Discovery, DnsLookupFamily, ForwardProxy } from '../../../model/cluster.ts'
import {
  Cluster_DiscoveryType as Type,
  Cluster_DnsLookupFamily as Family,
  type Cluster as XCluster,
} from '../../../proto/gen/envoy/config/cluster/v3/cluster_pb.ts'
import { ClusterConfigSchema } from '../../../proto/gen/envoy/extensions/clusters/dynamic_forward_proxy/v3/cluster_pb.ts'
import {
  DnsCacheConfigSchema,
  type DnsCacheConfig,
} from '../../../proto/gen/envoy/extensions/common/dynamic_forward_proxy/v3/dns_cache_pb.ts'
import { decodeClusterLoad } from '../endpoint.ts'
import { readEffectiveType, unpack } from '../fields/any.ts'
import { noteIgnored, refuse, type DecodePath } from '../fields/decode-path.ts'
import { decodeMs } from '../fields/values.ts'

/** Envoy's defaults of a DnsCacheConfig; an operator may bound hosts less, and nobody more. */
const MAX_HOSTS = 1024
const REFRESH_MS = 60_000
const HOST_TTL_MS = 300_000
const MIN_REFRESH_MS = 1_000

export function decodeDiscovery(at: DecodePath, from: XCluster): Discovery {
  const load = (): Extract<Discovery, { kind: 'static' }>['load'] =>
    from.loadAssignment
      ? decodeClusterLoad(at.in('load_assignment'), from.loadAssignment)
      : { clusterName: from.name, localities: [] }
  const refreshMs = Math.max(MIN_REFRESH_MS, decodeMs(at.in('dns_refresh_rate'), from.dnsRefreshRate) ?? 5_000)
  const by = from.clusterDiscoveryType
  if (by.case === 'clusterType') {
    const custom = forwardProxy(at.in('cluster_type').in('typed_config'), by.value.typedConfig)
    if (custom) return custom
    at.in('cluster_type').issue('custom cluster types are not supported')
  }
  const type = by.case === 'type' ? by.value : Type.STATIC
  const family = (): DnsLookupFamily => lookupFamily(at.in('dns_lookup_family'), from.dnsLookupFamily)
  switch (type) {
    case Type.STATIC:
      return internal(from) ?? { kind: 'static', load: load() }
    case Type.EDS:
      return { kind: 'eds', serviceName: from.edsClusterConfig?.serviceName || from.name }
    case Type.STRICT_DNS:
      return { kind: 'dns', mode: 'strict', load: load(), refreshMs, lookupFamily: family() }
    case Type.LOGICAL_DNS:
      return { kind: 'dns', mode: 'logical', load: load(), refreshMs, lookupFamily: family() }
    case Type.ORIGINAL_DST:
      return { kind: 'original-dst', ...portOverride(at.in('original_dst_lb_config'), from.lbConfig) }
    default:
      at.in('type').issue(`unknown value ${type}`)
      return { kind: 'static', load: { clusterName: from.name, localities: [] } }
  }
}

/** One endpoint, which is an internal listener that is not told where anybody was going. */
function internal({ loadAssignment }: XCluster): Discovery | undefined {
  const [only, ...more] = loadAssignment?.endpoints.flatMap((group) => group.lbEndpoints) ?? []
  if (!only || more.length > 0 || only.hostIdentifier.case !== 'endpoint') return undefined
  const address = only.hostIdentifier.value.address?.address
  const isTold = only.metadata?.filterMetadata['envoy.filters.listener.original_dst'] !== undefined
  if (address?.case !== 'envoyInternalAddress' || isTold) return undefined
  return { kind: 'internal', listener: address.value.addressNameSpecifier.value ?? '' }
}

/** Its metadata key names a waypoint, which stands at the endpoint (decode/endpoint.ts). */
function portOverride(at: DecodePath, by: XCluster['lbConfig']): { readonly portOverride?: number } {
  const port = by.case === 'originalDstLbConfig' ? by.value.upstreamPortOverride : undefined
  if (port === undefined) return {}
  if (port < 1 || port > 65_535) at.in('upstream_port_override').issue('must be 1 to 65535')
  return { portOverride: port }
}

/** What istiod sends for hosts with the resolution DYNAMIC_DNS. */
function forwardProxy(at: DecodePath, any: Any | undefined): ForwardProxy | undefined {
  const config = unpack(at, any, ClusterConfigSchema)
  if (!config) return undefined
  noteIgnored(at, ClusterConfigSchema, config)
  const by = config.clusterImplementationSpecifier
  if (by.case !== 'dnsCacheConfig') {
    at.issue(`without dns_cache_config it cannot be taken (${readEffectiveType(at, any)})`)
    return undefined
  }
  return decodeDnsCache(at.in('dns_cache_config'), by.value)
}

function decodeDnsCache(at: DecodePath, from: DnsCacheConfig): ForwardProxy {
  refuse(at, DnsCacheConfigSchema, from)
  const maxHosts = from.maxHosts ?? MAX_HOSTS
  if (maxHosts < 1) at.in('max_hosts').issue('must be 1 or more')
  return {
    kind: 'forward-proxy',
    lookupFamily: lookupFamily(at.in('dns_lookup_family'), from.dnsLookupFamily),
    refreshMs: Math.max(MIN_REFRESH_MS, decodeMs(at.in('dns_refresh_rate'), from.dnsRefreshRate) ?? REFRESH_MS),
    hostTtlMs: Math.max(1, decodeMs(at.in('host_ttl'), from.hostTtl) ?? HOST_TTL_MS),
    maxHosts: Math.min(maxHosts, MAX_HOSTS),
  }
}

function lookupFamily(at: DecodePath, from: Family): DnsLookupFamily {
  switch (from) {
    case Family.AUTO:
      return 'auto'
    case Family.V4_ONLY:
      return 'v4-only'
    case Family.V6_ONLY:
      return 'v6-only'
    case Family.V4_PREFERRED:
      return 'v4-preferred'
    case Family.ALL:
      return 'all'
    default:
      at.issue(`unknown value ${String(from)}`)
      return 'auto'
  }
}
