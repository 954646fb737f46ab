/** envoy.config.cluster.v3.Cluster → Cluster. */
import type { Balancer, Breakers, Cluster, Outlier, SlowStart } from '../../model/cluster.ts'
import { decodeHeadersCount, decodeHeadersKb } from './http-limits.ts'
import { parseCidr } from '../../model/ip.ts'
import type { CircuitBreakers } from '../../proto/gen/envoy/config/cluster/v3/circuit_breaker_pb.ts'
import {
  Cluster_LbPolicy as Lb,
  ClusterSchema,
  type Cluster_SlowStartConfig,
  type Cluster as XCluster,
  UpstreamConnectionOptions_FirstAddressFamilyVersion as Family,
} from '../../proto/gen/envoy/config/cluster/v3/cluster_pb.ts'
import type { OutlierDetection } from '../../proto/gen/envoy/config/cluster/v3/outlier_detection_pb.ts'
import type { HealthStatusSet } from '../../proto/gen/envoy/config/core/v3/health_check_pb.ts'
import { RoutingPriority } from '../../proto/gen/envoy/config/core/v3/base_pb.ts'
import {
  HttpProtocolOptionsSchema,
  type HttpProtocolOptions,
} from '../../proto/gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts'
import { readEffectiveType, readTypeName, unpack } from './fields/any.ts'
import { noteIgnored, refuse, type DecodePath } from './fields/decode-path.ts'
import { decodeDiscovery } from './cluster/discovery.ts'
import { decodeHeaderCase } from './header-case.ts'
import { decodeHealthChecks } from './cluster/health-check.ts'
import { decodeHealth } from './endpoint.ts'
import { decodeClusterMetadata } from './telemetry/cluster-metadata.ts'
import { isPeerExchange } from './telemetry/filters.ts'
import { DONE_ANYWAY, findKeepingFilter, OBSERVING_NETWORK_FILTERS } from './fields/known-filters.ts'
import { findSkippedExtension } from './fields/skipped.ts'
import { decodeTransport, decodeTransportMatches, PLAINTEXT } from './cluster/transport.ts'
import { limit, decodeMs, decodeMsOrNone } from './fields/values.ts'

const HTTP_OPTIONS = HttpProtocolOptionsSchema.typeName
/** Envoy's bounds: RingHashLbConfig and MaglevLbConfig.table_size. */
const MAX_RING = 8 * 1024 * 1024
const MAX_MAGLEV = 5_000_011
const HOUR_MS = 3_600_000

export function decodeCluster(at: DecodePath, from: XCluster): Cluster {
  if (from.name === '') at.in('name').issue('is missing')
  refuse(at, ClusterSchema, from)
  refuseSubsets(at.in('load_balancing_policy'), from)
  const http = httpOptions(at, from)
  const common = http?.commonHttpProtocolOptions
  const auto = {
    sni: http?.upstreamHttpProtocolOptions?.autoSni ?? false,
    san: http?.upstreamHttpProtocolOptions?.autoSanValidation ?? false,
  }
  const httpAt = at.in('typed_extension_protocol_options').item(HTTP_OPTIONS).in('common_http_protocol_options')
  const exchangesPeers = decodeFilters(at.in('filters'), from.filters)
  const header = http?.upstreamHttpProtocolOptions?.overrideAutoSniHeader ?? ''
  if ((auto.sni || auto.san) && !['', ':authority', 'host'].includes(header.toLowerCase())) {
    at.in('typed_extension_protocol_options')
      .item(HTTP_OPTIONS)
      .in('upstream_http_protocol_options')
      .in('override_auto_sni_header')
      .issue('only the host of a request can be its name')
  }
  const discovery = decodeDiscovery(at, from)
  return {
    name: from.name,
    discovery,
    balancer: balancer(at, from),
    protocol: protocolOf(from, http),
    ...headerCase(at, from, http),
    connectTimeoutMs: decodeMs(at.in('connect_timeout'), from.connectTimeout) || 5_000,
    idleMs: decodeMsOrNone(httpAt.in('idle_timeout'), common?.idleTimeout, HOUR_MS) ?? Infinity,
    maxRequestsPerConnection: (common?.maxRequestsPerConnection ?? from.maxRequestsPerConnection) || undefined,
    maxConnectionMs: decodeMsOrNone(httpAt.in('max_connection_duration'), common?.maxConnectionDuration, undefined),
    maxResponseHeadersBytes:
      common?.maxResponseHeadersKb &&
      decodeHeadersKb(httpAt.in('max_response_headers_kb'), common.maxResponseHeadersKb) * 1024,
    maxResponseHeaders: decodeHeadersCount(httpAt.in('max_headers_count'), common?.maxHeadersCount),
    breakers: breakers(from.circuitBreakers),
    outlier: from.outlierDetection && outlier(at.in('outlier_detection'), from.outlierDetection),
    ...decodeHealthChecks(at.in('health_checks'), from.healthChecks, discovery.kind),
    ...(from.commonLbConfig?.ignoreNewHostsUntilFirstHc && { leavesOutNewHosts: true }),
    ...(from.ignoreHealthOnHostRemoval && { removesHealthyHosts: true }),
    ...(from.closeConnectionsOnHostHealthFailure && { closesOnHealthFailure: true }),
    panicPercent: Math.min(100, Math.max(0, from.commonLbConfig?.healthyPanicThreshold?.value ?? 50)),
    ...wantedMayBe(from.commonLbConfig?.overrideHostStatus),
    localityWeighted: from.commonLbConfig?.localityConfigSpecifier.case === 'localityWeightedLbConfig',
    transportMatches: decodeTransportMatches(at.in('transport_socket_matches'), from.transportSocketMatches, auto),
    transport: decodeTransport(at.in('transport_socket'), from.transportSocket, auto) ?? PLAINTEXT,
    bindAddress: bindAddress(
      at.in('upstream_bind_config').in('source_address').in('address'),
      from.upstreamBindConfig?.sourceAddress?.address,
    ),
    ...keepAlive(from),
    ...happyEyeballs(at.in('upstream_connection_options').in('happy_eyeballs_config'), from),
    ...(exchangesPeers && { exchangesPeers }),
    ...decodeClusterMetadata(from.metadata?.filterMetadata['istio']),
  }
}

