/** The question to a service over HTTP (ext_authz http_service): the request itself, and what its answer means. Pure. */
import type { AuthService, ExtAuthz } from '../../../../model/http/ext-authz.ts'
import { matchesString, type StringMatch } from '../../../../model/matcher.ts'
import type { RequestHead, UpstreamRequest } from '../../message.ts'
import { findHeaderValue, setHeader } from '../header-edit.ts'
import type { HeaderChange, Verdict } from './verdict.ts'

type HttpService = Extract<AuthService, { kind: 'http' }>
/** What is sent of the body; undefined: none was asked for. */
export type SentBody = { readonly bytes: Buffer; readonly isPartial: boolean } | undefined

export const PARTIAL_BODY = 'x-envoy-auth-partial-body'
/** Names the headers that are to be taken from the request. */
const REMOVE = 'x-envoy-auth-headers-to-remove'

export function makeHttpQuestion(
  request: RequestHead,
  body: SentBody,
  settings: ExtAuthz,
  service: HttpService,
): UpstreamRequest {
  const headers: string[] = []
  const { allowed = [], disallowed } = settings
  for (let i = 0; i < request.headers.length; i += 2) {
    const [name, value] = [request.headers[i]!, request.headers[i + 1]!]
    const isGiven = name === 'authorization' || matchesAny(allowed, name)
    if (isGiven && !matchesAny(disallowed, name)) headers.push(name, value)
  }
  if (body) setHeader(headers, PARTIAL_BODY, String(body.isPartial))
  for (let i = 0; i < service.headers.length; i += 2) setHeader(headers, service.headers[i]!, service.headers[i + 1]!)
  return {
    method: request.method,
    scheme: request.scheme,
    // As in Envoy the client's own, so that rules about hosts can be asked.
    authority: request.authority,
    path: service.path ?? service.pathPrefix + request.path,
    headers,
    bodyLength: body?.bytes.length ?? 0,
    maybeTrailers: false,
    upgrade: undefined,
  }
}

/** @param headers flat @param bytes as much of its body as is taken */
export function readHttpAnswer(
  status: number,
  headers: readonly string[],
  bytes: Buffer,
  service: HttpService,
): Verdict {
  if (status >= 500) return { kind: 'error', why: `the service answered with ${status}` }
  const lines: HeaderChange[] = []
  for (let i = 0; i < headers.length; i += 2) lines.push({ name: headers[i]!, value: headers[i + 1]!, how: 'add' })
  const metadata: Record<string, string> = {}
  for (const { name, value } of lines) if (matchesAny(service.metadata, name)) metadata[name] = value
  const found = Object.keys(metadata).length > 0 ? metadata : undefined
  if (status !== 200) {
    const { client } = service
    const passed = lines.filter(
      ({ name }) =>
        !NOT_PASSED.has(name) && (client === undefined || ALWAYS_PASSED.has(name) || matchesAny(client, name)),
    )
    return { kind: 'denied', status, headers: passed, body: bytes.toString('latin1'), metadata: found }
  }
  const upstream = (how: HeaderChange['how'], matches: readonly StringMatch[]): HeaderChange[] =>
    lines.filter(({ name }) => matchesAny(matches, name)).map((line) => ({ ...line, how }))
  return {
    kind: 'ok',
    request: [...upstream('set', service.upstream), ...upstream('add', service.upstreamAppended)],
    remove: (findHeaderValue(headers, REMOVE) ?? '')
      .split(',')
      .map((name) => name.trim().toLowerCase())
      .filter((name) => name !== ''),
    response: lines.filter(({ name }) => matchesAny(service.clientOnSuccess, name)),
    query: [],
    metadata: found,
  }
}
/** Of the service's own connection. */
const NOT_PASSED: ReadonlySet<string> = new Set(['date', 'server', 'x-envoy-upstream-service-time'])
const ALWAYS_PASSED: ReadonlySet<string> = new Set(['www-authenticate', 'location'])

export function matchesAny(matches: readonly StringMatch[], name: string): boolean {
  return matches.some((match) => matchesString(match, name))
}
