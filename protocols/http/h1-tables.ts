/** Character classes of RFC 9110 §5 as lookup tables, and the field names that most messages use. */

/** tchar (RFC 9110 §5.6.2). */
export const TOKEN = table((c) => /^[!#$%&'*+\-.^_`|~0-9A-Za-z]$/.test(String.fromCharCode(c)))
/** What stands in a field value or a start line: HTAB, SP, VCHAR, obs-text; never CR, LF, NUL or another control character. */
export const TEXT = table((c) => c === 0x09 || (c >= 0x20 && c !== 0x7f))
/** -1 = no hexadecimal digit. */
export const HEX = Int8Array.from({ length: 256 }, (_, c) => { const v = parseInt(String.fromCharCode(c), 16); return Number.isNaN(v) ? -1 : v })

function table(has: (code: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, c) => (has(c) ? 1 : 0))
}

/** A known spelling is a valid token already and needs no lower-casing. */
const KNOWN = new Map<string, string>()
for (const name of [
  'accept', 'accept-charset', 'accept-encoding', 'accept-language', 'accept-ranges', 'access-control-allow-origin', 'age', 'allow', 'authorization', 'b3', 'cache-control',
  'connection', 'content-disposition', 'content-encoding', 'content-language', 'content-length', 'content-location', 'content-range', 'content-type', 'cookie', 'date', 'etag',
  'expect', 'expires', 'forwarded', 'from', 'grpc-encoding', 'grpc-message', 'grpc-status', 'grpc-timeout', 'host', 'idempotency-key', 'if-match', 'if-modified-since', 'if-none-match', 'if-range',
  'if-unmodified-since', 'keep-alive', 'last-modified', 'link', 'location', 'max-forwards', 'origin', 'pragma', 'proxy-authorization', 'proxy-connection', 'range', 'referer',
  'retry-after', 'sec-fetch-dest', 'sec-fetch-mode', 'sec-fetch-site', 'sec-websocket-accept', 'sec-websocket-extensions', 'sec-websocket-key', 'sec-websocket-protocol',
  'sec-websocket-version', 'server', 'set-cookie', 'strict-transport-security', 'te', 'traceparent', 'tracestate', 'trailer', 'transfer-encoding', 'upgrade',
  'upgrade-insecure-requests', 'user-agent', 'vary', 'via', 'www-authenticate', 'x-b3-sampled', 'x-b3-spanid', 'x-b3-traceid', 'x-envoy-attempt-count', 'x-envoy-upstream-service-time',
  'x-forwarded-client-cert', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip', 'x-request-id', 'x-requested-with',
]) {
  KNOWN.set(name, name)
  KNOWN.set(name.replace(/(^|-)[a-z]/g, (c) => c.toUpperCase()), name)
}
for (const [spelled, name] of [['ETag', 'etag'], ['TE', 'te'], ['WWW-Authenticate', 'www-authenticate'], ['X-Request-ID', 'x-request-id']] as const) KNOWN.set(spelled, name)

/** @param name a token (the scanner has checked it) */
export function lowerCaseName(name: string): string {
  return KNOWN.get(name) ?? name.toLowerCase()
}

/** Trailer fields that would change framing, routing or authentication after the fact are dropped (RFC 9110 §6.5.1). */
export const NO_TRAILER: ReadonlySet<string> = new Set([
  'transfer-encoding', 'content-length', 'host', 'connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'upgrade', 'expect', 'max-forwards', 'range', 'cache-control',
  'content-encoding', 'content-type', 'content-range', 'authorization', 'proxy-authorization', 'proxy-authenticate', 'www-authenticate', 'cookie', 'set-cookie', 'age', 'date',
  'expires', 'location', 'retry-after', 'vary', 'if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since', 'if-range', 'x-forwarded-for', 'x-forwarded-proto',
  'x-forwarded-host', 'x-forwarded-client-cert', 'forwarded',
])
