/** Rate limits that this node keeps by itself (envoy.extensions.filters.http.local_ratelimit.v3), decoded. */
import type { HeaderMatch, QueryMatch } from '../matcher.ts'
import type { HeaderEdit } from './header-edit.ts'
import type { MetadataPath } from './metadata.ts'

/** Full at first; it fills evenly, not in steps. */
export type TokenBucket = { readonly maxTokens: number; readonly tokensPerFill: number; readonly fillMs: number }

export type LocalRateLimit = {
  /** In metrics. */
  readonly statPrefix: string
  /** Of requests that no descriptor takes; undefined: they are not limited. */
  readonly bucket: TokenBucket | undefined
  /** 0..1 of the requests are counted, and of those that are too many refused. */
  readonly enabledFraction: number
  readonly enforcedFraction: number
  /** Of a refusal. */
  readonly status: number
  readonly descriptors: readonly LocalDescriptor[]
  /** Buckets of a descriptor whose value is left open, each with as many values as it keeps. */
  readonly maxDynamic: number
  /** Requests of a descriptor count for the default bucket, too. */
  readonly alwaysDefault: boolean
  readonly perConnection: boolean
  /** Every answer says what is left (x-ratelimit-limit, -remaining, -reset). */
  readonly tellsRest: boolean
  /** A refusal with 429 says retry-after. */
  readonly tellsRetryAfter: boolean
  /** gRPC callers are told RESOURCE_EXHAUSTED, not UNAVAILABLE. */
  readonly isExhaustion: boolean
  /** In place of those of routes and hosts. */
  readonly rules: readonly RateLimitRule[]
  /** Which of the rules of routes and hosts count. */
  readonly stage: number
  readonly hostRules: 'override' | 'include' | 'ignore'
  /** Of refusals, and of requests that are too many and pass. */
  readonly answerHeaders: HeaderEdit
  readonly requestHeaders: HeaderEdit
}

/** An entry with an empty value stands for any value, each with a bucket of its own. */
export type LocalDescriptor = {
  readonly entries: readonly DescriptorEntry[]
  readonly bucket: TokenBucket
  /** It is counted and refuses nothing. */
  readonly isShadow: boolean
}
export type DescriptorEntry = readonly [key: string, value: string]

/** Made by a rule. `limit`: in place of the service's own; `unit` is envoy.type.v3.RateLimitUnit. */
export type Descriptor = Pick<RateLimitRule, 'hits' | 'givesBack' | 'tellsRest'> & {
  readonly entries: readonly DescriptorEntry[]
  readonly limit?: { readonly perUnit: number; readonly unit: number }
}

/** envoy.config.route.v3.RateLimit: a descriptor of a request, an entry for each action; none where one has nothing. */
export type RateLimitRule = {
  readonly stage: number
  readonly actions: readonly RateLimitAction[]
  /** Where filters have written the limit that a service is to take in place of its own. */
  readonly limit?: MetadataPath
  /** What a request counts for, left out: 1; or what it gives back. */
  readonly hits?: number
  readonly givesBack?: true
  /** Whether answers say what is left (x_ratelimit_option); left out: as the filter has it. */
  readonly tellsRest?: boolean
  /**
   * A runtime key says whether it counts (disable_key). Without a runtime a service counts it, and Envoy's local limits
   * leave it out, whatever the key says.
   */
  readonly hasRuntimeKey?: true
}
export type RateLimitAction =
  | { readonly kind: 'remote-address' }
  | { readonly kind: 'masked-remote-address'; readonly v4Bits: number; readonly v6Bits: number }
  | { readonly kind: 'source-cluster' }
  | { readonly kind: 'destination-cluster' }
  | { readonly kind: 'constant'; readonly key: string; readonly value: string }
  | { readonly kind: 'header' | 'query'; readonly name: string; readonly key: string; readonly mayLack: boolean }
  /** Text that filters have written; `byDefault` '' = none. */
  | ({ readonly kind: 'metadata'; readonly key: string; readonly mayLack: boolean } & FromMetadata)
  | ({ readonly kind: 'match'; readonly key: string; readonly value: string } & MatchedBy)
  /** The descriptor cannot be made, and so nothing of it counted: a filter that is to count it refuses. */
  | { readonly kind: 'unsupported'; readonly what: string }

type FromMetadata = { readonly from: MetadataPath; readonly byDefault: string }
type Conditions = { readonly headers: readonly HeaderMatch[]; readonly query: readonly QueryMatch[] }
/** `expect`: whether all of them hold, or not. */
type MatchedBy = Conditions & { readonly expect: boolean }

/** What a route and its host say of descriptors. */
export type RouteRateLimits = {
  readonly rules: readonly RateLimitRule[]
  /** The host's count besides (include_vh_rate_limits). */
  readonly includesHost: boolean
}

/** Buckets for values that clients choose, of one descriptor. */
export const MAX_DYNAMIC_DESCRIPTORS = 10_000
