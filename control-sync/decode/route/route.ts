/** envoy.config.route.v3.RouteConfiguration → RouteConfig. */
import { NO_HEADER_CHANGES } from '../../../model/route.ts'
import type { PathMatch, Route, RouteConfig, RouteFilters, RouteMatch, VirtualHost } from '../../../model/route.ts'
import {
  RouteMatchSchema,
  VirtualHost_TlsRequirementType as TlsRequirement,
  type Route as XRoute,
  type RouteMatch as XRouteMatch,
  type VirtualHost as XVirtualHost,
} from '../../../proto/gen/envoy/config/route/v3/route_components_pb.ts'
import { RouteConfigurationSchema, type RouteConfiguration } from '../../../proto/gen/envoy/config/route/v3/route_pb.ts'
import { findFieldName, refuse, hasUnknown, type DecodePath } from '../fields/decode-path.ts'
import { JWT_METADATA } from '../../../model/http/jwt.ts'
import type { MetadataMatch } from '../../../model/http/metadata.ts'
import type { MetadataMatcher } from '../../../proto/gen/envoy/type/matcher/v3/metadata_pb.ts'
import { decodeMetadataMatch } from '../fields/metadata.ts'
import { decodeHeaderChanges } from './header-changes.ts'
import { decodeHeaderMatches, queryMatch, decodeRegex } from '../fields/matchers.ts'
import { decodeUriTemplate } from '../fields/uri-template.ts'
import { NO_PER_FILTER, decodePerFilter } from './per-filter.ts'
import { decodeRateLimits } from '../rate-limit/rules.ts'
import { decodeMirrors } from './mirrors.ts'
import { retryPolicy } from './retry.ts'
import { decodeRouteAction } from './route-action.ts'
import { decodeRuntimeFraction } from '../fields/values.ts'

export function decodeRouteConfig(at: DecodePath, from: RouteConfiguration): RouteConfig {
  refuse(at, RouteConfigurationSchema, from)
  const filters = decodePerFilter(at, from.typedPerFilterConfig, NO_PER_FILTER)
  const taken = new Set<string>()
  for (const { no } of from.$unknown ?? []) {
    const field = OTHER_ROUTING.get(no)
    if (field !== undefined) at.in(field).issue('is not supported')
  }
  return {
    name: from.name,
    ignorePortInHost: from.ignorePortInHostMatching,
    headers: decodeHeaderChanges(at, from),
    ...(from.mostSpecificHeaderMutationsWins && { nearestWins: true }),
    ...retriesUnsafe(at, from.metadata),
    internalOnly: from.internalOnlyHeaders.map((name) => name.toLowerCase()),
    ...decodeMirrors(at, from.requestMirrorPolicies),
    virtualHosts: from.virtualHosts.map((host, i) => {
      const here = at.in('virtual_hosts').item(i)
      const made = decodeVirtualHost(here, host, filters)
      noteTaken(here, made.domains, taken)
      return made
    }),
  }
}

/**
 * Envoy refuses a table in which two hosts have a domain, or one has it twice; here the first has it.
 * @param taken lower case, of all hosts before
 */
export function noteTaken(at: DecodePath, domains: readonly string[], taken: Set<string>): void {
  for (const [i, domain] of domains.entries()) {
    if (taken.has(domain)) at.in('domains').item(i).ignore('a host before this one has it already')
    else taken.add(domain)
  }
}

/**
 * Of a table, which our protos leave out: requests would go to other hosts, with other policies, than they are meant
 * for.
 */
const OTHER_ROUTING: ReadonlyMap<number, string> = new Map([
  [18, 'vhost_header'],
  [19, 'route_specifiers'],
])

/** What stands in for a table that cannot be taken as a whole: whoever asks for any host of it is refused. */
export function blockTable({ name }: Pick<RouteConfiguration, 'name'>, reason: string): RouteConfig {
  return {
    name,
    ignorePortInHost: false,
    headers: NO_HEADER_CHANGES,
    virtualHosts: [blockHost({ name: '', domains: ['*'] }, reason)],
  }
}

/** A host whose requests are all refused. @param from `domains` in lower case */
export function blockHost({ name, domains }: Pick<VirtualHost, 'name' | 'domains'>, reason: string): VirtualHost {
  return {
    name,
    domains,
    routes: [blockedRoute('', EVERYTHING, reason)],
    retry: undefined,
    headers: NO_HEADER_CHANGES,
    includeAttemptCount: false,
  }
}

function blockedRoute(name: string, match: RouteMatch, reason: string): Route {
  return { name, match, action: { kind: 'blocked', reason }, headers: NO_HEADER_CHANGES }
}

/** @param first number of the first of the routes: a large host comes in pieces */
export function decodeVirtualHost(at: DecodePath, from: XVirtualHost, outer: RouteFilters, first = 0): VirtualHost {
  const domains = from.domains.map((d) => d.toLowerCase())
  return at.piece(
    () => wholeHost(at, from, domains, outer, first),
    (reason) => blockHost({ name: from.name, domains }, reason),
  )
}

