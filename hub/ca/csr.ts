/**
 * PKCS#10 certificate requests (RFC 2986). Only the public key is taken: who the requester is, the caller knows from
 * elsewhere, and names, extensions and attributes of the request are ignored, as in istiod (security/pkg/server/ca).
 */
import { createPublicKey, verify, type KeyObject } from 'node:crypto'
import { MeshError } from '../../core/errors.ts'
import * as der from './der.ts'

const MAX_CSR_CHARS = 16_384
const MIN_RSA_BITS = 2_048
/** Verifying costs grow with the square. */
const MAX_RSA_BITS = 8_192
const CURVES = ['prime256v1', 'secp384r1']

/** signatureAlgorithm → hash and kind of key (RFC 5758 §3.2, RFC 4055 §5). */
const ALGORITHMS: Readonly<Record<string, { readonly hash: string; readonly key: 'ec' | 'rsa' }>> = {
  '1.2.840.10045.4.3.2': { hash: 'sha256', key: 'ec' },
  '1.2.840.10045.4.3.3': { hash: 'sha384', key: 'ec' },
  '1.2.840.10045.4.3.4': { hash: 'sha512', key: 'ec' },
  '1.2.840.113549.1.1.11': { hash: 'sha256', key: 'rsa' },
  '1.2.840.113549.1.1.12': { hash: 'sha384', key: 'rsa' },
  '1.2.840.113549.1.1.13': { hash: 'sha512', key: 'rsa' },
}

/**
 * The public key of a request whose signature proves possession of the private one. Throws MESH_MALFORMED_INPUT: no
 * PEM, no PKCS#10, a wrong signature, or a key other than P-256, P-384 or RSA of 2048 to 8192 bits.
 */
export function readPublicKey(csrPem: string): KeyObject {
  if (csrPem.length > MAX_CSR_CHARS) throw malformed(`is longer than ${MAX_CSR_CHARS} characters`)
  const bytes = der.fromPem(csrPem, ['CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST'])
  if (!bytes) throw malformed('is not PEM with a CERTIFICATE REQUEST')
  const request = der.decode(bytes)
  const info = der.getChild(request, 0)
  const algorithm = ALGORITHMS[der.readOid(der.getChild(der.getChild(request, 1), 0))]
  if (!algorithm)
    throw malformed(
      'is signed with an algorithm that is not accepted; accepted are ECDSA and RSA PKCS#1 with SHA-256, SHA-384 or SHA-512',
    )
  const key = acceptedKey(der.encode(der.getChild(info, 2))) // version, subject, subjectPKInfo
  const signature = der.readContent(der.getChild(request, 2))
  if (
    key.asymmetricKeyType !== algorithm.key ||
    signature[0] !== 0 ||
    !provesPossession(algorithm.hash, der.encode(info), key, signature.subarray(1))
  ) {
    throw malformed('carries a signature that its own key did not make')
  }
  return key
}

function acceptedKey(spki: Buffer): KeyObject {
  let key: KeyObject
  try {
    key = createPublicKey({ key: spki, format: 'der', type: 'spki' })
  } catch (cause) {
    throw malformed('holds no public key that can be read', cause)
  }
  const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {}
  const fits =
    key.asymmetricKeyType === 'ec'
      ? CURVES.includes(namedCurve ?? '')
      : key.asymmetricKeyType === 'rsa' &&
        modulusLength !== undefined &&
        modulusLength >= MIN_RSA_BITS &&
        modulusLength <= MAX_RSA_BITS
  if (!fits)
    throw malformed(
      `asks for a key that is not accepted; accepted are P-256, P-384 and RSA of ${MIN_RSA_BITS} to ${MAX_RSA_BITS} bits`,
    )
  return key
}

function provesPossession(hash: string, signed: Buffer, key: KeyObject, signature: Buffer): boolean {
  try {
    return verify(hash, signed, key, signature)
  } catch {
    return false
  }
}

const malformed = (what: string, cause?: unknown): MeshError =>
  new MeshError('MESH_MALFORMED_INPUT', `the certificate request ${what}`, cause === undefined ? {} : { cause })