/** As lb_subset_config: endpoints are not divided. Other policies only say which of them is taken when. */
function refuseSubsets(at: DecodePath, { loadBalancingPolicy }: XCluster): void {
  for (const { typedExtensionConfig: one } of loadBalancingPolicy?.policies ?? []) {
    const any = one?.typedConfig
    // A policy may hold another one, or come as a TypedStruct.
    if (any && (any.typeUrl.includes(SUBSETS) || Buffer.from(any.value).includes(SUBSETS)))
      at.issue(`${SUBSETS} is not supported`)
  }
}
const SUBSETS = 'envoy.extensions.load_balancing_policies.subset.v3.Subset'

function wantedMayBe(from: HealthStatusSet | undefined): Pick<Cluster, 'wantedMayBe'> {
  return from ? { wantedMayBe: new Set(from.statuses.map(decodeHealth)) } : {}
}

/** Of filters of the upstream connection metadata exchange alone is run. @returns whether it is there */
function decodeFilters(at: DecodePath, filters: XCluster['filters']): boolean {
  let exchangesPeers = false
  for (const [i, filter] of filters.entries()) {
    const here = at.item(i)
    const what = readEffectiveType(here.in('typed_config'), filter.typedConfig) || filter.name
    exchangesPeers ||= isPeerExchange(here.in('typed_config'), filter.typedConfig)
    if (DONE_ANYWAY.has(what)) continue
    if (!OBSERVING_NETWORK_FILTERS.has(what)) here.ignore(`the filter ${what} is not implemented`)
    here.skip(findSkippedExtension(what))
  }
  return exchangesPeers
}

/**
 * What stands in for a cluster that cannot be taken. The version before is no substitute: this one may ask for TLS
 * where that one had none.
 */
export function blockCluster({ name }: Pick<XCluster, 'name'>, reason: string): Cluster {
  return {
    name,
    blocked: reason,
    discovery: { kind: 'static', load: { clusterName: name, localities: [] } },
    balancer: { kind: 'round-robin' },
    protocol: 'http1',
    connectTimeoutMs: 5_000,
    idleMs: HOUR_MS,
    maxRequestsPerConnection: undefined,
    maxConnectionMs: undefined,
    breakers: breakers(undefined),
    outlier: undefined,
    panicPercent: 50,
    localityWeighted: false,
    transportMatches: [],
    transport: PLAINTEXT,
    bindAddress: undefined,
  }
}

function keepAlive({ upstreamConnectionOptions }: XCluster): Pick<Cluster, 'keepAlive'> {
  const from = upstreamConnectionOptions?.tcpKeepalive
  if (!from) return {}
  const ms = (seconds: number | undefined): number | undefined => (seconds === undefined ? undefined : seconds * 1000)
  const probes = from.keepaliveProbes
  return { keepAlive: { idleMs: ms(from.keepaliveTime), intervalMs: ms(from.keepaliveInterval), probes } }
}

