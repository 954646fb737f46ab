import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { NO_KEYS, readJwks } from '../../../core/jwt/jwks.ts'
import {
  hasKeyFor,
  readClaimedIssuer,
  JWT_REFUSALS,
  looksLikeJwt,
  MAX_TOKEN_BYTES,
  verifyJwt,
  type JwtAnswer,
  type JwtIssuer,
  type JwtTime,
} from '../../../core/jwt/verify.ts'
import { createKey, createToken, part, signature, type TestKey } from '../../helpers/jwt.ts'

const NOW_SEC = 1_800_000_000
const TIME: JwtTime = { nowMs: NOW_SEC * 1_000 }
const CLAIMS = { iss: 'https://id.example', sub: 'pump-7', aud: 'mqtt', exp: NOW_SEC + 3_600 }
const KEY = createKey('ES256', 'k1')
const RSA = createKey('RS256', 'r1')

const issuerOf = (keys: readonly TestKey[], audiences: readonly string[] = ['mqtt']): JwtIssuer => ({
  issuer: 'https://id.example',
  audiences,
  jwks: readJwks({ keys: keys.map(({ jwk }) => jwk) }),
})
const ISSUER = issuerOf([KEY, RSA])
const said = (answer: JwtAnswer): string => (answer.valid ? 'valid' : answer.reason)
const ask = (token: string, by: JwtIssuer = ISSUER, time: JwtTime = TIME): string => said(verifyJwt(token, by, time))

for (const alg of ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']) {
  test(`${alg}: a token of the issuer is valid, one letter changed anywhere is not`, () => {
    const key = createKey(alg)
    const by = issuerOf([key])
    const token = createToken(key, CLAIMS)
    const answer = verifyJwt(token, by, TIME)
    assert.ok(answer.valid)
    assert.equal(answer.claims['sub'], 'pump-7')
    assert.equal(answer.expiresAtMs, (NOW_SEC + 3_600 + 60) * 1_000)
    for (let at = 0; at < token.length; at += 7) {
      const letter = token[at] === 'A' ? 'B' : 'A'
      if (token[at] !== '.') assert.notEqual(ask(token.slice(0, at) + letter + token.slice(at + 1), by), 'valid')
    }
    assert.equal(ask(createToken({ ...createKey(alg), kid: key.kid }, CLAIMS), by), 'signature')
  })
}

