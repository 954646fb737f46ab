/** envoy.config.route.v3.RateLimit: which descriptors a request has. */
import { findMetadata, type Metadata, type MetadataPath } from '../../../model/http/metadata.ts'
import type { RateLimitAction, RateLimitRule, RouteRateLimits } from '../../../model/http/rate-limit.ts'
import {
  RateLimit_Action_MetaData_Source as Source,
  RateLimit_XRateLimitOption as Told,
  RateLimitSchema,
  type RateLimit,
  type RateLimit_Action as XAction,
  type RateLimit_Action_MetaData as XMetadata,
  type RouteAction,
} from '../../../proto/gen/envoy/config/route/v3/route_components_pb.ts'
import type { MetadataKey } from '../../../proto/gen/envoy/type/metadata/v3/metadata_pb.ts'
import { findFieldName, hasUnknown, type DecodePath } from '../fields/decode-path.ts'
import { decodeHeaderMatches, queryMatch } from '../fields/matchers.ts'

const MAX_STAGE = 10
/** Envoy's MAX_HITS_ADDEND. */
const MAX_HITS = 1_000_000_000n

/**
 * What is not supported is told and stays in the rule: who limits by it then refuses, and routes without a limit are as
 * they were sent.
 */
export function decodeRateLimits(at: DecodePath, from: readonly RateLimit[], where: Where): readonly RateLimitRule[] {
  return from.map((one, i) => decodeRule(at.item(i), one, where))
}
/** `metadata`: of the route, left out where a rule is of many routes. `takesHits`: as in Envoy, of filters' rules. */
type Where = { readonly metadata?: Metadata; readonly takesHits?: true }
export const OF_FILTER: Where = { takesHits: true }

export function decodeRouteRateLimits(
  at: DecodePath,
  from: RouteAction,
  metadata: Metadata,
): { readonly rateLimits?: RouteRateLimits } {
  const includesHost = from.includeVhRateLimits ?? false
  if (from.rateLimits.length === 0 && !includesHost) return {}
  return { rateLimits: { rules: decodeRateLimits(at.in('rate_limits'), from.rateLimits, { metadata }), includesHost } }
}

function decodeRule(at: DecodePath, from: RateLimit, where: Where): RateLimitRule {
  if ((from.stage ?? 0) > MAX_STAGE) at.in('stage').issue(`must be at most ${MAX_STAGE}`)
  if (from.actions.length === 0) at.in('actions').issue('is empty')
  const actions = from.actions.map((action, i) => decodeAction(at.in('actions').item(i), action, where.metadata))
  const unknown = (from.$unknown ?? []).map(({ no }) => findFieldName(RateLimitSchema, no))
  const tellsRest = TOLD[from.xRatelimitOption]
  if (tellsRest === undefined) at.in('x_ratelimit_option').issue('unknown value')
  return {
    stage: from.stage ?? 0,
    actions: [...actions, ...unknown.map((what) => unsupported(at.in(what), what)), ...lateRule(at, from, where)],
    ...decodeLimit(at.in('limit'), from.limit),
    ...decodeHits(at.in('hits_addend'), from.hitsAddend, where),
    ...(typeof tellsRest === 'boolean' && { tellsRest }),
    ...(from.disableKey !== '' && { hasRuntimeKey: true }),
  }
}
const TOLD: { readonly [option in Told]: boolean | 'as the filter' } = {
  [Told.UNSPECIFIED]: 'as the filter',
  [Told.OFF]: false,
  [Told.DRAFT_VERSION_03]: true,
}

/** Counting after the answer needs what it was; a limit that counts nothing would be none. */
function lateRule(at: DecodePath, from: RateLimit, { takesHits }: Where): RateLimitAction[] {
  const isFormatted = takesHits && from.hitsAddend?.format
  return [
    ...(from.applyOnStreamDone ? [unsupported(at.in('apply_on_stream_done'), 'apply_on_stream_done')] : []),
    ...(isFormatted ? [unsupported(at.in('hits_addend').in('format'), 'hits_addend.format')] : []),
    ...(from.limit && from.limit.overrideSpecifier.case === undefined
      ? [unsupported(at.in('limit'), 'limit of another kind')]
      : []),
  ]
}

function decodeLimit(at: DecodePath, from: RateLimit['limit']): { readonly limit?: MetadataPath } {
  if (from?.overrideSpecifier.case !== 'dynamicMetadata') return {}
  const limit = decodeKey(at.in('dynamic_metadata').in('metadata_key'), from.overrideSpecifier.value.metadataKey)
  return limit ? { limit } : {}
}

function decodeHits(
  at: DecodePath,
  from: RateLimit['hitsAddend'],
  { takesHits }: Where,
): Pick<RateLimitRule, 'hits' | 'givesBack'> {
  if (!from) return {}
  if (!takesHits) {
    at.ignore('counts in the rules of filters only')
    return {}
  }
  const { number, format, isNegativeHits } = from
  if ((number === undefined) === (format === '')) at.issue('must have either a number or a format')
  if (number !== undefined && number > MAX_HITS) at.in('number').issue(`must be at most ${MAX_HITS}`)
  return {
    ...(number !== undefined && { hits: Number(number) }),
    ...(isNegativeHits && { givesBack: true }),
  }
}

