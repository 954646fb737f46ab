/** Tokens and their issuers, valid or not, for tests. */
import { constants, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'

export type TestKey = {
  readonly alg: string
  readonly kid: string
  readonly privateKey: KeyObject
  readonly jwk: object
}

const pairs: Record<string, () => { privateKey: KeyObject; publicKey: KeyObject }> = {
  RS: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  PS: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ES384: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  ES512: () => generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
}

export function createKey(alg = 'ES256', kid = alg): TestKey {
  const { privateKey, publicKey } = (pairs[alg] ?? pairs[alg.slice(0, 2)])!()
  return { alg, kid, privateKey, jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' } }
}

export const part = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

export function signature(alg: string, key: KeyObject, signed: string): string {
  const data = Buffer.from(signed)
  const hash = `sha${alg.slice(2)}`
  switch (alg.slice(0, 2)) {
    case 'RS':
      return sign(hash, data, key).toString('base64url')
    case 'PS':
      return sign(hash, data, {
        key,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
      }).toString('base64url')
    case 'ES':
      return sign(hash, data, { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')
    default:
      return sign(null, data, key).toString('base64url')
  }
}

/** @param header added to alg and kid */
export function createToken({ alg, kid, privateKey }: TestKey, claims: object, header: object = {}): string {
  const signed = `${part({ alg, kid, ...header })}.${part(claims)}`
  return `${signed}.${signature(alg, privateKey, signed)}`
}
