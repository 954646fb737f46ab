import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../../core/errors.ts'
import { readJwks, type Jwks } from '../../../../core/jwt/jwks.ts'
import { Tokens, type TokenIssuer, type TokenUser } from '../../../../protocols/mqtt/users/tokens.ts'
import { createKey, createToken } from '../../../helpers/jwt.ts'
import { settingsOf } from '../../../helpers/mqtt/users.ts'

const KEY = createKey('ES256', 'k1')
const NEXT = createKey('ES256', 'k2')
const NOW_SEC = 1_800_000_000
const CLAIMS = { iss: 'https://id', aud: 'mqtt', sub: 'pump', exp: NOW_SEC + 60, roles: ['a', 'b'], scope: 'x y' }

/** An issuer whose keys are `now`, and `later` once they are looked for again. */
function issuer(over: object = {}, later?: Jwks): TokenIssuer & { looks: number } {
  const jwks = { keys: [KEY.jwk] }
  const { jwt } = settingsOf({
    jwt: { issuers: [{ issuer: 'https://id', audiences: ['mqtt'], jwks, ...over }] },
  })
  let now = readJwks(jwks)
  const made = {
    settings: jwt!.issuers[0]!,
    looks: 0,
    keys: {
      current: () => now,
      async lookAgain() {
        made.looks++
        if (!later || now === later) return false
        now = later
        return true
      },
      problems: () => [],
      [Symbol.dispose]: () => {},
    },
  }
  return made
}
const ask = (claims: object, of: TokenIssuer = issuer(), key = KEY): Promise<TokenUser | string> =>
  new Tokens([of], () => ({ nowMs: NOW_SEC * 1_000 })).verify(createToken(key, { ...CLAIMS, ...claims }))

test('the user is the claim that the issuer says, with the groups of another, and its end', async () => {
  const plain = issuer()
  const expiresAtMs = (NOW_SEC + 120) * 1_000
  assert.deepEqual(await ask({}, plain), { user: { name: 'pump', groups: [] }, expiresAtMs, secret: plain })
  const named = issuer({ userClaim: 'name', groupsClaim: 'roles' })
  assert.deepEqual(await ask({ name: 'Ana' }, named), {
    user: { name: 'Ana', groups: ['a', 'b'] },
    expiresAtMs,
    secret: named,
  })
  const scoped = await ask({}, issuer({ groupsClaim: 'scope' }))
  assert.ok(typeof scoped === 'object')
  assert.deepEqual(scoped.user.groups, ['x', 'y'])
})

test('odd names and groups are refused, never cut or guessed', async () => {
  for (const sub of [undefined, 7, null, ['pump'], {}, '', ' ', 'a\nb', 'x'.repeat(257)])
    assert.equal(typeof (await ask({ sub })), 'string', JSON.stringify(sub))
  const grouped = issuer({ groupsClaim: 'roles' })
  for (const roles of [7, {}, [7], [['a']], Array.from({ length: 65 }, () => 'a'), ['x'.repeat(257)], null])
    assert.match(JSON.stringify(await ask({ roles }, grouped)), /is no list of at most 64 names/)
  assert.equal(typeof (await ask({ roles: undefined }, grouped)), 'object')
})

test('a token of another issuer, of none, or refused says why without the token', async () => {
  assert.match(
    JSON.stringify(await ask({ iss: 'https://evil' })),
    /issuer https:\/\/evil, which mqtt.users does not have/,
  )
  assert.match(JSON.stringify(await ask({ iss: 'x\n' + 'y'.repeat(500) })), /issuer x\\\\u000ay{126},/)
  assert.match(JSON.stringify(await ask({ iss: undefined })), /names no issuer/)
  assert.match(JSON.stringify(await ask({ exp: NOW_SEC - 61 })), /it has expired/)
  assert.match(JSON.stringify(await ask({ aud: 'x' })), /for somebody else/)
})

test('a token with a key that is not there makes us look for it, once', async () => {
  const rotated = issuer({}, readJwks({ keys: [NEXT.jwk] }))
  assert.equal(typeof (await ask({}, rotated, NEXT)), 'object')
  assert.match(JSON.stringify(await ask({}, rotated, KEY)), /no key for it/)
  assert.equal(rotated.looks, 2)
  const wrong = issuer()
  assert.match(JSON.stringify(await ask({}, wrong, { ...NEXT, kid: 'k1' })), /signature is wrong/)
  assert.equal(wrong.looks, 0)
})

test('without keys the token is neither right nor wrong', async () => {
  const none = issuer()
  const keys = {
    ...none.keys,
    current: () => {
      throw new MeshError('MESH_MQTT_USERS_FILE', 'no keys')
    },
  }
  await assert.rejects(ask({}, { ...none, keys }), { code: 'MESH_MQTT_USERS_FILE' })
})
