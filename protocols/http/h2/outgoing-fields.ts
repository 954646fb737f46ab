/**
 * Makes all heads and trailers that are sent over HTTP/2 (test/rules/raw-http.test.ts), and leaves out what the protocol
 * does not permit.
 */
import { isHopByHop } from '../codec/field-table.ts'
import { formatRequestLength, formatResponseLength } from '../codec/framing.ts'
import { asFieldValue } from '../codec/field-value.ts'
import type { ResponseHead, UpstreamRequest } from '../message.ts'

const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const NO_TEXT = /[^\t\x20-\x7e\x80-\xff]/

/*
 * Field lists for Http2Stream (h2/stream/stream.ts): pseudo-header fields first (RFC 9113 §8.3), then what HTTP/2 permits of
 * the others. Fields that stand twice go on as they came, as over HTTP/1.1.
 */

export function toResponseFields({ status, headers, contentLength }: ResponseHead): string[] {
  const fields = [':status', String(status)]
  addPermitted(fields, headers)
  const length = formatResponseLength(status, contentLength)
  if (length !== undefined) fields.push('content-length', length)
  return fields
}

/** 100, or what `isInformational` permits. */
export function toInformationalFields(status: number, headers: readonly string[]): string[] {
  const fields = [':status', String(status)]
  addPermitted(fields, headers)
  return fields
}

/** @returns undefined: there are none */
export function toTrailerFields(trailers: readonly string[] | undefined): string[] | undefined {
  if (trailers === undefined) return undefined
  const fields: string[] = []
  addPermitted(fields, trailers)
  return fields.length === 0 ? undefined : fields
}

/** @param more fields of our own */
export function toRequestFields(head: UpstreamRequest, more: readonly string[]): string[] {
  const { method, scheme, authority, path, headers, bodyLength } = head
  // RFC 9113 §8.5: CONNECT has neither.
  const fields =
    method === 'CONNECT'
      ? [':method', method, ':authority', authority]
      : [':method', method, ':scheme', scheme, ':authority', authority, ':path', path]
  addPermitted(fields, headers)
  const length = formatRequestLength(method, bodyLength)
  if (length !== undefined) fields.push('content-length', length)
  for (const text of more) fields.push(text)
  return fields
}

/**
 * Without framing, connection-specific fields (RFC 9113 §8.2.2) and invalid fields (§8.2.1).
 */
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
function isSpace(code: number): boolean {
  return code === 32 || code === 9
}
