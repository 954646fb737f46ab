/** A request's proof that its sender has the device's key, now and over this connection. */
import { createPublicKey, timingSafeEqual, type KeyObject } from 'node:crypto'
import { MeshError } from '../../core/errors.ts'
import { isSignedBy } from '../../core/jwt/algorithms.ts'
import { hashThumbprint, toEs256Jwk, type Es256Jwk } from '../../core/jwt/sign.ts'
import { PROOF_TYPE } from '../../model/fleet/enrollment.ts'

/** A token of 4 KiB, a certificate request of 16 KiB, base64 twice. */
export const MAX_PROOF_CHARS = 48 * 1024

export type Proof = {
  /** Thumbprint of the key. */
  readonly keyId: string
  /** What was signed; nothing is known of its form but that it is an object. */
  readonly claims: Readonly<Record<string, unknown>>
}
export type ProofOptions = {
  /** What the request is for: a proof for one path is none for another. */
  readonly path: string
  /** Of the connection (RFC 9266). */
  readonly binding: Buffer
}

/** Throws MESH_DEVICE_PROOF. */
export function verifyProof(jws: string, { path, binding }: ProofOptions): Proof {
  const [header, payload, signature, ...rest] = jws.length > MAX_PROOF_CHARS ? [] : jws.split('.')
  if (header === undefined || payload === undefined || signature === undefined || rest.length > 0)
    throw refuse('is no compact JWS')
  const { typ, alg, jwk } = parse(header)
  // RFC 8725 §3.1, §3.11: neither algorithm nor kind of token are taken from what is sent.
  if (typ !== PROOF_TYPE || alg !== 'ES256') throw refuse(`is not of type ${PROOF_TYPE} with ES256`)
  const key = readKey(jwk)
  const raw = Buffer.from(signature, 'base64url')
  if (raw.length !== 64 || !isSignedBy('ES256', key.key, Buffer.from(`${header}.${payload}`), raw))
    throw refuse('is not signed by the key that it shows')
  const claims = parse(payload)
  const bound = Buffer.from(typeof claims['cb'] === 'string' ? claims['cb'] : '', 'base64url')
  if (bound.length !== binding.length || !timingSafeEqual(bound, binding))
    throw refuse('was made for another connection')
  if (claims['htu'] !== path) throw refuse('was made for another request')
  return { keyId: hashThumbprint(key.jwk), claims }
}

function readKey(given: unknown): { key: KeyObject; jwk: Es256Jwk } {
  const { kty, crv, x, y } = Object(given) as Record<string, unknown>
  if (kty !== 'EC' || crv !== 'P-256' || typeof x !== 'string' || typeof y !== 'string')
    throw refuse('shows no P-256 key')
  try {
    // OpenSSL refuses a point that is not on the curve. What it has read counts: one key has one thumbprint.
    const key = createPublicKey({ key: { kty, crv, x, y }, format: 'jwk' })
    return { key, jwk: toEs256Jwk(key)! }
  } catch (cause) {
    throw refuse('shows a key that cannot be read', cause)
  }
}

function parse(part: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'))
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {
    /* told below */
  }
  throw refuse('holds a part that is no JSON object')
}

const refuse = (what: string, cause?: unknown): MeshError =>
  new MeshError('MESH_DEVICE_PROOF', `the proof of the device's key ${what}`, cause === undefined ? {} : { cause })