test('none, and HMAC with what is public as its secret, are no algorithms', () => {
  for (const alg of ['none', 'None', 'NONE', 'nOnE', '', 'toString', '__proto__', 'constructor']) {
    assert.equal(ask(`${part({ alg })}.${part(CLAIMS)}.`), 'malformed')
    assert.equal(ask(`${part({ alg, kid: 'k1' })}.${part(CLAIMS)}.${part('x')}`), 'algorithm')
  }
  const pem = RSA.privateKey
  for (const secret of [JSON.stringify(RSA.jwk), pem.export({ format: 'pem', type: 'pkcs8' }).toString()]) {
    const signed = `${part({ alg: 'HS256', kid: 'r1' })}.${part(CLAIMS)}`
    const token = `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
    assert.equal(ask(token), 'algorithm')
  }
})

test('an algorithm is for its own kind of key, and for the one that the key names', () => {
  // A token that names the RSA key and an algorithm of another kind, and the other way round.
  const confused = (alg: string, kid: string): string => {
    const signed = `${part({ alg, kid })}.${part(CLAIMS)}`
    return `${signed}.${signature('RS256', RSA.privateKey, signed)}`
  }
  assert.equal(ask(confused('ES256', 'r1')), 'key')
  assert.equal(ask(confused('RS256', 'k1')), 'key')
  assert.equal(ask(confused('PS256', 'r1')), 'key')
  const { alg: _, ...jwk } = RSA.jwk as { alg: string }
  const anyAlgorithm = { ...ISSUER, jwks: readJwks({ keys: [jwk] }) }
  assert.equal(ask(createToken({ ...RSA, alg: 'PS256' }, CLAIMS), anyAlgorithm), 'valid')
  assert.equal(ask(createToken({ ...RSA, alg: 'RS512' }, CLAIMS), anyAlgorithm), 'valid')
  assert.deepEqual(
    [ask(confused('ES256', 'r1'), anyAlgorithm), ask(confused('EdDSA', 'r1'), anyAlgorithm)],
    ['key', 'key'],
  )
})

test('keys are found by their id; a token without one is tried with all that fit, few in number', () => {
  const second = createKey('ES256', 'k2')
  const both = issuerOf([KEY, second])
  assert.equal(ask(createToken(second, CLAIMS), both), 'valid')
  assert.equal(ask(createToken({ ...second, kid: 'k1' }, CLAIMS), both), 'signature')
  assert.equal(ask(createToken(second, CLAIMS, { kid: 'k9' }), both), 'key')
  assert.equal(ask(createToken(second, CLAIMS, { kid: undefined }), both), 'valid')
  assert.equal(ask(createToken(second, CLAIMS, { kid: 7 }), both), 'malformed')
  const many = issuerOf([...Array.from({ length: 9 }, (_, i) => createKey('ES256', `x${i}`)), second])
  assert.equal(ask(createToken(second, CLAIMS, { kid: undefined }), many), 'signature')
  assert.equal(ask(createToken(second, CLAIMS), many), 'valid')
})

test('what is critical and not understood is refused, whatever it is', () => {
  for (const header of [{ crit: ['b64'], b64: false }, { crit: [] }, { crit: ['exp'] }, { crit: 'x' }])
    assert.equal(ask(createToken(KEY, CLAIMS, header)), 'critical')
})

test('times: expired, not yet, and the leeway of a minute on both sides', () => {
  const at = (claims: object): string => ask(createToken(KEY, { ...CLAIMS, ...claims }))
  assert.deepEqual(
    [
      at({ exp: NOW_SEC - 59 }),
      at({ exp: NOW_SEC - 60 }),
      at({ nbf: NOW_SEC + 60 }),
      at({ nbf: NOW_SEC + 61 }),
      at({ iat: NOW_SEC + 61 }),
      at({ exp: undefined }),
    ],
    ['valid', 'expired', 'valid', 'not-yet', 'not-yet', 'valid'],
  )
  for (const odd of ['1900000000', null, [], {}, true]) {
    for (const name of ['exp', 'nbf', 'iat']) assert.equal(at({ [name]: odd }), 'malformed')
  }
  const huge = `${part({ alg: 'ES256', kid: 'k1' })}.${part(JSON.stringify(CLAIMS).replace(/"exp":\d+/, '"exp":1e999'))}`
  assert.equal(ask(`${huge}.${signature('ES256', KEY.privateKey, huge)}`), 'malformed')
})

test('claims of another type than RFC 7519 gives them', () => {
  const odd = [5, true, null, [5], { a: 1 }]
  for (const name of ['sub', 'jti', 'aud'])
    for (const value of odd) assert.equal(ask(createToken(KEY, { ...CLAIMS, [name]: value })), 'malformed')
  for (const name of ['exp', 'nbf', 'iat'])
    assert.equal(ask(createToken(KEY, { ...CLAIMS, [name]: 1e20 })), 'malformed', 'no time that a clock reaches')
})

test('a token that is ahead by its time of issue alone, where that is not asked', () => {
  const ahead = createToken(KEY, { ...CLAIMS, iat: NOW_SEC + 3_600 })
  assert.deepEqual([ask(ahead), ask(ahead, ISSUER, { ...TIME, issuedAtAnyTime: true })], ['not-yet', 'valid'])
})

test('claims within claims have a bound, wherever brackets stand in texts', () => {
  const nested = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels))
  const at = (claim: unknown): string => ask(createToken(KEY, { ...CLAIMS, claim }))
  assert.deepEqual([at(nested(99)), at(nested(100)), at(nested(3_000))], ['valid', 'malformed', 'malformed'])
  assert.equal(at(`${'['.repeat(500)}"\\${'{'.repeat(500)}`), 'valid')
})

test('a clock that may be behind takes no token for too young, and an expired one for expired', () => {
  const behind = { ...TIME, isLowerBound: true }
  assert.equal(ask(createToken(KEY, { ...CLAIMS, nbf: NOW_SEC + 9_999 }), ISSUER, behind), 'valid')
  assert.equal(ask(createToken(KEY, { ...CLAIMS, exp: NOW_SEC - 61 }), ISSUER, behind), 'expired')
})

test('issuer and audience are compared letter by letter', () => {
  const of = (claims: object, by = ISSUER): string => ask(createToken(KEY, { ...CLAIMS, ...claims }), by)
  for (const iss of ['https://id.example/', 'HTTPS://id.example', ['https://id.example'], undefined, null])
    assert.equal(of({ iss }), 'issuer')
  assert.deepEqual(
    [of({ aud: ['a', 'mqtt'] }), of({ aud: [] }), of({ aud: undefined }), of({ aud: 'mqtt ' })],
    ['valid', 'audience', 'audience', 'audience'],
  )
  assert.equal(of({ aud: undefined }, issuerOf([KEY], [])), 'valid')
})

test('what is no token is malformed and never throws: cut at every letter, odd base64, odd JSON, too large', () => {
  const token = createToken(KEY, CLAIMS)
  for (let at = 0; at < token.length; at++) assert.notEqual(ask(token.slice(0, at)), 'valid')
  const [header, claims, sig] = token.split('.') as [string, string, string]
  for (const odd of [
    '',
    '..',
    `${token}.`,
    `${token}.x`,
    `${header}.${claims}.${sig}=`,
    `${header}.${claims}. ${sig}`,
    `${header}\n.${claims}.${sig}`,
    `${part('null')}.${claims}.${sig}`,
    `${part('[]')}.${claims}.${sig}`,
    `${header}.${part('"x"')}.${sig}`,
    `${header}.${Buffer.from([0xff, 0xfe]).toString('base64url')}.${sig}`,
  ])
    assert.equal(ask(odd), 'malformed', odd)
  assert.equal(ask('a'.repeat(MAX_TOKEN_BYTES + 1)), 'too-large')
})

test('a token is told from a password, and its claimed issuer read without belief', () => {
  const token = createToken(KEY, CLAIMS)
  assert.deepEqual([token, 'secret', 'ey', 'ey.a.b.c', 'a.b.c', ''].map(looksLikeJwt), [
    true,
    false,
    false,
    false,
    false,
    false,
  ])
  assert.equal(readClaimedIssuer(token), 'https://id.example')
  for (const none of ['', 'x', `a.${part({ iss: 7 })}.c`, `a.${part('nothing')}.c`, `a.${'x'.repeat(20_000)}.c`])
    assert.equal(readClaimedIssuer(none), undefined)
  assert.equal(new Set(JWT_REFUSALS).size, JWT_REFUSALS.length)
})

test('a set has a key for a token, or another set may; for what no set has a key it is not asked', () => {
  const [one, two] = [createKey('ES256', 'one'), createKey('ES256', 'two')]
  const set = readJwks({ keys: [one.jwk] })
  assert.equal(hasKeyFor(createToken(one, {}), set), true)
  assert.equal(hasKeyFor(createToken(two, {}), set), false)
  assert.equal(hasKeyFor(createToken(one, {}), NO_KEYS), false)
  assert.equal(hasKeyFor(createToken(one, {}, { kid: undefined }), set), true)
  for (const odd of ['', 'a.b.c', createToken(two, {}, { alg: 'none' }), createToken(two, {}, { kid: 7 })])
    assert.equal(hasKeyFor(odd, set), true, odd)
})
