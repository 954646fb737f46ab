import type { KeepAlive } from '../core/os/network.ts'
import type { HeaderCase } from './http/header-case.ts'
import type { HealthCheck } from './http/health-check.ts'
import type { UpstreamTls } from './tls.ts'

/** envoy.config.cluster.v3.Cluster, decoded. */
export type Cluster = {
  readonly name: string
  /** Fail closed: why nothing may be sent to it. Absent for a cluster that serves. */
  readonly blocked?: string
  readonly discovery: Discovery
  readonly connectTimeoutMs: number
  readonly balancer: Balancer
  /** `downstream`: speak what the client speaks (use_downstream_protocol_config). */
  readonly protocol: 'http1' | 'http2' | 'downstream'
  readonly idleMs: number
  /** How names of fields are written to HTTP/1.1 endpoints; left out: in lower case. */
  readonly headerCase?: HeaderCase
  readonly maxRequestsPerConnection: number | undefined
  readonly maxConnectionMs: number | undefined
  /**
   * Of a response's head, and the number of its fields; undefined = Envoy's 80 KiB, and what the agent's limits say.
   */
  readonly maxResponseHeadersBytes?: number | undefined
  readonly maxResponseHeaders?: number | undefined
  readonly breakers: Breakers
  readonly outlier: Outlier | undefined
  /** Its hosts are asked whether they are well; absent: nobody asks. */
  readonly healthCheck?: HealthCheck
  /** Hosts that were not asked yet are not counted (ignore_new_hosts_until_first_hc). */
  readonly leavesOutNewHosts?: boolean
  /** A host goes when it is discovered no more, also while it is well (ignore_health_on_host_removal). */
  readonly removesHealthyHosts?: boolean
  /** Connections that are not HTTP end with the health of their host (close_connections_on_host_health_failure). */
  readonly closesOnHealthFailure?: boolean
  /** 0..100: below this share of healthy endpoints all are used (healthy_panic_threshold). */
  readonly panicPercent: number
  /**
   * Endpoints that get what a client wants them to have, whatever the balancer says (override_host_status); left out:
   * healthy and degraded ones.
   */
  readonly wantedMayBe?: ReadonlySet<Endpoint['health']>
  /** Localities of a level get requests by their weights (locality_weighted_lb_config). */
  readonly localityWeighted: boolean
  /** The first whose `match` is part of the endpoint's labels is used; else `transport`. */
  readonly transportMatches: readonly {
    readonly name: string
    readonly match: Readonly<Record<string, string>>
    readonly transport: Transport
  }[]
  readonly transport: Transport
  /** Local address for upstream connections (Istio inbound: 127.0.0.6). */
  readonly bindAddress: string | undefined
  /** In which order an endpoint's addresses are tried (happy_eyeballs_config). */
  readonly happyEyeballs?: HappyEyeballs
  /** Of its connections (tcp_keepalive). */
  readonly keepAlive?: KeepAlive
  /** Its servers are asked who they are, over TCP (istio.metadata_exchange). */
  readonly exchangesPeers?: boolean
  /** What istiod says of it; absent where it says nothing. */
  readonly mesh?: ClusterMetadata
}

/**
 * `first`: left out, the family of the first address. `count`: so many of that family come before each one of the
 * other.
 */
export type HappyEyeballs = { readonly first?: 4 | 6; readonly count: number }

/** filter_metadata.istio of a cluster. */
export type ClusterMetadata = {
  /** The first one of `services`. '' = not said. */
  readonly service?: { readonly host: string; readonly name: string; readonly namespace: string }
  /** Outside of the mesh. */
  readonly isExternal: boolean
  /** It is not told who calls (disable_mx). */
  readonly withoutExchange: boolean
}

/**
 * `blocked`: it cannot be taken as it was configured, so nothing goes to the endpoints that it is for. `header`: what
 * each connection begins with, before TLS. `internal`: for endpoints behind an internal listener, and for no others
 * (envoy.transport_sockets.internal_upstream).
 */
export type Transport =
  | { readonly kind: 'plaintext'; readonly header?: ProxyHeader; readonly internal?: true }
  | { readonly kind: 'tls'; readonly tls: UpstreamTls; readonly header?: ProxyHeader; readonly internal?: true }
  | { readonly kind: 'blocked'; readonly reason: string }

