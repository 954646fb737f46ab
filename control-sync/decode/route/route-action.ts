/**
 * What a route does: forward, redirect, answer. An action that is not implemented answers 501 and is reported, so that
 * the rest of the table is served.
 */
import type { Metadata } from '../../../model/http/metadata.ts'
import type { Any } from '@bufbuild/protobuf/wkt'
import type {
  ForwardAction,
  GrpcTimeout,
  HashSource,
  HostRewrite,
  PathRewrite,
  RouteAction,
  WeightedCluster,
} from '../../../model/route.ts'
import { NO_HEADER_CHANGES } from '../../../model/route.ts'
import {
  FilterConfigSchema,
  RedirectActionSchema,
  RedirectAction_RedirectResponseCode as Code,
  RouteActionSchema,
  RouteAction_ClusterNotFoundResponseCode as NotFound,
  WeightedCluster_ClusterWeightSchema as ClusterWeightSchema,
  type RedirectAction,
  type Route,
  type RouteAction as XRouteAction,
  type RouteAction_HashPolicy,
  type RouteAction_HashPolicy_Cookie,
} from '../../../proto/gen/envoy/config/route/v3/route_components_pb.ts'
import { BufferPerRouteSchema } from '../../../proto/gen/envoy/extensions/filters/http/buffer/v3/buffer_pb.ts'
import { ExtAuthzPerRouteSchema } from '../../../proto/gen/envoy/extensions/filters/http/ext_authz/v3/ext_authz_pb.ts'
import { HeaderMutationPerRouteSchema } from '../../../proto/gen/envoy/extensions/filters/http/header_mutation/v3/header_mutation_pb.ts'
import { PerRouteConfigSchema as JwtPerRouteSchema } from '../../../proto/gen/envoy/extensions/filters/http/jwt_authn/v3/config_pb.ts'
import { LocalRateLimitSchema } from '../../../proto/gen/envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit_pb.ts'
import { RateLimitPerRouteSchema } from '../../../proto/gen/envoy/extensions/filters/http/ratelimit/v3/rate_limit_pb.ts'
import { RBACPerRouteSchema } from '../../../proto/gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.ts'
import type { RegexMatchAndSubstitute } from '../../../proto/gen/envoy/type/matcher/v3/regex_pb.ts'
import { readEffectiveType } from '../fields/any.ts'
import { refuse, type DecodePath } from '../fields/decode-path.ts'
import { decodeHeaderChanges } from './header-changes.ts'
import { decodeRegex } from '../fields/matchers.ts'
import { decodeRouteRateLimits } from '../rate-limit/rules.ts'
import { decodeInternalRedirects } from './internal-redirects.ts'
import { decodeMirrors } from './mirrors.ts'
import { retryPolicy } from './retry.ts'
import { decodeMs, decodeText } from '../fields/values.ts'

/** Envoy's default for RouteAction.timeout. */
const DEFAULT_TIMEOUT_MS = 15_000
const MAX_BODY_CHARS = 64 * 1024

export function decodeRouteAction(at: DecodePath, { action, metadata }: Route): RouteAction {
  switch (action.case) {
    case 'route':
      return forward(at.in('route'), action.value, metadata?.filterMetadata ?? {})
    case 'redirect':
      return redirect(at.in('redirect'), action.value)
    case 'directResponse': {
      const here = at.in('direct_response')
      const body = action.value.body ? (decodeText(here.in('body'), action.value.body) ?? '') : ''
      if (action.value.status < 200 || action.value.status > 599) here.in('status').issue('must be 200 to 599')
      if (body.length > MAX_BODY_CHARS) here.in('body').issue(`is longer than ${MAX_BODY_CHARS} characters`)
      return { kind: 'direct', status: action.value.status, body }
    }
    case 'nonForwardingAction':
      return notImplemented(at, 'non_forwarding_action')
    case undefined:
      return notImplemented(at, 'action')
    default:
      return action satisfies never
  }
}

function notImplemented(at: DecodePath, what: string): RouteAction {
  at.in(what).ignore('not implemented: answered with 501')
  return { kind: 'direct', status: 501, body: `meshlet does not implement this route's ${what}` }
}

