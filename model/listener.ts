import type { HeaderCase } from './http/header-case.ts'
import type { AccessLog } from './access-log/access-log.ts'
import type { TlvTypes } from './cluster.ts'
import type { Cidr } from './ip.ts'
import type { Compressor } from './http/bodies.ts'
import type { ConnectionAuthz, ExtAuthz } from './http/ext-authz.ts'
import type { HealthCheckFilter } from './http/health-check-filter.ts'
import type { GlobalRateLimit } from './http/global-rate-limit.ts'
import type { ConnectionLimit } from './http/connection-limit.ts'
import type { LocalRateLimit } from './http/rate-limit.ts'
import type { JwtAuthentication } from './http/jwt.ts'
import type { StatefulSession } from './http/session.ts'
import type { LocalReplyConfig } from './http/local-reply.ts'
import type { MqttPolicy } from './mqtt-policy.ts'
import type { Policy } from './policy.ts'
import type { MetadataExchange, StatsFilter } from './telemetry.ts'
import type { Fault, Mutations, RouteConfig, WeightedCluster } from './route.ts'
import type { DownstreamTls, SanMatch } from './tls.ts'
import type { Tracing } from './http/tracing.ts'

/** envoy.config.listener.v3.Listener, decoded; agent.yaml's `listeners` become the same. */
export type Listener = {
  readonly name: string
  readonly address: string
  readonly port: number
  /** `address` is the path of a Unix socket, which gets this mode; there is no port then. */
  readonly unixMode?: number
  /** On an IPv6 address, which otherwise takes no IPv4 clients (SocketAddress.ipv4_compat). */
  readonly ipv4Compat?: boolean
  /** Where else it listens, with the same content (additional_addresses). */
  readonly additional?: readonly ListenerAddress[]
  /** False: no socket of its own; chosen by original destination behind a capturing listener. */
  readonly bindToPort: boolean
  readonly direction: 'inbound' | 'outbound' | 'unspecified'
  /** Without a port: reached through tunnels only. */
  readonly internal?: true
  /** It takes connections to any port of this node, and knows to which (envoy.filters.listener.original_dst). */
  readonly hasOriginalDst?: true
  /** Hand accepted connections to the listener that owns their original destination, if there is one. */
  readonly useOriginalDst: boolean
  /** Its socket is to be one that accepts connections to any address (IP_TRANSPARENT). */
  readonly transparent?: boolean
  /**
   * Look at the first bytes for TLS (SNI, ALPN) / HTTP before choosing a chain; `tlsOff` and `httpOff` say for which
   * connections not.
   */
  readonly sniff: {
    readonly tls: boolean
    readonly http: boolean
    readonly tlsOff?: ConnectionMatch
    readonly httpOff?: ConnectionMatch
    readonly timeoutMs: number
    readonly onTimeout: 'continue' | 'close'
  }
  /** Connections begin with a PROXY header. */
  readonly proxyProtocol?: ProxyProtocol
  readonly filterChains: readonly FilterChain[]
  readonly defaultFilterChain: FilterChain | undefined
  /** Of connections, those included that no chain takes. */
  readonly accessLogs?: readonly AccessLog[]
  /**
   * Reads what it needs of this machine (agent.yaml's TLS files) before its port is opened. Throws what keeps it
   * closed; it is asked again at the next try.
   */
  readonly prepare?: () => void
  /** Where it was configured, for messages: `xds` or `agent.yaml line 12`. */
  readonly source: string
  /**
   * Names of filter configurations that come as resources of their own (ECDS); a filter without one is as one that is
   * not implemented.
   */
  readonly extensions?: readonly string[]
}

export type ListenerAddress = { readonly address: string; readonly port: number; readonly ipv4Compat?: boolean }

