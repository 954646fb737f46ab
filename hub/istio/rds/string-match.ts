/** Istio's StringMatch → Envoy's matchers (networking/util, core/route/route.go). */
import type { Fault } from '../kinds/virtual-service.ts'
import type { StringMatch } from '../kinds/fields.ts'
import type { Json } from '../json.ts'

/** Nothing said, or the regex "*", which is none: the thing is there. */
export function isPresence(m: StringMatch): boolean {
  return (m.exact === undefined && m.prefix === undefined && m.regex === undefined) || m.regex === '*'
}

export function makeStringMatcher({ exact, prefix, regex }: StringMatch): Json {
  if (exact !== undefined) return { exact }
  return prefix !== undefined ? { prefix } : { safe_regex: { regex: regex ?? '' } }
}

/** Of a header or a query parameter. */
export function makeNamedMatcher(name: string, m: StringMatch): Json {
  return isPresence(m) ? { name, present_match: true } : { name, string_match: makeStringMatcher(m) }
}

/** Of a percentage with fractions: Istio counts in millionths. */
export function makeFraction(percentage: { readonly value: number }): Json {
  return { numerator: Math.trunc(percentage.value * 10_000), denominator: 'MILLION' }
}
export const makeWholePercent = (numerator: number): Json => ({ numerator, denominator: 'HUNDRED' })

/** google.rpc.Code. */
const GRPC_CODES: Readonly<Record<string, number>> = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
}
export function readGrpcStatus(abort: NonNullable<Fault['abort']>): number {
  return GRPC_CODES[abort.grpcStatus ?? ''] ?? 2
}
