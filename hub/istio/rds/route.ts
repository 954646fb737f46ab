/** One route of a VirtualService → Envoy's (core/route/route.go TranslateRoute). */
import type { JsonValue } from '@bufbuild/protobuf'
import { nameConfig, type Config } from '../config.ts'
import { formatDuration, countSeconds } from '../kinds/durations.ts'
import type { Destination } from '../kinds/fields.ts'
import type { CorsPolicy, Fault, HttpDestination, HttpMatch, HttpRoute, Redirect } from '../kinds/virtual-service.ts'
import { makeAny, compact, nameCluster, type Json } from '../json.ts'
import type { Proxy } from '../mesh/proxy.ts'
import type { Service } from '../mesh/services.ts'
import { findHash, makeHashPolicy } from './hash.ts'
import { joinChanges, NO_CHANGES, readHeaders, writeHeaders, type HeaderChanges } from './headers.ts'
import { isCatchAll, isForNode, makeMatch } from './match.ts'
import { makeRetryPolicy } from './retries.ts'
import { makeFraction, makeStringMatcher, makeWholePercent, readGrpcStatus } from './string-match.ts'

export type RouteContext = {
  readonly proxy: Proxy
  readonly config: Config<'VirtualService'>
  /** Of the listener; 0: of all. */
  readonly port: number
  readonly findService: (host: string) => Service | undefined
}

/** All routes of one VirtualService at a port, up to the first that takes everything. */
export function makeRoutes(context: RouteContext): Json[] {
  const out: Json[] = []
  for (const http of context.config.spec.http ?? []) {
    for (const match of http.match?.length ? http.match : [undefined]) {
      if (!isForNode(match, context.proxy, context.port)) continue
      const route = makeRoute(context, http, match)
      out.push(route)
      if (isCatchAll(route['match'] as Json)) return out
    }
    if (!http.match?.length) return out
  }
  return out
}

function makeRoute(context: RouteContext, http: HttpRoute, match: HttpMatch | undefined): Json {
  const { config, port } = context
  const own = readHeaders(http.headers)
  const action = http.redirect
    ? { action: { redirect: makeRedirect(http.redirect, port) }, changes: own }
    : http.directResponse
      ? { action: { direct_response: makeDirectResponse(http.directResponse) }, changes: own }
      : makeRouteAction(context, http, own)
  const matched = makeMatch(match)
  const name = match?.name ? `${http.name ?? ''}.${match.name}` : http.name
  const filters = compact({
    'envoy.filters.http.fault': http.fault && makeFault(http.fault),
    'envoy.filters.http.cors': http.corsPolicy && makeCors(http.corsPolicy),
  })
  return compact({
    name,
    match: matched,
    stat_prefix: match?.statPrefix || undefined,
    metadata: { filter_metadata: { istio: { config: nameConfig(config) } } },
    ...writeHeaders(action.changes),
    ...action.action,
    decorator: { operation: describeOperation(action.action, matched, context) },
    typed_per_filter_config: Object.keys(filters).length > 0 ? filters : undefined,
  })
}

/** For traces: the destination where it is one, or else the VirtualService. */
function describeOperation(action: Json, match: Json, { config, port }: RouteContext): string {
  const regex = (match['safe_regex'] as Json | undefined)?.['regex']
  const path =
    match['prefix'] === undefined ? ((match['path'] ?? regex ?? '/*') as string) : `${match['prefix'] as string}*`
  const cluster = (action['route'] as Json | undefined)?.['cluster']
  const [, at, , host] = typeof cluster === 'string' ? cluster.split('|') : []
  return host === undefined ? `${config.name}:${port}${path}` : `${host}:${at}${path}`
}

/** The port that is meant: said, the only one of the service, or that of the listener. */
export function nameDestination(d: Destination, service: Service | undefined, listenerPort: number): string {
  const port = d.port?.number ?? (service?.ports.length === 1 ? service.ports[0]!.number : listenerPort)
  return nameCluster(d.host, port, d.subset)
}

type Acted = { readonly action: Json; readonly changes: HeaderChanges }

function makeRouteAction(context: RouteContext, http: HttpRoute, own: HeaderChanges): Acted {
  const { findService, port, proxy } = context
  const destinations = http.route ?? []
  const timeout = http.timeout === undefined ? '0s' : formatDuration(http.timeout)
  const target = makeTarget(context, destinations)
  const authority = http.rewrite?.authority || own.authority || target.changes.authority
  const mirrors = listMirrors(http).map(({ destination, fraction }) => ({
    cluster: nameDestination(destination, findService(destination.host), port),
    runtime_fraction: { default_value: fraction },
    trace_sampled: false,
    disable_shadow_host_suffix_append: true,
  }))
  const hashes = destinations
    .filter((d) => destinations.length === 1 || (d.weight ?? 0) > 0)
    .map((d) => findHash(proxy, d.destination))
    .filter((h) => h !== undefined)
  const isHashed = destinations.length === 1 && hashes.length > 0
  const action = compact({
    ...target.fields,
    timeout,
    max_grpc_timeout: timeout,
    ...makeRewrite(http.rewrite),
    host_rewrite_literal: authority || undefined,
    request_mirror_policies: mirrors.length > 0 ? mirrors : undefined,
    hash_policy: hashes.length > 0 ? hashes.map(makeHashPolicy) : undefined,
    retry_policy: makeRetryPolicy(http.retries, isHashed ? 'hashed' : 'any'),
  })
  return { action: { route: action }, changes: joinChanges(own, target.changes) }
}