export type ProxyProtocol = {
  /** The load balancers that alone are believed; undefined: whoever connects, as in Envoy. */
  readonly trusted: readonly Cidr[] | undefined
  /** Connections without a header are taken as they come, from whom they come. */
  readonly isOptional: boolean
  /** Versions that are no header here. */
  readonly disallowedVersions: readonly ProxyVersion[]
  /** Undefined: on every port. */
  readonly off?: ConnectionMatch | undefined
  /** What the balancer says of a client's certificate is believed, and no certificate towards the balancer counts. */
  readonly believesCertificate?: boolean
  /** Only clients that the balancer says have come with TLS. */
  readonly requiresTls?: boolean
  /** TLVs that are kept for endpoints that get a header (pass_through_tlvs); left out: none. */
  readonly keeps?: TlvTypes
  /** TLVs of these types become metadata (rules). */
  readonly rules?: readonly { readonly type: number; readonly filter: string; readonly key: string }[]
}
export type ProxyVersion = 1 | 2

/**
 * envoy.config.listener.v3.ListenerFilterChainMatchPredicate; all that it asks for is the port that the client meant.
 */
export type ConnectionMatch =
  | { readonly kind: 'any' }
  /** `to` is inclusive. */
  | { readonly kind: 'destination-port'; readonly from: number; readonly to: number }
  | { readonly kind: 'not'; readonly of: ConnectionMatch }
  | { readonly kind: 'and' | 'or'; readonly of: readonly ConnectionMatch[] }

/** @param port of the original destination */
export function matchesPort(match: ConnectionMatch, port: number): boolean {
  switch (match.kind) {
    case 'any':
      return true
    case 'destination-port':
      return port >= match.from && port <= match.to
    case 'not':
      return !matchesPort(match.of, port)
    case 'and':
      return match.of.every((m) => matchesPort(m, port))
    case 'or':
      return match.of.some((m) => matchesPort(m, port))
    default:
      return match satisfies never
  }
}

export type FilterChain = {
  readonly name: string
  readonly match: FilterChainMatch
  /** Undefined: the chain speaks plain text. */
  readonly tls: DownstreamTls | undefined
  /** Of a chain for what comes through tunnels: names of which the peer must have one. */
  readonly tunnelSans?: readonly SanMatch[]
  /** L4 RBAC in order (envoy.filters.network.rbac). */
  readonly policies: readonly Policy[]
  /** Asked before the TLS handshake, in order. */
  readonly limits?: readonly ConnectionLimit[]
  /** Services that are asked, in order. */
  readonly authz?: readonly ConnectionAuthz[]
  /** So many of the policies are in front of each of `authz`; left out: all. */
  readonly policiesBefore?: readonly number[]
  /** Connections are counted in istio_tcp_* metrics; of HTTP its own filter counts. */
  readonly stats?: StatsFilter
  readonly codec: Codec
}

/** envoy FilterChainMatch; an empty list or undefined matches everything. Most specific wins, in Envoy's order. */
export type FilterChainMatch = {
  readonly destinationPort: number | undefined
  readonly destinationRanges: readonly Cidr[]
  /** Exact or `*.suffix`, lower case. */
  readonly serverNames: readonly string[]
  /** `tls`, `raw_buffer`, or what no listener filter of ours detects and therefore no connection has. */
  readonly transportProtocol: string | undefined
  readonly applicationProtocols: readonly string[]
  /** Of the TCP peer. */
  readonly directSourceRanges?: readonly Cidr[]
  /** `local`: from this machine (same address or loopback). */
  readonly sourceType?: 'local' | 'external' | undefined
  readonly sourceRanges: readonly Cidr[]
  readonly sourcePorts: readonly number[]
}

/** A chain without conditions. */
export const ANY_CONNECTION: FilterChainMatch = {
  destinationPort: undefined,
  destinationRanges: [],
  serverNames: [],
  transportProtocol: undefined,
  applicationProtocols: [],
  sourceRanges: [],
  sourcePorts: [],
}

