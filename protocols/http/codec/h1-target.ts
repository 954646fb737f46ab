/**
 * What a request is about, checked in one place for HTTP/1 and HTTP/2: the method, and the four forms of a target (RFC
 * 9112 §3.2) or the pseudo-header fields that stand in for them (RFC 9113 §8.3.1). Pure.
 */
import { HOST, TOKEN } from './h1-tables.ts'

/** `authority` '' = the Host field decides. `path` '' = CONNECT. */
export type RequestTarget = { readonly path: string; readonly authority: string }

const MAX_METHOD_BYTES = 64
const MAX_AUTHORITY_BYTES = 512

/** RFC 9110 §9.3, RFC 5789, and what Envoy's HTTP/1 codec knows beside them. */
export const STANDARD_METHODS: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'CONNECT',
  'OPTIONS',
  'TRACE',
  'PATCH',
  'QUERY',
  'ACL',
  'BIND',
  'CHECKOUT',
  'COPY',
  'LINK',
  'LOCK',
  'MERGE',
  'MKACTIVITY',
  'MKCALENDAR',
  'MKCOL',
  'MOVE',
  'MSEARCH',
  'M-SEARCH',
  'NOTIFY',
  'PROPFIND',
  'PROPPATCH',
  'PURGE',
  'REBIND',
  'REPORT',
  'SEARCH',
  'SOURCE',
  'SUBSCRIBE',
  'UNBIND',
  'UNLINK',
  'UNLOCK',
  'UNSUBSCRIBE',
])

/**
 * Methods are case-sensitive (RFC 9110 §9.1), and not every endpoint knows: `post` would pass a policy against POST and
 * be one behind it.
 * @returns what is wrong, as text
 */
export function findMethodProblem(method: string): string | undefined {
  // Nearly all: a comparison costs less than a look into the set.
  if (method === 'GET' || method === 'POST' || STANDARD_METHODS.has(method)) return undefined
  if (method === '' || method.length > MAX_METHOD_BYTES || !consistsOf(TOKEN, method))
    return 'the method is not a token'
  return STANDARD_METHODS.has(method.toUpperCase())
    ? 'a standard method that is not in capital letters (RFC 9110 §9.1)'
    : undefined
}

/** Of a Host field or `:authority`. @returns what is wrong, as text */
export function findAuthorityProblem(authority: string): string | undefined {
  if (authority !== '' && authority.length <= MAX_AUTHORITY_BYTES && consistsOf(HOST, authority) && hasShape(authority))
    return undefined
  return 'the Host field is not a host (RFC 9112 §3.2)'
}

/**
 * A name, or an address in brackets, and a port of digits: of what is neither each reader takes another part for the
 * host.
 */
const SHAPE = /^(?:[^:[\]]+|\[[^[\]]+\])(?::\d{0,5})?$/
const PART = /[:[\]]/
function hasShape(authority: string): boolean {
  return !PART.test(authority) || SHAPE.test(authority)
}

/** As parseRequestTarget, for the pseudo-header fields of HTTP/2. `undefined`: the field was not there. */
export function parsePseudoTarget(
  method: string,
  authority: string | undefined,
  path: string | undefined,
): RequestTarget | string {
  if (authority === undefined) return 'neither :authority nor host (RFC 9113 §8.3.1)'
  if (method === 'CONNECT')
    return path === undefined ? parseRequestTarget(method, authority) : 'a CONNECT request with a :path (RFC 9113 §8.5)'
  const problem = findAuthorityProblem(authority)
  if (problem !== undefined) return problem
  // An absolute form is HTTP/1's way to say what :authority says here.
  if (path === undefined || (path.charCodeAt(0) !== SLASH && path !== '*')) return 'no :path (RFC 9113 §8.3.1)'
  const target = parseRequestTarget(method, path)
  return typeof target === 'string' ? target : { path: target.path, authority }
}

/** @returns what is wrong, as text, for what is none of the four forms or does not fit the method */
export function parseRequestTarget(method: string, target: string): RequestTarget | string {
  for (let i = 0; i < target.length; i++) {
    const code = target.charCodeAt(i)
    // Space and control characters, non-ASCII, and the fragment that is never sent (RFC 9110 §7.1).
    if (code <= 0x20 || code >= 0x7f || code === 0x23)
      return 'the request target holds a character that is not permitted (RFC 3986 §2)'
  }
  if (method === 'CONNECT') return authorityForm(target)
  if (target.charCodeAt(0) === SLASH) return { path: target, authority: '' }
  if (target === '*')
    return method === 'OPTIONS' ? { path: '*', authority: '' } : 'the target "*" is for OPTIONS only (RFC 9112 §3.2.4)'
  return absoluteForm(method, target)
}

function authorityForm(target: string): RequestTarget | string {
  const port = /^(?:[A-Za-z0-9\-._~]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})$/.exec(target)?.[1]
  if (port === undefined || Number(port) === 0 || Number(port) > 65_535)
    return 'the target of CONNECT is not host:port (RFC 9112 §3.2.3)'
  return { path: '', authority: target.toLowerCase() }
}

function absoluteForm(method: string, target: string): RequestTarget | string {
  const parts = /^https?:\/\/([A-Za-z0-9\-._~%!$&'()*+;=:[\]]+)([/?].*)?$/i.exec(target)
  if (!parts) return 'the request target has none of the four forms (RFC 9112 §3.2)'
  const problem = findAuthorityProblem(parts[1]!)
  if (problem !== undefined) return problem
  const rest = parts[2] ?? (method === 'OPTIONS' ? '*' : '/')
  return { authority: parts[1]!, path: rest.startsWith('?') ? `/${rest}` : rest }
}

const SLASH = 47

/** @param text latin1 */
function consistsOf(allowed: Uint8Array, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (allowed[text.charCodeAt(i)] !== 1) return false
  return true
}
