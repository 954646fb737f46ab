/** envoy.config.route.v3.RateLimit: which descriptors a request has. */
import type { RateLimitAction, RateLimitRule, RouteRateLimits } from '../../../model/http/rate-limit.ts'
import {
  RateLimitSchema,
  type RateLimit,
  type RateLimit_Action as XAction,
  type RouteAction,
} from '../../../proto/gen/envoy/config/route/v3/route_components_pb.ts'
import { findFieldName, hasUnknown, type DecodePath } from '../fields/decode-path.ts'
import { decodeHeaderMatches, queryMatch } from '../fields/matchers.ts'

const MAX_STAGE = 10
/** What a global service is told, and what answers say of single rules. */
const OF_OTHERS: ReadonlySet<string> = new Set(['limit', 'x_ratelimit_option'])

/**
 * What is not supported is told and stays in the rule: who limits by it then refuses, and routes without a limit are as
 * they were sent.
 */
export function decodeRateLimits(at: DecodePath, from: readonly RateLimit[]): readonly RateLimitRule[] {
  return from.map((one, i) => decodeRule(at.item(i), one))
}

export function decodeRouteRateLimits(at: DecodePath, from: RouteAction): { readonly rateLimits?: RouteRateLimits } {
  const includesHost = from.includeVhRateLimits ?? false
  if (from.rateLimits.length === 0 && !includesHost) return {}
  return { rateLimits: { rules: decodeRateLimits(at.in('rate_limits'), from.rateLimits), includesHost } }
}

function decodeRule(at: DecodePath, from: RateLimit): RateLimitRule {
  if ((from.stage ?? 0) > MAX_STAGE) at.in('stage').issue(`must be at most ${MAX_STAGE}`)
  if (from.actions.length === 0) at.in('actions').issue('is empty')
  const actions = from.actions.map((action, i) => decodeAction(at.in('actions').item(i), action))
  const unknown = (from.$unknown ?? []).map(({ no }) => findFieldName(RateLimitSchema, no))

  const others = unknown.filter((name) => !OF_OTHERS.has(name)).map((what) => unsupported(at.in(what), what))
  const hasOwnLimit = unknown.includes('limit')
  return {
    stage: from.stage ?? 0,
    actions: [...actions, ...others],
    ...(hasOwnLimit && { hasOwnLimit }),
    ...(from.disableKey !== '' && { hasRuntimeKey: true }),
  }
}

function decodeAction(at: DecodePath, { actionSpecifier: by, $unknown: unknown }: XAction): RateLimitAction {
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
      return unsupported(at, 'source_cluster')
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
    case undefined: {
      if (unknown?.length) return unsupported(at, `action ${unknown.map(({ no }) => no).join(', ')}`)
      at.issue('has no action')
      return { kind: 'unsupported', what: 'no action' }
    }
    default:
      return by satisfies never
  }
}

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