export type Codec =
  | { readonly kind: 'http'; readonly http: HttpConnectionManager }
  | { readonly kind: 'tcp'; readonly tcp: TcpProxy }
  | {
      readonly kind: 'mqtt'
      readonly mqtt: MqttPolicy
      readonly transport: 'tcp' | 'websocket' | 'auto'
      /** Undefined: this node's own broker serves. */
      readonly proxy?: MqttProxy | undefined
    }
  /** Tunnels of peers of the mesh end here (HBONE). */
  | { readonly kind: 'hbone'; readonly hbone: HboneServer }
  /** Fail closed: something here is not implemented, so nothing passes. */
  | { readonly kind: 'blocked'; readonly reason: string }

/**
 * What serves the connections that come through tunnels: the internal listener that this cluster leads to; without one
 * the listener of this node that would have got them.
 */
export type HboneServer = { readonly cluster: string | undefined }

/** Each client has a connection of its own to the broker behind the cluster, and its session there. */
export type MqttProxy = {
  readonly cluster: string
  /** User name and password as the client said them, where this node proves users itself. */
  readonly forwardCredentials: boolean
  /** The broker is told who the client is, by a PROXY header of this version. */
  readonly sendProxyProtocol?: ProxyVersion
}

export type TcpProxy = {
  readonly clusters: readonly WeightedCluster[]
  /** The name in the client's hello is the cluster, where there is one (envoy.filters.network.sni_cluster). */
  readonly bySni?: boolean
  readonly idleMs: number | undefined
  readonly accessLogs?: readonly AccessLog[]
  /** Hash balancers place connections by the client's address (hash_policy.source_ip). */
  readonly hashesSource?: boolean
  /** Endpoints that are asked for a connection, one after the other; default 1. */
  readonly maxConnectAttempts?: number
  /** Clusters that go where the SNI says take this port (sni_dynamic_forward_proxy). */
  readonly forwardPort?: number
  /** After so long it ends, whatever it carries. */
  readonly maxConnectionMs?: number | undefined
  /** It does not connect to the endpoint, but asks it for a tunnel to where the connection was going (tunneling_config). */
  readonly tunnels?: true
}

/** envoy.extensions.filters.network.http_connection_manager.v3, what meshlet acts on. */
export type HttpConnectionManager = {
  readonly statPrefix: string
  readonly codec: 'auto' | 'http1' | 'http2'
  readonly routes:
    | { readonly from: 'rds'; readonly name: string }
    | { readonly from: 'inline'; readonly config: RouteConfig }
  /** In order; the router is last and implied. */
  readonly filters: readonly HttpFilter[]
  readonly forwardClientCert: 'sanitize' | 'forward-only' | 'append-forward' | 'sanitize-set' | 'always-forward-only'
  readonly clientCertDetails: {
    readonly subject: boolean
    readonly uri: boolean
    readonly dns: boolean
    readonly cert: boolean
    readonly chain: boolean
  }
  readonly serverName: string
  /** Which answers get `serverName` (server_header_transformation); left out: all. */
  readonly serverHeader?: 'if-absent' | 'pass-through'
  /** A proxy's name for the field of that name, in both directions. */
  readonly via?: string
  /** Endpoints and clients are told nothing of the proxy (suppress_envoy_headers). */
  readonly hidesEnvoy?: boolean
  readonly useRemoteAddress: boolean
  readonly xffTrustedHops: number
  /** The client's address is not put behind those in x-forwarded-for. */
  readonly skipXffAppend?: boolean
  /** The port that the client came to goes into x-forwarded-port (use_remote_address). */
  readonly appendForwardedPort?: boolean
  /**
   * At the edge (`useRemoteAddress`) `keep-or-make` makes a new one, whatever came; `keep-external` keeps what came
   * there, too.
   */
  readonly requestId: 'keep-or-make' | 'keep-external' | 'none'
  readonly normalizePath: boolean
  readonly mergeSlashes: boolean
  /** What becomes of %2F and %5C in a path (path_with_escaped_slashes_action); left out: they stay. */
  readonly escapedSlashes?: 'refuse' | 'unescape' | 'redirect' | undefined
  /** Lower case, e.g. `websocket`. */
  readonly upgrades: readonly string[]
  readonly streamIdleMs: number | undefined
  readonly requestTimeoutMs: number | undefined
  readonly connectionIdleMs: number | undefined
  /** How names of fields are written to HTTP/1.1 clients; left out: in lower case. */
  readonly headerCase?: HeaderCase
  /** 0 = what the agent's limits say. Where both speak, the listener does: its operator knows what is sent there. */
  readonly maxRequestHeadersBytes: number
  /** Fields of one message; undefined = what the agent's limits say. */
  readonly maxHeaders?: number | undefined
  /** What becomes of a request with an underscore in the name of a field; undefined = it goes on as it is. */
  readonly underscores?: 'refuse' | 'drop' | undefined
  readonly stripHostPort?: 'matching' | 'any' | undefined
  readonly stripHostDot?: boolean
  /** The endpoint, not meshlet, answers `expect: 100-continue`. */
  readonly proxyContinue?: boolean
  /** Of one exchange, from its first byte; undefined = none. Where a route has one, that counts. */
  readonly maxStreamMs?: number | undefined
  readonly maxRequestsPerConnection?: number | undefined
  /** After so long it ends with the exchange at hand. */
  readonly maxConnectionMs?: number | undefined
  /** Of requests. */
  readonly accessLogs?: readonly AccessLog[]
  readonly tracing?: Tracing
  readonly localReply?: LocalReplyConfig
  /** Requests are counted in istio_* metrics. */
  readonly stats?: StatsFilter
  /** Messages of gRPC are counted among them (grpc_stats with emit_filter_state). */
  readonly countsMessages?: boolean
  readonly exchange?: MetadataExchange
  /** True for agent.yaml's http_proxy listeners: absolute-form targets and CONNECT are served. */
  readonly explicitProxy: boolean
}

