/**
 * Which virtual host and route a request belongs to (envoy.config.route.v3.RouteConfiguration). Pure; chance comes in.
 */
import type { Random } from '../core/os/clock.ts'
import {
  toAsciiLowerCase,
  asText,
  matchesHeader,
  matchesString,
  type HeaderValues,
  type QueryMatch,
} from '../model/matcher.ts'
import { matchesMetadata, type Metadata } from '../model/http/metadata.ts'
import {
  NO_HEADER_CHANGES,
  type PathMatch,
  type Route,
  type RouteMatch,
  type VirtualHost,
  type WeightedCluster,
} from '../model/route.ts'
import type { RouteTable } from '../model/tables.ts'

export type RequestFacts = {
  readonly method: string
  /**
   * Normalised (http/filters/path-normalize.ts), with the query; '' for a CONNECT that has none. A filter takes a token
   * out of it.
   */
  path: string
  /** As the listener reads it. An authorization service may say another. */
  authority: string
  readonly scheme: string
  /** What it asks to switch to, and the length of its body: 0 = none, below = not known. */
  readonly upgrade?: string | undefined
  readonly bodyLength?: number
  /** How it came. */
  readonly version?: string
  /** Lower-case name; several values come joined with ','. */
  header(name: string): string | undefined
  /** The same, each line by itself. Left out where no header has several. */
  values?(name: string): HeaderValues
  /** What filters have found out; each adds to it. */
  metadata?: Metadata | undefined
  /** Flat, changed in place by filters; left out where there is nothing to change. */
  readonly headers?: string[]
  /** Names, as toPlainName has them, that a filter has written or taken away for good: trailers have none of them. */
  written?: Set<string> | undefined
}

export type Routed = { readonly virtualHost: VirtualHost; readonly route: Route }

/** The first route of the virtual host that matches; undefined = MESH_NO_ROUTE. */
export function matchRoute(table: RouteTable, request: RequestFacts, random: Random): Routed | undefined {
  const virtualHost = table.virtualHost(request.authority)
  if (!virtualHost) return undefined
  if (virtualHost.requireTls && !isByHttps(request)) return { virtualHost, route: TO_HTTPS }
  // One draw for all routes of a request, as Envoy does: consecutive fractions then add up instead of thinning out.
  const chance = { drawn: undefined as number | undefined, random }
  for (const route of virtualHost.routes) if (matches(route.match, request, chance)) return { virtualHost, route }
  return undefined
}

/** Envoy: who stands before us has to say it exactly so. */
function isByHttps(request: RequestFacts): boolean {
  return request.scheme === 'https' && (request.header('x-forwarded-proto') ?? 'https') === 'https'
}

/** Envoy: filters see this route instead of the virtual host's own, and without what those say to filters. */
export const TO_HTTPS: Route = {
  name: '',
  match: {
    path: { kind: 'prefix', value: '/' },
    caseSensitive: true,
    headers: [],
    query: [],
    grpc: false,
    fraction: undefined,
  },
  headers: NO_HEADER_CHANGES,
  action: {
    kind: 'redirect',
    status: 301,
    scheme: 'https',
    host: undefined,
    port: undefined,
    path: undefined,
    stripQuery: false,
  },
}

/** One of the weighted clusters; undefined only when there is none with a weight. */
export function pickCluster(
  action: { readonly clusters: readonly WeightedCluster[] },
  random: Random,
): WeightedCluster | undefined {
  const { clusters } = action
  if (clusters.length === 1) return clusters[0]
  let total = 0
  for (const c of clusters) total += c.weight
  let at = random.float() * total
  return clusters.find((c) => (at -= c.weight) < 0)
}

/** What header matchers of routes, faults and policies ask: text, each line by itself, pseudo headers included. */
export function collectHeaderValues(request: RequestFacts, name: string): HeaderValues {
  const isField = name.charCodeAt(0) !== COLON && name !== 'host' && request.values !== undefined
  const found = isField ? (request.values!(name) ?? framingField(request, name)) : findHeaderOrPseudo(request, name)
  return typeof found === 'object' ? found.map(asText) : found && asText(found)
}

/** The first line of that name. */
export function findFirstHeader(request: RequestFacts, name: string): string | undefined {
  const values = request.values ? request.values(name) : request.header(name)
  return typeof values === 'object' ? values[0] : values
}

