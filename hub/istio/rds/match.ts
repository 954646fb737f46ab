/** Which requests a route takes (core/route/route.go TranslateRouteMatch). */
import { compareText, isSelected } from '../config.ts'
import type { HttpMatch } from '../kinds/virtual-service.ts'
import type { StringMatch } from '../kinds/fields.ts'
import { compact, type Json } from '../json.ts'
import type { Proxy } from '../mesh/proxy.ts'
import { isPresence, makeNamedMatcher, makeStringMatcher } from './string-match.ts'

/** What an istiod decides itself: the port and who asks. */
export function isForNode(match: HttpMatch | undefined, proxy: Proxy, port: number): boolean {
  if (!match) return true
  if (match.port !== undefined && match.port !== port) return false
  if (match.gateways?.length) return match.gateways.includes('mesh')
  return (
    isSelected(match.sourceLabels, proxy.labels) &&
    (match.sourceNamespace === undefined || match.sourceNamespace === proxy.node.namespace)
  )
}

export function makeMatch(match: HttpMatch | undefined): Json {
  if (!match) return { prefix: '/' }
  const named = Object.entries(match.headers ?? {})
  const without = Object.entries(match.withoutHeaders ?? {})
  const headers: Json[] = [
    ...named.filter(([name]) => !readClaims(name)).map(([name, m]) => makeNamedMatcher(name, m)),
    ...without
      .filter(([name]) => !readClaims(name))
      .map(([name, m]): Json => ({
        ...makeNamedMatcher(name, m),
        invert_match: true,
        ...(isPresence(m) ? {} : { treat_missing_header_as_empty: true }),
      })),
  ].sort((a, b) => compareText(a['name'] as string, b['name'] as string))
  const pseudo = [
    [':method', match.method],
    [':authority', match.authority],
    [':scheme', match.scheme],
  ] as const
  const all = [...headers, ...pseudo.flatMap(([name, m]) => (m ? [makeNamedMatcher(name, m)] : []))]
  const claims = [
    ...named.flatMap(([name, m]) => makeClaimMatcher(name, m)),
    ...without.flatMap(([name, m]) => makeClaimMatcher(name, m).map((c) => ({ ...c, invert: true }))),
  ]
  const parameters = Object.entries(match.queryParams ?? {})
    .sort(([a], [b]) => compareText(a, b))
    .map(([name, m]) => makeNamedMatcher(name, m))
  return compact({
    ...makePath(match.uri),
    case_sensitive: match.ignoreUriCase !== true,
    headers: all.length > 0 ? all : undefined,
    query_parameters: parameters.length > 0 ? parameters : undefined,
    dynamic_metadata: claims.length > 0 ? claims : undefined,
  })
}

function makePath(uri: StringMatch | undefined): Json {
  if (uri?.exact !== undefined) return { path: uri.exact }
  if (uri?.regex !== undefined) return { safe_regex: { regex: uri.regex } }
  return { prefix: uri?.prefix ?? '/' }
}

const CLAIMS = '@request.auth.claims'
/** `@request.auth.claims.group.id`, `@request.auth.claims[group][id]` (pkg/jwt ToRoutingClaim). */
export function readClaims(name: string): string[] | undefined {
  if (!name.toLowerCase().startsWith(CLAIMS)) return undefined
  const rest = name.slice(CLAIMS.length)
  if (rest.startsWith('.')) return rest.length > 1 ? rest.slice(1).split('.') : undefined
  return rest.startsWith('[') && rest.endsWith(']') && rest.length > 2 ? rest.slice(1, -1).split('][') : undefined
}

function makeClaimMatcher(name: string, m: StringMatch): Json[] {
  const claims = readClaims(name)
  if (!claims) return []
  const matcher = { string_match: makeStringMatcher(m) }
  return [
    {
      filter: 'envoy.filters.http.jwt_authn',
      path: ['payload', ...claims].map((key) => ({ key })),
      value: { or_match: { value_matchers: [{ list_match: { one_of: matcher } }, matcher] } },
    },
  ]
}

export function isCatchAll(match: Json): boolean {
  const regex = (match['safe_regex'] as Json | undefined)?.['regex']
  const takesAll = match['prefix'] === '/' || regex === '.*'
  return takesAll && !match['headers'] && !match['query_parameters'] && !match['dynamic_metadata']
}