function forward(at: DecodePath, from: XRouteAction, metadata: Metadata): RouteAction {
  refuse(at, RouteActionSchema, from)
  const clusters = clustersOf(at, from)
  if (!clusters) return notImplemented(at, 'cluster_specifier')
  return {
    kind: 'forward',
    clusters,
    ...(from.clusterSpecifier.case === 'clusterHeader' && { clusterHeader: from.clusterSpecifier.value.toLowerCase() }),
    ...notFound(at.in('cluster_not_found_response_code'), from.clusterNotFoundResponseCode),
    timeoutMs: from.timeout ? decodeMs(at.in('timeout'), from.timeout) || undefined : DEFAULT_TIMEOUT_MS,
    ...decodeRouteRateLimits(at, from, metadata),
    // 0 switches the listener's idle time off for this route.
    idleMs: from.idleTimeout && (decodeMs(at.in('idle_timeout'), from.idleTimeout) || Infinity),
    maxStreamMs: decodeMs(
      at.in('max_stream_duration').in('max_stream_duration'),
      from.maxStreamDuration?.maxStreamDuration,
    ),
    grpcTimeout: grpcTimeout(at, from),
    retry: retryPolicy(at.in('retry_policy'), from.retryPolicy),
    rewrite: {
      path: rewriteOf(at, from.prefixRewrite, from.regexRewrite),
      host: hostRewrite(at, from.hostRewriteSpecifier),
    },
    appendForwardedHost: from.appendXForwardedHost,
    ...decodeInternalRedirects(at.in('internal_redirect_policy'), from.internalRedirectPolicy),
    upgrades: new Map(from.upgradeConfigs.map((u) => [u.upgradeType.toLowerCase(), u.enabled !== false])),
    hash: from.hashPolicy.flatMap((h, i) => hashSource(at.in('hash_policy').item(i), h) ?? []),
    ...decodeMirrors(at, from.requestMirrorPolicies),
  }
}

/**
 * max_grpc_timeout is the older form, about the route's timeout; both may stand side by side, and then the newer one is
 * meant.
 */
function grpcTimeout(
  at: DecodePath,
  { maxStreamDuration: newer, maxGrpcTimeout, grpcTimeoutOffset }: XRouteAction,
): GrpcTimeout | undefined {
  if (newer?.grpcTimeoutHeaderMax) {
    const here = at.in('max_stream_duration')
    return {
      of: 'stream',
      maxMs: decodeMs(here.in('grpc_timeout_header_max'), newer.grpcTimeoutHeaderMax) ?? 0,
      offsetMs: decodeMs(here.in('grpc_timeout_header_offset'), newer.grpcTimeoutHeaderOffset) ?? 0,
    }
  }
  if (!maxGrpcTimeout) return undefined
  return {
    of: 'route',
    maxMs: decodeMs(at.in('max_grpc_timeout'), maxGrpcTimeout) ?? 0,
    offsetMs: decodeMs(at.in('grpc_timeout_offset'), grpcTimeoutOffset) ?? 0,
  }
}

function clustersOf(at: DecodePath, { clusterSpecifier: by }: XRouteAction): ForwardAction['clusters'] | undefined {
  switch (by.case) {
    case 'cluster':
      return [{ name: by.value, weight: 1, headers: NO_HEADER_CHANGES }]
    case 'weightedClusters': {
      const here = at.in('weighted_clusters').in('clusters')
      for (const [i, c] of by.value.clusters.entries()) {
        refuse(here.item(i), ClusterWeightSchema, c)
        refusePolicy(here.item(i), c.typedPerFilterConfig)
      }
      return decodeWeighted(
        here,
        by.value.clusters.map((c, i): WeightedCluster => ({
          name: c.name,
          weight: c.weight ?? 0,
          headers: decodeHeaderChanges(here.item(i), c),
        })),
      )
    }
    case 'clusterHeader':
      if (by.value === '') at.in('cluster_header').issue('is empty')
      return []
    case 'clusterSpecifierPlugin':
    case undefined:
      return undefined
    default:
      return by satisfies never
  }
}

/**
 * What one cluster among several says to filters is not implemented. It may not get lost where it refuses, limits or
 * takes away, also in the form of a TypedStruct.
 */
function refusePolicy(at: DecodePath, configs: Readonly<Record<string, Any>>): void {
  for (const [name, any] of Object.entries(configs)) {
    const here = at.in('typed_per_filter_config').item(name)
    if (POLICY_TYPES.has(readEffectiveType(here, any))) here.issue('is not supported here')
  }
}
const POLICY_TYPES: ReadonlySet<string> = new Set(
  [
    RBACPerRouteSchema,
    JwtPerRouteSchema,
    ExtAuthzPerRouteSchema,
    LocalRateLimitSchema,
    RateLimitPerRouteSchema,
    HeaderMutationPerRouteSchema,
    BufferPerRouteSchema,
    FilterConfigSchema,
  ].map(({ typeName }) => typeName),
)

/** Envoy: at least one, with a total weight of 1 to 2^32 - 1. */
export function decodeWeighted(at: DecodePath, clusters: readonly WeightedCluster[]): readonly WeightedCluster[] {
  const total = clusters.reduce((sum, c) => sum + c.weight, 0)
  if (total < 1 || total > 0xffff_ffff) at.issue('the weights must add up to 1 or more, at most 4294967295')
  return clusters
}

function notFound(at: DecodePath, code: NotFound): Pick<ForwardAction, 'notFoundStatus'> {
  switch (code) {
    case NotFound.SERVICE_UNAVAILABLE:
      return {}
    case NotFound.NOT_FOUND:
      return { notFoundStatus: 404 }
    case NotFound.INTERNAL_SERVER_ERROR:
      return { notFoundStatus: 500 }
    default:
      at.issue(`unknown value ${code}`)
      return {}
  }
}

