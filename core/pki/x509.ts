/** Fields of certificates (RFC 5280 §4) that node:crypto does not show, and certificate revocation lists (§5). */
import { createPublicKey, verify, X509Certificate, type KeyObject } from 'node:crypto'
import { readDerChildren, readDerTime, readDerValue, TAG, type DerValue } from './der.ts'

/** Content octets of the OBJECT IDENTIFIER in hex: 2.5.29.n is 551d and n. */
export const EXTENSION = {
  keyUsage: '551d0f',
  altName: '551d11',
  basicConstraints: '551d13',
  crlNumber: '551d14',
  nameConstraints: '551d1e',
  authorityKeyId: '551d23',
  extKeyUsage: '551d25',
} as const
export type Extension = { readonly id: string; readonly critical: boolean; readonly value: Buffer }

export type CertificateFields = {
  /** DER of the names, for comparison byte by byte. */
  readonly issuer: Buffer
  readonly subject: Buffer
  /** Content octets of the INTEGER, hex. */
  readonly serial: string
  readonly extensions: readonly Extension[]
}

const known = new WeakMap<X509Certificate, CertificateFields>()

/** Throws RangeError; OpenSSL has read the same bytes, so it does not happen. */
export function readFields(certificate: X509Certificate): CertificateFields {
  const before = known.get(certificate)
  if (before) return before
  const [tbs] = readDerChildren(readDerValue(certificate.raw))
  const parts = readDerChildren(tbs!)
  // [0] version; without it the certificate is of version 1 and has no extensions.
  const from = parts[0]?.tag === 0xa0 ? 1 : 0
  const [serial, , issuer, , subject] = parts.slice(from)
  if (!serial || !issuer || !subject) throw new RangeError('not a certificate')
  const wrapped = parts.find((p) => p.tag === 0xa3)
  const fields = {
    issuer: issuer.whole,
    subject: subject.whole,
    serial: serial.content.toString('hex'),
    extensions: wrapped ? extensionsIn(wrapped) : [],
  }
  known.set(certificate, fields)
  return fields
}

function extensionsIn(wrapped: DerValue): Extension[] {
  const [list] = readDerChildren(wrapped)
  return readDerChildren(list!).map((one) => {
    const [id, second, third] = readDerChildren(one)
    const value = third ?? second
    if (id?.tag !== TAG.oid || value?.tag !== TAG.octets) throw new RangeError('not an extension')
    return {
      id: id.content.toString('hex'),
      critical: third !== undefined && second!.content[0] === 0xff,
      value: value.content,
    }
  })
}

/** pathLenConstraint (§4.2.1.9): how many intermediates may stand below; Infinity = any number. */
export function readPathLength({ extensions }: CertificateFields): number {
  const basic = extensions.find((e) => e.id === EXTENSION.basicConstraints)
  const length = basic && readDerChildren(readDerValue(basic.value)).find((v) => v.tag === TAG.integer)
  if (!length) return Infinity
  return length.content.length > 2 || length.content[0]! >= 0x80
    ? 0
    : length.content.readUIntBE(0, length.content.length)
}

/** First octet of keyUsage (§4.2.1.3), bit 0 = 0x80; undefined = the certificate restricts nothing. */
export function readKeyUsage({ extensions }: CertificateFields): number | undefined {
  const usage = extensions.find((e) => e.id === EXTENSION.keyUsage)
  return usage && (readDerValue(usage.value).content[1] ?? 0)
}

export type Crl = {
  /** DER of the issuer's name. */
  readonly issuer: Buffer
  readonly thisUpdateMs: number
  /** Infinity = the list names no next one. */
  readonly nextUpdateMs: number
  /** Serials as in CertificateFields. */
  readonly revoked: ReadonlySet<string>
  isSignedBy(key: KeyObject): boolean
}

/**
 * Every X509 CRL block of a PEM text. Throws RangeError for one that is none, or that has a critical extension (it
 * would mean less than it seems to).
 */
export function parseCrls(pem: string): Crl[] {
  const blocks = pem.split('-----BEGIN X509 CRL-----').slice(1)
  if (blocks.length === 0) throw new RangeError('there is no X509 CRL')
  return blocks.map((block) => {
    const end = block.indexOf('-----END X509 CRL-----')
    if (end < 0) throw new RangeError('an X509 CRL is cut short')
    return crlOf(Buffer.from(block.slice(0, end), 'base64'))
  })
}

function crlOf(der: Buffer): Crl {
  const [tbs, algorithm, signature] = readDerChildren(readDerValue(der))
  if (!tbs || !algorithm || signature?.tag !== TAG.bits) throw new RangeError('not a revocation list')
  const parts = readDerChildren(tbs)
  const from = parts[0]?.tag === TAG.integer ? 1 : 0
  const [, issuer, thisUpdate, ...rest] = parts.slice(from)
  if (!issuer || !thisUpdate) throw new RangeError('not a revocation list')
  const next = rest[0] && (rest[0].tag === TAG.utcTime || rest[0].tag === TAG.generalizedTime) ? rest[0] : undefined
  const entries = rest.find((p) => p.tag === TAG.sequence)
  const wrapped = rest.find((p) => p.tag === 0xa0)
  if (wrapped && extensionsIn(wrapped).some((e) => e.critical))
    throw new RangeError('a revocation list with a critical extension')
  const digest = digestOf(algorithm)
  return {
    issuer: issuer.whole,
    thisUpdateMs: readDerTime(thisUpdate),
    nextUpdateMs: next ? readDerTime(next) : Infinity,
    revoked: new Set(
      entries ? readDerChildren(entries).map((e) => readDerChildren(e)[0]!.content.toString('hex')) : [],
    ),
    isSignedBy: (key) =>
      verify(
        digest,
        tbs.whole,
        createPublicKey(key.export({ type: 'spki', format: 'pem' })),
        signature.content.subarray(1),
      ),
  }
}

/** ecdsa-with-SHA2 and RSA PKCS #1 with SHA2; null for Ed25519 and Ed448. */
function digestOf(algorithm: DerValue): string | null {
  const id = readDerChildren(algorithm)[0]!.content.toString('hex')
  const digest = DIGESTS[id]
  if (digest === undefined) throw new RangeError('a revocation list with a signature that is not accepted')
  return digest
}
const DIGESTS: Readonly<Record<string, string | null>> = {
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2b6570': null,
  '2b6571': null,
}

/** The certificates of a PEM text, at most `max`. Throws what OpenSSL says of one that is none. */
export function parseCertificates(pem: string, max = 256): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----/g) ?? []
  if (blocks.length > max) throw new RangeError(`more than ${max} certificates`)
  return blocks.map((block) => new X509Certificate(block))
}
