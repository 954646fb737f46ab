/**
 * Where a message ends, for every head that leaves (RFC 9112 §6, RFC 9113 §8.1.1): derived from what was received and
 * never from a field, so that the reader finds the end that was found here.
 */

/** Length of a body that is not known before its end. */
export const UNKNOWN_LENGTH = -1
export type HttpVersion = 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2'

export const CHUNKED = 'transfer-encoding: chunked\r\n'
/** Only the connection's end ends the body. */
export const UNTIL_CLOSE = 'until-close'
const EMPTY = 'content-length: 0\r\n'

/** The lines of a request's head. Without any it has no body. @param bodyLength as RequestHead.bodyLength */
export function formatRequestFraming(method: string, bodyLength: number): string {
  if (bodyLength === UNKNOWN_LENGTH) return CHUNKED
  if (bodyLength > 0) return `content-length: ${bodyLength}\r\n`
  // RFC 9110 §8.6: where a body is usual its absence is said.
  return method === 'POST' || method === 'PUT' || method === 'PATCH' ? EMPTY : ''
}

/** An HTTP/2 request's content-length; undefined = none is said, the stream's end is the body's. */
export function formatRequestLength(method: string, bodyLength: number): string | undefined {
  if (bodyLength > 0) return String(bodyLength)
  return bodyLength === 0 && method !== 'GET' && method !== 'HEAD' ? '0' : undefined
}

/** True when the answer has no body, whatever its fields say (RFC 9112 §6.3). */
export function isBodiless(status: number, requestMethod: string): boolean {
  return requestMethod === 'HEAD' || status === 204 || status === 304 || status < 200
}

/**
 * The lines of an answer's head, or UNTIL_CLOSE.
 * @param contentLength as ResponseHead.contentLength
 * @param end no body follows
 */
export function formatResponseFraming(
  status: number,
  contentLength: number,
  requestMethod: string,
  version: HttpVersion,
  end: boolean,
): string {
  if (isBodiless(status, requestMethod))
    return status === 204 || status < 200 || contentLength === UNKNOWN_LENGTH
      ? ''
      : `content-length: ${contentLength}\r\n`
  if (end || contentLength === 0) return EMPTY
  if (contentLength !== UNKNOWN_LENGTH) return `content-length: ${contentLength}\r\n`
  return version === 'HTTP/1.0' ? UNTIL_CLOSE : CHUNKED
}

/** An HTTP/2 answer's content-length; undefined = none is said (RFC 9110 §8.6). */
export function formatResponseLength(status: number, contentLength: number): string | undefined {
  return contentLength === UNKNOWN_LENGTH || status === 204 || status < 200 ? undefined : String(contentLength)
}

/** Any three digits are passed on, as Envoy does; RFC 9110 §15 tells clients what to make of those above 599. */
export function isFinalStatus(status: number): boolean {
  return status >= 200 && status <= 999
}
/**
 * 100 is `sendContinue`'s; 101 is no information: it ends HTTP (RFC 9110 §15.2.2), and HTTP/2 has none (RFC 9113 §8.6).
 */
export function isInformational(status: number): boolean {
  return status > 101 && status < 200
}

/** Of a Content-Length: every number with so many digits is exact in a double. */
const MAX_LENGTH_DIGITS = 15

/** -1 = not a number, or too long. */
export function readContentLength(text: string): number {
  if (text === '' || text.length > MAX_LENGTH_DIGITS) return -1
  let value = 0
  for (let i = 0; i < text.length; i++) {
    const digit = readDigit(text, i)
    if (digit < 0) return -1
    value = value * 10 + digit
  }
  return value
}

/** -1 = none there. */
export function readDigit(text: string, at: number): number {
  const value = text.charCodeAt(at) - 48
  return value >= 0 && value <= 9 ? value : -1
}
