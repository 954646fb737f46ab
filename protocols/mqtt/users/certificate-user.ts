/** The user that a client's certificate names, as mosquitto's use_identity_as_username and use_subject_as_username. */
import type { PeerIdentity } from '../../../model/identity.ts'
import type { ProxiedCertificate } from '../../connection.ts'
import type { CertificateUser } from '../../../model/mqtt/users.ts'
import { findUserNameProblem } from './user-name.ts'

/** @returns the name, or why there is none */
export function readCertificateUser(peer: PeerIdentity, from: CertificateUser): { readonly name: string } | string {
  const name = nameOf(peer, from)
  if (name === undefined || name === '') return `has no ${WORDS[from]}`
  const problem = findUserNameProblem(name)
  return problem === undefined ? { name } : `has a ${WORDS[from]} that ${problem}`
}

/** As a load balancer says that it has verified it, which is the common name alone. */
export function readProxiedUser(
  { commonName }: ProxiedCertificate,
  from: CertificateUser,
): { readonly name: string } | string {
  if (from !== 'cn') return `is known by its common name alone: the load balancer says no ${WORDS[from]}`
  if (commonName === undefined || commonName === '') return 'is none that the load balancer has verified'
  const problem = findUserNameProblem(commonName)
  return problem === undefined ? { name: commonName } : `has a ${WORDS.cn} that ${problem}`
}

const WORDS: Readonly<Record<CertificateUser, string>> = {
  spiffe: 'SPIFFE id',
  cn: 'one common name (CN)',
  'dns-san': 'DNS name among its alternative names',
  'uri-san': 'URI among its alternative names',
  subject: 'subject',
}

/** Of several alternative names the first, for their order is the authority's. */
function nameOf(peer: PeerIdentity, from: CertificateUser): string | undefined {
  switch (from) {
    case 'spiffe':
      return peer.spiffeId?.uri
    case 'cn':
      return readCommonName(peer.subject)
    case 'dns-san':
      return peer.dnsSans[0]
    case 'uri-san':
      return peer.uriSans[0]
    case 'subject':
      return peer.subject
    default:
      return from satisfies never
  }
}

/**
 * Of a subject as RFC 2253 writes it. Undefined when there is none or more than one: which of them was meant cannot be
 * told.
 */
export function readCommonName(subject: string): string | undefined {
  const found: string[] = []
  const attribute = /(?:^|[,+])([^=,+\\"]+)=((?:[^,+\\]|\\[0-9A-Fa-f]{2}|\\.)*)/gsy
  while (attribute.lastIndex < subject.length) {
    const one = attribute.exec(subject)
    if (!one) return undefined
    if (one[1] === 'CN') found.push(one[2]!)
  }
  return found.length === 1 ? unescaped(found[0]!) : undefined
}

function unescaped(value: string): string | undefined {
  // As DER, which is no text (RFC 2253 §2.4).
  if (value.startsWith('#')) return undefined
  const bytes = Buffer.concat(
    [...value.matchAll(/\\([0-9A-Fa-f]{2})|\\(.)|([^\\]+)/gs)].map(([, hex, one, text]) =>
      hex === undefined ? Buffer.from(one ?? text ?? '') : Buffer.from(hex, 'hex'),
    ),
  )
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}
