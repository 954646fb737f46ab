import type { GrpcAuthService } from './ext-authz.ts'
import type { HeaderEdit } from './header-edit.ts'
import type { LocalRateLimit, RateLimitRule } from './rate-limit.ts'

/** Limits that a service counts for all who ask it (envoy.extensions.filters.http.ratelimit.v3), decoded. */
export type GlobalRateLimit = {
  /** In metrics. */
  readonly statPrefix: string
  readonly domain: string
  readonly service: GrpcAuthService
  readonly stage: number
  /** In place of those of routes and hosts. */
  readonly rules: readonly RateLimitRule[]
  /** 0..1 of the requests are asked about; of those that are too many, refused; and where nobody answers, refused. */
  readonly enabledFraction: number
  readonly enforcedFraction: number
  readonly deniedOnFailure: number
  /** Of a refusal, and of one because nobody answers. */
  readonly status: number
  readonly statusOnError: number
  readonly isExhaustion: boolean
  /** Every answer says what is left; one that is too much says x-envoy-ratelimited. */
  readonly tellsRest: boolean
  readonly tellsLimited: boolean
  /** A refusal says retry-after, where the service says how long. */
  readonly tellsRetryAfter?: true
  /** What the service says about a request stands under this name. */
  readonly metadataName: string
  readonly answerHeaders: HeaderEdit
}
/** What a route says to it. `domain` '' = the filter's; `rules` empty = the filter's, or those of routes and hosts. */
export type RouteGlobalLimit = {
  readonly domain: string
  readonly rules: readonly RateLimitRule[]
  readonly hostRules: LocalRateLimit['hostRules']
}
