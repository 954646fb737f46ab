import type { HeaderMatch, QueryMatch } from './matcher.ts'
import type { RouteCompressor } from './http/bodies.ts'
import type { CorsPolicy } from './http/cors.ts'
import type { RouteExtAuthz } from './http/ext-authz.ts'
import type { HeaderEdit } from './http/header-edit.ts'
import type { RouteGlobalLimit } from './http/global-rate-limit.ts'
import type { LocalRateLimit, RateLimitRule, RouteRateLimits } from './http/rate-limit.ts'
import type { InternalRedirects } from './http/internal-redirect.ts'
import type { MetadataMatch } from './http/metadata.ts'
import type { StatefulSession } from './http/session.ts'
import type { SafeRegex } from '../core/regex.ts'
import type { Policy } from './policy.ts'

export type { HeaderAdd, HeaderEdit } from './http/header-edit.ts'

/** envoy.config.route.v3.RouteConfiguration, decoded. */
export type RouteConfig = {
  readonly name: string
  readonly virtualHosts: readonly VirtualHost[]
  readonly ignorePortInHost: boolean
  /**
   * Headers that nobody from outside may bring (internal_only_headers), lower case. Nobody counts as internal, as is
   * Envoy's default.
   */
  readonly internalOnly?: readonly string[]
  readonly mirrors?: readonly MirrorPolicy[]
  readonly headers: HeaderChanges
  /** The nearest level's header changes come last, so that they count (most_specific_header_mutations_wins). */
  readonly nearestWins?: boolean
  readonly retriesUnsafe?: boolean
}

export type VirtualHost = {
  readonly name: string
  /** Exact, `*.suffix`, `prefix.*` or `*`; lower case. */
  readonly domains: readonly string[]
  readonly routes: readonly Route[]
  readonly retry: RetryPolicy | undefined
  readonly headers: HeaderChanges
  readonly includeAttemptCount: boolean
  /** What did not come by https is sent there (require_tls). */
  readonly requireTls?: boolean
  readonly retriesUnsafe?: boolean
  /** In place of the table's. */
  readonly mirrors?: readonly MirrorPolicy[]
  /** What a rate limit counts requests by. */
  readonly rateLimits?: readonly RateLimitRule[]
}

export type Route = {
  readonly name: string
  readonly match: RouteMatch
  readonly action: RouteAction
  readonly headers: HeaderChanges
  /** Of its spans; left out: the request's host. */
  readonly spanName?: string
  /**
   * What may have arrived is sent again where the retry policy asks for it, as Envoy does (metadata
   * meshlet.io/retry-unsafe); left out: the next level has its say.
   */
  readonly retriesUnsafe?: boolean
  /**
   * What it says to filters of its listener, by their names (typed_per_filter_config); left out where that is nothing.
   */
  readonly filters?: RouteFilters
}
export type RouteFilters = ReadonlyMap<string, RouteFilter>
/**
 * To one filter. `off`: whether it is left out, whatever the listener says. `policy` and `fault`: in place of the
 * filter's own, `undefined` in them is none at all; where neither is given, the filter does here what it does
 * elsewhere.
 */
export type RouteFilter = {
  readonly off: boolean
  readonly policy?: { readonly value: Policy | undefined }
  readonly fault?: { readonly value: Fault | undefined }
  readonly cors?: CorsPolicy
  /** Beside the filter's own; the table's first, the route's last. */
  readonly mutations?: readonly Mutations[]
  /** In place of the filter's rules: the name of one of its requirements; false = no token is needed. */
  readonly jwt?: string | false
  readonly extAuthz?: RouteExtAuthz
  /** In place of the filter's own. */
  readonly rateLimit?: LocalRateLimit
  readonly globalLimit?: RouteGlobalLimit
  /** In place of the filter's own; false = none. */
  readonly session?: StatefulSession | false
  /** In place of the buffer filter's. */
  readonly bufferBytes?: number
  readonly compressor?: RouteCompressor
}

export type RouteMatch = {
  readonly path: PathMatch
  readonly caseSensitive: boolean
  readonly headers: readonly HeaderMatch[]
  readonly query: readonly QueryMatch[]
  /** Only application/grpc requests. */
  readonly grpc: boolean
  /** 0..1; undefined = all. */
  readonly fraction: number | undefined
  /** What filters must have found out (dynamic_metadata); left out: nothing. */
  readonly metadata?: readonly MetadataMatch[]
}
export type PathMatch =
  | { readonly kind: 'prefix' | 'exact' | 'separated-prefix'; readonly value: string }
  | { readonly kind: 'regex'; readonly regex: SafeRegex }
  | { readonly kind: 'connect' }
  /** Every request, also one without a path: what a blocked route has whose own path is not understood. */
  | { readonly kind: 'any' }

export type RouteAction =
  | ForwardAction
  | {
      readonly kind: 'redirect'
      readonly status: number
      readonly scheme: string | undefined
      readonly host: string | undefined
      readonly port: number | undefined
      readonly path: PathRewrite | undefined
      readonly stripQuery: boolean
    }
  | { readonly kind: 'direct'; readonly status: number; readonly body: string }
  /** Fail closed: what the route was to do, or when, is not understood, so what may be meant for it is refused. */
  | { readonly kind: 'blocked'; readonly reason: string }

