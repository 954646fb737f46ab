import { test } from 'node:test'
import { createHash } from 'node:crypto'
import assert from 'node:assert/strict'
import type { MeshError } from '../../../core/errors.ts'
import { addLoginLink, hashSecret, Logins } from '../../../hub/console/logins.ts'
import { openRegistry } from '../../../hub/registry/registry.ts'
import type { Grant } from '../../../hub/registry/console-sessions.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

const viewer: readonly Grant[] = [{ namespace: 'edge', role: 'viewer' }]
const MINUTE_MS = 60_000

async function rig(toGrants?: (claims: readonly string[]) => readonly Grant[]) {
  const registry = openRegistry(':memory:')
  const clock = new SimClock()
  const { sessions, audit } = registry
  const lives = { idleMs: 30 * MINUTE_MS, sessionMs: 600 * MINUTE_MS, cliSessionMs: 900 * MINUTE_MS }
  const logins = new Logins({ sessions, audit, clock, ...lives, toGrants })
  const link = () =>
    addLoginLink(sessions, { operator: 'operator:ann', grants: viewer, ttlMs: 10 * MINUTE_MS, nowMs: clock.wallMs() })
  return { registry, clock, logins, link, [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose]() }
}
const refused = (err: MeshError) => err.code === 'MESH_CONSOLE_LOGIN'

test('a link logs in once, within its life, and the audit log says who came', async () => {
  await using r = await rig()
  const secret = await r.link()
  const { session } = await r.logins.byLink(secret, '10.0.0.1')
  assert.deepEqual([session.operator, session.name, session.grants], ['operator:ann', 'ann', viewer])
  await assert.rejects(r.logins.byLink(secret, '10.0.0.1'), refused, 'replayed')
  const late = await r.link()
  await r.clock.advance(10 * MINUTE_MS)
  await assert.rejects(r.logins.byLink(late, '10.0.0.1'), refused, 'too late')
  for (const forged of ['', 'A'.repeat(43), hashSecret(secret), `${secret}=`, 'x'.repeat(10_000)])
    await assert.rejects(r.logins.byLink(forged, '10.0.0.1'), refused)
  const [entry] = await r.registry.audit.page({ most: 1 })
  assert.deepEqual([entry?.event, entry?.actor, entry?.address], ['console.login', 'operator:ann', '10.0.0.1'])
})

test('a session ends after rest, and after its whole life however much it is used', async () => {
  await using r = await rig()
  const { secret } = await r.logins.byLink(await r.link(), '')
  await r.clock.advance(29 * MINUTE_MS)
  assert.ok(await r.logins.find(secret))
  await r.clock.advance(29 * MINUTE_MS)
  assert.ok(await r.logins.find(secret), 'use counts')
  await r.clock.advance(30 * MINUTE_MS)
  assert.equal(await r.logins.find(secret), undefined)
  const { secret: busy } = await r.logins.byLink(await r.link(), '')
  for (let i = 0; i < 39; i++) {
    await r.clock.advance(15 * MINUTE_MS)
    assert.ok(await r.logins.find(busy))
  }
  await r.clock.advance(15 * MINUTE_MS)
  assert.equal(await r.logins.find(busy), undefined)
})

test('a session of a command line rests as long as it likes, and ends at its age', async () => {
  await using r = await rig()
  const { secret, session } = await r.logins.byLink(await r.link(), '10.0.0.1', 'cli')
  assert.equal(session.via, 'cli')
  await r.clock.advance(899 * MINUTE_MS)
  assert.equal((await r.logins.find(secret, 'bearer'))?.operator, 'operator:ann')
  await r.clock.advance(MINUTE_MS)
  assert.equal(await r.logins.find(secret, 'bearer'), undefined)
  assert.deepEqual(await r.registry.sessions.all(), [])
})

test('what a command line shows is no cookie, and a cookie is nothing that it can show', async () => {
  await using r = await rig()
  const { secret: bearer } = await r.logins.byLink(await r.link(), '', 'cli')
  const { secret: cookie } = await r.logins.byLink(await r.link(), '')
  assert.ok((await r.logins.find(bearer, 'bearer')) && (await r.logins.find(cookie)))
  assert.equal(await r.logins.find(bearer), undefined)
  assert.equal(await r.logins.find(cookie, 'bearer'), undefined)
})

test('neither the hash that the registry has nor a made-up secret is a session', async () => {
  await using r = await rig()
  const { secret, session } = await r.logins.byLink(await r.link(), '')
  for (const forged of [session.hash, '', undefined, secret.slice(1), `${secret.slice(0, -1)}~`, 'B'.repeat(43)])
    assert.equal(await r.logins.find(forged), undefined)
  assert.equal(JSON.stringify(await r.registry.sessions.all()).includes(secret), false)
})

test('whose claims give another role now, or nothing, is logged in no more; who logs in anew ends what was before', async () => {
  let role: Grant['role'] = 'admin'
  await using r = await rig((claims) => (claims.includes('ops') ? [{ namespace: '*', role }] : []))
  const newcomer = () =>
    ({
      operator: 'oidc:1',
      name: 'Ann',
      via: 'oidc',
      grants: [{ namespace: '*', role }],
      claims: ['ops'],
      address: '',
    }) as const
  const first = await r.logins.begin(newcomer())
  assert.ok(await r.logins.isLive(first.session))
  role = 'viewer'
  assert.equal(await r.logins.isLive(first.session), false)
  assert.equal(await r.logins.find(first.secret), undefined)
  role = 'admin'
  const second = await r.logins.begin(newcomer())
  role = 'operator'
  await r.logins.begin(newcomer())
  assert.equal(await r.registry.sessions.find(second.session.hash), undefined)
})

test('the code of a login at the issuer is good for five minutes, and its session for as long as the role is', async () => {
  let role: Grant['role'] = 'viewer'
  await using r = await rig(() => [{ namespace: 'edge', role }])
  const verifier = 'v'.repeat(43)
  const challenge = createHash('sha256').update(verifier).digest('base64url')
  const ann = { operator: 'oidc:1', name: 'Ann', grants: viewer, claims: ['ops'], address: '10.0.0.1' }
  const late = await r.logins.offerCli(ann, challenge)
  await r.clock.advance(5 * MINUTE_MS)
  await assert.rejects(r.logins.byCode({ code: late, verifier }, '10.0.0.1'), refused, 'too late')
  const code = await r.logins.offerCli(ann, challenge)
  const { secret, session } = await r.logins.byCode({ code, verifier }, '10.0.0.2')
  assert.deepEqual([session.via, session.name, session.claims], ['cli', 'Ann', ['ops']])
  await r.clock.advance(120 * MINUTE_MS)
  assert.ok(await r.logins.find(secret, 'bearer'))
  role = 'admin'
  assert.equal(await r.logins.find(secret, 'bearer'), undefined, 'hub.yaml gives another role')
  const claims = ['x'.repeat(8_000)]
  await assert.rejects(r.logins.offerCli({ ...ann, claims }, challenge), { code: 'MESH_CONSOLE_OIDC' })
})