/** @returns undefined where it is none, which is an issue */
function decodeKey(at: DecodePath, from: MetadataKey | undefined): MetadataPath | undefined {
  const path = from?.path.map(({ segment }) => (segment.case === 'key' ? segment.value : ''))
  if (from && from.key !== '' && path && path.length > 0 && path.every((key) => key !== ''))
    return { filter: from.key, path }
  at.issue('needs a key, and a path of keys')
  return undefined
}

function decodeAction(
  at: DecodePath,
  { actionSpecifier: by, $unknown: unknown }: XAction,
  ofRoute: Metadata | undefined,
): RateLimitAction {
  switch (by.case) {
    case 'remoteAddress':
      return { kind: 'remote-address' }
    case 'maskedRemoteAddress': {
      const [v4Bits, v6Bits] = [by.value.v4PrefixMaskLen ?? 32, by.value.v6PrefixMaskLen ?? 128]
      if (v4Bits > 32) at.in('masked_remote_address').in('v4_prefix_mask_len').issue('must be at most 32')
      if (v6Bits > 128) at.in('masked_remote_address').in('v6_prefix_mask_len').issue('must be at most 128')
      return { kind: 'masked-remote-address', v4Bits, v6Bits }
    }
    case 'destinationCluster':
      return { kind: 'destination-cluster' }
    case 'sourceCluster':
      return { kind: 'source-cluster' }
    case 'genericKey':
    case 'headerValueMatch':
    case 'queryParameterValueMatch':
      return decodeValue(at, by)
    case 'requestHeaders': {
      const { headerName: name, descriptorKey: key, skipIfAbsent: mayLack } = by.value
      return { kind: 'header', name: name.toLowerCase(), key, mayLack }
    }
    case 'queryParameters': {
      const { queryParameterName: name, descriptorKey: key, skipIfAbsent: mayLack } = by.value
      return { kind: 'query', name, key, mayLack }
    }
    case 'metadata':
      return decodeMetadata(at.in('metadata'), by.value, ofRoute)
    case undefined: {
      if (unknown?.length) return unsupported(at, `action ${unknown.map(({ no }) => no).join(', ')}`)
      at.issue('has no action')
      return { kind: 'unsupported', what: 'no action' }
    }
    default:
      return by satisfies never
  }
}

/** What a route says of itself is known when the route is decoded. */
function decodeMetadata(at: DecodePath, from: XMetadata, ofRoute: Metadata | undefined): RateLimitAction {
  const { descriptorKey: key, defaultValue: byDefault, skipIfAbsent: mayLack, source } = from
  if (key === '') at.in('descriptor_key').issue('is missing')
  const path = decodeKey(at.in('metadata_key'), from.metadataKey)
  if (!path) return { kind: 'unsupported', what: 'no metadata' }
  if (source === Source.DYNAMIC) return { kind: 'metadata', key, from: path, byDefault, mayLack }
  if (source !== Source.ROUTE_ENTRY || !ofRoute)
    return unsupported(at.in('source'), `metadata of ${findSource(source)}`)
  const found = findMetadata(path, ofRoute)
  const value = typeof found === 'string' && found !== '' ? found : byDefault
  if (value !== '') return { kind: 'constant', key, value }
  return { kind: 'metadata', key, from: NOWHERE, byDefault, mayLack }
}
const findSource = (no: number): string => Object.entries(Source).find(([, value]) => value === no)?.[0] ?? String(no)
/** Where nobody writes. */
const NOWHERE: MetadataPath = { filter: '', path: [] }

type Valued = Extract<
  XAction['actionSpecifier'],
  { case: 'genericKey' | 'headerValueMatch' | 'queryParameterValueMatch' }
>
/** Envoy fills in what stands between percent signs. */
function decodeValue(at: DecodePath, by: Valued): RateLimitAction {
  const value = by.value.descriptorValue
  if (value.includes('%') || by.value.defaultValue !== '' || hasUnknown(by.value))
    return unsupported(at, 'a formatted descriptor_value')
  switch (by.case) {
    case 'genericKey':
      return { kind: 'constant', key: by.value.descriptorKey || 'generic_key', value }
    case 'headerValueMatch': {
      const headers = decodeHeaderMatches(at.in('header_value_match').in('headers'), by.value.headers)
      const [key, expect] = [by.value.descriptorKey || 'header_match', by.value.expectMatch ?? true]
      return { kind: 'match', key, value, expect, headers, query: [] }
    }
    case 'queryParameterValueMatch': {
      const here = at.in('query_parameter_value_match').in('query_parameters')
      const query = by.value.queryParameters.flatMap((q, i) => queryMatch(here.item(i), q) ?? [])
      const [key, expect] = [by.value.descriptorKey || 'query_match', by.value.expectMatch ?? true]
      return { kind: 'match', key, value, expect, headers: [], query }
    }
    default:
      return by satisfies never
  }
}

function unsupported(at: DecodePath, what: string): RateLimitAction {
  at.ignore(`${what} is not supported: a local rate limit that asks for it refuses`)
  return { kind: 'unsupported', what }
}
