/** envoy.extensions.filters.http.ratelimit.v3: limits that a service counts, of a listener and of a route. */
import type { GlobalRateLimit, RouteGlobalLimit } from '../../../model/http/global-rate-limit.ts'
import type { GrpcAuthService } from '../../../model/http/ext-authz.ts'
import {
  RateLimit_XRateLimitHeadersRFCVersion as Headers,
  RateLimitPerRoute_VhRateLimitsOptions as HostRules,
  RateLimitPerRouteSchema,
  RateLimitSchema,
  type RateLimit,
  type RateLimitPerRoute,
} from '../../../proto/gen/envoy/extensions/filters/http/ratelimit/v3/rate_limit_pb.ts'
import { decodeGrpc } from '../ext-authz.ts'
import { noteIgnored, type DecodePath } from '../fields/decode-path.ts'
import { decodeMs, decodeRuntimeFraction } from '../fields/values.ts'
import { decodeAdds, decodeStatus } from './local.ts'
import { decodeRateLimits, OF_FILTER } from './rules.ts'

/** Envoy's defaults. */
const METADATA = 'envoy.filters.http.ratelimit'
const TIMEOUT_MS = 20
const SERVER_ERROR = 500
const MAX_STAGE = 10
const TYPES: ReadonlySet<string> = new Set(['', 'both', 'external', 'internal'])

export function decodeGlobalRateLimit(at: DecodePath, from: RateLimit): GlobalRateLimit {
  noteIgnored(at, RateLimitSchema, from)
  if (from.domain === '') at.in('domain').issue('is missing')
  if (from.stage > MAX_STAGE) at.in('stage').issue(`must be at most ${MAX_STAGE}`)
  if (!TYPES.has(from.requestType)) at.in('request_type').issue('unknown value')
  // Nobody counts as internal here: nothing at all would be counted.
  if (from.requestType === 'internal') at.in('request_type').issue('internal requests are not told apart')
  const denied = decodeRuntimeFraction(at.in('failure_mode_deny_percent'), from.failureModeDenyPercent)
  return {
    statPrefix: from.statPrefix || from.domain,
    domain: from.domain,
    service: decodeLimitService(at, from),
    stage: from.stage,
    rules: decodeRateLimits(at.in('rate_limits'), from.rateLimits, OF_FILTER),
    enabledFraction: decodeRuntimeFraction(at.in('filter_enabled'), from.filterEnabled) ?? 1,
    enforcedFraction: decodeRuntimeFraction(at.in('filter_enforced'), from.filterEnforced) ?? 1,
    deniedOnFailure: denied ?? (from.failureModeDeny ? 1 : 0),
    status: decodeStatus(Number(from.rateLimitedStatus?.code ?? 0)),
    statusOnError: statusOnError(at.in('status_on_error'), Number(from.statusOnError?.code ?? 0)),
    isExhaustion: from.rateLimitedAsResourceExhausted,
    tellsRest: from.enableXRatelimitHeaders === Headers.DRAFT_VERSION_03,
    tellsLimited: !from.disableXEnvoyRatelimitedHeader,
    ...(from.enableRetryAfterHeader && { tellsRetryAfter: true }),
    metadataName: from.metadataNamespace || METADATA,
    answerHeaders: decodeAdds(at.in('response_headers_to_add'), from.responseHeadersToAdd),
  }
}

/** The filter's time counts, not the service's. */
export function decodeLimitService(
  at: DecodePath,
  { rateLimitService, timeout }: Pick<RateLimit, 'rateLimitService' | 'timeout'>,
): GrpcAuthService {
  const here = at.in('rate_limit_service').in('grpc_service')
  const timeoutMs = decodeMs(at.in('timeout'), timeout) || TIMEOUT_MS
  const service = rateLimitService?.grpcService
  if (service) return { ...decodeGrpc(here, service), timeoutMs }
  here.issue('is missing')
  return { kind: 'grpc', cluster: '', authority: '', timeoutMs, headers: [] }
}

function statusOnError(at: DecodePath, code: number): number {
  if (code === 0) return SERVER_ERROR
  if (code < 200 || code > 599) at.issue('is no status of an answer')
  return code
}

export function decodeRouteGlobalLimit(at: DecodePath, from: RateLimitPerRoute): RouteGlobalLimit {
  noteIgnored(at, RateLimitPerRouteSchema, from)
  const hostRules = HOST_RULES[from.vhRateLimits]
  if (!hostRules) at.in('vh_rate_limits').issue('unknown value')
  return {
    domain: from.domain,
    rules: decodeRateLimits(at.in('rate_limits'), from.rateLimits, OF_FILTER),
    hostRules: hostRules ?? 'include',
  }
}
const HOST_RULES: { readonly [option in HostRules]: RouteGlobalLimit['hostRules'] } = {
  [HostRules.OVERRIDE]: 'override',
  [HostRules.INCLUDE]: 'include',
  [HostRules.IGNORE]: 'ignore',
}
