/** envoy.extensions.filters.http.ext_authz.v3.ExtAuthz, as istiod makes it of a CUSTOM AuthorizationPolicy. */
import {
  MAX_AUTH_BODY_BYTES,
  RBAC_METADATA,
  type AuthBody,
  type AuthService,
  type GrpcAuthService,
  type ExtAuthz,
  type RouteExtAuthz,
} from '../../model/http/ext-authz.ts'
import { JWT_METADATA } from '../../model/http/jwt.ts'
import type { StringMatch } from '../../model/matcher.ts'
import type { GrpcService } from '../../proto/gen/envoy/config/core/v3/grpc_service_pb.ts'
import type { HeaderValue } from '../../proto/gen/envoy/config/core/v3/base_pb.ts'
import {
  CheckSettingsSchema,
  ExtAuthzSchema,
  type BufferSettings,
  type ExtAuthz as XExtAuthz,
  type ExtAuthzPerRoute,
  type HttpService,
} from '../../proto/gen/envoy/extensions/filters/http/ext_authz/v3/ext_authz_pb.ts'
import type { ListStringMatcher } from '../../proto/gen/envoy/type/matcher/v3/string_pb.ts'
import { noteIgnored, refuse, type DecodePath } from './fields/decode-path.ts'
import { decodeStringMatch } from './fields/matchers.ts'
import { decodeMetadataMatch } from './fields/metadata.ts'
import { decodeMs, decodeRuntimeFraction } from './fields/values.ts'

/** Envoy's defaults. */
const TIMEOUT_MS = 200
const FORBIDDEN = 403
const METADATA: ReadonlySet<string> = new Set([RBAC_METADATA, JWT_METADATA])

/** With an issue the filter refuses everything. */
export function decodeExtAuthz(at: DecodePath, from: XExtAuthz): ExtAuthz {
  noteIgnored(at, ExtAuthzSchema, from)
  refuse(at, ExtAuthzSchema, from)
  const enabledBy =
    from.filterEnabledMetadata && decodeMetadataMatch(at.in('filter_enabled_metadata'), from.filterEnabledMetadata)
  if (from.filterEnabledMetadata && (!enabledBy || !METADATA.has(enabledBy.filter)))
    at.in('filter_enabled_metadata').issue('asks for metadata that nobody here writes')
  const deprecated = from.services.case === 'httpService' ? from.services.value.authorizationRequest : undefined
  const status = Number(from.statusOnError?.code ?? FORBIDDEN)
  if (status < 200 || status > 599) at.in('status_on_error').issue('is no status of an answer')
  return {
    service: decodeService(at, from),
    failureAllows: from.failureModeAllow,
    failureIsTold: from.failureModeAllowHeaderAdd,
    statusOnError: status,
    body: decodeBody(at.in('with_request_body'), from.withRequestBody),
    reroutes: from.clearRouteCache,
    enabledBy,
    enabledFraction: decodeRuntimeFraction(at.in('filter_enabled'), from.filterEnabled) ?? 1,
    deniesOthers: from.denyAtDisable?.defaultValue ?? false,
    allowed:
      decodeList(at.in('allowed_headers'), from.allowedHeaders) ??
      decodeList(at.in('http_service').in('authorization_request').in('allowed_headers'), deprecated?.allowedHeaders),
    disallowed: decodeList(at.in('disallowed_headers'), from.disallowedHeaders) ?? [],
    metadata: from.metadataContextNamespaces,
    sendsServerName: from.includeTlsSession,
    ...(from.includePeerCertificate && { sendsCertificate: true }),
    validates: from.validateMutations,
  }
}

