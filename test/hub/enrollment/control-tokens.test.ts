import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync, type webcrypto } from 'node:crypto'
import { isSignedBy } from '../../../core/jwt/algorithms.ts'
import { MeshError } from '../../../core/errors.ts'
import { ControlTokens } from '../../../hub/enrollment/control-tokens.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const issuer = 'https://hub.example.org:15443'
const made = (namedCurve = 'prime256v1') => {
  const clock = new SimClock()
  const key = generateKeyPairSync('ec', { namedCurve }).privateKey
  return { clock, tokens: new ControlTokens({ key, issuer, audience: 'istio-ca', ttlSec: 600, clock }) }
}
const read = (part: string): unknown => JSON.parse(Buffer.from(part, 'base64url').toString())

test('a token says which workload its bearer is, and the published key is that which has signed it', () => {
  const { clock, tokens } = made()
  const { token, ttlSec } = tokens.issue({ name: 'gw-1', namespace: 'edge', serviceAccount: 'gateway' })
  const [header, payload, signature] = token.split('.') as [string, string, string]
  const nowSec = Math.floor(clock.wallMs() / 1_000)
  const { jti, ...claims } = read(payload) as { jti: string }
  assert.deepEqual(claims, {
    iss: issuer,
    aud: ['istio-ca'],
    sub: 'system:serviceaccount:edge:gateway',
    iat: nowSec,
    exp: nowSec + 600,
    'meshlet.io/device': 'gw-1',
  })
  assert.equal(ttlSec, 600)
  const [jwk] = tokens.keySet.keys as [webcrypto.JsonWebKey & { kid: string }]
  assert.deepEqual(read(header), { alg: 'ES256', kid: jwk.kid, typ: 'JWT' })
  assert.deepEqual([jwk.alg, jwk.use, 'd' in jwk], ['ES256', 'sig', false])
  const key = createPublicKey({ key: jwk, format: 'jwk' })
  const signed = Buffer.from(`${header}.${payload}`)
  assert.ok(isSignedBy('ES256', key, signed, Buffer.from(signature, 'base64url')))
  const other = tokens.issue({ name: 'gw-1', namespace: 'edge', serviceAccount: 'gateway' }).token.split('.')[1]!
  assert.notEqual((read(other) as { jti: string }).jti, jti)
})

test('discovery leads to the keys, and says which algorithm they are for', () => {
  const { tokens } = made()
  assert.equal(tokens.discovery.issuer, issuer)
  assert.equal(tokens.discovery.jwks_uri, `${issuer}/v1/jwks.json`)
  assert.deepEqual(tokens.discovery.id_token_signing_alg_values_supported, ['ES256'])
})

test('a key of another kind is refused', () => {
  assert.throws(
    () => made('secp384r1'),
    (err) => err instanceof MeshError && err.code === 'MESH_STATE_UNUSABLE',
  )
})