function wholeHost(
  at: DecodePath,
  from: XVirtualHost,
  domains: readonly string[],
  outer: RouteFilters,
  first: number,
): VirtualHost {
  if (from.domains.length === 0) at.in('domains').issue('is empty')
  if (from.$unknown?.some(({ no }) => no === MATCHER)) at.in('matcher').issue('match trees are not supported')
  if (from.$unknown?.some(({ no }) => no === ROUTE_SPECIFIERS)) at.in('route_specifiers').issue('is not supported')
  const filters = decodePerFilter(at, from.typedPerFilterConfig, outer)
  return {
    name: from.name,
    domains,
    routes: from.routes.map((r, i) => route(at.in('routes').item(first + i), r, filters)),
    retry: retryPolicy(at.in('retry_policy'), from.retryPolicy),
    headers: decodeHeaderChanges(at, from),
    includeAttemptCount: from.includeRequestAttemptCount,
    requireTls: requireTls(at.in('require_tls'), from.requireTls),
    ...retriesUnsafe(at, from.metadata),
    ...decodeMirrors(at, from.requestMirrorPolicies),
    ...(from.rateLimits.length > 0 && { rateLimits: decodeRateLimits(at.in('rate_limits'), from.rateLimits, {}) }),
  }
}
/** filter_metadata["meshlet.io"]["retry-unsafe"], which an EnvoyFilter can put anywhere. */
function retriesUnsafe(at: DecodePath, metadata: XVirtualHost['metadata']): { readonly retriesUnsafe?: boolean } {
  const said = metadata?.filterMetadata['meshlet.io']?.['retry-unsafe']
  if (said === undefined) return {}
  if (typeof said === 'boolean') return { retriesUnsafe: said }
  at.in('metadata').in('filter_metadata').item('meshlet.io').in('retry-unsafe').issue('must be true or false')
  return {}
}

/** No client counts as internal (Envoy's default for internal_address_config), so EXTERNAL_ONLY applies to all. */
function requireTls(at: DecodePath, value: XVirtualHost['requireTls']): boolean {
  switch (value) {
    case TlsRequirement.NONE:
      return false
    case TlsRequirement.EXTERNAL_ONLY:
    case TlsRequirement.ALL:
      return true
    default:
      at.issue(`unknown value ${value}`)
      return true
  }
}

/** VirtualHost.matcher, which stands in for `routes`. */
const MATCHER = 21
const ROUTE_SPECIFIERS = 26

/** With an issue it refuses what it may be meant for; other requests go on to the routes behind it. */
function route(at: DecodePath, from: XRoute, outer: RouteFilters): Route {
  let match = EVERYTHING
  return at.piece(
    () => {
      match = decodeRouteMatch(at.in('match'), from.match)
      const filters = decodePerFilter(at, from.typedPerFilterConfig, outer)
      return {
        name: from.name,
        match,
        action: decodeRouteAction(at, from),
        headers: decodeHeaderChanges(at, from),
        ...retriesUnsafe(at, from.metadata),
        ...(from.decorator?.operation ? { spanName: from.decorator.operation } : {}),
        ...(filters.size === 0 ? {} : { filters }),
      }
    },
    (reason) => blockedRoute(from.name, match, reason),
  )
}

const EVERYTHING: RouteMatch = {
  path: { kind: 'any' },
  caseSensitive: true,
  headers: [],
  query: [],
  grpc: false,
  fraction: undefined,
}

/**
 * A condition that is not understood is an issue, and left out of what is returned: that then matches all that may have
 * been meant, and more, which is right for a route that refuses.
 */
export function decodeRouteMatch(at: DecodePath, from: XRouteMatch | undefined): RouteMatch {
  if (!from) {
    at.issue('is missing')
    return EVERYTHING
  }
  const path = pathMatch(at, from) ?? EVERYTHING.path
  if (from.tlsContext) at.in('tls_context').issue('is not supported')
  if (from.grpc && hasUnknown(from.grpc)) at.in('grpc').issue('holds a condition that meshlet does not know')
  for (const { no } of from.$unknown ?? [])
    at.in(findFieldName(RouteMatchSchema, no)).issue('a condition that meshlet does not know')
  return {
    path,
    caseSensitive: from.caseSensitive ?? true,
    headers: decodeHeaderMatches(at.in('headers'), from.headers),
    query: from.queryParameters.flatMap((q, i) => queryMatch(at.in('query_parameters').item(i), q) ?? []),
    grpc: from.grpc !== undefined,
    fraction: decodeRuntimeFraction(at.in('runtime_fraction'), from.runtimeFraction),
    ...(from.dynamicMetadata.length > 0 && {
      metadata: metadataMatches(at.in('dynamic_metadata'), from.dynamicMetadata),
    }),
  }
}

function metadataMatches(at: DecodePath, from: readonly MetadataMatcher[]): MetadataMatch[] {
  return from.flatMap((one, i) => {
    const made = decodeMetadataMatch(at.item(i), one)
    if (made?.filter === JWT_METADATA) return made
    at.item(i).issue('is not supported')
    return []
  })
}

function pathMatch(at: DecodePath, { pathSpecifier: by }: XRouteMatch): PathMatch | undefined {
  switch (by.case) {
    case 'prefix':
      return { kind: 'prefix', value: by.value }
    case 'path':
      return { kind: 'exact', value: by.value }
    case 'pathSeparatedPrefix':
      return { kind: 'separated-prefix', value: by.value }
    case 'connectMatcher':
      return { kind: 'connect' }
    case 'safeRegex': {
      const made = decodeRegex(at.in('safe_regex'), by.value)
      return made && { kind: 'regex', regex: made }
    }
    case 'pathMatchPolicy': {
      const here = at.in('path_match_policy')
      const regex = decodeUriTemplate(here, by.value)
      if (regex === 'other') here.issue('is not supported')
      return typeof regex === 'object' ? { kind: 'regex', regex } : undefined
    }
    case undefined:
      at.issue('has no path specifier that meshlet knows')
      return undefined
    default:
      return by satisfies never
  }
}
