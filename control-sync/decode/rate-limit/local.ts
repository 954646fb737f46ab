/** envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit, of a listener or of a route. */
import { MAX_DYNAMIC_DESCRIPTORS, type LocalDescriptor, type LocalRateLimit } from '../../../model/http/rate-limit.ts'
import type { HeaderEdit } from '../../../model/route.ts'
import type { HeaderValueOption } from '../../../proto/gen/envoy/config/core/v3/base_pb.ts'
import {
  VhRateLimitsOptions,
  XRateLimitHeadersRFCVersion as Headers,
  type LocalRateLimitDescriptor,
} from '../../../proto/gen/envoy/extensions/common/ratelimit/v3/ratelimit_pb.ts'
import {
  LocalRateLimitSchema,
  type LocalRateLimit as XLocalRateLimit,
} from '../../../proto/gen/envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit_pb.ts'
import { noteIgnored, refuse, type DecodePath } from '../fields/decode-path.ts'
import { decodeRuntimeFraction } from '../fields/values.ts'
import { decodeHeaderAdd } from '../route/header-changes.ts'
import { decodeRateLimits, OF_FILTER } from './rules.ts'
import { decodeTokenBucket } from './token-bucket.ts'

const TOO_MANY_REQUESTS = 429
/** Envoy's. */
const DYNAMIC_DESCRIPTORS = 20
const HOST_RULES: { readonly [option in VhRateLimitsOptions]: LocalRateLimit['hostRules'] } = {
  [VhRateLimitsOptions.OVERRIDE]: 'override',
  [VhRateLimitsOptions.INCLUDE]: 'include',
  [VhRateLimitsOptions.IGNORE]: 'ignore',
}

/** A route's own has to have a bucket, as in Envoy. */
export function decodeLocalRateLimit(at: DecodePath, from: XLocalRateLimit, of: 'listener' | 'route'): LocalRateLimit {
  noteIgnored(at, LocalRateLimitSchema, from)
  refuse(at, LocalRateLimitSchema, from)
  if (from.statPrefix === '') at.in('stat_prefix').issue('is missing')
  if (of === 'route' && !from.tokenBucket) at.in('token_bucket').issue('is missing')
  if (from.stage > 10) at.in('stage').issue('must be at most 10')
  const maxDynamic = from.maxDynamicDescriptors ?? DYNAMIC_DESCRIPTORS
  if (maxDynamic < 1 || maxDynamic > MAX_DYNAMIC_DESCRIPTORS)
    at.in('max_dynamic_descriptors').issue(`must be 1 to ${MAX_DYNAMIC_DESCRIPTORS}`)
  if (HOST_RULES[from.vhRateLimits] === undefined) at.in('vh_rate_limits').issue('unknown value')
  return {
    statPrefix: from.statPrefix,
    bucket: from.tokenBucket && decodeTokenBucket(at.in('token_bucket'), from.tokenBucket),
    enabledFraction: decodeRuntimeFraction(at.in('filter_enabled'), from.filterEnabled) ?? 0,
    enforcedFraction: decodeRuntimeFraction(at.in('filter_enforced'), from.filterEnforced) ?? 0,
    status: decodeStatus(Number(from.status?.code ?? 0)),
    descriptors: decodeDescriptors(at.in('descriptors'), from.descriptors),
    maxDynamic,
    alwaysDefault: from.alwaysConsumeDefaultTokenBucket ?? true,
    perConnection: from.localRateLimitPerDownstreamConnection,
    tellsRest: from.enableXRatelimitHeaders === Headers.DRAFT_VERSION_03,
    tellsRetryAfter: from.enableRetryAfterHeader,
    isExhaustion: from.rateLimitedAsResourceExhausted,
    rules: decodeRateLimits(at.in('rate_limits'), from.rateLimits, OF_FILTER),
    stage: from.stage,
    hostRules: HOST_RULES[from.vhRateLimits] ?? 'include',
    answerHeaders: decodeAdds(at.in('response_headers_to_add'), from.responseHeadersToAdd),
    requestHeaders: decodePlainAdds(
      at.in('request_headers_to_add_when_not_enforced'),
      from.requestHeadersToAddWhenNotEnforced,
    ),
  }
}

/** As in Envoy, what is no error is 429. */
export function decodeStatus(code: number): number {
  return code >= 400 && code <= 599 ? code : TOO_MANY_REQUESTS
}

export function decodeAdds(at: DecodePath, from: readonly HeaderValueOption[]): HeaderEdit {
  return { remove: [], add: from.flatMap((option, i) => decodeHeaderAdd(at.item(i), option) ?? []) }
}

/** Filters behind see these, before anything is known that an operator could say. */
function decodePlainAdds(at: DecodePath, from: readonly HeaderValueOption[]): HeaderEdit {
  for (const [i, { header }] of from.entries())
    if (header?.value.includes('%'))
      at.item(i).in('header').in('value').issue('command operators are not supported here')
  return decodeAdds(at, from)
}

function decodeDescriptors(at: DecodePath, from: readonly LocalRateLimitDescriptor[]): LocalDescriptor[] {
  const taken = new Set<string>()
  return from.flatMap((one, i) => {
    const here = at.item(i)
    const entries = one.entries.map(({ key, value }) => [key, value] as const)
    if (entries.length === 0) here.in('entries').issue('is empty')
    if (entries.some(([key]) => key === '')) here.in('entries').issue('has an entry without a key')
    const key = JSON.stringify(entries)
    if (taken.has(key)) here.issue('is there already')
    taken.add(key)
    if (!one.tokenBucket) {
      here.in('token_bucket').issue('is missing')
      return []
    }
    return { entries, bucket: decodeTokenBucket(here.in('token_bucket'), one.tokenBucket), isShadow: one.shadowMode }
  })
}
