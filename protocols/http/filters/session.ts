/**
 * Persistent sessions (envoy.filters.http.stateful_session): the client brings the address of the endpoint that has
 * served it. It is a wish: who is not an endpoint of the route's cluster is not asked (upstream/hosts.ts).
 */
import type { Endpoint } from '../../../model/cluster.ts'
import type { StatefulSession, SessionKept } from '../../../model/http/session.ts'
import type { HeaderEdit } from '../../../model/route.ts'
import { findNumber, MessageWriter, readMessage, readText } from '../../protobuf/message.ts'
import { findFirstHeader, type RequestFacts } from '../../router.ts'
import { findCookie } from './cookie.ts'

/** `address`: what the client brought, HOST:PORT. */
export type Session = {
  readonly settings: StatefulSession
  readonly address: string | undefined
  /** Whoever answers, once it does. */
  served?: { readonly by: Pick<Endpoint, 'address' | 'port'>; readonly nowMs: number }
}

/** No address is longer, with room for a scope. */
const MAX_ADDRESS_CHARS = 128

/** @returns undefined: the request belongs to none, and its answer begins none */
export function findSession(settings: StatefulSession, request: RequestFacts, nowMs: number): Session | undefined {
  const { kept } = settings
  if (kept.in === 'header') {
    const value = findFirstHeader(request, kept.name)
    return { settings, address: value === undefined ? undefined : asAddress(decodeBase64(value)?.toString()) }
  }
  if (!isBelow(kept.path, request.path)) return undefined
  const value = findCookie((request.values ?? request.header).call(request, 'cookie'), kept.name)
  return { settings, address: value === undefined ? undefined : readCookie(value, nowMs) }
}

/** @returns name and value of a field of the answer; undefined: the client has it already */
export function tellSession(
  { settings: { kept }, address }: Session,
  endpoint: Pick<Endpoint, 'address' | 'port'>,
  nowMs: number,
): readonly [name: string, value: string] | undefined {
  const served = formatAddress(endpoint)
  if (served === address) return undefined
  if (kept.in === 'header') return [kept.name, Buffer.from(served).toString('base64')]
  return ['set-cookie', formatSessionCookie(kept, served, nowMs)]
}

/** Of the answer; says nothing where the client has it already, or no endpoint answers. */
export function createSessionEdit(session: Session): HeaderEdit {
  const { kept } = session.settings
  const [name, how] = kept.in === 'header' ? [kept.name, 'overwrite' as const] : ['set-cookie', 'append' as const]
  const say = ({ by, nowMs }: NonNullable<Session['served']>): string => tellSession(session, by, nowMs)?.[1] ?? ''
  const add = {
    name,
    how,
    get value() {
      // It is text, and stands for nothing.
      return session.served ? say(session.served).replaceAll('%', '%%') : ''
    },
  }
  return { remove: [], add: [add] }
}

/** Of an answer to a session whose endpoint alone may have it, and cannot. */
export function findNotFoundStatus(session: Session | undefined): number | undefined {
  return session?.settings.isStrict && session.address !== undefined ? session.settings.notFoundStatus : undefined
}

/** As Envoy writes an address. */
export function formatAddress({ address, port }: Pick<Endpoint, 'address' | 'port'>): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/** Envoy's message: {string address = 1; uint64 expires = 2}, in seconds. */
function formatSessionCookie(kept: Extract<SessionKept, { in: 'cookie' }>, address: string, nowMs: number): string {
  const { name, ttlSec, path, attributes } = kept
  const message = new MessageWriter().text(1, address)
  if (ttlSec > 0) message.integer(2, Math.floor(nowMs / 1000) + ttlSec)
  return [
    `${name}="${message.finish().toString('base64')}"`,
    ...(ttlSec > 0 ? [`Max-Age=${ttlSec}`] : []),
    ...(path === '' ? [] : [`Path=${path}`]),
    ...attributes.map(([key, value]) => (value === '' ? key : `${key}=${value}`)),
    'HttpOnly',
  ].join('; ')
}
function readCookie(value: string, nowMs: number): string | undefined {
  const bytes = decodeBase64(value)
  const fields = bytes && readMessage(bytes)
  // Before it was a message, the address alone was a cookie; Envoy still takes it.
  if (!fields) return asAddress(/^[\x21-\x7e]+:\d+$/.exec(bytes?.toString('latin1') ?? '')?.[0])
  const expires = findNumber(fields, 2)
  return expires !== 0 && expires * 1000 < nowMs ? undefined : asAddress(readText(fields, 1))
}

function asAddress(text: string | undefined): string | undefined {
  return text === undefined || text === '' || text.length > MAX_ADDRESS_CHARS ? undefined : text
}
function decodeBase64(text: string): Buffer | undefined {
  return text.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(text) ? Buffer.from(text, 'base64') : undefined
}

/** RFC 6265 §5.1.4. */
function isBelow(path: string, target: string): boolean {
  if (path === '' || path === '/') return true
  const asked = target.split(/[?#]/, 1)[0]!
  if (!asked.startsWith(path)) return false
  return path.endsWith('/') || asked.length === path.length || asked[path.length] === '/'
}
