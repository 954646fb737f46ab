/** envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager and its HTTP filters. */
import type { Any } from '@bufbuild/protobuf/wkt'
import type { HttpConnectionManager, HttpFilter } from '../../../model/listener.ts'
import type { Policy } from '../../../model/policy.ts'
import type { MetadataExchange, StatsFilter } from '../../../model/telemetry.ts'
import { hasLateOperators } from '../../../model/substitution.ts'
import {
  HttpProtocolOptions_HeadersWithUnderscoresAction as Underscores,
  type HttpProtocolOptions,
} from '../../../proto/gen/envoy/config/core/v3/protocol_pb.ts'
import { HTTPFaultSchema } from '../../../proto/gen/envoy/extensions/filters/http/fault/v3/fault_pb.ts'
import { HeaderMutationSchema } from '../../../proto/gen/envoy/extensions/filters/http/header_mutation/v3/header_mutation_pb.ts'
import { ExtAuthzSchema } from '../../../proto/gen/envoy/extensions/filters/http/ext_authz/v3/ext_authz_pb.ts'
import { HealthCheckSchema } from '../../../proto/gen/envoy/extensions/filters/http/health_check/v3/health_check_pb.ts'
import { LocalRateLimitSchema } from '../../../proto/gen/envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit_pb.ts'
import { JwtAuthenticationSchema } from '../../../proto/gen/envoy/extensions/filters/http/jwt_authn/v3/config_pb.ts'
import { StatefulSessionSchema } from '../../../proto/gen/envoy/extensions/filters/http/stateful_session/v3/stateful_session_pb.ts'
import { RateLimitSchema as GlobalRateLimitSchema } from '../../../proto/gen/envoy/extensions/filters/http/ratelimit/v3/rate_limit_pb.ts'
import { RouterSchema } from '../../../proto/gen/envoy/extensions/filters/http/router/v3/router_pb.ts'
import { RBACSchema } from '../../../proto/gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.ts'
import {
  HttpConnectionManager_CodecType as CodecType,
  HttpConnectionManager_UpgradeConfigSchema as UpgradeConfigSchema,
  HttpConnectionManager_ForwardClientCertDetails as Xfcc,
  HttpConnectionManager_ServerHeaderTransformation as ServerHeader,
  HttpConnectionManager_PathWithEscapedSlashesAction as Slashes,
  type HttpConnectionManager as XManager,
  type HttpFilter as XFilter,
} from '../../../proto/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts'
import { readEffectiveType, readTypeName, unpack } from '../fields/any.ts'
import { findFieldName, noteIgnored, refuse, type DecodePath } from '../fields/decode-path.ts'
import { resolveStruct } from '../fields/typed-struct.ts'
import { findConfig, blockUnconfigured } from './ecds.ts'
import { decodeBodyFilter } from '../bodies.ts'
import { decodeExtAuthz } from '../ext-authz.ts'
import { decodeFault } from '../fault.ts'
import { DONE_ANYWAY, findKeepingFilter, OBSERVING_HTTP_FILTERS, type Unknown } from '../fields/known-filters.ts'
import { decodeHeadersCount, decodeHeadersKb } from '../http-limits.ts'
import { decodeJwt } from '../jwt/jwt.ts'
import { decodeHealthCheckFilter } from './health-check-filter.ts'
import { decodeHeaderCase } from '../header-case.ts'
import { decodeLocalReply } from '../local-reply.ts'
import { decodeMutations } from '../mutations.ts'
import { decodePolicy } from '../policy.ts'
import { decodeGlobalRateLimit } from '../rate-limit/global.ts'
import { decodeLocalRateLimit } from '../rate-limit/local.ts'
import { decodeRouteConfig } from '../route/route.ts'
import { findSkippedExtension } from '../fields/skipped.ts'
import { decodeAccessLogs } from '../telemetry/access-log.ts'
import { decodeExchange, decodeGrpcStats, decodeStats } from '../telemetry/filters.ts'
import { decodeTracing } from '../telemetry/tracing.ts'
import { decodeSession } from '../session.ts'
import { decodeMsOrNone } from '../fields/values.ts'

