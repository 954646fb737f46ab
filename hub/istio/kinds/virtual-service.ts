/** VirtualService (networking.istio.io): where requests and connections go. */
import { STATUS_CODES } from 'node:http'
import * as z from 'zod'
import {
  destination,
  duration,
  exportTo,
  labels,
  name,
  percent,
  port,
  refuse,
  regex,
  stringMatch,
  text,
} from './fields.ts'
import { formatDuration } from './durations.ts'
import { findHeaderValueProblem } from './header-values.ts'

const NOT_SET = 'cannot be set: only :authority and names without ":" can'
const NOT_HERE = 'is no header that can be changed here'
const isPlain = (header: string): boolean => header !== '' && !header.startsWith(':') && header.toLowerCase() !== 'host'
const isSettable = (header: string): boolean =>
  header !== '' && (!header.startsWith(':') || header.toLowerCase() === ':authority')
const removed = z.array(text.refine(isPlain, NOT_HERE)).optional()
const value = text.refine((v) => findHeaderValueProblem(v) === undefined, {
  error: ({ input }) => findHeaderValueProblem(String(input)) ?? '',
})
const requestValues = z.record(z.string().refine(isSettable, NOT_SET), value).optional()
const responseValues = z.record(z.string().refine(isPlain, NOT_HERE), value).optional()
const headers = z.strictObject({
  request: z.strictObject({ set: requestValues, add: requestValues, remove: removed }).optional(),
  response: z.strictObject({ set: responseValues, add: responseValues, remove: removed }).optional(),
})
const named = z.record(
  z.string().refine((key) => !key.startsWith('@'), 'claims of tokens are matched by gateways only'),
  stringMatch,
)
const gateways = z.array(name).optional()

const httpMatch = z.strictObject({
  name: name.optional(),
  uri: stringMatch.optional(),
  scheme: stringMatch.optional(),
  method: stringMatch.optional(),
  authority: stringMatch.optional(),
  headers: named.optional(),
  withoutHeaders: named.optional(),
  queryParams: named.optional(),
  port: port.optional(),
  sourceLabels: labels.optional(),
  sourceNamespace: name.optional(),
  gateways,
  ignoreUriCase: z.boolean().optional(),
  statPrefix: text.optional(),
})

const weight = z.int().min(0).max(1_000_000).optional()
const httpDestination = z.strictObject({ destination, weight, headers: headers.optional() })
const GRPC_STATUS = z.string().regex(/^[A-Z_]+$/, 'must be the name of a gRPC status')

