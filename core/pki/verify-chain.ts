/**
 * Is a certificate chain good at a time that is not the system clock's? OpenSSL, as Node gives it, goes by the
 * system's clock alone and names only one of the things that are wrong with a chain; so where that clock is known to be
 * wrong, or an expired certificate may still count for a while, everything that OpenSSL would check is checked here
 * (RFC 5280 §6.1 as OpenSSL's X509_verify_cert does it). What is not understood refuses.
 */
import type { KeyObject, X509Certificate } from 'node:crypto'
import { checkExpiry, checkValidity, type Dated } from './validity.ts'
import { EXTENSION, readFields, readKeyUsage, readPathLength, type Crl } from './x509.ts'

export type ChainQuestion = {
  /** As the peer sent it: leaf first, the rest in any order. */
  readonly chain: readonly X509Certificate[]
  readonly roots: readonly X509Certificate[]
  /**
   * Not empty: each certificate up to and with the root needs a list of its issuer that does not name it
   * (X509_V_FLAG_CRL_CHECK_ALL, as Envoy).
   */
  readonly crls: readonly Crl[]
  /** What the peer is in this handshake. */
  readonly peer: 'client' | 'server'
  readonly nowMs: number
  /**
   * `lower-bound`: it is `nowMs` or later. A NotBefore after it is then no fault but a signature that says how late it
   * is at least.
   */
  readonly clock: 'right' | 'lower-bound'
  /** How long after its NotAfter a certificate still counts. */
  readonly graceMs: number
}
export type ChainAnswer =
  /**
   * `notBeforeMs`: the newest of the chain, a signature that it is that late at least. `expiredMs`: how long ago the
   * first certificate of the chain expired; 0 = none has.
   */
  | { readonly ok: true; readonly notBeforeMs: number; readonly expiredMs: number }
  | { readonly ok: false; readonly reason: string }

/** Leaf, intermediates, root. */
const MAX_DEPTH = 8
const MAX_SENT = 16
/** Signatures checked for one chain; a peer must not make us work. */
const MAX_SIGNATURES = 32

const SIGNATURES = new Set([
  '1.2.840.10045.4.3.2',
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4', // ecdsa-with-SHA256, 384, 512
  '1.2.840.113549.1.1.11',
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13', // sha256, 384, 512 WithRSAEncryption
  '1.3.101.112',
  '1.3.101.113', // Ed25519, Ed448
])
const CURVES = new Set(['prime256v1', 'secp384r1', 'secp521r1'])
/** Their meaning is checked; any other critical one refuses. */
const UNDERSTOOD = new Set<string>([
  EXTENSION.keyUsage,
  EXTENSION.altName,
  EXTENSION.basicConstraints,
  EXTENSION.extKeyUsage,
])
const EXT_KEY_USAGE = { client: '1.3.6.1.5.5.7.3.2', server: '1.3.6.1.5.5.7.3.1' }
/**
 * digitalSignature or keyAgreement; a server may also have keyEncipherment (OpenSSL's purposes sslclient and
 * sslserver).
 */
const KEY_USAGE = { client: 0x88, server: 0xa8 }

/** Never throws. */
export function verifyChain(q: ChainQuestion): ChainAnswer {
  try {
    if (q.chain.length === 0) return refused('there is no certificate')
    if (q.chain.length > MAX_SENT) return refused(`more than ${MAX_SENT} certificates`)
    const path = pathToRoot(q)
    if (!path) return refused('it does not lead to a root that is trusted here')
    const fault = path
      .map((certificate, depth) => faultOf(certificate, depth, path.length, q))
      .find((f) => f !== undefined)
    if (fault !== undefined) return refused(fault)
    const dates = datesOf(path)
    const { notBeforeMs, notAfterMs } = dates
    if (q.clock === 'right' && checkValidity(dates, q.nowMs).state === 'not-yet')
      return refused(`it is not valid before ${new Date(notBeforeMs).toISOString()}`)
    const nowMs = Math.max(q.nowMs, notBeforeMs)
    const revoked = revocation(path, { ...q, nowMs })
    if (revoked !== undefined) return refused(revoked)
    const expiry = checkExpiry(dates, nowMs, q.graceMs)
    if (expiry.state === 'expired')
      return refused(
        `it expired at ${new Date(notAfterMs).toISOString()}${q.graceMs > 0 ? `, more than the ${Math.round(q.graceMs / 1000)} s of grace ago` : ''}`,
      )
    return { ok: true, notBeforeMs, expiredMs: expiry.state === 'grace' ? expiry.expiredMs : 0 }
  } catch (err) {
    return refused(`it cannot be read: ${err instanceof Error ? err.message : String(err)}`)
  }
}