const HOUR_MS = 3_600_000
/** @param unknown what becomes of a filter that is not implemented: inbound it blocks, outbound it is skipped. */
export function decodeHttpManager(at: DecodePath, from: XManager, unknown: Unknown): HttpConnectionManager {
  const details = from.setCurrentClientCertDetails
  for (const [i, upgrade] of from.upgradeConfigs.entries())
    refuse(at.in('upgrade_configs').item(i), UpgradeConfigSchema, upgrade)
  return {
    statPrefix: from.statPrefix,
    codec: codecOf(at.in('codec_type'), from.codecType),
    routes: routesOf(at, from),
    filters: httpFilters(at, from, unknown),
    ...telemetryOf(at.in('http_filters'), from.httpFilters),
    forwardClientCert: forwardOf(at.in('forward_client_cert_details'), from.forwardClientCertDetails),
    clientCertDetails: {
      subject: details?.subject ?? false,
      uri: details?.uri ?? false,
      dns: details?.dns ?? false,
      cert: details?.cert ?? false,
      chain: details?.chain ?? false,
    },
    serverName: serverName(at.in('server_name'), from.serverName),
    ...serverHeader(at.in('server_header_transformation'), from.serverHeaderTransformation),
    ...(from.via !== '' && { via: fieldText(at.in('via'), from.via) }),
    ...(hidesEnvoy(at.in('http_filters'), from.httpFilters) && { hidesEnvoy: true }),
    useRemoteAddress: from.useRemoteAddress ?? false,
    xffTrustedHops: from.xffNumTrustedHops,
    skipXffAppend: from.skipXffAppend,
    appendForwardedPort: from.appendXForwardedPort,
    requestId:
      from.generateRequestId === false ? 'none' : from.preserveExternalRequestId ? 'keep-external' : 'keep-or-make',
    normalizePath: from.normalizePath ?? false,
    mergeSlashes: from.mergeSlashes,
    ...ESCAPED_SLASHES[from.pathWithEscapedSlashesAction],
    upgrades: from.upgradeConfigs.filter((u) => u.enabled !== false).map((u) => u.upgradeType.toLowerCase()),
    streamIdleMs: decodeMsOrNone(at.in('stream_idle_timeout'), from.streamIdleTimeout, 300_000),
    requestTimeoutMs: decodeMsOrNone(at.in('request_timeout'), from.requestTimeout, undefined),
    ...commonOptions(at.in('common_http_protocol_options'), from.commonHttpProtocolOptions),
    ...decodeHeaderCase(at.in('http_protocol_options'), from.httpProtocolOptions),
    stripHostPort: from.stripPortMode.value ? 'any' : from.stripMatchingHostPort ? 'matching' : undefined,
    stripHostDot: from.stripTrailingHostDot,
    proxyContinue: from.proxy100Continue,
    maxRequestHeadersBytes: decodeHeadersKb(at.in('max_request_headers_kb'), from.maxRequestHeadersKb) * 1024,
    ...decodeAccessLogs(at.in('access_log'), from.accessLog),
    ...decodeTracing(at.in('tracing'), from.tracing),
    ...decodeLocalReply(at.in('local_reply_config'), from.localReplyConfig),
    // Istio says so on its HTTP_PROXY_PORT listener and nowhere else; inbound nobody is to name other targets.
    explicitProxy: unknown === 'skips' && (from.httpProtocolOptions?.allowAbsoluteUrl ?? false),
  }
}

function commonOptions(
  at: DecodePath,
  from: HttpProtocolOptions | undefined,
): Pick<
  HttpConnectionManager,
  'connectionIdleMs' | 'maxHeaders' | 'underscores' | 'maxStreamMs' | 'maxRequestsPerConnection' | 'maxConnectionMs'
> {
  return {
    connectionIdleMs: decodeMsOrNone(at.in('idle_timeout'), from?.idleTimeout, HOUR_MS),
    maxHeaders: decodeHeadersCount(at.in('max_headers_count'), from?.maxHeadersCount),
    underscores: underscoresOf(
      at.in('headers_with_underscores_action'),
      from?.headersWithUnderscoresAction ?? Underscores.ALLOW,
    ),
    maxStreamMs: decodeMsOrNone(at.in('max_stream_duration'), from?.maxStreamDuration, undefined),
    maxRequestsPerConnection: from?.maxRequestsPerConnection || undefined,
    maxConnectionMs: decodeMsOrNone(at.in('max_connection_duration'), from?.maxConnectionDuration, undefined),
  }
}

