import type { StringMatch } from './matcher.ts'

/**
 * `workload`: the agent's own identity (SDS `default` / `ROOTCA` in Istio). `pem`: given inline or read from files at
 * decode time. `files`: of this machine, permitted (core/os/named-files.ts) and read when they are used, as they may
 * change. `secret`: what the control plane sends under that name (SDS), looked up when it is used.
 */
export type CertificateRef =
  | { readonly from: 'workload' }
  | { readonly from: 'pem'; readonly chainPem: string; readonly keyPem: string }
  | { readonly from: 'files'; readonly chainFile: string; readonly keyFile: string }
  | { readonly from: 'secret'; readonly name: string }
export type RootsRef =
  | { readonly from: 'workload' }
  | { readonly from: 'pem'; readonly rootsPem: string }
  | { readonly from: 'file'; readonly file: string }
  | { readonly from: 'system' }
  | { readonly from: 'secret'; readonly name: string }
export type CrlRef =
  | { readonly from: 'pem'; readonly crlPem: string }
  | { readonly from: 'file'; readonly file: string }

export type SanMatch = { readonly type: 'uri' | 'dns' | 'ip' | 'any'; readonly match: StringMatch }

/**
 * The chain must verify against `roots` and, when `sans` is not empty, one SAN must match one of them. `crl`: none of
 * its CAs may have revoked what it signed.
 */
export type PeerValidation = {
  readonly roots: RootsRef
  readonly sans: readonly SanMatch[]
  readonly crl?: CrlRef
  readonly pins?: Pins
}
/** One of them must be the leaf's: SHA-256 of the certificate in hex, or of its public key (RFC 5280 SPKI) in base64. */
export type Pins = { readonly certificates: readonly string[]; readonly keys: readonly string[] }

/**
 * envoy Secret, as far as TLS settings name it. `blocked`: roots that cannot be taken as they were sent; those before
 * them could let somebody in whom these keep out.
 */
export type Secret =
  | { readonly kind: 'certificate'; readonly certificate: CertificateRef }
  | { readonly kind: 'roots'; readonly validation: PeerValidation }
  | { readonly kind: 'blocked'; readonly reason: string }

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
export type DownstreamTls = TlsCommon & {
  readonly requireClientCertificate: boolean
  /** Instead of certificates (RFC 4279, RFC 5489); agent.yaml only. */
  readonly psk?: PskSettings
}
export type PskSettings = {
  /** Sent to the client where it helps it to choose. */
  readonly hint: string
  /** Undefined: nobody has that identity. */
  readonly find: (identity: string) => Uint8Array | undefined
}
/**
 * envoy UpstreamTlsContext. `sni` empty = none sent, unless `autoSni`: then the request's host. `sniOfEndpoint`: the
 * endpoint's own name, where it has one (auto_host_sni). `autoSan`: a name that the certificate must have: the
 * request's `host` beside `validation.sans` (auto_san_validation), or the `sni` that was sent in place of them.
 */
export type UpstreamTls = TlsCommon & {
  readonly sni: string
  /** Offered instead of `alpnProtocols`, also to the mesh. */
  readonly onlyAlpn?: readonly string[]
  readonly autoSni: boolean
  readonly sniOfEndpoint?: true
  readonly autoSan?: 'host' | 'sni'
}

/**
 * Whether a handshake under one set of rules is one under the other. A renewed certificate of ours is for new
 * handshakes: what the client has proved is not concerned.
 */
export function isSameForClients(a: DownstreamTls | undefined, b: DownstreamTls | undefined): boolean {
  const describe = (tls: DownstreamTls | undefined): string =>
    JSON.stringify(tls && { ...tls, certificate: tls.certificate?.from })
  return a === b || describe(a) === describe(b)
}
