import { test } from 'node:test'
import assert from 'node:assert/strict'
import { listUserMethods } from '../../../model/mqtt/users.ts'
import { createKey } from '../../helpers/jwt.ts'
import { settingsOf } from '../../helpers/mqtt/users.ts'

const JWKS = { keys: [createKey().jwk] }

test('settings: ways of a listener, and what cannot be', () => {
  const issuer = { issuer: 'https://id', audiences: ['mqtt'], jwks: JWKS }
  const all = settingsOf({ passwordFile: '/p', jwt: { issuers: [issuer] } })
  assert.deepEqual(listUserMethods(all, {}), ['password', 'scram-sha-256', 'jwt'])
  assert.deepEqual(listUserMethods(all, { certificateUser: 'cn' }), ['password', 'scram-sha-256', 'jwt', 'certificate'])
  assert.deepEqual(listUserMethods(all, { authentication: ['jwt', 'certificate'] }), ['jwt'])
  assert.deepEqual(listUserMethods(settingsOf({ pskFile: '/k' }), {}), ['psk'])
  assert.deepEqual(listUserMethods(undefined, { certificateUser: 'cn' }), [])
  for (const [input, reason] of [
    [{}, /no way in which a client could prove/],
    [{ jwt: { issuers: [] } }, /Too small/],
    [{ jwt: { issuers: [{ ...issuer, jwksFile: '/k' }] } }, /needs one of/],
    [{ jwt: { issuers: [{ issuer: 'x', audiences: ['y'] }] } }, /needs one of/],
    [{ jwt: { issuers: [{ ...issuer, jwks: { keys: [{ kty: 'oct', k: 'x' }] } }] } }, /none of its 1 keys/],
    [{ jwt: { issuers: [{ ...issuer, audiences: [] }] } }, /Too small/],
    [{ passwordFile: '/p', maxPasswordChecks: 17 }, /Too big/],
  ] as const)
    assert.throws(() => settingsOf(input as never), reason)
})
