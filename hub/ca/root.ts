/**
 * The hub's root of trust in memory: one self-signed P-256 certificate with its key, and the leaves that it signs. No
 * files, no clock.
 */
import { createPrivateKey, generateKeyPairSync, X509Certificate, type KeyObject } from 'node:crypto'
import { MeshError, toMeshError } from '../../core/errors.ts'
import type { Der } from './der.ts'
import {
  buildCertificate,
  encodeCaName,
  encodeEmptyName,
  encodeIssuerParts,
  hashKeyId,
  type AltName,
  type Built,
} from './x509.ts'

export const ROOT_YEARS = 10
/** A device whose clock is a little late accepts a fresh certificate (istiod does the same). */
export const BACKDATED_MS = 120_000
const ROOT_VALID_MS = ROOT_YEARS * 365.25 * 86_400_000

export type Root = {
  readonly certificatePem: string
  readonly certificate: X509Certificate
  readonly issuer: { readonly name: Der; readonly keyId: Buffer; readonly key: KeyObject }
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

/** A new root for the trust domain, valid from `notBeforeMs` for ten years. */
export function createRoot(p: { readonly trustDomain: string; readonly notBeforeMs: number }): {
  root: Root
  keyPem: string
} {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const name = encodeCaName(p.trustDomain, 'meshlet hub root')
  const { pem } = buildCertificate({
    publicKey,
    issuer: { name, keyId: hashKeyId(publicKey), key: privateKey },
    subject: name,
    use: 'ca',
    altNames: [],
    notBeforeMs: p.notBeforeMs,
    notAfterMs: p.notBeforeMs + ROOT_VALID_MS,
  })
  const keyPem = privateKey.export({ type: 'pkcs8', format: 'pem' })
  return { root: readRoot(pem, keyPem), keyPem }
}

/**
 * Throws MESH_CA_DAMAGED when the two do not parse, do not belong together or are not those of a CA with a P-256 key.
 */
export function readRoot(certificatePem: string, keyPem: string): Root {
  try {
    const certificate = new X509Certificate(certificatePem)
    const key = createPrivateKey(keyPem)
    if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
      throw new MeshError('MESH_CA_DAMAGED', 'the root key is not a P-256 key')
    if (!certificate.checkPrivateKey(key))
      throw new MeshError('MESH_CA_DAMAGED', 'the root key does not belong to the root certificate')
    if (!certificate.ca) throw new MeshError('MESH_CA_DAMAGED', 'the root certificate is not that of a CA')
    const { name, keyId } = encodeIssuerParts(certificate.raw)
    return {
      certificatePem,
      certificate,
      issuer: { name, keyId: keyId ?? hashKeyId(certificate.publicKey), key },
      notBeforeMs: certificate.validFromDate.getTime(),
      notAfterMs: certificate.validToDate.getTime(),
    }
  } catch (thrown) {
    const err = toMeshError(thrown)
    throw err.code === 'MESH_CA_DAMAGED'
      ? err
      : new MeshError('MESH_CA_DAMAGED', 'root certificate or key cannot be read', { cause: thrown })
  }
}

/** A leaf for both sides of TLS, with an empty subject. `notAfterMs` is cut to the root's own. */
export function signLeaf(
  root: Root,
  p: {
    readonly publicKey: KeyObject
    readonly altNames: readonly AltName[]
    readonly notBeforeMs: number
    readonly notAfterMs: number
  },
): Built & { notAfterMs: number } {
  const notAfterMs = Math.floor(Math.min(p.notAfterMs, root.notAfterMs) / 1_000) * 1_000
  return {
    ...buildCertificate({ ...p, notAfterMs, issuer: root.issuer, subject: encodeEmptyName(), use: 'workload' }),
    notAfterMs,
  }
}