function underscoresOf(at: DecodePath, value: Underscores): HttpConnectionManager['underscores'] {
  switch (value) {
    case Underscores.ALLOW:
      return undefined
    case Underscores.REJECT_REQUEST:
      return 'refuse'
    case Underscores.DROP_HEADER:
      return 'drop'
    default:
      at.issue(`unknown value ${value}`)
      return 'refuse'
  }
}

function codecOf(at: DecodePath, type: XManager['codecType']): HttpConnectionManager['codec'] {
  switch (type) {
    case CodecType.AUTO:
      return 'auto'
    case CodecType.HTTP1:
      return 'http1'
    case CodecType.HTTP2:
      return 'http2'
    case CodecType.HTTP3:
    default:
      at.issue('only AUTO, HTTP1 and HTTP2 are supported')
      return 'auto'
  }
}

function forwardOf(
  at: DecodePath,
  value: XManager['forwardClientCertDetails'],
): HttpConnectionManager['forwardClientCert'] {
  switch (value) {
    case Xfcc.SANITIZE:
      return 'sanitize'
    case Xfcc.FORWARD_ONLY:
      return 'forward-only'
    case Xfcc.APPEND_FORWARD:
      return 'append-forward'
    case Xfcc.SANITIZE_SET:
      return 'sanitize-set'
    case Xfcc.ALWAYS_FORWARD_ONLY:
      return 'always-forward-only'
    default:
      at.issue(`unknown value ${value}`)
      return 'sanitize'
  }
}

function serverName(at: DecodePath, name: string): string {
  return fieldText(at, name) || 'envoy'
}
function fieldText(at: DecodePath, text: string): string {
  if (/[\0\r\n]/.test(text)) at.issue('contains a line break or NUL')
  return text
}

function serverHeader(
  at: DecodePath,
  value: XManager['serverHeaderTransformation'],
): Pick<HttpConnectionManager, 'serverHeader'> {
  switch (value) {
    case ServerHeader.OVERWRITE:
      return {}
    case ServerHeader.APPEND_IF_ABSENT:
      return { serverHeader: 'if-absent' }
    case ServerHeader.PASS_THROUGH:
      return { serverHeader: 'pass-through' }
    default:
      at.issue(`unknown value ${value}`)
      return {}
  }
}

/** Of the router, which is implied otherwise. */
function hidesEnvoy(at: DecodePath, filters: readonly XFilter[]): boolean {
  return filters.some((filter, i) => {
    const here = at.item(i).in('typed_config')
    const any = filter.configType.case === 'typedConfig' ? filter.configType.value : undefined
    const router = unpack(here, any, RouterSchema)
    if (router) noteIgnored(here, RouterSchema, router)
    return router?.suppressEnvoyHeaders ?? false
  })
}

function routesOf(at: DecodePath, { routeSpecifier: by }: XManager): HttpConnectionManager['routes'] {
  switch (by.case) {
    case 'rds':
      if (by.value.routeConfigName === '') at.in('rds').in('route_config_name').issue('is missing')
      return { from: 'rds', name: by.value.routeConfigName }
    case 'routeConfig':
      return { from: 'inline', config: decodeRouteConfig(at.in('route_config'), by.value) }
    case undefined:
      at.issue('neither rds nor route_config is given')
      return { from: 'rds', name: '' }
    default:
      return by satisfies never
  }
}

/** Those of the filters that only observe; the first of each kind counts. */
function telemetryOf(
  at: DecodePath,
  filters: readonly XFilter[],
): Pick<HttpConnectionManager, 'stats' | 'exchange' | 'countsMessages'> {
  const found: { stats?: StatsFilter; exchange?: MetadataExchange; countsMessages?: boolean } = {}
  for (const [i, filter] of filters.entries()) {
    if (filter.disabled) continue
    const here = at.item(i)
    const any = findConfig(here, filter)
    const stats = found.stats ?? decodeStats(here.in('typed_config'), any)
    if (stats) found.stats = stats
    const exchange = found.exchange ?? decodeExchange(here.in('typed_config'), any)
    if (exchange) found.exchange = exchange
    const counts = found.countsMessages ?? decodeGrpcStats(here.in('typed_config'), any)
    if (counts !== undefined) found.countsMessages = counts
  }
  return found
}