const refused = (reason: string): ChainAnswer => ({ ok: false, reason })

/** When all of them are valid. */
function datesOf(path: readonly X509Certificate[]): Dated {
  return {
    notBeforeMs: Math.max(...path.map((c) => c.validFromDate.getTime())),
    notAfterMs: Math.min(...path.map((c) => c.validToDate.getTime())),
  }
}

function pathToRoot({ chain, roots }: ChainQuestion): X509Certificate[] | undefined {
  let signatures = 0
  const issued = (subject: X509Certificate, issuer: X509Certificate): boolean =>
    // Names and key ids are compared before the signature, which costs.
    issuer.ca && subject.checkIssued(issuer) && ++signatures <= MAX_SIGNATURES && subject.verify(issuer.publicKey)
  const sent = chain.slice(1)
  const extend = (path: X509Certificate[]): X509Certificate[] | undefined => {
    const last = path.at(-1)!
    const root = roots.find((r) => issued(last, r))
    if (root) return [...path, root]
    if (path.length >= MAX_DEPTH - 1) return undefined
    for (const next of sent) {
      const found = !path.includes(next) && issued(last, next) ? extend([...path, next]) : undefined
      if (found) return found
    }
    return undefined
  }
  return extend([chain[0]!])
}

function faultOf(
  certificate: X509Certificate,
  depth: number,
  length: number,
  { peer }: ChainQuestion,
): string | undefined {
  const fields = readFields(certificate)
  const isRoot = depth === length - 1
  const name = depth === 0 ? 'the certificate' : isRoot ? 'the root' : 'an intermediate certificate'
  if (!strong(certificate.publicKey)) return `${name} has a key that is too weak or of an unknown kind`
  // The root's own signature is no proof of anything.
  if (!isRoot && !SIGNATURES.has(certificate.signatureAlgorithmOid ?? ''))
    return `${name} has a signature of a kind that is not accepted`
  const unknown = fields.extensions.find(
    (e) => (e.critical && !UNDERSTOOD.has(e.id)) || e.id === EXTENSION.nameConstraints,
  )
  if (unknown) return `${name} has the extension ${unknown.id}, which is not understood here`
  if (new Set(fields.extensions.map((e) => e.id)).size !== fields.extensions.length)
    return `${name} has an extension twice`
  if (depth > 0 && readPathLength(fields) < depth - 1) return `${name} permits no chain that is so long`
  // Node gives extended key usages under the name keyUsage.
  const uses = certificate.keyUsage as readonly string[] | undefined
  if (!isRoot && uses && !uses.includes(EXT_KEY_USAGE[peer])) return `${name} was not made for a TLS ${peer}`
  const usage = readKeyUsage(fields)
  if (depth === 0 && usage !== undefined && (usage & KEY_USAGE[peer]) === 0)
    return 'the key of the certificate may not sign a handshake'
  return undefined
}

function strong(key: KeyObject): boolean {
  const { modulusLength, namedCurve } = key.asymmetricKeyDetails ?? {}
  const kind = key.asymmetricKeyType
  if (kind === 'rsa') return (modulusLength ?? 0) >= 2048
  return kind === 'ec' ? CURVES.has(namedCurve ?? '') : kind === 'ed25519' || kind === 'ed448'
}

function revocation(
  path: readonly X509Certificate[],
  { crls, nowMs, clock, graceMs }: ChainQuestion,
): string | undefined {
  if (crls.length === 0) return undefined
  for (const [depth, certificate] of path.entries()) {
    const issuer = path[depth + 1] ?? certificate
    const name = readFields(issuer).subject
    const lists = crls.filter(
      (crl) =>
        crl.issuer.equals(name) &&
        crl.isSignedBy(issuer.publicKey) &&
        crl.nextUpdateMs + graceMs > nowMs &&
        (clock === 'lower-bound' || crl.thisUpdateMs <= nowMs),
    )
    if (lists.length === 0) return 'there is no revocation list for it that is valid now'
    if (lists.some((crl) => crl.revoked.has(readFields(certificate).serial)))
      return depth === 0 ? 'the certificate is revoked' : 'a certificate of the chain is revoked'
  }
  return undefined
}

/** The chain that a peer sent, from what node:tls gives: each certificate names the next one. */
export function selectSentChain(leaf: X509Certificate): X509Certificate[] {
  const chain: X509Certificate[] = []
  for (let at: X509Certificate | undefined = leaf; at && chain.length <= MAX_SENT; at = at.issuerCertificate)
    chain.push(at)
  return chain
}
