/** The heads that leave: the request's towards the endpoint, the answer's towards the client. */
import type { HttpConnectionManager } from '../../../model/listener.ts'
import type { HeaderEdit } from '../../../model/route.ts'
import type { SubstitutionFacts } from '../../../model/substitution.ts'
import { findHeaderOrPseudo } from '../../router.ts'
import { isExchangeHeader, PEER_METADATA } from '../../telemetry/exchange-headers.ts'
import { writeContext } from '../../telemetry/tracing/propagation.ts'
import type { Context } from '../../context.ts'
import type { RequestOrigin } from './request-origin.ts'
import type { ExchangeRecord } from './record.ts'
import { asFieldValue } from '../codec/field-value.ts'
import { addVia, editHeaders, findFirstValue, setHeader } from '../filters/header-edit.ts'
import { removeHeader, removeLookAlikes, removeWithLookAlikes, toPlainName } from '../codec/field-table.ts'
import { listClaimNames } from '../filters/jwt/claim-headers.ts'
import { deriveTimes } from './timeouts.ts'
import type { RequestHead, ResponseHead, UpstreamRequest } from '../message.ts'
import { findRouteTable } from './planning/plan-exchange.ts'
import type { ForwardPlan } from './planning/plan.ts'

/** What the heads of an exchange are made of: the exchange itself, for most requests need none of it. */
export type HeaderFacts = {
  readonly http: Pick<
    HttpConnectionManager,
    'exchange' | 'tracing' | 'serverHeader' | 'via' | 'hidesEnvoy' | 'maxStreamMs'
  >
  readonly request: RequestHead
  readonly client: RequestOrigin
  readonly record: ExchangeRecord
  /** As RequestHead.bodyLength, of what filters make of it. */
  readonly bodyLength: number
  /** The endpoint is to say whether the body is wanted. */
  readonly awaitsContinue: boolean
  /** As trusted hops tell it; '' = nobody was asked yet. */
  readonly remoteIp: string
  /** By the wall clock. */
  readonly nowMs: number
  /** Since the request came. */
  readonly elapsedMs: number
}

/** The request's own header array is used and changed: nobody reads it as the client sent it after this. */
export function createUpstreamRequest(request: RequestHead, plan: ForwardPlan, facts: HeaderFacts): UpstreamRequest {
  const { headers } = request
  const { http, client } = facts
  if (plan.requestEdits.length > 0) {
    removeLookAlikes(headers, () => listTaken(plan.requestEdits))
    editWithFacts(headers, plan.requestEdits, facts, undefined, 0)
  }
  if (facts.awaitsContinue) headers.push('expect', '100-continue')
  const host = findNewHost(plan, headers)
  if (plan.action.appendForwardedHost && host !== undefined) headers.push('x-forwarded-host', request.authority)
  // Envoy tells the endpoint what the client had asked for, also where the rewrite changes nothing.
  if (http.exchange?.tellsServer) client.reporter.telemetry.tellServer(headers, http.exchange, plan.cluster)
  if (host !== undefined && !http.hidesEnvoy) setHeader(headers, 'x-envoy-original-host', request.authority)
  if (plan.action.rewrite.path !== undefined && !http.hidesEnvoy)
    setHeader(headers, 'x-envoy-original-path', request.path)
  if (request.span && http.tracing) writeContext(headers, request.span, http.tracing.provider)
  return {
    method: request.method,
    scheme: request.scheme,
    authority: host === undefined || host === request.authority ? request.authority : asFieldValue(host),
    path: plan.path === request.path ? plan.path : asTarget(plan.path),
    headers,
    bodyLength: facts.bodyLength,
    maybeTrailers: request.version === 'HTTP/2',
    upgrade: plan.upgrade,
    names: request.names,
  }
}

/**
 * Without the fields that the configuration writes or takes away: endpoints read trailers as headers, and these come
 * when filters and routes have had their say.
 *
 * @param plan undefined: it is not made yet, and chooses when it is
 * @returns undefined: none are left
 */
