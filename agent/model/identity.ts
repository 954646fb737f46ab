/** SPIFFE identity documents as the data path and the control plane share them. */

/** spiffe://<trustDomain>/ns/<namespace>/sa/<serviceAccount>; the last two are undefined for other paths. */
export type SpiffeId = {
  readonly uri: string
  readonly trustDomain: string
  readonly namespace: string | undefined
  readonly serviceAccount: string | undefined
}

/** @returns undefined unless `uri` is a SPIFFE id (SPIFFE-ID §2): scheme spiffe, a trust domain of [a-z0-9.-_], no query or fragment. */
export function parseSpiffeId(uri: string): SpiffeId | undefined {
  const whole = /^spiffe:\/\/([a-z0-9._-]{1,255})((?:\/[A-Za-z0-9._-]+)*)$/.exec(uri)
  if (!whole || uri.length > 2048) return undefined
  const istio = /^\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(whole[2]!)
  return { uri, trustDomain: whole[1]!, namespace: istio?.[1], serviceAccount: istio?.[2] }
}

/** One key with its certificates, PEM. `rootsPem` is what peers are checked against. Times are milliseconds since the epoch. */
export type Identity = {
  readonly spiffeId: SpiffeId
  readonly keyPem: string
  /** Leaf first, then intermediates. */
  readonly chainPem: string
  readonly rootsPem: string
  readonly serial: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

/** Where the data path gets the workload's certificate. A swap concerns new handshakes only; open connections go on. */
export interface IdentitySource {
  /** Undefined until the agent is enrolled. */
  current(): Identity | undefined
  watch(fn: (next: Identity) => void): Disposable
}

/** Who the peer proved to be in a TLS handshake. */
export type PeerIdentity = {
  /** Undefined when the certificate carries no SPIFFE URI. */
  readonly spiffeId: SpiffeId | undefined
  readonly uriSans: readonly string[]
  readonly dnsSans: readonly string[]
  /** RFC 2253 form, for x-forwarded-client-cert. */
  readonly subject: string
  /** SHA-256 of the leaf, lower-case hex, for x-forwarded-client-cert. */
  readonly sha256: string
  readonly notAfterMs: number
}
