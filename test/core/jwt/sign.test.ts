import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { isSignedBy } from '../../../core/jwt/algorithms.ts'
import { hashThumbprint, signJwt, toEs256Jwk } from '../../../core/jwt/sign.ts'

test('a thumbprint is that of RFC 7638, whatever order the members have', () => {
  // The key of RFC 7517 appendix A.1.
  const jwk = {
    kty: 'EC',
    crv: 'P-256',
    x: 'MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4',
    y: '4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM',
  } as const
  assert.equal(hashThumbprint(jwk), hashThumbprint({ y: jwk.y, x: jwk.x, crv: jwk.crv, kty: jwk.kty }))
  assert.match(hashThumbprint(jwk), /^[\w-]{43}$/)
})

test('what is signed is verified by the public half, and other kinds of keys have no ES256', () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const [header, payload, signature] = signJwt({ alg: 'ES256' }, { a: 1 }, privateKey).split('.') as [
    string,
    string,
    string,
  ]
  assert.ok(
    isSignedBy(
      'ES256',
      createPublicKey(privateKey),
      Buffer.from(`${header}.${payload}`),
      Buffer.from(signature, 'base64url'),
    ),
  )
  assert.equal(toEs256Jwk(privateKey)?.crv, 'P-256')
  assert.equal(toEs256Jwk(generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).privateKey), undefined)
  assert.equal(toEs256Jwk(generateKeyPairSync('ed25519').publicKey), undefined)
})
