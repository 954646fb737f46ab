/** What a port speaks, as istiod understands its name (pkg/config/protocol/instance.go). */

const KNOWN = [
  'TCP',
  'UDP',
  'GRPC',
  'GRPC-Web',
  'HTTP',
  'HTTP_PROXY',
  'HTTP2',
  'HTTPS',
  'TLS',
  'Mongo',
  'Redis',
  'MySQL',
] as const
/** `auto`: looked at when the first bytes come. */
export type Protocol = (typeof KNOWN)[number] | 'auto'

const BY_NAME = new Map<string, Protocol>(KNOWN.map((p) => [p.toLowerCase(), p]))

export function isKnownProtocol(text: string): boolean {
  return BY_NAME.has(text.toLowerCase())
}

export function parseProtocol(text: string | undefined): Protocol {
  return BY_NAME.get((text ?? '').toLowerCase()) ?? 'auto'
}

const HTTP2 = new Set<Protocol>(['HTTP2', 'GRPC', 'GRPC-Web'])
const HTTP = new Set<Protocol>(['HTTP', 'HTTP_PROXY', ...HTTP2])
const TLS = new Set<Protocol>(['HTTPS', 'TLS'])
const TCP = new Set<Protocol>(['TCP', 'Mongo', 'Redis', 'MySQL', ...TLS])

export const isHttp2 = (p: Protocol): boolean => HTTP2.has(p)
export const isHttp = (p: Protocol): boolean => HTTP.has(p)
export const isHttpOrAuto = (p: Protocol): boolean => p === 'auto' || HTTP.has(p)
export const isTls = (p: Protocol): boolean => TLS.has(p)
export const isTcp = (p: Protocol): boolean => TCP.has(p)
export const isGrpc = (p: Protocol): boolean => p === 'GRPC' || p === 'GRPC-Web'

/** `none`: nothing listens for it (UDP). */
export type ListenerProtocol = 'http' | 'tcp' | 'auto' | 'none'

/** networking.ModelProtocolToListenerProtocol. */
export function chooseListenerProtocol(p: Protocol): ListenerProtocol {
  if (isHttp(p)) return 'http'
  if (p === 'auto') return 'auto'
  return isTcp(p) ? 'tcp' : 'none'
}