function hostRewrite(at: DecodePath, by: XRouteAction['hostRewriteSpecifier']): HostRewrite | undefined {
  switch (by.case) {
    case 'hostRewriteLiteral':
      return { kind: 'literal', value: by.value }
    case 'hostRewriteHeader':
      return { kind: 'header', name: by.value.toLowerCase() }
    case 'autoHostRewrite':
      return by.value.value ? { kind: 'endpoint' } : undefined
    case 'hostRewritePathRegex': {
      const regex = decodeRegex(at.in('host_rewrite_path_regex').in('pattern'), by.value.pattern)
      return regex && { kind: 'path', regex, by: by.value.substitution }
    }
    case undefined:
      return undefined
    default:
      return by satisfies never
  }
}

function rewriteOf(at: DecodePath, prefix: string, by: RegexMatchAndSubstitute | undefined): PathRewrite | undefined {
  if (by) return regexRewrite(at.in('regex_rewrite'), by)
  return prefix === '' ? undefined : { kind: 'prefix', value: prefix }
}

function regexRewrite(at: DecodePath, by: RegexMatchAndSubstitute): PathRewrite | undefined {
  const made = decodeRegex(at.in('pattern'), by.pattern)
  return made && { kind: 'regex', regex: made, by: by.substitution }
}

function hashSource(at: DecodePath, { policySpecifier: by, terminal }: RouteAction_HashPolicy): HashSource | undefined {
  switch (by.case) {
    case 'header':
      return {
        kind: 'header',
        name: by.value.headerName.toLowerCase(),
        ...(by.value.regexRewrite && { rewrite: hashRewrite(at.in('header'), by.value.regexRewrite) }),
        terminal,
      }
    case 'cookie':
      return cookieSource(at.in('cookie'), by.value, terminal)
    case 'queryParameter':
      return { kind: 'query', name: by.value.name, terminal }
    case 'connectionProperties':
      return by.value.sourceIp ? { kind: 'source-ip', terminal } : undefined
    case 'filterState':
    case undefined:
      at.ignore('not implemented')
      return undefined
    default:
      return by satisfies never
  }
}

function hashRewrite(at: DecodePath, by: RegexMatchAndSubstitute): Extract<HashSource, { kind: 'header' }>['rewrite'] {
  const regex = decodeRegex(at.in('regex_rewrite').in('pattern'), by.pattern)
  return regex && { regex, by: by.substitution }
}

function cookieSource(at: DecodePath, from: RouteAction_HashPolicy_Cookie, terminal: boolean): HashSource {
  // What stands in a header of every answer.
  if (!COOKIE_NAME.test(from.name)) at.in('name').issue('is no name of a cookie')
  if (!COOKIE_PATH.test(from.path)) at.in('path').issue('is no path of a cookie')
  if (!from.ttl) return { kind: 'cookie', name: from.name, terminal }
  const ttlSec = Math.floor((decodeMs(at.in('ttl'), from.ttl) ?? 0) / 1000)
  return { kind: 'cookie', name: from.name, ttlSec, path: from.path, terminal }
}
/** RFC 6265 §4.1.1: a token; any text without control characters and semicolons. */
const COOKIE_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const COOKIE_PATH = /^[\x20-\x3a\x3c-\x7e]*$/

function redirect(at: DecodePath, from: RedirectAction): RouteAction {
  refuse(at, RedirectActionSchema, from)
  const scheme = from.schemeRewriteSpecifier
  if (from.portRedirect > 65_535) at.in('port_redirect').issue('is above 65535')
  return {
    kind: 'redirect',
    status: redirectStatus(at.in('response_code'), from.responseCode),
    scheme:
      scheme.case === 'schemeRedirect'
        ? scheme.value
        : scheme.case === 'httpsRedirect' && scheme.value
          ? 'https'
          : undefined,
    host: from.hostRedirect || undefined,
    port: from.portRedirect || undefined,
    path: redirectPath(at, from),
    stripQuery: from.stripQuery,
  }
}

function redirectPath(at: DecodePath, { pathRewriteSpecifier: by }: RedirectAction): PathRewrite | undefined {
  switch (by.case) {
    case 'pathRedirect':
      return { kind: 'full', value: by.value }
    case 'prefixRewrite':
      return { kind: 'prefix', value: by.value }
    case 'regexRewrite':
      return regexRewrite(at.in('regex_rewrite'), by.value)
    case undefined:
      return undefined
    default:
      return by satisfies never
  }
}

function redirectStatus(at: DecodePath, code: RedirectAction['responseCode']): number {
  switch (code) {
    case Code.MOVED_PERMANENTLY:
      return 301
    case Code.FOUND:
      return 302
    case Code.SEE_OTHER:
      return 303
    case Code.TEMPORARY_REDIRECT:
      return 307
    case Code.PERMANENT_REDIRECT:
      return 308
    default:
      at.issue(`unknown value ${code}`)
      return 301
  }
}
