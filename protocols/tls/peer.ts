/**
 * Who a certificate says it is. The certificate has been verified before; names are read here and nothing else is
 * decided.
 */
import net from 'node:net'
import { hash, type X509Certificate } from 'node:crypto'
import { parseSpiffeId, type Identity, type PeerIdentity } from '../../model/identity.ts'
import { matchesString } from '../../model/matcher.ts'
import type { Pins, SanMatch } from '../../model/tls.ts'

export type PeerCertificate = { readonly identity: PeerIdentity; readonly ipSans: readonly string[] }

/** More alternative names than this are not looked at: the peer is refused. */
const MAX_SANS = 1024

/** @returns undefined when the alternative names cannot be read without doubt; such a peer must be refused. */
export function readPeer(certificate: X509Certificate): PeerCertificate | undefined {
  const sans = parseSubjectAltName(certificate.subjectAltName ?? '')
  if (!sans) return undefined
  const named = (type: string): string[] => sans.filter((s) => s.type === type).map((s) => s.value)
  const uriSans = named('URI')
  return {
    ipSans: named('IP Address'),
    identity: {
      // X.509-SVID §2: exactly one URI SAN, else it is no SPIFFE id.
      spiffeId: uriSans.length === 1 ? parseSpiffeId(uriSans[0]!) : undefined,
      uriSans,
      dnsSans: named('DNS'),
      subject: rfc2253(certificate.subject),
      sha256: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
      serial: certificate.serialNumber.toLowerCase(),
      notAfterMs: certificate.validToDate.getTime(),
    },
  }
}

/** The mesh's control plane has revoked it. */
export function isRevoked({ identity: { serial } }: PeerCertificate, own: Identity | undefined): boolean {
  return serial !== undefined && own?.revoked?.has(serial) === true
}

/**
 * Reads Node's text form of a subjectAltName: `TYPE:value, TYPE:value`. A value that holds anything able to imitate the
 * separators is a JSON string there, so "DNS:x, URI:spiffe://…" inside one DNS name stays one DNS name.
 * @returns undefined when the text does not follow that form to its end.
 */
export function parseSubjectAltName(
  text: string,
): readonly { readonly type: string; readonly value: string }[] | undefined {
  const sans: { type: string; value: string }[] = []
  const one = /([A-Za-z][A-Za-z0-9 ]*):(?:"((?:[^"\\]|\\.)*)"|([^",]*))(?:, |$)/y
  while (one.lastIndex < text.length) {
    const found = one.exec(text)
    if (!found || sans.length === MAX_SANS) return undefined
    const value = found[2] === undefined ? found[3]! : unescaped(found[2])
    if (value === undefined) return undefined
    sans.push({ type: found[1]!, value })
  }
  return text.endsWith(', ') ? undefined : sans
}

/**
 * True when one name of the certificate matches one of the matchers; an empty list asks for nothing (Envoy
 * match_typed_subject_alt_names).
 */
export function matchesSans(matchers: readonly SanMatch[], peer: PeerCertificate): boolean {
  return (
    matchers.length === 0 ||
    matchers.some((m) => {
      const { uriSans, dnsSans } = peer.identity
      switch (m.type) {
        case 'uri':
          return uriSans.some((s) => matchesString(m.match, s))
        case 'dns':
          return dnsSans.some((s) => matchesDns(m, s))
        case 'ip':
          return peer.ipSans.some((s) => matchesString(m.match, s))
        case 'any':
          return (
            dnsSans.some((s) => matchesDns(m, s)) || [...uriSans, ...peer.ipSans].some((s) => matchesString(m.match, s))
          )
        default:
          return m.type satisfies never
      }
    })
  )
}

/** Envoy verify_certificate_hash and verify_certificate_spki: one of either is enough; without any nothing is asked for. */
export function isPinned(pins: Pins | undefined, certificate: X509Certificate): boolean {
  if (!pins) return true
  const { fingerprint256, publicKey } = certificate
  return (
    pins.certificates.includes(fingerprint256.replaceAll(':', '').toLowerCase()) ||
    pins.keys.includes(hash('sha256', publicKey.export({ type: 'spki', format: 'der' }), 'base64'))
  )
}

/** An exact matcher accepts a wildcard name of the certificate for one label (RFC 6125 §6.4.3), as in Envoy. */
function matchesDns({ match }: SanMatch, san: string): boolean {
  if (match.kind !== 'exact') return matchesString(match, san)
  const [name, pattern] = [match.value.toLowerCase(), san.toLowerCase()]
  if (name === pattern) return true
  const dot = name.indexOf('.')
  return pattern.startsWith('*.') && dot > 0 && pattern.slice(1) === name.slice(dot) && net.isIP(name) === 0
}

function unescaped(inner: string): string | undefined {
  try {
    return JSON.parse(`"${inner}"`) as string
  } catch {
    return undefined
  }
}

/**
 * Node gives one relative name per line in the certificate's order, escaped as RFC 2253 asks; RFC 2253 §2.1 wants the
 * reverse order.
 */
function rfc2253(subject: string | undefined): string {
  return (subject ?? '')
    .split('\n')
    .filter(Boolean)
    .reverse()
    .map((rdn) => rdn.replaceAll(' + ', '+'))
    .join(',')
}
