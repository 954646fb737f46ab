/**
 * Whether a failed try is made again. Pure. Two questions, in this order: does the configuration ask for it (Envoy's
 * retry_on), and is it safe: a request that may have reached an application is repeated only when the caller declared
 * it repeatable, by an idempotent method (RFC 9110 §9.2.2) or an `idempotency-key`. Envoy asks only the first.
 */
import { computeBackoffMs, type Random } from '../../../core/os/clock.ts'
import { CATALOGUE, type ErrorCode } from '../../../core/errors.ts'
import type { RetryOn, RetryPolicy } from '../../../model/route.ts'
import type { ResponseHead } from '../message.ts'

export type TryOutcome =
  /** `rateLimited`: the response carries x-envoy-ratelimited. `grpcStatus`: of a trailers-only response. */
  | {
      readonly kind: 'response'
      readonly status: number
      readonly grpcStatus: number | undefined
      readonly rateLimited?: boolean
      /** The server of a trailers-only response says that the client should not try again (grpc-retry-pushback-ms). */
      readonly isPushedBack?: boolean
    }
  /**
   * `sent`: how much of the request was written to the connection. `reused`: the connection came from the pool and gave
   * no response byte.
   */
  | {
      readonly kind: 'failed'
      readonly code: ErrorCode
      readonly sent: 'nothing' | 'part' | 'all'
      readonly reused: boolean
    }

/** `replayable`: the whole request can still be sent from memory, or nothing of its body has been taken yet. */
export type RetryRequest = {
  readonly method: string
  readonly hasIdempotencyKey: boolean
  /** The operator permits that what may have arrived is sent again (meshlet.io/retry-unsafe). */
  readonly mayRepeat?: boolean
  readonly replayable: boolean
}
/** `retries`: answers 'retry' so far; `freshRetries`: answers 'retry-fresh' so far. */
export type RetryState = { readonly retries: number; readonly freshRetries: number }

/**
 * 'retry': after retryBackoffMs, counts against the policy's limit and the cluster's breaker or budget, which the
 * caller asks. 'retry-fresh': at once, on a connection that does not come from the pool, and outside the policy's
 * limit: the idle connection had been closed by the peer, which is nobody's failure.
 */
export type RetryDecision =
  | 'retry'
  | 'retry-fresh'
  | { readonly stop: 'not-configured' | 'not-safe' | 'not-replayable' | 'limit' }

/** One per request: a second stale connection is then a failure like any other. */
const MAX_FRESH_RETRIES = 1

/** Not to be asked when the route's own timeout ended the exchange, only for a single try's. */
export function decideRetry(
  policy: RetryPolicy | undefined,
  outcome: TryOutcome,
  request: RetryRequest,
  state: RetryState,
): RetryDecision {
  const safe = isUnsent(outcome) || isRepeatable(request)
  if (isStale(outcome) && state.freshRetries < MAX_FRESH_RETRIES && safe && request.replayable) return 'retry-fresh'
  if (!policy || policy.maxRetries === 0 || !isAskedFor(policy, outcome)) return { stop: 'not-configured' }
  if (!safe && !request.mayRepeat) return { stop: 'not-safe' }
  if (!request.replayable) return { stop: 'not-replayable' }
  return state.retries < policy.maxRetries ? 'retry' : { stop: 'limit' }
}

/** Full jitter over base · 2^retries, at most the cap (Envoy's retry_back_off). @param retries made before this one */
export function retryBackoffMs(policy: RetryPolicy, retries: number, random: Random): number {
  return computeBackoffMs(retries, policy.backoff, random)
}

const GRPC_STATUS = {
  cancelled: 1,
  'deadline-exceeded': 4,
  'resource-exhausted': 8,
  internal: 13,
  unavailable: 14,
} as const

const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])

function isRepeatable(request: RetryRequest): boolean {
  return request.hasIdempotencyKey || IDEMPOTENT.has(request.method)
}

/**
 * No application has begun with it: no byte left, or the protocol says so (a refused stream, RFC 9113 §8.7). A gRPC call
 * that ended UNAVAILABLE without response headers is not committed, and gRPC's own libraries send it again (gRFC A6),
 * unless the server asks them not to.
 */