function httpFilters(at: DecodePath, from: XManager, unknown: Unknown): readonly HttpFilter[] {
  const filters = from.httpFilters.flatMap((f, i): HttpFilter | [] => {
    const here = at.in('http_filters').item(i)
    return (
      here.piece(
        () => decodeHttpFilter(here, f, unknown),
        (reason) => ({ kind: 'blocked', name: f.name, reason }),
      ) ?? []
    )
  })
  const enforcing = unknown === 'blocks' && filters.some((f) => DECIDING.has(f.kind))
  const blocked = misleading(from).flatMap((field): HttpFilter[] => {
    // What it takes away from requests would reach whoever gets them, policies or not.
    const removes = field === 'early_header_mutation_extensions'
    const why = enforcing ? ', and there are policies: everything is refused' : removes ? ': everything is refused' : ''
    at.in(field).ignore(`not implemented${why}`)
    return enforcing || removes
      ? [
          {
            kind: 'blocked',
            name: field,
            reason: `meshlet does not implement ${field}, which changes what policies see`,
          },
        ]
      : []
  })
  return blocked.length > 0 ? blocked : filters.map((filter, i) => changeEarly(filter, filters.slice(i + 1)))
}

/** Those that let in by what a request says. */
const DECIDING: ReadonlySet<HttpFilter['kind']> = new Set(['rbac', 'jwt', 'ext-authz', 'rate-limit', 'global-limit'])

/** Filters behind it see the changed request; else it is changed when all of them have been asked. */
function changeEarly(filter: HttpFilter, later: readonly HttpFilter[]): HttpFilter {
  if (filter.kind !== 'mutation' || later.every((f) => f.kind === 'mutation' || f.kind === 'cors')) return filter
  if (!filter.mutations.request.some(hasLateOperators)) return { ...filter, isEarly: true }
  const reason = 'header_mutation before a filter that asks about the request, with START_TIME or UPSTREAM_CLUSTER'
  return { kind: 'blocked', name: filter.name, reason, ...(filter.off && { off: true }) }
}

/**
 * Settings that are not implemented and change what policies see: rules would be compared with another text than the
 * one that their author has in mind.
 */
function misleading(from: XManager): string[] {
  const set: string[] = []
  if (!(from.pathWithEscapedSlashesAction in ESCAPED_SLASHES)) set.push('path_with_escaped_slashes_action')
  if (from.originalIpDetectionExtensions.length > 0) set.push('original_ip_detection_extensions')
  if (from.earlyHeaderMutationExtensions.length > 0) set.push('early_header_mutation_extensions')
  if (from.typedHeaderValidationConfig) set.push('typed_header_validation_config')
  for (const { no } of from.$unknown ?? []) {
    const name = MISLEADING_UNKNOWN.get(no)
    if (name !== undefined) set.push(name)
  }
  return set
}
const ESCAPED_SLASHES: { readonly [action in Slashes]?: Pick<HttpConnectionManager, 'escapedSlashes'> } = {
  [Slashes.IMPLEMENTATION_SPECIFIC_DEFAULT]: {},
  [Slashes.KEEP_UNCHANGED]: {},
  [Slashes.REJECT_REQUEST]: { escapedSlashes: 'refuse' },
  [Slashes.UNESCAPE_AND_FORWARD]: { escapedSlashes: 'unescape' },
  [Slashes.UNESCAPE_AND_REDIRECT]: { escapedSlashes: 'redirect' },
}
/** Fields that our protos leave out. */
const MISLEADING_UNKNOWN: ReadonlyMap<number, string> = new Map([
  [43, 'path_normalization_options'],
  [48, 'scheme_header_transformation'],
  [60, 'forward_client_cert_matcher'],
  [61, 'forward_proto_config'],
])

/** Enforces nothing, but keeps the filter's place: a route may bring rules of its own (typed_per_filter_config). */
const PASS: Policy = { action: 'log', rules: [], shadow: undefined }

