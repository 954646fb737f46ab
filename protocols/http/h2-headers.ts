/** Header lists of HTTP/2 (RFC 9113 §8.2, §8.3) as the flat arrays of message.ts. */
import { isHopByHop } from './field-table.ts'
import { UNKNOWN_LENGTH } from './message.ts'

export type H2Fields = {
  /** Without the colon: method, path, authority, scheme, status, protocol. */
  readonly pseudo: Readonly<Record<string, string | undefined>>
  readonly headers: string[]
  /** UNKNOWN_LENGTH without a content-length. */
  readonly contentLength: number
  readonly expectContinue: boolean
  /** A value begins or ends with whitespace (RFC 9113 §8.2.1: malformed); it has none any more. */
  readonly padded: boolean
}

/** @param raw as node:http2 gives it: names and values in turn, names in lower case */
export function fieldsOf(raw: readonly string[]): H2Fields {
  const pseudo: Record<string, string | undefined> = {}
  const headers: string[] = []
  let contentLength = UNKNOWN_LENGTH
  let expectContinue = false
  let padded = false
  let cookies: string | undefined
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!
    let value = raw[i + 1]!
    if (isPadded(value)) { padded = true; value = value.trim() }
    if (name.charCodeAt(0) === 58) pseudo[name.slice(1)] = value
    // nghttp2 refuses most of these (RFC 9113 §8.2.2); none of them goes on.
    else if (isHopByHop(name)) continue
    else if (name === 'content-length') contentLength = /^\d{1,15}$/.test(value) ? Number(value) : UNKNOWN_LENGTH
    else if (name === 'expect' && value.toLowerCase() === '100-continue') expectContinue = true
    else if (name === 'host') pseudo['authority'] ??= value
    // §8.2.3: pairs may come in several fields; anything that is not HTTP/2 wants them in one.
    else if (name === 'cookie') cookies = cookies === undefined ? value : `${cookies}; ${value}`
    else headers.push(name, value)
  }
  if (cookies !== undefined) headers.push('cookie', cookies)
  return { pseudo, headers, contentLength, expectContinue, padded }
}

export function isPadded(value: string): boolean { return value !== '' && (isSpace(value.charCodeAt(0)) || isSpace(value.charCodeAt(value.length - 1))) }
function isSpace(code: number): boolean { return code === 32 || code === 9 }