const fault = z.strictObject({
  delay: z
    .strictObject({
      fixedDelay: duration,
      percentage: percent.optional(),
      percent: z.int().min(0).max(100).optional(),
      exponentialDelay: refuse('istiod does not act upon it'),
    })
    .optional(),
  abort: z
    .strictObject({
      httpStatus: z.int().min(200).max(599).optional(),
      grpcStatus: GRPC_STATUS.optional(),
      http2Error: refuse('istiod does not act upon it'),
      percentage: percent.optional(),
    })
    .refine((a) => (a.httpStatus === undefined) !== (a.grpcStatus === undefined), 'must have httpStatus or grpcStatus')
    .optional(),
})

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', '*'] as const
const corsHeaders = z.array(text.regex(/^[\w!#$%&'*+.^`|~-]+$/, 'must be the name of a header')).optional()
const corsPolicy = z.strictObject({
  allowOrigins: z
    .array(stringMatch.refine((m) => m.exact ?? m.prefix ?? m.regex, 'must be one of exact, prefix and regex'))
    .optional(),
  allowOrigin: z.array(text).optional(),
  allowMethods: z.array(z.enum(METHODS)).optional(),
  allowHeaders: corsHeaders,
  exposeHeaders: corsHeaders,
  maxAge: duration.refine((t) => /^\d+$/.test(formatDuration(t).slice(0, -1)), 'must be whole seconds').optional(),
  allowCredentials: z.boolean().optional(),
  unmatchedPreflights: z.enum(['UNSPECIFIED', 'FORWARD', 'IGNORE']).optional(),
})

const RETRY_REASONS = new Set(
  (
    '5xx gateway-error reset reset-before-request connect-failure retriable-4xx refused-stream retriable-status-codes ' +
    'retriable-headers envoy-ratelimited http3-post-connect-failure cancelled deadline-exceeded internal ' +
    'resource-exhausted unavailable'
  ).split(' '),
)
const retries = z
  .strictObject({
    attempts: z.int().min(0).max(1_000).optional(),
    perTryTimeout: duration.optional(),
    retryOn: text
      .refine(
        (all) => all.split(',').every(isRetryReason),
        'must be reasons of Envoy or statuses, with commas and no spaces',
      )
      .optional(),
    retryRemoteLocalities: z.boolean().optional(),
    retryIgnorePreviousHosts: z.boolean().optional(),
    backoff: duration.optional(),
  })
  .refine((r) => (r.attempts ?? 0) > 0 || !(r.perTryTimeout ?? r.retryOn ?? r.retryRemoteLocalities), {
    path: ['attempts'],
    error: 'are 0: nothing else can be said then',
  })

function isRetryReason(reason: string): boolean {
  return RETRY_REASONS.has(reason) || (/^[1-5]\d\d$/.test(reason) && STATUS_CODES[reason] !== undefined)
}

const redirect = z
  .strictObject({
    uri: text.optional(),
    authority: text.optional(),
    port: port.optional(),
    derivePort: z.enum(['FROM_PROTOCOL_DEFAULT', 'FROM_REQUEST_PORT']).optional(),
    scheme: z.enum(['http', 'https']).optional(),
    redirectCode: z.union([z.literal(301), z.literal(302), z.literal(303), z.literal(307), z.literal(308)]).optional(),
  })
  .refine((r) => !(r.port !== undefined && r.derivePort), 'cannot have both port and derivePort')
  .refine((r) => (r.uri ?? r.authority ?? r.port ?? r.derivePort ?? r.scheme) !== undefined, {
    error: 'must have uri, authority, scheme or port',
  })

const httpRoute = z
  .strictObject({
    name: name.optional(),
    match: z.array(httpMatch).optional(),
    route: z.array(httpDestination).optional(),
    redirect: redirect.optional(),
    directResponse: z
      .strictObject({
        status: z.int().min(200).max(599),
        body: z.strictObject({ string: text.max(1_048_576).optional(), bytes: z.base64().optional() }).optional(),
      })
      .optional(),
    delegate: refuse('put the routes of the other VirtualService here'),
    rewrite: z
      .strictObject({
        uri: text.optional(),
        authority: text.optional(),
        uriRegexRewrite: z.strictObject({ match: regex, rewrite: text }).optional(),
      })
      .optional(),
    timeout: duration.optional(),
    retries: retries.optional(),
    fault: fault.optional(),
    mirror: destination.optional(),
    mirrors: z.array(z.strictObject({ destination, percentage: percent.optional() })).optional(),
    mirrorPercentage: percent.optional(),
    mirrorPercent: z.int().min(0).max(100).optional(),
    corsPolicy: corsPolicy.optional(),
    headers: headers.optional(),
  })
  .superRefine((route, found) => {
    const actions = ['route', 'redirect', 'directResponse'].filter((key) => route[key as 'route'] !== undefined)
    const wrong = (path: string[], message: string): void => found.addIssue({ code: 'custom', path, message })
    if (actions.length !== 1) wrong([], 'must have one of route, redirect and directResponse')
    checkWeights(route.route, wrong)
    if (actions[0] !== 'route' && route.rewrite) wrong(['rewrite'], `cannot stand beside ${actions[0]}`)
    if (actions[0] === 'redirect' && route.fault) wrong(['fault'], 'cannot stand beside redirect')
  })

function checkWeights(
  route: readonly { readonly weight?: number | undefined }[] | undefined,
  wrong: (path: string[], message: string) => void,
): void {
  if (!route) return
  if (route.length === 0) wrong(['route'], 'must have a destination')
  else if (route.length > 1 && route.every((d) => (d.weight ?? 0) === 0)) wrong(['route'], 'must have weights')
}

const l4Match = {
  port: port.optional(),
  destinationSubnets: z.array(text).optional(),
  sourceLabels: labels.optional(),
  sourceNamespace: name.optional(),
  gateways,
  sourceSubnet: refuse('istiod does not act upon it'),
  sourceSubnets: refuse('istiod does not act upon it'),
}
const routeDestinations = z.array(z.strictObject({ destination, weight })).min(1)
const tcpRoute = z
  .strictObject({ match: z.array(z.strictObject(l4Match)).optional(), route: routeDestinations })
  .superRefine(({ route }, found) => {
    checkWeights(route, (path, message) => found.addIssue({ code: 'custom', path, message }))
  })
const tlsRoute = z
  .strictObject({
    match: z.array(z.strictObject({ sniHosts: z.array(name).min(1), ...l4Match })).min(1),
    route: routeDestinations,
  })
  .superRefine(({ route }, found) => {
    checkWeights(route, (path, message) => found.addIssue({ code: 'custom', path, message }))
  })

export const virtualService = z
  .strictObject({
    hosts: z.array(name).min(1, 'must have a host; a delegate is not covered'),
    gateways,
    http: z.array(httpRoute).optional(),
    tls: z.array(tlsRoute).optional(),
    tcp: z.array(tcpRoute).optional(),
    exportTo,
  })
  .refine((spec) => (spec.http ?? spec.tls ?? spec.tcp) !== undefined, 'must have http, tls or tcp')
  .superRefine(({ hosts, gateways: all }, found) => {
    if (all && all.length > 0 && !all.includes('mesh')) return
    for (const [i, host] of hosts.entries())
      if (host === '*')
        found.addIssue({ code: 'custom', path: ['hosts', i], message: 'cannot be "*" for the mesh; only gateways can' })
  })
  .refine(({ hosts }) => new Set(hosts).size === hosts.length, { path: ['hosts'], error: 'name one host twice' })
  .superRefine(({ hosts, tls }, found) => {
    for (const [i, { match }] of (tls ?? []).entries())
      for (const [j, { sniHosts }] of match.entries())
        for (const [k, sni] of sniHosts.entries())
          if (!hosts.some((host) => covers(host, sni)))
            found.addIssue({
              code: 'custom',
              path: ['tls', i, 'match', j, 'sniHosts', k],
              message: 'is not within the hosts of this VirtualService',
            })
  })

function covers(host: string, sni: string): boolean {
  return host === '*' || host === sni || (host.startsWith('*') && sni.replace(/^\*/, '').endsWith(host.slice(1)))
}

export type VirtualService = z.infer<typeof virtualService>
export type HttpRoute = z.infer<typeof httpRoute>
export type HttpMatch = z.infer<typeof httpMatch>
export type HttpDestination = z.infer<typeof httpDestination>
export type Headers = z.infer<typeof headers>
export type Retries = z.infer<typeof retries>
export type Redirect = z.infer<typeof redirect>
export type Fault = z.infer<typeof fault>
export type CorsPolicy = z.infer<typeof corsPolicy>
export type TcpRoute = z.infer<typeof tcpRoute>
export type TlsRoute = z.infer<typeof tlsRoute>
export type RouteDestination = z.infer<typeof routeDestinations>[number]