export function chooseTrailers(
  trailers: readonly string[] | undefined,
  plan: Pick<ForwardPlan, 'requestEdits'> | undefined,
  { http, request }: { readonly http: HttpConnectionManager; readonly request: RequestHead },
  { tables }: Pick<Context, 'tables'>,
): readonly string[] | undefined {
  if (!trailers || !plan) return trailers
  const kept = [...trailers]
  for (const filter of http.filters)
    if (filter.kind === 'jwt') removeWithLookAlikes(kept, listClaimNames(filter.jwt.providers))
  const names = [...(findRouteTable(http, tables.get())?.config.internalOnly ?? []), ...listTaken(plan.requestEdits)]
  removeWithLookAlikes(kept, new Set([...names.map(toPlainName), ...(request.written ?? [])]))
  return kept.length === 0 ? undefined : kept
}

/** What is appended stands beside what the client says anyway. */
function listTaken(edits: readonly HeaderEdit[]): string[] {
  return edits.flatMap(({ remove, add }) => [
    ...remove,
    ...add.filter(({ how }) => how !== 'append').map(({ name }) => name),
  ])
}

/** As in Envoy, a field that says the host is read after the route's own changes. */
function findNewHost({ action, authority, hasNewHost }: ForwardPlan, headers: readonly string[]): string | undefined {
  const { host } = action.rewrite
  if (host?.kind === 'header') return findFirstValue(headers, host.name) || undefined
  return hasNewHost ? authority : undefined
}

/** What is another thing with each attempt. */
export function prepareAttempt(request: UpstreamRequest, plan: ForwardPlan, facts: HeaderFacts): UpstreamRequest {
  const { headers } = facts.request
  const { record, http } = facts
  // In place of what the proxy before us, or the attempt before this one, has counted.
  if (plan.routed.virtualHost.includeAttemptCount) setHeader(headers, 'x-envoy-attempt-count', String(record.tries))
  const expectedMs = http.hidesEnvoy ? undefined : expectTimeout(plan, facts)
  if (expectedMs !== undefined) setHeader(headers, 'x-envoy-expected-rq-timeout-ms', String(expectedMs))
  const name = plan.action.rewrite.host?.kind === 'endpoint' ? record.endpoint?.hostname : undefined
  if (name === undefined) return request
  const { authority } = facts.request
  if (!http.hidesEnvoy) setHeader(headers, 'x-envoy-original-host', authority)
  if (plan.action.appendForwardedHost && record.tries === 1) headers.push('x-forwarded-host', authority)
  return { ...request, authority: asFieldValue(name) }
}

/** How long the endpoint has: of what is left of the route's time no more than a try's. */
function expectTimeout({ action, retry }: ForwardPlan, facts: HeaderFacts): number | undefined {
  const { route, perTry } = deriveTimes(action, retry?.perTryTimeoutMs, facts.http, facts.request) ?? {}
  const expected = perTry ?? route
  if (expected === undefined) return undefined
  const elapsed = facts.record.tries > 1 ? facts.elapsedMs : 0
  return route === undefined ? expected : Math.round(Math.max(1, Math.min(expected, route - elapsed)))
}

/** @param upstreamMs for x-envoy-upstream-service-time; undefined for answers of our own */
export function answerHead(
  head: ResponseHead,
  edits: readonly HeaderEdit[],
  facts: HeaderFacts,
  serverName: string,
  upstreamMs: number | undefined,
): ResponseHead {
  const { headers } = head
  let timed = false
  let dated = false
  const { record, request, client, http } = facts
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    if (name === 'x-envoy-upstream-service-time') timed = true
    else if (name === 'date') dated = true
    else if (name === 'grpc-status') record.grpcStatus = headers[i + 1]
    else if (isExchangeHeader(name)) {
      if (name === PEER_METADATA && http.exchange?.serverByHeaders) record.peerMetadata = headers[i + 1]
      headers.splice(i, 2)
      i -= 2
    }
  }
  if (!dated) headers.push('date', formatHttpDate(facts.nowMs))
  if (http.exchange?.tellsClient && (request.peerId ?? request.peerMetadata) !== undefined)
    client.reporter.telemetry.tellClient(headers, {
      id: request.peerId !== undefined,
      metadata: request.peerMetadata !== undefined,
    })
  if (http.hidesEnvoy) removeHeader(headers, 'x-envoy-overloaded')
  if (upstreamMs !== undefined && !http.hidesEnvoy) {
    const text = String(Math.max(0, Math.round(upstreamMs)))
    if (timed) setHeader(headers, 'x-envoy-upstream-service-time', text)
    else headers.push('x-envoy-upstream-service-time', text)
  }
  const cookie = upstreamMs === undefined ? undefined : record.placement?.cookie
  if (cookie !== undefined) headers.push('set-cookie', cookie)
  if (record.plan?.session && record.endpoint) record.plan.session.served = { by: record.endpoint, nowMs: facts.nowMs }
  if (edits.length > 0) editWithFacts(headers, edits, facts, headers, head.status)
  // Ours is what a text has by itself; what the configuration says of it counts.
  if (upstreamMs === undefined) keepLast(headers, 'content-type')
  for (let i = 0, fields = record.plan?.cors?.fields ?? NONE; i < fields.length; i += 2)
    setHeader(headers, fields[i]!, fields[i + 1]!)
  // Last: no route takes it away or says another (Envoy's server_header_transformation).
  if (serverName !== '' && http.serverHeader !== 'pass-through')
    if (http.serverHeader === undefined || findFirstValue(headers, 'server') === undefined)
      nameServer(headers, serverName)
  if (http.via !== undefined) addVia(headers, http.via)
  record.responseHeaders = headers
  return head
}