/** envoy.config.core.v3.ProxyProtocolConfig: the endpoint is told who really comes. */
export type ProxyHeader = {
  readonly version: 1 | 2
  /** Types of the client's own TLVs that go on (version 2). */
  readonly passes: TlvTypes
  /** Before the client's, in place of those of the same type. */
  readonly added: readonly Tlv[]
}
/** PROXY protocol §2.2: what a header says beside addresses. */
export type Tlv = { readonly type: number; readonly value: Uint8Array }
export type TlvTypes = 'all' | ReadonlySet<number>

export type Discovery =
  | { readonly kind: 'static'; readonly load: ClusterLoad }
  | { readonly kind: 'eds'; readonly serviceName: string }
  /** Endpoint addresses are host names. `logical`: one connection target at a time. */
  | {
      readonly kind: 'dns'
      readonly mode: 'strict' | 'logical'
      readonly load: ClusterLoad
      readonly refreshMs: number
      readonly lookupFamily?: DnsLookupFamily
    }
  /** `portOverride`: in place of the port where the client was going (upstream_port_override). */
  | { readonly kind: 'original-dst'; readonly portOverride?: number }
  /** Not connected to: what a CONNECT carries is served by that listener of this node. */
  | { readonly kind: 'internal'; readonly listener: string }
  | ForwardProxy

/** Its hosts are those that requests name (envoy.clusters.dynamic_forward_proxy). */
export type ForwardProxy = {
  readonly kind: 'forward-proxy'
  readonly lookupFamily: DnsLookupFamily
  readonly refreshMs: number
  /** Who was not asked for so long is forgotten. */
  readonly hostTtlMs: number
  readonly maxHosts: number
}

/**
 * Envoy's dns_lookup_family: `auto` IPv6 addresses, and IPv4 ones where there are none; `v4-preferred` the other way
 * round. Default: `auto`.
 */
export type DnsLookupFamily = 'auto' | 'v4-only' | 'v6-only' | 'v4-preferred' | 'all'

export type Balancer =
  | { readonly kind: 'round-robin'; readonly slowStart?: SlowStart }
  | { readonly kind: 'random' }
  | { readonly kind: 'least-request'; readonly choices: number; readonly slowStart?: SlowStart }
  | {
      readonly kind: 'ring-hash'
      readonly minRing: number
      readonly maxRing: number
      /** Hosts are placed by their names (use_hostname_for_hashing). */
      readonly byHostname?: boolean
    }
  | { readonly kind: 'maglev'; readonly tableSize: number; readonly byHostname?: boolean }

/**
 * A host that has just come gets less than its share, growing over the window: by age^(1/aggression), at least
 * `minPercent`.
 */
export type SlowStart = { readonly windowMs: number; readonly aggression: number; readonly minPercent: number }

/** Infinity = unlimited (Istio's 4294967295). */
export type Breakers = {
  readonly maxConnections: number
  readonly maxPendingRequests: number
  readonly maxRequests: number
  readonly maxRetries: number
  /** Retries at once, as a share of active requests, but at least `minConcurrent`. Replaces maxRetries. */
  readonly retryBudget: { readonly percent: number; readonly minConcurrent: number } | undefined
}

export type Outlier = {
  readonly consecutive5xx: number | undefined
  readonly consecutiveGatewayFailures: number | undefined
  readonly consecutiveLocalFailures: number | undefined
  readonly intervalMs: number
  readonly baseEjectionMs: number
  readonly maxEjectionMs: number
  readonly maxEjectionPercent: number
  /** One endpoint may be ejected whatever maxEjectionPercent says. */
  readonly alwaysEjectOneHost?: boolean
  /** Ejections last up to so much longer, so that not all endpoints come back at once. */
  readonly maxEjectionJitterMs?: number
  /** One that was asked and is well comes back early (successful_active_health_check_uneject_host). */
  readonly returnsWhenWell?: boolean
  /** Failures to connect are not counted as answers with 503 (split_external_local_origin_errors). */
  readonly splitLocal?: boolean
  /** In percent, how often what was found has consequences (enforcing_*); default: always. */
  readonly enforcing?: {
    readonly consecutive5xx: number
    readonly gatewayFailures: number
    readonly localFailures: number
  }
}

