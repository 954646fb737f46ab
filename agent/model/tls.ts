import type { StringMatch } from './matcher.ts'

/** `workload`: the agent's own identity (SDS `default` / `ROOTCA` in Istio). `pem`: given inline or read from files at decode time. */
export type CertificateRef = { readonly from: 'workload' } | { readonly from: 'pem'; readonly chainPem: string; readonly keyPem: string }
export type RootsRef = { readonly from: 'workload' } | { readonly from: 'pem'; readonly rootsPem: string } | { readonly from: 'system' }

export type SanMatch = { readonly type: 'uri' | 'dns' | 'ip' | 'any'; readonly match: StringMatch }

/** The chain must verify against `roots` and, when `sans` is not empty, one SAN must match one of them. */
export type PeerValidation = { readonly roots: RootsRef; readonly sans: readonly SanMatch[] }

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3'
type TlsCommon = {
  readonly certificate: CertificateRef | undefined
  readonly validation: PeerValidation | undefined
  /** In order of preference; empty = none offered. */
  readonly alpnProtocols: readonly string[]
  readonly minVersion: TlsVersion
  readonly maxVersion: TlsVersion
  /** OpenSSL names; empty = Node's default. */
  readonly cipherSuites: readonly string[]
}

/** envoy DownstreamTlsContext. With `requireClientCertificate` a handshake without a valid one fails. */
export type DownstreamTls = TlsCommon & { readonly requireClientCertificate: boolean }
/** envoy UpstreamTlsContext. `sni` empty = none sent, unless `autoSni`: then the request's host. */
export type UpstreamTls = TlsCommon & { readonly sni: string; readonly autoSni: boolean }