const NONE: readonly string[] = []

/** In its place, once. */
function nameServer(headers: string[], serverName: string): void {
  let isNamed = false
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] !== 'server') continue
    if (isNamed) {
      headers.splice(i, 2)
      i -= 2
    } else headers[i + 1] = serverName
    isNamed = true
  }
  if (!isNamed) headers.push('server', serverName)
}

let dateOfSecond = 0
let dateText = ''

/** RFC 9110 §6.6.1 asks for it in every answer, of whoever has a clock. Made once a second. */
export function formatHttpDate(wallMs: number): string {
  const second = Math.floor(wallMs / 1000)
  if (second !== dateOfSecond || dateText === '') {
    dateOfSecond = second
    dateText = new Date(second * 1000).toUTCString()
  }
  return dateText
}

function keepLast(headers: string[], name: string): void {
  let last: string | undefined
  let count = 0
  for (let i = 0; i < headers.length; i += 2)
    if (headers[i] === name) {
      last = headers[i + 1]!
      count++
    }
  if (last !== undefined && count > 1) setHeader(headers, name, last)
}

type EditFacts = Pick<HeaderFacts, 'request' | 'client' | 'remoteIp'> & {
  readonly record: Pick<ExchangeRecord, 'startedWallMs'> & {
    readonly plan?: ExchangeRecord['plan'] | { readonly kind: 'wait'; readonly routeName: string }
  }
}
/** @param response the answer's headers, where they are what is edited */
export function editWithFacts(
  headers: string[],
  edits: readonly HeaderEdit[],
  { request, client, record, remoteIp }: EditFacts,
  response: readonly string[] | undefined,
  status: number,
): void {
  const { remote } = client.conn
  const { plan } = record
  const facts: SubstitutionFacts = {
    client: remoteIp === '' || remoteIp === remote.host ? remote : { host: remoteIp, port: 0 },
    remote,
    local: client.conn.local,
    protocol: request.version,
    startedMs: record.startedWallMs,
    serverName: client.conn.tls?.serverName ?? '',
    routeName: plan?.routeName ?? '',
    cluster: plan?.kind === 'forward' ? plan.cluster.name : '',
    status,
    peer: client.conn.tls?.peer,
    request: (name) => findFirstValue(request.headers, name) ?? findHeaderOrPseudo(request, name),
    ...(response ? { response: (name: string) => findFirstValue(response, name) } : {}),
  }
  editHeaders(headers, edits, facts)
  // Configured text may be any Unicode; a field is bytes of text.
  for (let i = 1; i < headers.length; i += 2) if (isNoFieldValue(headers[i]!)) headers[i] = asFieldValue(headers[i]!)
}

function isNoFieldValue(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c > 0xff || (c < 0x20 && c !== 0x09) || c === 0x7f) return true
  }
  return false
}

/** A rewritten path must still be one word of the request line. */
function asTarget(path: string): string {
  return path.replace(/[^\x21-\x7e]/g, (c) => encodeURIComponent(c.isWellFormed() ? c : '\ufffd'))
}