/** envoy.config.endpoint.v3.ClusterLoadAssignment, decoded. */
export type ClusterLoad = { readonly clusterName: string; readonly localities: readonly LocalityLoad[] }
export type LocalityLoad = {
  readonly region: string
  readonly zone: string
  readonly subZone: string
  /** 0 first; higher ones only for what lower ones are not healthy enough to take. */
  readonly priority: number
  /** For clusters with localityWeighted; 0 = nothing was said. */
  readonly weight: number
  readonly endpoints: readonly Endpoint[]
}
/** The way to an endpoint of an ambient mesh: an internal listener opens a tunnel to it (HBONE). */
export type TunnelWay = {
  /** Its name; what it does stands in the tables. */
  readonly listener: string
  /** Who is connected to in place of the endpoint: a waypoint. */
  readonly waypoint?: { readonly host: string; readonly port: number }
}
export type Endpoint = {
  readonly address: string
  readonly port: number
  readonly weight: number
  /** `degraded`: for what healthy ones cannot take. */
  readonly health: 'healthy' | 'degraded' | 'unhealthy' | 'draining'
  /** filter_metadata["envoy.transport_socket_match"]. */
  readonly transportLabels: Readonly<Record<string, string>>
  /** filter_metadata.istio.workload: "name;namespace;canonical service;revision;cluster". */
  readonly workload: string | undefined
  /** Where else it can be reached; who connects first counts (additional_addresses). */
  readonly others?: readonly { readonly address: string; readonly port: number }[]
  /** Its name, which is not resolved (Endpoint.hostname); absent where it has none. */
  readonly hostname?: string
  /** How it is asked whether it is well, where that differs (health_check_config). */
  readonly check?: EndpointCheck
  /**
   * Reached in this way and in no other: `address` and `port` are where the tunnel leads
   * (filter_metadata["envoy.filters.listener.original_dst"].local).
   */
  readonly via?: TunnelWay
}

/** What is sent can be read on its way. */
export function isInClear({ kind, ...rest }: Transport): boolean {
  return kind === 'plaintext' && !('internal' in rest && rest.internal)
}

export type EndpointCheck = {
  readonly address?: string
  readonly port?: number
  /** The host that requests name. */
  readonly hostname?: string
  /** It is not asked, and counts as what discovery says of it. */
  readonly isOff?: boolean
}

/** Whether what goes to the endpoint in clear is to go over TLS, or not at all, from now on. */
export function turnsTlsOn(was: Cluster, now: Cluster, endpoint: Endpoint): boolean {
  return isInClear(selectTransport(was, endpoint)) && !isInClear(selectTransport(now, endpoint))
}

/** Whether some or all of its endpoints may get nothing. */
export function isBlocked({ blocked, transportMatches }: Cluster): boolean {
  return blocked !== undefined || transportMatches.some((m) => m.transport.kind === 'blocked')
}

/**
 * The transport for one endpoint: first match whose labels are all present on the endpoint (Envoy's
 * transport_socket_matches).
 */
export function selectTransport(cluster: Cluster, endpoint: Endpoint): Transport {
  const found = cluster.transportMatches.find(({ match }) =>
    Object.entries(match).every(([k, v]) => endpoint.transportLabels[k] === v),
  )
  const transport = found?.transport ?? cluster.transport
  if (transport.kind === 'blocked' || transport.internal === (endpoint.via && true)) return transport
  return endpoint.via ? WITHOUT_TUNNEL : WITHOUT_LISTENER
}

/** Whether connections to the one are connections to the other. */
export function isSameWay(cluster: Cluster, a: Endpoint, b: Endpoint): boolean {
  if (selectTransport(cluster, a) !== selectTransport(cluster, b) || a.via?.listener !== b.via?.listener) return false
  const [one, other] = [a.via?.waypoint, b.via?.waypoint]
  return one?.host === other?.host && one?.port === other?.port
}
const WITHOUT_TUNNEL: Transport = { kind: 'blocked', reason: 'an endpoint behind a tunnel has no transport for one' }
const WITHOUT_LISTENER: Transport = { kind: 'blocked', reason: 'internal_upstream leads to internal listeners only' }