function decodeService(at: DecodePath, { services: by }: XExtAuthz): AuthService {
  switch (by.case) {
    case 'grpcService':
      return decodeGrpc(at.in('grpc_service'), by.value)
    case 'httpService':
      return decodeHttp(at.in('http_service'), by.value)
    case undefined:
      at.issue('names no service')
      return { kind: 'grpc', cluster: '', authority: '', timeoutMs: TIMEOUT_MS, headers: [] }
    default:
      return by satisfies never
  }
}
export function decodeGrpc(at: DecodePath, from: GrpcService): GrpcAuthService {
  const by = from.targetSpecifier.case === 'envoyGrpc' ? from.targetSpecifier.value : undefined
  if (!by) at.issue('only envoy_grpc is supported')
  const cluster = by?.clusterName ?? ''
  if (by && cluster === '') at.in('envoy_grpc').in('cluster_name').issue('is missing')
  return {
    kind: 'grpc',
    cluster,
    authority: by?.authority || cluster,
    timeoutMs: decodeMs(at.in('timeout'), from.timeout) || TIMEOUT_MS,
    headers: decodeHeaders(at.in('initial_metadata'), from.initialMetadata),
  }
}
function decodeHttp(at: DecodePath, from: HttpService): AuthService {
  const uri = from.serverUri
  const cluster = uri?.httpUpstreamType.value ?? ''
  if (cluster === '') at.in('server_uri').in('cluster').issue('is missing')
  const answer = from.authorizationResponse
  const here = at.in('authorization_response')
  if (from.pathPrefix !== '' && !from.pathPrefix.startsWith('/')) at.in('path_prefix').issue('begins with no slash')
  return {
    kind: 'http',
    cluster,
    authority: /^[a-z]+:\/\/([^/?#]+)/i.exec(uri?.uri ?? '')?.[1] ?? cluster,
    timeoutMs: decodeMs(at.in('server_uri').in('timeout'), uri?.timeout) || TIMEOUT_MS,
    headers: decodeHeaders(
      at.in('authorization_request').in('headers_to_add'),
      from.authorizationRequest?.headersToAdd ?? [],
    ),
    pathPrefix: from.pathPrefix,
    path: from.pathOverride || undefined,
    upstream: decodeList(here.in('allowed_upstream_headers'), answer?.allowedUpstreamHeaders) ?? [],
    upstreamAppended:
      decodeList(here.in('allowed_upstream_headers_to_append'), answer?.allowedUpstreamHeadersToAppend) ?? [],
    client: decodeList(here.in('allowed_client_headers'), answer?.allowedClientHeaders),
    clientOnSuccess:
      decodeList(here.in('allowed_client_headers_on_success'), answer?.allowedClientHeadersOnSuccess) ?? [],
    metadata: decodeList(here.in('dynamic_metadata_from_headers'), answer?.dynamicMetadataFromHeaders) ?? [],
  }
}

/** Undefined: there is no list. */
function decodeList(at: DecodePath, from: ListStringMatcher | undefined): StringMatch[] | undefined {
  return from?.patterns.flatMap((one, i) => decodeStringMatch(at.in('patterns').item(i), one) ?? [])
}

/** Envoy fills in what stands between percent signs; here it is text, and so refused. */
function decodeHeaders(at: DecodePath, from: readonly HeaderValue[]): string[] {
  return from.flatMap(({ key, value }, i) => {
    if (value.includes('%')) at.item(i).issue('holds a command operator, which is not supported')
    if (!/^[!#$%&'*+\-.^_`|~0-9a-z]+$/i.test(key) || /[^\t\x20-\x7e]/.test(value)) at.item(i).issue('is no header')
    return [key.toLowerCase(), value]
  })
}

function decodeBody(at: DecodePath, from: BufferSettings | undefined): AuthBody | undefined {
  if (!from) return undefined
  const { maxRequestBytes: maxBytes, allowPartialMessage: partial, packAsBytes: asBytes } = from
  if (maxBytes < 1 || maxBytes > MAX_AUTH_BODY_BYTES)
    at.in('max_request_bytes').issue(`must be 1 to ${MAX_AUTH_BODY_BYTES}`)
  return { maxBytes, partial, asBytes }
}

export function decodeRouteExtAuthz(at: DecodePath, { override: by }: ExtAuthzPerRoute): RouteExtAuthz {
  if (by.case === 'disabled') {
    if (!by.value) at.in('disabled').issue('must be true')
    return false
  }
  const settings = by.value
  if (!settings) {
    at.issue('neither switches the filter off nor says something to it')
    return { context: {}, body: undefined }
  }
  const here = at.in('check_settings')
  noteIgnored(here, CheckSettingsSchema, settings)
  refuse(here, CheckSettingsSchema, settings)
  return {
    context: settings.contextExtensions,
    body: settings.disableRequestBodyBuffering
      ? false
      : decodeBody(here.in('with_request_body'), settings.withRequestBody),
  }
}