export type ForwardAction = {
  readonly kind: 'forward'
  readonly clusters: readonly WeightedCluster[]
  /** The request's field of that name (lower case) says the cluster, and `clusters` is empty. */
  readonly clusterHeader?: string
  /** Where the cluster is not there (cluster_not_found_response_code); default 503. */
  readonly notFoundStatus?: 404 | 500
  /** Whole exchange with all its tries; undefined = none (Envoy's 0). */
  readonly timeoutMs: number | undefined
  readonly idleMs: number | undefined
  /** Of one exchange, tunnels included, whatever was sent by then; 0 = none, undefined = what the listener says. */
  readonly maxStreamMs?: number | undefined
  /** What a gRPC caller's own deadline (grpc-timeout) has to say; undefined = nothing. */
  readonly grpcTimeout?: GrpcTimeout | undefined
  readonly retry: RetryPolicy | undefined
  readonly rewrite: { readonly path: PathRewrite | undefined; readonly host: HostRewrite | undefined }
  readonly appendForwardedHost: boolean
  /** Upgrades (lower case) that the route permits or forbids, whatever the listener says. */
  readonly upgrades: ReadonlyMap<string, boolean>
  readonly hash: readonly HashSource[]
  /** In place of the virtual host's. */
  readonly mirrors?: readonly MirrorPolicy[]
  /** What a rate limit counts requests by; left out: nothing but what the host says. */
  readonly rateLimits?: RouteRateLimits
  readonly internalRedirects?: InternalRedirects
}
/**
 * `of`: it takes the place of that one. `maxMs`: not more, 0 = no limit. `offsetMs` is taken off, so that the answer is
 * on its way in time.
 */
export type GrpcTimeout = { readonly of: 'stream' | 'route'; readonly maxMs: number; readonly offsetMs: number }
/** A copy of the request goes to another cluster, whose answer nobody waits for (request_mirror_policies). */
export type MirrorPolicy = {
  /** `header`: the request's field of that name (lower case) says it. */
  readonly cluster: { readonly name: string } | { readonly header: string }
  /** 0..1 of the requests. */
  readonly fraction: number
  /** The copy's host is the request's, without the suffix `-shadow`. */
  readonly keepsHost: boolean
}
export type WeightedCluster = { readonly name: string; readonly weight: number; readonly headers: HeaderChanges }
export type PathRewrite =
  | { readonly kind: 'prefix' | 'full'; readonly value: string }
  | { readonly kind: 'regex'; readonly regex: SafeRegex; readonly by: string }
export type HashSource =
  | {
      readonly kind: 'header'
      readonly name: string
      readonly rewrite?: { readonly regex: SafeRegex; readonly by: string } | undefined
      readonly terminal: boolean
    }
  /** `ttlSec`: a client without it gets one (0: until its browser is closed), for this path. */
  | {
      readonly kind: 'cookie'
      readonly name: string
      readonly ttlSec?: number | undefined
      readonly path?: string
      readonly terminal: boolean
    }
  | { readonly kind: 'query'; readonly name: string; readonly terminal: boolean }
  | { readonly kind: 'source-ip'; readonly terminal: boolean }

/**
 * `header`: what that field says, where it says anything. `path`: a part of the path without its query. `endpoint`: the
 * name of the endpoint that is picked, where it has one.
 */
export type HostRewrite =
  | { readonly kind: 'literal'; readonly value: string }
  | { readonly kind: 'header'; readonly name: string }
  | { readonly kind: 'path'; readonly regex: SafeRegex; readonly by: string }
  | { readonly kind: 'endpoint' }

/** Applied in the order remove, add. Names lower case. */
export type HeaderChanges = { readonly request: HeaderEdit; readonly response: HeaderEdit }
/** envoy.extensions.filters.http.header_mutation.v3.Mutations, in the order in which they apply. */
export type Mutations = { readonly request: readonly HeaderEdit[]; readonly response: readonly HeaderEdit[] }
export const NO_HEADER_CHANGES: HeaderChanges = { request: { remove: [], add: [] }, response: { remove: [], add: [] } }

/** envoy.config.route.v3.RetryPolicy. */
export type RetryPolicy = {
  readonly on: ReadonlySet<RetryOn>
  /** Tries after the first. */
  readonly maxRetries: number
  readonly perTryTimeoutMs: number | undefined
  readonly statusCodes: ReadonlySet<number>
  readonly backoff: { readonly baseMs: number; readonly capMs: number }
  /** Prefer endpoints not tried yet (retry_host_predicate previous_hosts), at most so many re-picks. */
  readonly avoidPreviousHosts: boolean
  /** Levels of hosts that were tried are left out, looked at anew after so many tries (previous_priorities). */
  readonly avoidPreviousPriorities?: number
  readonly maxHostPicks: number
}
export type RetryOn =
  | '5xx'
  | 'gateway-error'
  | 'reset'
  | 'reset-before-request'
  | 'connect-failure'
  | 'retriable-4xx'
  | 'refused-stream'
  | 'retriable-status-codes'
  | 'envoy-ratelimited'
  | 'retriable-headers'
  | 'cancelled'
  | 'deadline-exceeded'
  | 'internal'
  | 'resource-exhausted'
  | 'unavailable'

export type Fault = {
  readonly delay: { readonly ms: number; readonly fraction: number } | undefined
  readonly abort:
    | { readonly status: number; readonly grpcStatus: number | undefined; readonly fraction: number }
    | undefined
  readonly headers: readonly HeaderMatch[]
}