function happyEyeballs(at: DecodePath, { upstreamConnectionOptions }: XCluster): Pick<Cluster, 'happyEyeballs'> {
  const from = upstreamConnectionOptions?.happyEyeballsConfig
  if (!from) return {}
  const count = from.firstAddressFamilyCount ?? 1
  if (count < 1) at.in('first_address_family_count').issue('must be 1 or more')
  const first = FIRST_FAMILY[from.firstAddressFamilyVersion]
  if (first === undefined) at.in('first_address_family_version').ignore('the family of the first address comes first')
  return { happyEyeballs: { count: Math.max(1, count), ...(first && { first }) } }
}
/** 0: whatever the first address has. Endpoints have no addresses of other kinds. */
const FIRST_FAMILY: Readonly<Partial<Record<Family, 0 | 4 | 6>>> = {
  [Family.DEFAULT]: 0,
  [Family.V4]: 4,
  [Family.V6]: 6,
}

function bindAddress(at: DecodePath, address: string | undefined): string | undefined {
  if (address === undefined || address === '') return undefined
  if (!parseCidr(address, undefined)) at.issue('is no IP address')
  return address
}

function httpOptions(at: DecodePath, from: XCluster): HttpProtocolOptions | undefined {
  let found: HttpProtocolOptions | undefined
  for (const [key, any] of Object.entries(from.typedExtensionProtocolOptions)) {
    const here = at.in('typed_extension_protocol_options').item(key)
    const options = unpack(here, any, HttpProtocolOptionsSchema)
    if (options) {
      noteIgnored(here, HttpProtocolOptionsSchema, options)
      const keeping = options.httpFilters.length > 0 ? findKeepingFilter(any.value) : undefined
      if (keeping !== undefined) here.in('http_filters').issue(`${keeping} is not supported here`)
    } else if (readTypeName(any) !== HTTP_OPTIONS) here.ignore()
    if (key === HTTP_OPTIONS) found = options
  }
  return found
}

/** Where HttpProtocolOptions are there, those of the cluster itself do not count (Envoy). */
function headerCase(
  at: DecodePath,
  from: XCluster,
  http: HttpProtocolOptions | undefined,
): ReturnType<typeof decodeHeaderCase> {
  if (!http) return decodeHeaderCase(at.in('http_protocol_options'), from.httpProtocolOptions)
  const by = http.upstreamProtocolOptions
  const here = at.in('typed_extension_protocol_options').item(HTTP_OPTIONS)
  if (by.case === 'useDownstreamProtocolConfig')
    return decodeHeaderCase(
      here.in('use_downstream_protocol_config').in('http_protocol_options'),
      by.value.httpProtocolOptions,
    )
  if (by.case !== 'explicitHttpConfig' || by.value.protocolConfig.case !== 'httpProtocolOptions') return {}
  return decodeHeaderCase(here.in('explicit_http_config').in('http_protocol_options'), by.value.protocolConfig.value)
}

function protocolOf(from: XCluster, http: HttpProtocolOptions | undefined): Cluster['protocol'] {
  const by = http?.upstreamProtocolOptions
  if (by?.case === 'useDownstreamProtocolConfig') return 'downstream'
  if (by?.case === 'explicitHttpConfig')
    return by.value.protocolConfig.case === 'http2ProtocolOptions' ? 'http2' : 'http1'
  return !by?.case && from.http2ProtocolOptions ? 'http2' : 'http1'
}

function balancer(at: DecodePath, { lbPolicy, lbConfig, commonLbConfig }: XCluster): Balancer {
  const byHostname = commonLbConfig?.consistentHashingLbConfig?.useHostnameForHashing ?? false
  const bounded = (field: string, value: number, most: number): number => {
    if (value > most) at.in(field).issue(`is above ${most}`)
    return value
  }
  switch (lbPolicy) {
    // CLUSTER_PROVIDED: the one endpoint that the original destination is.
    case Lb.ROUND_ROBIN:
    case Lb.CLUSTER_PROVIDED:
      return {
        kind: 'round-robin',
        ...(lbConfig.case === 'roundRobinLbConfig' &&
          slowStart(at.in('round_robin_lb_config').in('slow_start_config'), lbConfig.value.slowStartConfig)),
      }
    case Lb.RANDOM:
      return { kind: 'random' }
    case Lb.LEAST_REQUEST: {
      const choices = lbConfig.case === 'leastRequestLbConfig' ? (lbConfig.value.choiceCount ?? 2) : 2
      return {
        kind: 'least-request',
        choices: bounded('least_request_lb_config.choice_count', choices, 100),
        ...(lbConfig.case === 'leastRequestLbConfig' &&
          slowStart(at.in('least_request_lb_config').in('slow_start_config'), lbConfig.value.slowStartConfig)),
      }
    }
    case Lb.RING_HASH: {
      const ring = lbConfig.case === 'ringHashLbConfig' ? lbConfig.value : undefined
      const minRing = bounded('ring_hash_lb_config.minimum_ring_size', Number(ring?.minimumRingSize ?? 1024n), MAX_RING)
      const maxRing = bounded(
        'ring_hash_lb_config.maximum_ring_size',
        Number(ring?.maximumRingSize ?? BigInt(MAX_RING)),
        MAX_RING,
      )
      if (minRing > maxRing) at.in('ring_hash_lb_config').issue('minimum_ring_size is above maximum_ring_size')
      return { kind: 'ring-hash', minRing, maxRing, ...(byHostname && { byHostname }) }
    }
    case Lb.MAGLEV: {
      const size = lbConfig.case === 'maglevLbConfig' ? Number(lbConfig.value.tableSize ?? 65_537n) : 65_537
      const tableSize = bounded('maglev_lb_config.table_size', size, MAX_MAGLEV)
      // Hosts find every place of the table only where its size is prime.
      if (!isPrime(tableSize)) at.in('maglev_lb_config').in('table_size').issue('must be a prime number')
      return { kind: 'maglev', tableSize, ...(byHostname && { byHostname }) }
    }
    case Lb.LOAD_BALANCING_POLICY_CONFIG:
    default:
      at.in('lb_policy').ignore('not implemented: round robin is used')
      return { kind: 'round-robin' }
  }
}

