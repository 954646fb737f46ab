/**
 * X.509 certificates (RFC 5280): the to-be-signed part is built with node-forge's ASN.1, the ECDSA signature comes from
 * node:crypto.
 */
import { createHash, randomBytes, sign, type KeyObject } from 'node:crypto'
import { MeshError } from '../../core/errors.ts'
import { ipBytes } from '../../model/ip.ts'
import * as der from './der.ts'

/** One subjectAltName (RFC 5280 §4.2.1.6). */
export type AltName = { readonly kind: 'uri' | 'dns' | 'ip'; readonly value: string }

export type CertificateFields = {
  readonly publicKey: KeyObject
  readonly issuer: { readonly name: der.Der; readonly keyId: Buffer; readonly key: KeyObject }
  /** The whole name; an empty sequence makes subjectAltName critical (RFC 5280 §4.2.1.6). */
  readonly subject: der.Der
  readonly use: 'ca' | 'workload'
  readonly altNames: readonly AltName[]
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** Big-endian; default: 16 random bytes. */
  readonly serial?: Buffer
}

const OID = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  ecdsaSha256: '1.2.840.10045.4.3.2',
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  altName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyId: '2.5.29.35',
  extKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
}
/**
 * First byte of the BIT STRING and its unused bits (RFC 5280 §4.2.1.3). keyEncipherment means something for RSA only.
 */
const KEY_USAGE = { ca: [0x06, 1], rsa: [0xa0, 5], ec: [0x80, 7] } as const

export const encodeEmptyName = (): der.Der => der.sequence()
export function encodeCaName(organization: string, commonName: string): der.Der {
  const attribute = (type: string, text: string): der.Der => der.setOf(der.sequence(der.oid(type), der.utf8(text)))
  return der.sequence(attribute(OID.organization, organization), attribute(OID.commonName, commonName))
}

/** RFC 7093 §2 (1): the leftmost 160 bits of the SHA-256 of the public key's bits. */
export function hashKeyId(publicKey: KeyObject): Buffer {
  const spki = der.decode(publicKey.export({ type: 'spki', format: 'der' }))
  return createHash('sha256')
    .update(der.readContent(der.getChild(spki, 1)).subarray(1))
    .digest()
    .subarray(0, 20)
}

export type Built = { readonly pem: string; readonly serial: string }

/** A certificate that `issuer.key` (P-256) signed with ecdsa-with-SHA256. Dates are rounded down to seconds. */
export function buildCertificate(f: CertificateFields): Built {
  const serial = f.serial ?? randomSerial()
  const algorithm = der.sequence(der.oid(OID.ecdsaSha256))
  const tbs = der.sequence(
    der.explicit(0, der.integer(Uint8Array.of(2))), // v3
    der.integer(serial),
    algorithm,
    f.issuer.name,
    der.sequence(der.time(f.notBeforeMs), der.time(f.notAfterMs)),
    f.subject,
    der.decode(f.publicKey.export({ type: 'spki', format: 'der' })),
    der.explicit(3, der.sequence(...extensions(f))),
  )
  const signature = sign('sha256', der.encode(tbs), { key: f.issuer.key, dsaEncoding: 'der' })
  return {
    pem: der.toPem('CERTIFICATE', der.encode(der.sequence(tbs, algorithm, der.bits(signature)))),
    serial: serial.toString('hex'),
  }
}

function extensions(f: CertificateFields): der.Der[] {
  const usage = KEY_USAGE[f.use === 'ca' ? 'ca' : f.publicKey.asymmetricKeyType === 'rsa' ? 'rsa' : 'ec']
  const all = [
    extension(OID.basicConstraints, 'critical', f.use === 'ca' ? der.sequence(der.boolean('true')) : der.sequence()),
    extension(OID.keyUsage, 'critical', der.bits(Uint8Array.of(usage[0]), usage[1])),
    extension(OID.subjectKeyId, 'plain', der.octets(hashKeyId(f.publicKey))),
    extension(OID.authorityKeyId, 'plain', der.sequence(der.implicit(0, f.issuer.keyId))),
  ]
  if (f.use === 'workload')
    all.push(extension(OID.extKeyUsage, 'plain', der.sequence(der.oid(OID.serverAuth), der.oid(OID.clientAuth))))
  if (f.altNames.length)
    all.push(
      extension(
        OID.altName,
        der.listChildren(f.subject).length ? 'plain' : 'critical',
        der.sequence(...f.altNames.map(altName)),
      ),
    )
  return all
}

const extension = (id: string, weight: 'critical' | 'plain', value: der.Der): der.Der =>
  der.sequence(der.oid(id), ...(weight === 'critical' ? [der.boolean('true')] : []), der.octets(der.encode(value)))

function altName({ kind, value }: AltName): der.Der {
  switch (kind) {
    case 'uri':
      return der.implicit(6, Buffer.from(value, 'ascii'))
    case 'dns':
      return der.implicit(2, Buffer.from(value, 'ascii'))
    case 'ip': {
      const bytes = ipBytes(value)
      if (!bytes) throw new MeshError('MESH_INTERNAL', `${value} is not an address`)
      return der.implicit(7, bytes)
    }
    default:
      return kind satisfies never
  }
}

/** Positive and at most 16 bytes (RFC 5280 §4.1.2.2 allows 20), not beginning with a zero byte. */
function randomSerial(): Buffer {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0]! & 0x7f) | 0x40
  return bytes
}

/**
 * Subject name and subject key id of an issuer's certificate, as its leaves must repeat them. Throws
 * MESH_MALFORMED_INPUT.
 */
export function encodeIssuerParts(certificateDer: Buffer): { name: der.Der; keyId: Buffer | undefined } {
  const tbs = der.getChild(der.decode(certificateDer), 0)
  const name = der.getChild(tbs, 5) // [0] version, serial, algorithm, issuer, validity, subject
  const last = der.listChildren(tbs).at(-1)
  for (const ext of last ? der.listChildren(der.getChild(last, 0)) : []) {
    if (der.readOid(der.getChild(ext, 0)) !== OID.subjectKeyId) continue
    return { name, keyId: der.readContent(der.decode(der.readContent(der.listChildren(ext).at(-1)!))) }
  }
  return { name, keyId: undefined }
}
