/** SPIFFE identity documents as the data path and the control plane share them. */
import type { MeshError } from '../core/errors.ts'

/** spiffe://<trustDomain>/ns/<namespace>/sa/<serviceAccount>; the last two are undefined for other paths. */
export type SpiffeId = {
  readonly uri: string
  readonly trustDomain: string
  readonly namespace: string | undefined
  readonly serviceAccount: string | undefined
}

/**
 * @returns undefined unless `uri` is a SPIFFE id (SPIFFE-ID §2): scheme spiffe, a trust domain of [a-z0-9.-_], no query
 * or fragment.
 */
export function parseSpiffeId(uri: string): SpiffeId | undefined {
  const whole = /^spiffe:\/\/([a-z0-9._-]{1,255})((?:\/[A-Za-z0-9._-]+)*)$/.exec(uri)
  if (!whole || uri.length > 2048) return undefined
  const istio = /^\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(whole[2]!)
  return { uri, trustDomain: whole[1]!, namespace: istio?.[1], serviceAccount: istio?.[2] }
}

/**
 * One key with its certificates, PEM. `rootsPem` is what peers are checked against. Times are milliseconds since the
 * epoch.
 */
export type Identity = {
  readonly spiffeId: SpiffeId
  readonly keyPem: string
  /** Leaf first, then intermediates. */
  readonly chainPem: string
  readonly rootsPem: string
  /**
   * Revocation lists of every CA of the mesh; then each certificate of a peer's chain needs one of its issuer (Envoy's
   * `crl`).
   */
  readonly crlPem?: string | undefined
  /**
   * Serials (lower-case hex) that lists of the control plane name, whose signatures were checked. Unlike `crlPem`, they
   * say nothing of other CAs.
   */
  readonly revoked?: ReadonlySet<string> | undefined
  readonly serial: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

/** Where the data path gets the workload's certificate. A swap concerns new handshakes only; open connections go on. */
export interface IdentitySource {
  /** Undefined until the agent is enrolled. */
  current(): Identity | undefined
  watch(fn: (next: Identity) => void): Disposable
  /** Where there are none, certificates count exactly as long as OpenSSL says by the system's clock. */
  readonly validity?: ValidityRules
}

/** By which time certificates are checked, and what goes on when they have expired. */
export interface ValidityRules {
  /** Why this agent may use its own certificate no more: MESH_IDENTITY_EXPIRED. */
  refusal(): MeshError | undefined
  /** Why nothing but what stays on this machine is carried (mode `serve-local`): MESH_IDENTITY_EXPIRED. */
  onlyLocal(): MeshError | undefined
  /** Undefined: OpenSSL's check by the system's clock is the right one. */
  peerVerification(): PeerVerification | undefined
  /**
   * Whether an open connection may go on with the certificates that it rests on, and by time alone for how long;
   * Infinity = for ever.
   */
  checkValidity(certificates: CertificatesUsed): ConnectionValidity
  /** From the time when a connection should end to when it is cut. */
  readonly endWithinMs: number
  /**
   * A peer got in by `peerVerification`: the newest signed time of its chain, and for how long its certificate has been expired
   * (0 = it has not).
   */
  accepted(peer: {
    readonly side: 'client' | 'server'
    readonly notBeforeMs: number
    readonly expiredMs: number
    readonly spiffeUri: string | undefined
  }): void
}

/** The reason is MESH_IDENTITY_EXPIRED for our certificate, MESH_PEER_EXPIRED for the peer's. */
export type ConnectionValidity =
  | { readonly state: 'valid'; readonly leftMs: number }
  | { readonly state: 'ended'; readonly reason: MeshError }

/** What an open connection rests on. */
export type CertificatesUsed = {
  /** Our own certificate was shown, or the peer was verified by the mesh's roots. */
  readonly usesIdentity: boolean
  /** Peer whose certificate was verified; undefined without one. */
  readonly peer: PeerIdentity | undefined
  /** By the mesh's own roots: then site-grace may count. */
  readonly byMeshRoots: boolean
  /** Both ends are on this machine. */
  readonly staysHere: boolean
}

/**
 * How peers are verified instead: see core/pki/verify-chain.ts. Grace is for peers of these trust domains that are
 * verified by the mesh's own roots.
 */
export type PeerVerification = {
  readonly nowMs: number
  readonly clock: 'right' | 'lower-bound'
  readonly graceMs: number
  readonly graceTrustDomains: readonly string[]
}

/** Identity that the peer has proved in a TLS handshake. */
export type PeerIdentity = {
  /** Undefined when the certificate carries no SPIFFE URI. */
  readonly spiffeId: SpiffeId | undefined
  readonly uriSans: readonly string[]
  readonly dnsSans: readonly string[]
  /** RFC 2253 form, for x-forwarded-client-cert. */
  readonly subject: string
  /** SHA-256 of the leaf, lower-case hex, for x-forwarded-client-cert. */
  readonly sha256: string
  /** Lower-case hex. */
  readonly serial?: string | undefined
  readonly notAfterMs: number
}