function slowStart(at: DecodePath, from: Cluster_SlowStartConfig | undefined): { readonly slowStart?: SlowStart } {
  const windowMs = decodeMs(at.in('slow_start_window'), from?.slowStartWindow)
  if (!from || !windowMs) return {}
  const aggression = from.aggression?.defaultValue ?? 1
  return {
    slowStart: {
      windowMs,
      aggression: aggression > 0 ? aggression : 1,
      minPercent: Math.min(100, Math.max(0, from.minWeightPercent?.value ?? 10)),
    },
  }
}

function isPrime(n: number): boolean {
  for (let i = 2; i * i <= n; i++) if (n % i === 0) return false
  return n > 1
}

/** Envoy's defaults: 1024, 1024, 1024, 3. Only the default priority: meshlet has no other. */
function breakers(from: CircuitBreakers | undefined): Breakers {
  const found = from?.thresholds.find((t) => t.priority === RoutingPriority.DEFAULT)
  const budget = found?.retryBudget
  return {
    maxConnections: limit(found?.maxConnections, 1024),
    maxPendingRequests: limit(found?.maxPendingRequests, 1024),
    maxRequests: limit(found?.maxRequests, 1024),
    maxRetries: limit(found?.maxRetries, 3),
    retryBudget: budget && {
      percent: Math.max(0, budget.budgetPercent?.value ?? 20),
      minConcurrent: budget.minRetryConcurrency ?? 3,
    },
  }
}

/** Envoy counts what has an `enforcing_*` of 0 without ejecting; meshlet then does not look at it. */
function outlier(at: DecodePath, from: OutlierDetection): Outlier {
  const enforcing = {
    consecutive5xx: from.enforcingConsecutive5xx ?? 100,
    gatewayFailures: from.enforcingConsecutiveGatewayFailure ?? 0,
    localFailures: from.enforcingConsecutiveLocalOriginFailure ?? 100,
  }
  const counted = (percent: number, value: number | undefined): number | undefined =>
    percent > 0 ? (value ?? 5) || undefined : undefined
  const baseEjectionMs = decodeMs(at.in('base_ejection_time'), from.baseEjectionTime) ?? 30_000
  return {
    consecutive5xx: counted(enforcing.consecutive5xx, from.consecutive5xx),
    consecutiveGatewayFailures: counted(enforcing.gatewayFailures, from.consecutiveGatewayFailure),
    consecutiveLocalFailures: from.splitExternalLocalOriginErrors
      ? counted(enforcing.localFailures, from.consecutiveLocalOriginFailure)
      : undefined,
    intervalMs: Math.max(1, decodeMs(at.in('interval'), from.interval) ?? 10_000),
    baseEjectionMs,
    maxEjectionMs: Math.max(baseEjectionMs, decodeMs(at.in('max_ejection_time'), from.maxEjectionTime) ?? 300_000),
    maxEjectionPercent: Math.min(100, from.maxEjectionPercent ?? 10),
    maxEjectionJitterMs: decodeMs(at.in('max_ejection_time_jitter'), from.maxEjectionTimeJitter) ?? 0,
    alwaysEjectOneHost: from.alwaysEjectOneHost ?? false,
    returnsWhenWell: from.successfulActiveHealthCheckUnejectHost ?? true,
    splitLocal: from.splitExternalLocalOriginErrors,
    enforcing,
  }
}
