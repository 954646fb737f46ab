/**
 * Heads and trailers on their way into HTTP/2, and the only file that makes any (test/rules/raw-http.test.ts): what the
 * protocol does not permit is left out here.
 */
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2'
import { isHopByHop } from './field-table.ts'
import { requestLength, responseLength } from './framing.ts'
import { asFieldValue } from './h1-write.ts'
import type { ResponseHead, UpstreamRequest } from './message.ts'

/**
 * Options for both ends of a session. That a field stands once is seen to here; node:http2 would throw. So is whitespace around values: nghttp2 would drop such a
 * field without a word, and the request would go on without it.
 */
export const OUR_FIELDS = { strictSingleValueFields: false, strictFieldWhitespaceValidation: false } as const

/** Fields of which a message has one at most (RFC 9110 §5.3; node:http2 refuses the same). The first counts: it is what readers of HTTP/1.1 take. */
const SINGLE = new Set([
  'access-control-allow-credentials', 'access-control-max-age', 'access-control-request-method', 'age', 'authorization', 'content-encoding', 'content-language', 'content-length', 'content-location',
  'content-md5', 'content-range', 'content-type', 'date', 'dnt', 'etag', 'expires', 'from', 'host', 'if-match', 'if-modified-since', 'if-none-match', 'if-range', 'if-unmodified-since',
  'last-modified', 'location', 'max-forwards', 'proxy-authorization', 'range', 'referer', 'retry-after', 'tk', 'upgrade-insecure-requests', 'user-agent', 'x-content-type-options',
])
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const NO_TEXT = /[^\t\x20-\x7e\x80-\xff]/

/*
 * Field lists for Http2Stream (h2/stream.ts): pseudo-header fields first (RFC 9113 §8.3), then what HTTP/2 permits of
 * the others. Fields that stand twice go on as they came, as over HTTP/1.1.
 */

export function responseFields({ status, headers, contentLength }: ResponseHead): string[] {
  const fields = [':status', String(status)]
  addPermitted(fields, headers)
  const length = responseLength(status, contentLength)
  if (length !== undefined) fields.push('content-length', length)
  return fields
}

/** 100, or what `isInformational` permits. */
export function informationalFields(status: number, headers: readonly string[]): string[] {
  const fields = [':status', String(status)]
  addPermitted(fields, headers)
  return fields
}

/** @returns undefined: there are none */
export function trailerFields(trailers: readonly string[] | undefined): string[] | undefined {
  if (trailers === undefined) return undefined
  const fields: string[] = []
  addPermitted(fields, trailers)
  return fields.length === 0 ? undefined : fields
}

/** @param more fields of our own */
export function requestFields(head: UpstreamRequest, more: readonly string[]): string[] {
  const { method, scheme, authority, path, headers, bodyLength } = head
  const fields = [':method', method, ':scheme', scheme, ':authority', authority, ':path', path]
  addPermitted(fields, headers)
  const length = requestLength(method, bodyLength)
  if (length !== undefined) fields.push('content-length', length)
  for (const text of more) fields.push(text)
  return fields
}

/** Without framing and what belongs to one connection (RFC 9113 §8.2.2), and without what is no field there (§8.2.1). */
function addPermitted(fields: string[], headers: readonly string[]): void {
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    if (isHopByHop(name) || name === 'content-length' || !NAME.test(name)) continue
    fields.push(name, permittedValue(headers[i + 1]!))
  }
}

/** Text without whitespace at its ends (RFC 9113 §8.2.1). */
function permittedValue(value: string): string {
  const text = NO_TEXT.test(value) ? asFieldValue(value) : value
  return isSpace(text.charCodeAt(0)) || isSpace(text.charCodeAt(text.length - 1)) ? text.trim() : text
}
function isSpace(code: number): boolean { return code === 32 || code === 9 }

/* For node:http2. */

function isOver(stream: ClientHttp2Stream): boolean { return stream.destroyed || stream.closed }

/** For the listener of `wantTrailers`; none is said too. */
export function trail(stream: ClientHttp2Stream, trailers: readonly string[] | undefined): void {
  if (isOver(stream)) return
  const raw: string[] = []
  addFields(raw, trailers ?? [])
  stream.sendTrailers(fieldObject(raw))
}

/** @param more fields of our own */
export function request(session: ClientHttp2Session, head: UpstreamRequest, more: readonly string[], how: { readonly end: boolean; readonly trailers: boolean }): ClientHttp2Stream {
  const { method, authority, path, scheme, headers, bodyLength } = head
  const raw = [':method', method, ':authority', authority, ':scheme', scheme, ':path', path]
  addFields(raw, headers)
  const length = requestLength(method, bodyLength)
  if (length !== undefined) raw.push('content-length', length)
  raw.push(...more)
  return session.request(raw, { endStream: how.end, waitForTrailers: how.trailers && !how.end })
}

function addFields(raw: string[], headers: readonly string[]): void {
  let singles: string[] | undefined
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    if (isHopByHop(name) || name === 'content-length' || !NAME.test(name)) continue
    if (SINGLE.has(name)) {
      if (singles === undefined) singles = [name]
      else if (singles.includes(name)) continue
      else singles.push(name)
    }
    const value = headers[i + 1]!
    raw.push(name, NO_TEXT.test(value) ? asFieldValue(value) : value)
  }
}

/** node:http2 takes trailers and informational fields as an object only; several fields of one name are a list there. */
function fieldObject(headers: readonly string[]): Record<string, string | string[]> {
  const fields = Object.create(null) as Record<string, string | string[]>
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    const before = fields[name]
    fields[name] = before === undefined ? headers[i + 1]! : [...(typeof before === 'string' ? [before] : before), headers[i + 1]!]
  }
  return fields
}