/** A request header by name as it came, pseudo headers included. */
export function findHeaderOrPseudo(request: RequestFacts, name: string): string | undefined {
  switch (name) {
    case ':method':
      return request.method
    case ':path':
      return request.path === '' ? undefined : request.path
    case ':scheme':
      return request.scheme
    case ':authority':
    case 'host':
      return request.authority
    default:
      return request.header(name) ?? framingField(request, name)
  }
}

/**
 * Fields that a codec keeps for itself, as the endpoint will get them. Rules that keep WebSockets out, or lead them
 * elsewhere, ask for them.
 */
function framingField({ upgrade, bodyLength = 0, version }: RequestFacts, name: string): string | undefined {
  switch (name) {
    case 'upgrade':
      return upgrade
    case 'connection':
      return upgrade === undefined ? undefined : 'upgrade'
    case 'content-length':
      return bodyLength > 0 ? String(bodyLength) : undefined
    case 'transfer-encoding':
      return bodyLength < 0 && version === 'HTTP/1.1' ? 'chunked' : undefined
    default:
      return undefined
  }
}

/** The path that matchers of routes and policies are asked about: text, no query, no fragment. */
export function readPathText(path: string): string {
  return asText(withoutQuery(path))
}

/** No query, no fragment. */
export function withoutQuery(path: string): string {
  const query = path.indexOf('?')
  const bare = query < 0 ? path : path.slice(0, query)
  const fragment = bare.indexOf('#')
  return fragment < 0 ? bare : bare.slice(0, fragment)
}

/** application/grpc or application/grpc+anything, a parameter allowed. */
export function isGrpc(contentType: string | undefined): boolean {
  if (contentType === undefined || !contentType.startsWith('application/grpc')) return false
  const next = contentType[16]
  return next === undefined || next === '+' || next === ';'
}

/** Also for the rules of filters, which are conditions of routes. */
export function matchesRoute(match: RouteMatch, request: RequestFacts, random: Random): boolean {
  return matches(match, request, { drawn: undefined, random })
}

function matches(
  match: RouteMatch,
  request: RequestFacts,
  chance: { drawn: number | undefined; readonly random: Random },
): boolean {
  if (!matchesPath(match.path, match.caseSensitive, request)) return false
  for (const h of match.headers) if (!matchesHeader(h, collectHeaderValues(request, h.name))) return false
  for (const q of match.query) if (!matchesQuery(q, request.path)) return false
  if (match.metadata?.some((one) => !matchesMetadata(one, request.metadata))) return false
  if (match.grpc && !isGrpc(request.header('content-type'))) return false
  if (match.fraction === undefined) return true
  chance.drawn ??= chance.random.float()
  return chance.drawn < match.fraction
}

const SLASH = 47
const COLON = 58

function matchesPath(match: PathMatch, caseSensitive: boolean, request: RequestFacts): boolean {
  if (match.kind === 'prefix' && match.value === '/') return request.path.charCodeAt(0) === SLASH
  if (match.kind === 'any') return true
  if (match.kind === 'connect') return request.method === 'CONNECT'
  // Envoy: a request without a path (CONNECT) belongs to connect routes only.
  if (request.path === '') return false
  const bare = readPathText(request.path)
  if (match.kind === 'regex') return match.regex.matchesAll(bare)
  const path = caseSensitive ? bare : toAsciiLowerCase(bare)
  const value = caseSensitive ? match.value : toAsciiLowerCase(match.value)
  switch (match.kind) {
    case 'exact':
      return path === value
    case 'prefix':
      return path.startsWith(value)
    case 'separated-prefix':
      return path.startsWith(value) && (path.length === value.length || path.charCodeAt(value.length) === SLASH)
    default:
      return match satisfies never
  }
}

/** Envoy compares the raw text of the first parameter with that name, not decoded. */
function matchesQuery(match: QueryMatch, path: string): boolean {
  const value = queryValue(path, match.name)
  if (match.test.kind !== 'string') return (match.test.kind === 'present') === (value !== undefined)
  return value !== undefined && matchesString(match.test.match, asText(value))
}

/** First value of a query parameter as it stands, not decoded; '' when it has no `=`. */
export function queryValue(path: string, name: string): string | undefined {
  const start = path.indexOf('?')
  if (start < 0) return undefined
  for (const pair of path.slice(start + 1).split('&')) {
    const equals = pair.indexOf('=')
    if ((equals < 0 ? pair : pair.slice(0, equals)) === name) return equals < 0 ? '' : pair.slice(equals + 1)
  }
  return undefined
}
