import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createHmac, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { systemDisk } from '../../core/os/disk.ts'
import { MeshError } from '../../core/errors.ts'
import { openRegistry, type Registry } from '../../hub/registry/registry.ts'
import { openTokenKey, Tokens } from '../../hub/tokens.ts'
import { seededRandom } from '../helpers/random.ts'
import { SimClock } from '../helpers/sim-clock.ts'

function made(): { tokens: Tokens; registry: Registry; clock: SimClock; key: ReturnType<typeof openTokenKey> } {
  const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const [registry, clock] = [openRegistry(':memory:'), new SimClock()]
  return { tokens: new Tokens({ key, registry, clock, trustDomain: 'demo.mesh' }), registry, clock, key }
}
const gateway = { namespace: 'edge', serviceAccount: 'gateway', nodes: '*', ttlSec: 86_400 }
const refused = (tokens: Tokens, token: string, want: RegExp = /./): Promise<void> =>
  assert.rejects(tokens.verify(token), (err) => {
    assert.ok(err instanceof MeshError && err.code === 'MESH_TOKEN_INVALID', String(err))
    assert.match(err.message, want)
    assert.ok(token.length < 40 || !err.message.includes(token), 'no token in a message')
    return true
  })
const part = (token: string, at: number): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[at]!, 'base64url').toString()) as Record<string, unknown>

test("a token is an ES256 JWT with Kubernetes' subject, and says who joins", async () => {
  const { tokens, key, clock } = made()
  const { token, jti } = await tokens.create(gateway)
  assert.deepEqual(part(token, 0), { alg: 'ES256', typ: 'JWT' })
  const iat = Math.floor(clock.wallMs() / 1_000)
  assert.deepEqual(part(token, 1), {
    iss: 'meshlet-hub.demo.mesh',
    aud: ['meshlet-hub'],
    sub: 'system:serviceaccount:edge:gateway',
    jti,
    iat,
    exp: iat + 86_400,
  })
  const [header, payload, signature] = token.split('.') as [string, string, string]
  assert.ok(
    verify(
      'sha256',
      Buffer.from(`${header}.${payload}`),
      { key: createPublicKey(key), dsaEncoding: 'ieee-p1363' },
      Buffer.from(signature, 'base64url'),
    ),
  )
  assert.deepEqual(await tokens.verify(token), {
    jti,
    namespace: 'edge',
    serviceAccount: 'gateway',
    expiresMs: (iat + 86_400) * 1_000,
  })
})

test('a token ends with its time and when it is revoked', async () => {
  const { tokens, registry, clock } = made()
  const { token, jti } = await tokens.create(gateway)
  await registry.revokeToken(jti, clock.wallMs())
  await refused(tokens, token, /revoked/)
  const second = (await tokens.create(gateway)).token
  await clock.advance(86_400_000)
  await refused(tokens, second, /ended/)
})

test('a hub that lost its registry, or another hub with the same key, does not take the token', async () => {
  const { tokens, clock, key } = made()
  const { token } = await tokens.create(gateway)
  await refused(
    new Tokens({ key, registry: openRegistry(':memory:'), clock, trustDomain: 'demo.mesh' }),
    token,
    /not known/,
  )
  await refused(
    new Tokens({ key, registry: openRegistry(':memory:'), clock, trustDomain: 'other.mesh' }),
    token,
    /another hub/,
  )
})

test('a token of another key, without signature or with another algorithm is refused (RFC 8725 §3.1)', async () => {
  const { tokens, key } = made()
  const { token } = await tokens.create(gateway)
  const [header, payload, signature] = token.split('.') as [string, string, string]
  await refused(tokens, (await made().tokens.create(gateway)).token, /not signed/)
  await refused(tokens, `${header}.${payload}.`, /not signed/)
  const none = Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url')
  await refused(tokens, `${none}.${payload}.`)
  await refused(tokens, `${none}.${payload}.${signature}`)
  const hs = Buffer.from('{"alg":"HS256","typ":"JWT"}').toString('base64url')
  const publicPem = createPublicKey(key).export({ type: 'spki', format: 'pem' })
  await refused(
    tokens,
    `${hs}.${payload}.${createHmac('sha256', publicPem).update(`${hs}.${payload}`).digest('base64url')}`,
  )
  const asDer = sign('sha256', Buffer.from(`${header}.${payload}`), key).toString('base64url') // not JOSE's raw form
  await refused(tokens, `${header}.${payload}.${asDer}`, /not signed/)
})

test('every changed character is noticed, and what is no token throws nothing but MESH_TOKEN_INVALID', async () => {
  const { tokens } = made()
  const { token } = await tokens.create(gateway)
  const random = seededRandom(3)
  for (let i = 0; i < token.length; i++)
    await refused(tokens, `${token.slice(0, i)}${token[i] === 'A' ? 'B' : 'A'}${token.slice(i + 1)}`)
  for (let i = 0; i < 500; i++)
    await refused(
      tokens,
      Array.from({ length: Math.floor(random.float() * 60) }, () => String.fromCharCode(random.float() * 0x300)).join(
        '',
      ),
    )
  await refused(tokens, 'x.'.repeat(100_000))
})

test('names that Kubernetes would not take are refused before a token is made', async () => {
  const { tokens, registry } = made()
  for (const namespace of ['', 'Edge', 'a:b', 'a/b', '-a', 'a'.repeat(64)])
    await assert.rejects(tokens.create({ ...gateway, namespace }), /namespace/)
  for (const serviceAccount of ['', 'a/../b', 'x y'])
    await assert.rejects(tokens.create({ ...gateway, serviceAccount }), /service account/)
  assert.equal((await registry.tokens()).length, 0)
})

test('the signing key is made once, for its owner only', async (t) => {
  const folder = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'hub-tokens-')), 'ca')
  t.after(() => fs.rmSync(path.dirname(folder), { recursive: true }))
  const key = openTokenKey(folder, systemDisk)
  assert.ok(openTokenKey(folder, systemDisk).equals(key))
  assert.equal(fs.statSync(path.join(folder, 'token-key.pem')).mode & 0o777, 0o600)
  fs.writeFileSync(path.join(folder, 'token-key.pem'), 'no key')
  assert.throws(
    () => openTokenKey(folder, systemDisk),
    (err) => (err as MeshError).code === 'MESH_STATE_UNUSABLE',
  )
})
