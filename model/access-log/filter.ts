/** envoy.config.accesslog.v3.AccessLogFilter: which requests and connections get a line. Pure. */
import type { Random } from '../../core/os/clock.ts'
import { matchesHeader, type HeaderMatch } from '../matcher.ts'
import { matchesMetadata, type MetadataMatch } from '../http/metadata.ts'
import { matchesCel, type CelExpression } from './cel/evaluate.ts'
import type { LogFacts } from './facts.ts'

export type LogFilter =
  | { readonly kind: 'all' }
  | { readonly kind: 'status' | 'duration'; readonly is: 'eq' | 'ge' | 'le' | 'ne'; readonly value: number }
  | { readonly kind: 'fraction'; readonly fraction: number }
  | { readonly kind: 'header'; readonly match: HeaderMatch }
  /** Any of them; none named: any flag at all. */
  | { readonly kind: 'flags'; readonly flags: ReadonlySet<string> }
  | { readonly kind: 'grpc-status'; readonly codes: ReadonlySet<number>; readonly exclude: boolean }
  | { readonly kind: 'metadata'; readonly match: MetadataMatch; readonly whenAbsent: boolean }
  | { readonly kind: 'type'; readonly types: ReadonlySet<LogFacts['type']>; readonly exclude: boolean }
  /** Only those whose trace is reported. */
  | { readonly kind: 'traced' }
  | { readonly kind: 'no-health-check' }
  | { readonly kind: 'and' | 'or'; readonly of: readonly LogFilter[] }
  | { readonly kind: 'cel'; readonly expression: CelExpression }

export function matchesFilter(filter: LogFilter, facts: LogFacts, random: Random): boolean {
  switch (filter.kind) {
    case 'all':
      return true
    case 'status':
      return compare(facts.status, filter)
    case 'duration':
      return compare(Math.floor(facts.time('DS_TX_END') ?? 0), filter)
    case 'fraction':
      return random.float() < filter.fraction
    case 'header':
      return matchesHeader(filter.match, facts.request(filter.match.name))
    case 'flags':
      return filter.flags.size === 0 ? facts.flags.length > 0 : facts.flags.some((flag) => filter.flags.has(flag))
    case 'grpc-status':
      // Envoy takes a request without a gRPC status for what its HTTP status means, and that may be OK.
      return filter.codes.has(facts.grpcStatus ?? statusOf(facts)) !== filter.exclude
    case 'metadata':
      return passesMetadata(filter, facts)
    case 'type':
      return filter.types.has(facts.type) !== filter.exclude
    case 'no-health-check':
      return !facts.isHealthCheck
    case 'traced':
      return facts.spanId !== undefined
    case 'and':
      return filter.of.every((one) => matchesFilter(one, facts, random))
    case 'or':
      return filter.of.some((one) => matchesFilter(one, facts, random))
    case 'cel':
      return matchesCel(filter.expression, facts)
    default:
      return filter satisfies never
  }
}

function compare(
  found: number,
  { is, value }: { readonly is: 'eq' | 'ge' | 'le' | 'ne'; readonly value: number },
): boolean {
  switch (is) {
    case 'eq':
      return found === value
    case 'ge':
      return found >= value
    case 'le':
      return found <= value
    case 'ne':
      return found !== value
    default:
      return is satisfies never
  }
}

function passesMetadata(
  { match, whenAbsent }: { readonly match: MetadataMatch; readonly whenAbsent: boolean },
  { metadata }: LogFacts,
): boolean {
  let found = metadata?.[match.filter]
  for (const key of match.path)
    found =
      typeof found === 'object' && found !== null && !Array.isArray(found) && Object.hasOwn(found, key)
        ? (found as { readonly [name: string]: typeof found })[key]
        : undefined
  return found === undefined ? whenAbsent : matchesMetadata(match, metadata)
}

/** gRPC's mapping of HTTP statuses, 200 being OK here (Envoy's Grpc::Utility::httpToGrpcStatus has no 200). */
function statusOf({ status }: LogFacts): number {
  return GRPC_OF_HTTP.get(status) ?? UNKNOWN
}
const UNKNOWN = 2
const GRPC_OF_HTTP: ReadonlyMap<number, number> = new Map([
  [400, 13],
  [401, 16],
  [403, 7],
  [404, 12],
  [429, 14],
  [502, 14],
  [503, 14],
  [504, 14],
])
