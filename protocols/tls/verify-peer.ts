/**
 * A peer's certificate by our own check (core/pki/verify-chain.ts) where OpenSSL's is not the right one: the
 * system's clock is known to be wrong, or an expired certificate of the site still counts. The handshake itself, with
 * the proof that the peer has the key, is OpenSSL's in any case.
 */
import type { X509Certificate } from 'node:crypto'
import { verifyChain, selectSentChain } from '../../core/pki/verify-chain.ts'
import { parseCertificates, parseCrls, type Crl } from '../../core/pki/x509.ts'
import { parseSpiffeId, type Identity, type PeerVerification, type ValidityRules } from '../../model/identity.ts'
import type { DownstreamTls, UpstreamTls } from '../../model/tls.ts'
import { Lru } from './lru.ts'
import { selectRoots } from './material.ts'
import { parseSubjectAltName } from './peer.ts'

export type VerifyOptions = {
  readonly settings: DownstreamTls | UpstreamTls
  readonly identity: Identity | undefined
  readonly rules: ValidityRules
  readonly verification: PeerVerification
  /** What the peer is. */
  readonly peer: 'client' | 'server'
  readonly certificate: X509Certificate
  /** What OpenSSL says, by the system's clock. */
  readonly authorized: boolean
}

/** @returns why the peer is refused; undefined = it is trusted. Names are the caller's to check. */
export function verifyPeer(o: VerifyOptions): string | undefined {
  const { verification, settings, identity, certificate } = o
  // A clock that is right leaves nothing to add to OpenSSL's yes.
  if (o.authorized && verification.clock === 'right') return undefined
  const spiffeUri = spiffeUriOf(certificate)
  const ofMesh = settings.validation?.roots.from === 'workload'
  const inGrace =
    ofMesh && spiffeUri !== undefined && verification.graceTrustDomains.includes(parseSpiffeId(spiffeUri)!.trustDomain)
  const answer = verifyChain({
    ...verification,
    graceMs: inGrace ? verification.graceMs : 0,
    peer: o.peer,
    chain: selectSentChain(certificate),
    roots: selectRoots(settings, identity).flatMap(parsedRoots),
    crls: [
      ofMesh ? identity?.crlPem : undefined,
      settings.validation?.crl?.from === 'pem' ? settings.validation.crl.crlPem : undefined,
    ].flatMap((pem) => (pem === undefined ? [] : parsedCrls(pem))),
  })
  if (!answer.ok) return answer.reason
  o.rules.accepted({ side: o.peer, notBeforeMs: answer.notBeforeMs, expiredMs: answer.expiredMs, spiffeUri })
  return undefined
}

/** X.509-SVID §2: exactly one URI. */
function spiffeUriOf({ subjectAltName }: X509Certificate): string | undefined {
  const uris = parseSubjectAltName(subjectAltName ?? '')?.filter((s) => s.type === 'URI') ?? []
  return uris.length === 1 ? parseSpiffeId(uris[0]!.value)?.uri : undefined
}

const parsedRoots = remembered<readonly X509Certificate[]>(256, parseCertificates)
const parsedCrls = remembered<readonly Crl[]>(4, parseCrls)

/** @param most texts whose result is kept */
function remembered<T extends object>(most: number, parse: (pem: string) => T): (pem: string) => T {
  const results = new Lru<string, T>(most)
  return (pem) => {
    const known = results.get(pem)
    if (known) return known
    const made = parse(pem)
    results.set(pem, made)
    return made
  }
}
