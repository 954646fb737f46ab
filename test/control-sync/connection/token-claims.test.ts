import { test } from 'node:test'
import assert from 'node:assert/strict'
import { summarizeToken } from '../../../control-sync/connection/token-claims.ts'

const NOW = Date.parse('2026-01-01T00:00:00Z')
const jwt = (claims: unknown): string => `x.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.signature`
const SUB = 'system:serviceaccount:edge:gateway'

test('a token tells for whom it is, for which audience, and when it ends', () => {
  assert.equal(
    summarizeToken(jwt({ sub: SUB, aud: ['istio-ca'], exp: NOW / 1000 + 60 }), NOW),
    `a token for ${SUB}, audience istio-ca, valid until 2026-01-01T00:01:00.000Z`,
  )
  assert.equal(
    summarizeToken(jwt({ sub: SUB, aud: 'istio-ca', exp: NOW / 1000 }), NOW),
    `a token for ${SUB}, audience istio-ca, that expired at 2026-01-01T00:00:00.000Z`,
  )
  assert.equal(
    summarizeToken(jwt({ sub: SUB, nbf: NOW / 1000 + 1, exp: NOW / 1000 + 60 }), NOW),
    `a token for ${SUB}, that is not valid before 2026-01-01T00:00:01.000Z`,
  )
})
test('whatever stands in it, it is one short line without a part of the token', () => {
  for (const token of [
    '',
    'a.b',
    'a.b.c',
    `a.${Buffer.from('[]').toString('base64url')}.c`,
    `a.${Buffer.from('null').toString('base64url')}.c`,
  ])
    assert.match(summarizeToken(token, NOW), /^a token (that is no JWT|for nobody)$/, token)
  const odd = summarizeToken(
    jwt({ sub: `line\nbreak${'x'.repeat(5000)}`, aud: [1, null, 'a'], exp: 1e300, nbf: 'soon' }),
    NOW,
  )
  assert.match(odd, /^a token for line\?breakx+, audience a$/)
  assert.ok(odd.length < 300)
})