export function decodeHttpFilter(at: DecodePath, from: XFilter, unknown: Unknown): HttpFilter | undefined {
  const found = findConfig(at, from)
  const here = at.in('typed_config')
  const off = from.disabled ? { off: true } : {}
  if (OBSERVING_HTTP_FILTERS.has(readEffectiveType(here, found))) {
    if (!from.disabled && !DONE_ANYWAY.has(readEffectiveType(here, found)))
      at.skip(findSkippedExtension(readEffectiveType(here, found)))
    return undefined
  }
  const any = resolveStruct(here, found)
  const type = readTypeName(any)
  if (type === RouterSchema.typeName) refuseUpstreamFilters(here, any)
  if (type === RouterSchema.typeName || (type === '' && from.name === 'envoy.filters.http.router')) return undefined
  if (type === 'envoy.extensions.filters.http.cors.v3.Cors') return { kind: 'cors', name: from.name, ...off }
  const rbac = unpack(here, any, RBACSchema)
  if (rbac) {
    noteIgnored(here, RBACSchema, rbac)
    return { kind: 'rbac', name: from.name, policy: decodePolicy(here, rbac) ?? PASS, ...off }
  }
  const fault = unpack(here, any, HTTPFaultSchema)
  if (fault) {
    noteIgnored(here, HTTPFaultSchema, fault)
    return { kind: 'fault', name: from.name, fault: decodeFault(here, fault), ...off }
  }
  const mutation = unpack(here, any, HeaderMutationSchema)
  if (mutation) {
    noteIgnored(here, HeaderMutationSchema, mutation)
    const mutations = decodeMutations(here.in('mutations'), mutation.mutations)
    return {
      kind: 'mutation',
      name: from.name,
      mutations,
      nearestWins: mutation.mostSpecificHeaderMutationsWins,
      ...off,
    }
  }
  const asking = decodeAskingFilter(here, any, from.name)
  if (asking) return { ...asking, ...off }
  const body = decodeBodyFilter(here, any, from.name)
  if (body) return { ...body, ...off }
  return leaveOut(at, from, readEffectiveType(here, any) || blockUnconfigured(from), unknown)
}

function refuseUpstreamFilters(at: DecodePath, any: Any | undefined): void {
  for (const { no, data } of unpack(at, any, RouterSchema)?.$unknown ?? []) {
    const name = findFieldName(RouterSchema, no)
    const keeping = name === 'upstream_http_filters' ? findKeepingFilter(data) : undefined
    if (keeping !== undefined) at.in(name).issue(`${keeping} is not supported here`)
  }
}

/** Those that ask somebody, or count. @returns undefined: it is another filter */
function decodeAskingFilter(here: DecodePath, any: Any | undefined, name: string): HttpFilter | undefined {
  const jwt = unpack(here, any, JwtAuthenticationSchema)
  if (jwt) return { kind: 'jwt', name: name, jwt: decodeJwt(here, jwt) }
  const limit = unpack(here, any, LocalRateLimitSchema)
  if (limit) return { kind: 'rate-limit', name: name, limit: decodeLocalRateLimit(here, limit, 'listener') }
  const global = unpack(here, any, GlobalRateLimitSchema)
  if (global) return { kind: 'global-limit', name, limit: decodeGlobalRateLimit(here, global) }
  const health = unpack(here, any, HealthCheckSchema)
  if (health) return { kind: 'health-check', name: name, health: decodeHealthCheckFilter(here, health) }
  const authz = unpack(here, any, ExtAuthzSchema)
  if (authz) return { kind: 'ext-authz', name: name, authz: decodeExtAuthz(here, authz) }
  const session = unpack(here, any, StatefulSessionSchema)
  if (session) return { kind: 'session', name: name, session: decodeSession(here, session) }
  return undefined
}

/** A filter that is not implemented. */
function leaveOut(at: DecodePath, from: XFilter, what: string, unknown: Unknown): HttpFilter | undefined {
  if (from.disabled) {
    at.ignore(
      unknown === 'blocks'
        ? `${what} is not implemented, and disabled: where a route switches it on, everything is refused`
        : 'disabled',
    )
    return unknown === 'blocks'
      ? { kind: 'blocked', name: from.name, reason: `the filter ${what} is not implemented`, off: true }
      : undefined
  }
  at.ignore(`${what} is not implemented${unknown === 'blocks' ? ': everything is refused' : ''}`)
  if (unknown === 'blocks') return { kind: 'blocked', name: from.name, reason: `the filter ${what} is not implemented` }
  at.skip(findSkippedExtension(what))
  return undefined
}
