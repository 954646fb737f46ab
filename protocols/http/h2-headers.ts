/** Header lists of HTTP/2 (RFC 9113 §8.2, §8.3) to and from the flat arrays of message.ts. */
import { UNKNOWN_LENGTH, type ResponseHead } from './message.ts'

export type H2Fields = {
  /** Without the colon: method, path, authority, scheme, status, protocol. */
  readonly pseudo: Readonly<Record<string, string | undefined>>
  readonly headers: string[]
  /** UNKNOWN_LENGTH without a content-length. */
  readonly contentLength: number
  readonly expectContinue: boolean
}

/** Connection-specific fields (RFC 9113 §8.2.2). nghttp2 refuses most of them; none of them goes on. */
const HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'te', 'trailer'])

/** @param raw as node:http2 gives it: names and values in turn, names in lower case */
export function fieldsOf(raw: readonly string[]): H2Fields {
  const pseudo: Record<string, string | undefined> = {}
  const headers: string[] = []
  let contentLength = UNKNOWN_LENGTH
  let expectContinue = false
  let cookies: string | undefined
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!
    const value = raw[i + 1]!
    if (name.charCodeAt(0) === 58) pseudo[name.slice(1)] = value
    else if (HOP.has(name)) continue
    else if (name === 'content-length') contentLength = /^\d{1,15}$/.test(value) ? Number(value) : UNKNOWN_LENGTH
    else if (name === 'expect') expectContinue = true
    else if (name === 'host') pseudo['authority'] ??= value
    // §8.2.3: pairs may come in several fields; anything that is not HTTP/2 wants them in one.
    else if (name === 'cookie') cookies = cookies === undefined ? value : `${cookies}; ${value}`
    else headers.push(name, value)
  }
  if (cookies !== undefined) headers.push('cookie', cookies)
  return { pseudo, headers, contentLength, expectContinue }
}

/** Trailer fields; undefined for none. */
export function trailersOf(raw: readonly string[]): string[] | undefined {
  const { headers } = fieldsOf(raw)
  return headers.length === 0 ? undefined : headers
}

export function rawResponse({ status, headers, contentLength }: ResponseHead): string[] {
  return [':status', String(status), ...headers, ...(contentLength === UNKNOWN_LENGTH ? [] : ['content-length', String(contentLength)])]
}

/** node:http2 takes trailers and informational fields as an object only; several fields of one name are a list there. */
export function fieldObject(headers: readonly string[]): Record<string, string | string[]> {
  const fields: Record<string, string | string[]> = {}
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    const before = fields[name]
    fields[name] = before === undefined ? headers[i + 1]! : [...(typeof before === 'string' ? [before] : before), headers[i + 1]!]
  }
  return fields
}
