/** What gRPC says in its own fields. */

/**
 * gRPC's "HTTP to gRPC Status Code Mapping" (doc/http-grpc-status-mapping.md), which Envoy follows for its own answers,
 * timeouts among them.
 */
export function deriveGrpcStatus(http: number): number {
  switch (http) {
    case 400:
      return 13
    case 401:
      return 16
    case 403:
      return 7
    case 404:
      return 12
    case 429:
    case 502:
    case 503:
    case 504:
      return 14
    default:
      return 2
  }
}

/**
 * gRPC over HTTP/2, Status-Message: space to ~ without % stand as they are.
 * @param text bytes as latin1 characters
 */
export function encodeMessage(text: string): string {
  let out = ''
  for (const byte of Buffer.from(text, 'latin1'))
    out +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  return out
}