type Target = { readonly fields: Json; readonly changes: HeaderChanges }

function makeTarget({ findService, port }: RouteContext, destinations: readonly HttpDestination[]): Target {
  const cluster = ({ destination }: HttpDestination): string =>
    nameDestination(destination, findService(destination.host), port)
  const [only] = destinations
  if (destinations.length === 1) return { fields: { cluster: cluster(only!) }, changes: readHeaders(only!.headers) }
  const clusters = destinations
    .filter((d) => (d.weight ?? 0) > 0)
    .map((d) => {
      const changes = readHeaders(d.headers)
      return {
        name: cluster(d),
        weight: d.weight!,
        ...writeHeaders(changes),
        ...(changes.authority === '' ? {} : { host_rewrite_literal: changes.authority }),
      }
    })
  return { fields: { weighted_clusters: { clusters } }, changes: NO_CHANGES }
}

function makeRewrite(rewrite: HttpRoute['rewrite']): Json {
  const regex = rewrite?.uriRegexRewrite
  if (regex) return { regex_rewrite: { pattern: { regex: regex.match }, substitution: regex.rewrite } }
  return rewrite?.uri ? { prefix_rewrite: rewrite.uri } : {}
}

function listMirrors(http: HttpRoute): { readonly destination: Destination; readonly fraction: Json }[] {
  const share = http.mirrorPercentage
  const fraction = share
    ? makeFraction(share)
    : http.mirrorPercent === undefined
      ? makeWholePercent(100)
      : makeWholePercent(http.mirrorPercent)
  const isNone = share ? share.value === 0 : http.mirrorPercent === 0
  return [
    ...(http.mirror && !isNone ? [{ destination: http.mirror, fraction }] : []),
    ...(http.mirrors ?? [])
      .filter((m) => m.percentage?.value !== 0)
      .map(({ destination, percentage }) => ({
        destination,
        fraction: percentage ? makeFraction(percentage) : makeWholePercent(100),
      })),
  ]
}

const REDIRECTS: Readonly<Record<number, string>> = {
  301: 'MOVED_PERMANENTLY',
  302: 'FOUND',
  303: 'SEE_OTHER',
  307: 'TEMPORARY_REDIRECT',
  308: 'PERMANENT_REDIRECT',
}

function makeRedirect(r: Redirect, listenerPort: number): Json {
  const port = r.derivePort === 'FROM_REQUEST_PORT' ? listenerPort : r.port
  const isDefault = (port === 80 && (r.scheme || 'http') === 'http') || (port === 443 && r.scheme === 'https')
  return compact({
    host_redirect: r.authority || undefined,
    path_redirect: r.uri ?? '',
    scheme_redirect: r.scheme || undefined,
    port_redirect: port === undefined || isDefault ? undefined : port,
    response_code: REDIRECTS[r.redirectCode ?? 301],
  })
}

function makeDirectResponse({ status, body }: NonNullable<HttpRoute['directResponse']>): Json {
  if (body?.string !== undefined) return { status, body: { inline_string: body.string } }
  return body?.bytes === undefined ? { status } : { status, body: { inline_bytes: body.bytes } }
}

function makeFault({ delay, abort }: Fault): Json {
  const fields: Record<string, JsonValue | undefined> = {}
  if (delay)
    fields['delay'] = {
      fixed_delay: formatDuration(delay.fixedDelay),
      percentage: delay.percentage ? makeFraction(delay.percentage) : makeWholePercent(delay.percent ?? 0),
    }
  if (abort)
    fields['abort'] = compact({
      percentage: abort.percentage && makeFraction(abort.percentage),
      ...(abort.httpStatus === undefined ? { grpc_status: readGrpcStatus(abort) } : { http_status: abort.httpStatus }),
    })
  return makeAny('envoy.extensions.filters.http.fault.v3.HTTPFault', fields)
}

function makeCors(cors: CorsPolicy): Json {
  const origins = cors.allowOrigins
    ? cors.allowOrigins.map(makeStringMatcher)
    : cors.allowOrigin?.map((exact) => ({ exact }))
  return makeAny('envoy.extensions.filters.http.cors.v3.CorsPolicy', {
    forward_not_matching_preflights: cors.unmatchedPreflights !== 'IGNORE',
    allow_origin_string_match: origins,
    filter_enabled: { default_value: makeWholePercent(100) },
    allow_credentials: cors.allowCredentials,
    allow_headers: cors.allowHeaders?.join(','),
    allow_methods: cors.allowMethods?.join(','),
    expose_headers: cors.exposeHeaders?.join(','),
    max_age: cors.maxAge && String(countSeconds(cors.maxAge)),
  })
}
