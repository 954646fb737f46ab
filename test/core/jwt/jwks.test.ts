import { test } from 'node:test'
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { MAX_JWKS_BYTES, MAX_KEYS, parseJwks, readJwks } from '../../../core/jwt/jwks.ts'
import { createKey } from '../../helpers/jwt.ts'

const { jwk } = createKey('ES256', 'k1')
const publicJwk = (make: () => { publicKey: { export(o: { format: 'jwk' }): object } }): object =>
  make().publicKey.export({ format: 'jwk' })

test('keys that are for something else are passed over and named', () => {
  const small = publicJwk(() => generateKeyPairSync('rsa', { modulusLength: 1024 }))
  const { keys, unused } = readJwks({
    keys: [
      jwk,
      { kty: 'oct', k: 'c2VjcmV0', alg: 'HS256' },
      { kty: 'oct', k: 'c2VjcmV0' },
      { ...jwk, use: 'enc' },
      { ...jwk, key_ops: ['sign'] },
      { ...jwk, alg: 'HS256' },
      { ...jwk, kid: 7 },
      { ...jwk, x: 'AAAA' },
      small,
      publicJwk(() => generateKeyPairSync('ec', { namedCurve: 'secp256k1' })),
      publicJwk(() => generateKeyPairSync('x25519')),
      'x',
      null,
    ],
  })
  assert.deepEqual(
    keys.map(({ id, algorithm, key }) => [id, algorithm, key.type]),
    [['k1', 'ES256', 'public']],
  )
  assert.deepEqual(
    unused.map((line) => line.replace(/: .*/, '')),
    [
      'keys[1] is a key for "HS256"',
      'keys[2] is a key of type "oct"',
      'keys[3] is a key for the use "enc"',
      'keys[4] is a key that is not for `verify`',
      'keys[5] is a key for "HS256"',
      'keys[6] is a key whose kid is no text',
      'keys[7] is a key that cannot be read',
      'keys[8] is an RSA key of 1024 bits; 2048 to 8192 are taken',
      'keys[9] is a key on the curve secp256k1',
      'keys[10] is a key of type x25519',
      'keys[11] is no object',
      'keys[12] is no object',
    ],
  )
})

test('of a private key only the public half is kept', () => {
  const { privateKey } = generateKeyPairSync('ed25519')
  const [one] = readJwks({ keys: [privateKey.export({ format: 'jwk' })] }).keys
  assert.equal(one?.key.type, 'public')
})

test('what is no set, or a set of nothing, is refused with the reason; so is one that is too large', () => {
  for (const [text, reason] of [
    ['', /no JSON/],
    ['[]', /no list `keys`/],
    ['{"keys":{}}', /no list `keys`/],
    ['{"keys":[]}', /none of its 0 keys/],
    ['{"keys":[{"kty":"oct","k":"AAAA"}]}', /none of its 1 keys can be used: keys\[0\] is a key of type "oct"/],
    [JSON.stringify({ keys: Array.from({ length: MAX_KEYS + 1 }, () => jwk) }), /65 keys; 64 are taken/],
    [' '.repeat(MAX_JWKS_BYTES + 1), /larger than/],
  ] as const)
    assert.throws(() => parseJwks(text), reason)
  assert.equal(parseJwks(JSON.stringify({ keys: [jwk] })).keys.length, 1)
})
