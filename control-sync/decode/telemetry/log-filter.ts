/** envoy.config.accesslog.v3.AccessLogFilter → LogFilter. */
import type { LogFacts } from '../../../model/access-log/facts.ts'
import type { LogFilter } from '../../../model/access-log/filter.ts'
import { compileCel } from '../../../model/access-log/cel/evaluate.ts'
import { LONG_FLAGS } from '../../../model/access-log/response-flags.ts'
import {
  ComparisonFilter_Op as Op,
  type AccessLogFilter,
  type ComparisonFilter,
  type ExtensionFilter,
} from '../../../proto/gen/envoy/config/accesslog/v3/accesslog_pb.ts'
import { AccessLogType } from '../../../proto/gen/envoy/data/accesslog/v3/accesslog_pb.ts'
import { ExpressionFilterSchema } from '../../../proto/gen/envoy/extensions/access_loggers/filters/cel/v3/cel_pb.ts'
import { readEffectiveType, unpack } from '../fields/any.ts'
import type { DecodePath } from '../fields/decode-path.ts'
import { decodeHeaderMatch } from '../fields/matchers.ts'
import { decodeMetadataMatch } from '../fields/metadata.ts'
import { decodeFraction } from '../fields/values.ts'

const MAX_DEPTH = 16

/** @returns why it cannot be evaluated, as a text; a malformed part is an issue besides */
export function decodeLogFilter(at: DecodePath, from: AccessLogFilter, depth = 0): LogFilter | string {
  const { filterSpecifier: by } = from
  if (depth > MAX_DEPTH) return `its filter is nested deeper than ${MAX_DEPTH}`
  switch (by.case) {
    case 'statusCodeFilter':
      return comparison('status', by.value.comparison)
    case 'durationFilter':
      return comparison('duration', by.value.comparison)
    case 'notHealthCheckFilter':
      return { kind: 'no-health-check' }
    case 'traceableFilter':
      return { kind: 'traced' }
    case 'runtimeFilter':
      // There is no runtime layer: without a share of its own the filter takes the key's default, which is 0.
      return { kind: 'fraction', fraction: decodeFraction(at.in('percent_sampled'), by.value.percentSampled) ?? 0 }
    case 'andFilter':
      return several('and', at, by.value.filters, depth)
    case 'orFilter':
      return several('or', at, by.value.filters, depth)
    case 'headerFilter': {
      const match = by.value.header && decodeHeaderMatch(at.in('header_filter').in('header'), by.value.header)
      return match ? { kind: 'header', match } : 'its header_filter cannot be evaluated'
    }
    case 'responseFlagFilter': {
      const strange = by.value.flags.find((flag) => !(flag in LONG_FLAGS))
      return strange === undefined
        ? { kind: 'flags', flags: new Set(by.value.flags) }
        : `${strange.slice(0, 64)} is no response flag that meshlet knows`
    }
    case 'grpcStatusFilter':
      return { kind: 'grpc-status', codes: new Set(by.value.statuses), exclude: by.value.exclude }
    case 'extensionFilter':
      return extension(at, by.value)
    case 'metadataFilter': {
      const match = by.value.matcher && decodeMetadataMatch(at.in('metadata_filter').in('matcher'), by.value.matcher)
      return match
        ? { kind: 'metadata', match, whenAbsent: by.value.matchIfKeyNotFound ?? true }
        : 'its metadata_filter cannot be evaluated'
    }
    case 'logTypeFilter':
      return {
        kind: 'type',
        types: new Set(by.value.types.flatMap((type) => TYPES.get(type) ?? [])),
        exclude: by.value.exclude,
      }
    case undefined:
      return 'its filter is none that meshlet knows'
    default:
      return by satisfies never
  }
}

/** Those that are written here. */
const TYPES: ReadonlyMap<AccessLogType, LogFacts['type']> = new Map([
  [AccessLogType.NotSet, 'NotSet'],
  [AccessLogType.TcpConnectionEnd, 'TcpConnectionEnd'],
  [AccessLogType.DownstreamEnd, 'DownstreamEnd'],
])

const OPERATORS: ReadonlyMap<Op, 'eq' | 'ge' | 'le' | 'ne'> = new Map([
  [Op.EQ, 'eq'],
  [Op.GE, 'ge'],
  [Op.LE, 'le'],
  [Op.NE, 'ne'],
])

/** The default of the runtime value counts. */
function comparison(kind: 'status' | 'duration', from: ComparisonFilter | undefined): LogFilter | string {
  const is = from && OPERATORS.get(from.op)
  return is === undefined
    ? `its ${kind} filter compares in no way that meshlet knows`
    : { kind, is, value: from?.value?.defaultValue ?? 0 }
}

function several(
  kind: 'and' | 'or',
  at: DecodePath,
  filters: readonly AccessLogFilter[],
  depth: number,
): LogFilter | string {
  const of: LogFilter[] = []
  for (const [i, one] of filters.entries()) {
    const made = decodeLogFilter(at.in('filters').item(i), one, depth + 1)
    if (typeof made === 'string') return made
    of.push(made)
  }
  return { kind, of }
}

function extension(at: DecodePath, { configType: { value: any } }: ExtensionFilter): LogFilter | string {
  const cel = unpack(at, any, ExpressionFilterSchema)
  if (!cel) return `the filter ${readEffectiveType(at, any)} is not implemented`
  const expression = compileCel(cel.expression)
  return 'problem' in expression
    ? `its filter ${JSON.stringify(cel.expression.slice(0, 256))} is not evaluated: ${expression.problem}`
    : { kind: 'cel', expression }
}
