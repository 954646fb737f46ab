/** A relay connection's proof that who opened it has the device's key (model/fleet/connection-proof.ts). */
import { createPublicKey, ECDH, type KeyObject } from 'node:crypto'
import { MeshError } from '../../core/errors.ts'
import { isSignedBy } from '../../core/jwt/algorithms.ts'
import { hashThumbprint, toEs256Jwk } from '../../core/jwt/sign.ts'
import {
  decodeConnectionProof,
  SCHEME,
  type ProvedConnection,
  type ChainPosition,
} from '../../model/fleet/connection-proof.ts'

const WITH_KEY = new RegExp(`^${SCHEME} +([^ ]+) *$`, 'i')

/** Undefined: it is a proof of another kind. Throws MESH_DEVICE_PROOF. */
export function verifyConnectionProof(
  authorization: string | undefined,
  to: ProvedConnection,
): { readonly keyId: string; readonly position: ChainPosition } | undefined {
  const text = WITH_KEY.exec(authorization?.slice(0, 1_024) ?? '')?.[1]
  if (text === undefined) return undefined
  const proof = decodeConnectionProof(text, to)
  if (!proof) throw refuse('is none')
  const key = readKey(proof.key)
  if (!isSignedBy('ES256', key, proof.signed, proof.signature))
    throw refuse('is not signed by the key that it shows, or was made for another connection')
  return { keyId: hashThumbprint(toEs256Jwk(key)!), position: proof.position }
}

function readKey(compressed: Buffer): KeyObject {
  try {
    const point = ECDH.convertKey(compressed, 'prime256v1', undefined, undefined, 'uncompressed') as Buffer
    const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((n) => n.toString('base64url')) as [string, string]
    return createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' })
  } catch (cause) {
    throw refuse('shows a key that is not on the curve', cause)
  }
}

const refuse = (what: string, cause?: unknown): MeshError =>
  new MeshError('MESH_DEVICE_PROOF', `the proof of the device's key ${what}`, cause === undefined ? {} : { cause })
