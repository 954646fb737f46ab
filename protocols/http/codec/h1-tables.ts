/** Character classes of RFC 9110 §5 as lookup tables, and the field names that most messages use. */

/** tchar (RFC 9110 §5.6.2). */
export const TOKEN = table((c) => /^[!#$%&'*+\-.^_`|~0-9A-Za-z]$/.test(String.fromCharCode(c)))
/**
 * What stands in a field value or a start line: HTAB, SP, VCHAR, obs-text; never CR, LF, NUL or another control
 * character.
 */
export const TEXT = table((c) => c === 0x09 || (c >= 0x20 && c !== 0x7f))
/** What a Host field may hold (uri-host and port, RFC 9110 §7.2), without a look at the order. */
export const HOST = table((c) => /^[A-Za-z0-9\-._~%!$&'()*+;=:[\]]$/.test(String.fromCharCode(c)))
/** -1 = no hexadecimal digit. */
export const HEX = Int8Array.from({ length: 256 }, (_, c) => {
  const v = parseInt(String.fromCharCode(c), 16)
  return Number.isNaN(v) ? -1 : v
})

function table(has: (code: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, c) => (has(c) ? 1 : 0))
}

/** By `slotOf`; names of one slot stand together. */
const KNOWN: string[][] = Array.from({ length: 256 }, () => [])
for (const name of [
  'accept',
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'accept-ranges',
  'access-control-allow-origin',
  'age',
  'allow',
  'authorization',
  'b3',
  'cache-control',
  'connection',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'etag',
  'expect',
  'expires',
  'forwarded',
  'from',
  'grpc-encoding',
  'grpc-message',
  'grpc-status',
  'grpc-timeout',
  'host',
  'idempotency-key',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'keep-alive',
  'last-modified',
  'link',
  'location',
  'max-forwards',
  'origin',
  'pragma',
  'proxy-authorization',
  'proxy-connection',
  'range',
  'referer',
  'retry-after',
  'sec-fetch-dest',
  'sec-fetch-mode',
  'sec-fetch-site',
  'sec-websocket-accept',
  'sec-websocket-extensions',
  'sec-websocket-key',
  'sec-websocket-protocol',
  'sec-websocket-version',
  'server',
  'set-cookie',
  'strict-transport-security',
  'te',
  'traceparent',
  'tracestate',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'upgrade-insecure-requests',
  'user-agent',
  'vary',
  'via',
  'www-authenticate',
  'x-b3-sampled',
  'x-b3-spanid',
  'x-b3-traceid',
  'x-envoy-attempt-count',
  'x-envoy-upstream-service-time',
  'x-forwarded-client-cert',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-real-ip',
  'x-request-id',
  'x-requested-with',
])
  KNOWN[slotOf(Buffer.from(name, 'latin1'), 0, name.length)]!.push(name)

/** Of the length, the first and the last byte, without regard to case. */
function slotOf(bytes: Uint8Array, start: number, end: number): number {
  return ((end - start) * 11 + (bytes[start]! | 0x20) * 3 + (bytes[end - 1]! | 0x20) * 29) & 255
}

/**
 * Finds the name without making a string of the bytes first.
 * @param bytes from `start` to `end` a token (the scanner has checked it), not empty
 * @returns the lower-case name; undefined when it is none of the usual ones
 */
export function findKnownName(bytes: Uint8Array, start: number, end: number): string | undefined {
  for (const name of KNOWN[slotOf(bytes, start, end)]!)
    if (name.length === end - start && isSpelled(name, bytes, start)) return name
  return undefined
}

/**
 * The names hold letters, digits and '-': of the bytes of a token only the same one or its capital letter gives each of
 * them with bit 5 set.
 */
function isSpelled(name: string, bytes: Uint8Array, start: number): boolean {
  for (let i = 0; i < name.length; i++) if ((bytes[start + i]! | 0x20) !== name.charCodeAt(i)) return false
  return true
}