/** `name`: what routes call it. `off`: it does nothing where no route switches it on (http_filters[].disabled). */
export type HttpFilter =
  | { readonly kind: 'rbac'; readonly name: string; readonly policy: Policy; readonly off?: boolean }
  | { readonly kind: 'fault'; readonly name: string; readonly fault: Fault | undefined; readonly off?: boolean }
  | { readonly kind: 'jwt'; readonly name: string; readonly jwt: JwtAuthentication; readonly off?: boolean }
  /**
   * `nearestWins`: changes of the route come last, so that they count (most_specific_header_mutations_wins). `isEarly`:
   * filters behind it ask about the request, and see it changed.
   */
  | {
      readonly kind: 'mutation'
      readonly name: string
      readonly mutations: Mutations
      readonly nearestWins: boolean
      readonly isEarly?: boolean
      readonly off?: boolean
    }
  | { readonly kind: 'rate-limit'; readonly name: string; readonly limit: LocalRateLimit; readonly off?: boolean }
  | { readonly kind: 'health-check'; readonly name: string; readonly health: HealthCheckFilter; readonly off?: boolean }
  | { readonly kind: 'global-limit'; readonly name: string; readonly limit: GlobalRateLimit; readonly off?: boolean }
  | { readonly kind: 'ext-authz'; readonly name: string; readonly authz: ExtAuthz; readonly off?: boolean }
  /** `session` undefined: routes say what is kept. */
  | {
      readonly kind: 'session'
      readonly name: string
      readonly session: StatefulSession | undefined
      readonly off?: boolean
    }
  /** All of a request's body is awaited before it goes on. */
  | { readonly kind: 'buffer'; readonly name: string; readonly maxBytes: number; readonly off?: boolean }
  | { readonly kind: 'grpc-web'; readonly name: string; readonly off?: boolean }
  | { readonly kind: 'compressor'; readonly name: string; readonly compressor: Compressor; readonly off?: boolean }
  /** What it does stands at routes. */
  | { readonly kind: 'cors'; readonly name: string; readonly off?: boolean }
  /** Deny every request: an inbound filter that meshlet does not implement. */
  | { readonly kind: 'blocked'; readonly name: string; readonly reason: string; readonly off?: boolean }
