/** Compact JWS (RFC 7515 §3.1) with ES256 (RFC 7518 §3.4), and thumbprints of its keys (RFC 7638). */
import { createHash, createPublicKey, sign, type KeyObject } from 'node:crypto'

export type Es256Jwk = { readonly kty: 'EC'; readonly crv: 'P-256'; readonly x: string; readonly y: string }
/** Signs bytes: r and s, 32 bytes each. */
export type Es256Signer = (signed: Buffer) => Buffer | Promise<Buffer>

export function encodeJson(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

export function signEs256(signed: Buffer, key: KeyObject): Buffer {
  return sign('sha256', signed, { key, dsaEncoding: 'ieee-p1363' })
}

/** A JWS by a key that is at hand. */
export function signJwt(header: object, payload: object, key: KeyObject): string {
  const input = `${encodeJson(header)}.${encodeJson(payload)}`
  return `${input}.${signEs256(Buffer.from(input), key).toString('base64url')}`
}

/** The public half of a P-256 key; undefined for any other. */
export function toEs256Jwk(key: KeyObject): Es256Jwk | undefined {
  const { kty, crv, x, y } = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'jwk' })
  return kty === 'EC' && crv === 'P-256' && x !== undefined && y !== undefined ? { kty, crv, x, y } : undefined
}

/** RFC 7638 §3.2: members in lexicographic order. */
export function hashThumbprint({ crv, kty, x, y }: Es256Jwk): string {
  return createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
}
