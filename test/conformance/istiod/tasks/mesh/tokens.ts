/** Tokens of an issuer outside of the mesh, as Istio's testing@secure.istio.io. */
import { generateKeyPairSync, sign } from 'node:crypto'

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const KEY_ID = 'tasks'
export const ISSUER = 'testing@secure.istio.io'
export const JWKS = JSON.stringify({
  keys: [{ ...publicKey.export({ format: 'jwk' }), kid: KEY_ID, alg: 'RS256', use: 'sig' }],
})

/** RS256, valid for an hour. A negative life makes one that has expired. */
export function makeToken(claims: object = {}, lifeSec = 3600): string {
  const nowSec = Math.floor(Date.now() / 1000)
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signed = `${part({ alg: 'RS256', kid: KEY_ID, typ: 'JWT' })}.${part({
    iss: ISSUER,
    sub: ISSUER,
    iat: nowSec - 7200,
    exp: nowSec + lifeSec,
    ...claims,
  })}`
  return `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`
}
export const bearer = (token: string): { readonly headers: { readonly authorization: string } } => ({
  headers: { authorization: `Bearer ${token}` },
})
