/** PEM texts → Identity, checked: what cannot serve as an identity must not become one. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { MeshError } from '../../core/errors.ts'
import { parseSpiffeId, type Identity } from '../../model/identity.ts'

export type IdentityPems = { readonly keyPem: string; readonly chainPem: string; readonly rootsPem: string }

/**
 * Throws MESH_IDENTITY_DAMAGED when a part cannot be read, key and certificate do not belong together, or the
 * certificate names no SPIFFE id.
 */
export function parseIdentity({ keyPem, chainPem, rootsPem }: IdentityPems): Identity {
  const leaf = part('certificate', () => new X509Certificate(chainPem))
  const key = part('key', () => createPrivateKey(keyPem))
  part('root certificate', () => new X509Certificate(rootsPem))
  if (!leaf.checkPrivateKey(key))
    throw new MeshError('MESH_IDENTITY_DAMAGED', 'the certificate was not made for the key beside it')
  const uris = [...(leaf.subjectAltName ?? '').matchAll(/URI:([^,"]+)/g)].map((m) => m[1]!)
  const spiffeId = uris.length === 1 ? parseSpiffeId(uris[0]!) : undefined
  if (!spiffeId)
    throw new MeshError(
      'MESH_IDENTITY_DAMAGED',
      `the certificate names ${uris.length === 0 ? 'no SPIFFE id' : uris.join(', ')}`,
    )
  return {
    spiffeId,
    keyPem,
    chainPem,
    rootsPem,
    serial: leaf.serialNumber.toLowerCase(),
    notBeforeMs: leaf.validFromDate.getTime(),
    notAfterMs: leaf.validToDate.getTime(),
  }
}

function part<T>(what: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    throw new MeshError('MESH_IDENTITY_DAMAGED', `the ${what} cannot be read`, { cause })
  }
}
