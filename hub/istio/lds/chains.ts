/** Inbound chains by mode of mutual TLS and by what the port speaks (core/filterchain_options.go). */
import type { MtlsMode } from '../mesh/peer-policies.ts'
import type { ListenerProtocol } from '../mesh/protocols.ts'
import { MTLS_ALPN, MTLS_HTTP_ALPN, MTLS_TCP_ALPN, PLAIN_HTTP_ALPN } from './filters.ts'

export type ChainKind = {
  readonly protocol: 'http' | 'tcp'
  readonly transport: 'tls' | 'raw_buffer'
  readonly alpn?: readonly string[]
  /** TLS ends here, with the node's certificate. */
  readonly isMtls: boolean
}

const chain = (
  protocol: 'http' | 'tcp',
  transport: 'tls' | 'raw_buffer',
  o: { readonly alpn?: readonly string[]; readonly isMtls?: boolean } = {},
): ChainKind => ({ protocol, transport, isMtls: o.isMtls === true, ...(o.alpn ? { alpn: o.alpn } : {}) })

const MTLS = { isMtls: true }
const CHAINS: Readonly<Record<'http' | 'tcp' | 'auto', Readonly<Record<MtlsMode, readonly ChainKind[]>>>> = {
  http: {
    STRICT: [chain('http', 'tls', MTLS)],
    PERMISSIVE: [chain('http', 'tls', { ...MTLS, alpn: MTLS_ALPN }), chain('http', 'raw_buffer')],
    DISABLE: [chain('http', 'raw_buffer')],
  },
  tcp: {
    STRICT: [chain('tcp', 'tls', MTLS)],
    PERMISSIVE: [chain('tcp', 'tls', { ...MTLS, alpn: MTLS_ALPN }), chain('tcp', 'tls'), chain('tcp', 'raw_buffer')],
    DISABLE: [chain('tcp', 'raw_buffer')],
  },
  auto: {
    STRICT: [chain('http', 'tls', { ...MTLS, alpn: MTLS_HTTP_ALPN }), chain('tcp', 'tls', MTLS)],
    PERMISSIVE: [
      chain('http', 'tls', { ...MTLS, alpn: MTLS_HTTP_ALPN }),
      chain('http', 'raw_buffer', { alpn: PLAIN_HTTP_ALPN }),
      chain('tcp', 'tls', { ...MTLS, alpn: MTLS_TCP_ALPN }),
      chain('tcp', 'raw_buffer'),
      // TLS of the application itself, which is passed through.
      chain('tcp', 'tls'),
    ],
    DISABLE: [chain('http', 'raw_buffer', { alpn: PLAIN_HTTP_ALPN }), chain('tcp', 'raw_buffer')],
  },
}

/** A port of UDP is one of TCP here, as nothing else is known of it. */
export function listChains(mode: MtlsMode, protocol: ListenerProtocol): readonly ChainKind[] {
  return CHAINS[protocol === 'none' ? 'tcp' : protocol][mode]
}