function isUnsent(outcome: TryOutcome): boolean {
  if (outcome.kind === 'response') return outcome.grpcStatus === GRPC_STATUS.unavailable && !outcome.isPushedBack
  return outcome.kind === 'failed' && (outcome.sent === 'nothing' || CATALOGUE[outcome.code].retry === 'unsent')
}

function isStale(outcome: TryOutcome): boolean {
  return outcome.kind === 'failed' && outcome.reused && CATALOGUE[outcome.code].retry === 'reused'
}

function isAskedFor(policy: RetryPolicy, outcome: TryOutcome): boolean {
  if (outcome.kind === 'response') return asksForResponse(policy, outcome)
  // The endpoint never had a part in these: another try would meet the same wall.
  if (CATALOGUE[outcome.code].origin !== 'upstream' || NOT_A_RESET.has(outcome.code)) return false
  for (const on of policy.on) if (asksForFailure(on, outcome)) return true
  return false
}

const NOT_A_RESET: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'MESH_NO_ENDPOINT',
  'MESH_UPSTREAM_OVERFLOW',
  'MESH_RETRY_LIMIT',
  'MESH_MQTT_UPSTREAM_REFUSED',
])

function asksForFailure(on: RetryOn, failed: TryOutcome & { kind: 'failed' }): boolean {
  const refusedStream = failed.code === 'MESH_UPSTREAM_REFUSED_STREAM'
  // Envoy counts every reset, a failed connect and a try's timeout as the 5xx that it would become; gateway-error
  // alike.
  if (on === '5xx' || on === 'gateway-error' || on === 'reset') return true
  if (on === 'reset-before-request') return failed.sent === 'nothing'
  if (on === 'connect-failure') return CATALOGUE[failed.code].retry === 'unsent' && !refusedStream
  return on === 'refused-stream' && refusedStream
}

function asksForResponse(policy: RetryPolicy, response: TryOutcome & { kind: 'response' }): boolean {
  // Envoy: what was rate limited is tried again only where envoy-ratelimited says so, whatever its status.
  if (response.rateLimited) return policy.on.has('envoy-ratelimited')
  const { status } = response
  for (const on of policy.on) {
    switch (on) {
      case '5xx':
        if (status >= 500 && status < 600) return true
        break
      case 'gateway-error':
        if (status === 502 || status === 503 || status === 504) return true
        break
      case 'retriable-4xx':
        if (status === 409) return true
        break
      case 'retriable-status-codes':
        if (policy.statusCodes.has(status)) return true
        break
      case 'cancelled':
      case 'deadline-exceeded':
      case 'internal':
      case 'resource-exhausted':
      case 'unavailable':
        if (response.grpcStatus === GRPC_STATUS[on]) return true
        break
      // About failures, or (retriable-headers) about matchers that RetryPolicy does not carry.
      case 'reset':
      case 'reset-before-request':
      case 'connect-failure':
      case 'refused-stream':
      case 'envoy-ratelimited':
      case 'retriable-headers':
        break
      default:
        on satisfies never
    }
  }
  return false
}

/**
 * @param end the head is the whole response: then a gRPC status stands in it (trailers-only)
 * @returns undefined for a response that no policy tries again
 */
export function suspectResponse(
  { statusCodes }: RetryPolicy,
  { status, headers }: ResponseHead,
  end: boolean,
): TryOutcome | undefined {
  const grpcStatus = end && status === 200 ? findGrpcStatus(headers) : undefined
  if (status < 400 && !(grpcStatus !== undefined && grpcStatus > 0) && !statusCodes.has(status)) return undefined
  const rateLimited = headers.includes('x-envoy-ratelimited')
  return { kind: 'response', status, grpcStatus, rateLimited, isPushedBack: isPushedBack(headers) }
}

/** Server pushback of gRFC A6: what is no number of milliseconds means never. */
function isPushedBack(headers: readonly string[]): boolean {
  const at = headers.indexOf('grpc-retry-pushback-ms')
  return at >= 0 && at % 2 === 0 && !/^\d{1,9}$/.test(headers[at + 1]!)
}

function findGrpcStatus(headers: readonly string[]): number | undefined {
  const at = headers.indexOf('grpc-status')
  return at < 0 || at % 2 === 1 ? undefined : Number(headers[at + 1])
}
