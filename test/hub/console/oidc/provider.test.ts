import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { MeshError } from '../../../../core/errors.ts'
import { deriveGrants, readValues } from '../../../../hub/console/oidc/grants.ts'
import { Provider } from '../../../../hub/console/oidc/provider.ts'
import { parseHubConfig } from '../../../../hub/config.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'
import { startProvider } from './local-provider.ts'

const settingsOf = (text: string) => parseHubConfig(`resources: /r\nconsole: {oidc: {${text}}}`).console!.oidc!
const flow = { state: 's', nonce: 'n', verifier: 'v', redirectUri: 'https://c.example/login/oidc/callback' }
const roles = 'roles: [{value: a, role: viewer}]'

test('the issuer is known by the authorities that hub.yaml names, and by no others', async (t) => {
  const local = await startProvider(t)
  const settings = settingsOf(`issuer: "${local.issuer}", clientId: hub, ${roles}`)
  const clock = new SimClock(Date.now())
  const stranger = new Provider({ settings, clock, secret: undefined, roots: undefined })
  await assert.rejects(stranger.authorizeUrl(flow), (err: MeshError) => err.code === 'MESH_CONSOLE_OIDC')
  const known = new Provider({ settings, clock, secret: undefined, roots: local.rootsPem })
  assert.match(await known.authorizeUrl(flow), /^https:\/\/127\.0\.0\.1:\d+\/authorize\?/)
})

test('keys that it does not have are looked for again, but not for everybody who asks', async (t) => {
  const local = await startProvider(t)
  const settings = settingsOf(`issuer: "${local.issuer}", clientId: hub, ${roles}`)
  const clock = new SimClock(Date.now())
  const provider = new Provider({ settings, clock, secret: undefined, roots: local.rootsPem })
  const redeem = async () => {
    const query = local.authorize(await provider.authorizeUrl(flow))
    return provider.redeem(query.get('code')!, flow)
  }
  assert.equal((await redeem())['sub'], 'u1')
  local.rotate()
  await assert.rejects(redeem(), /key/)
  await clock.advance(30_000)
  assert.equal((await redeem())['sub'], 'u1')
  assert.equal(local.asked.filter(({ path }) => path === '/keys').length, 2)
})

test('plain HTTP is no issuer, and nobody is everybody', () => {
  for (const text of [
    `issuer: "http://x.example", clientId: hub, ${roles}`,
    'issuer: "https://x.example", clientId: hub, roles: []',
  ])
    assert.throws(() => settingsOf(text), /console\.oidc/)
})

test('of several roles in one namespace the highest counts; the same groups give the same, in whatever order', () => {
  const settings = settingsOf(
    'issuer: "https://x.example", clientId: hub, roles: [{value: a, role: viewer}, {value: b, role: admin}, {value: c, role: operator, namespace: lab}, {value: a, role: viewer, namespace: lab}]',
  )
  const grants = [
    { namespace: '*', role: 'admin' },
    { namespace: 'lab', role: 'operator' },
  ]
  for (const groups of [
    ['a', 'b', 'c'],
    ['c', 'b', 'a', 'x'],
    ['b', 'c', 'c', 'a'],
  ])
    assert.deepEqual(deriveGrants(readValues({ groups }, settings), settings), grants)
  assert.deepEqual(deriveGrants(readValues({ groups: 'a' }, settings), settings)[0], { namespace: '*', role: 'viewer' })
  for (const groups of [undefined, null, 1, {}, [['a']], 'ab', ['__proto__']])
    assert.deepEqual(deriveGrants(readValues({ groups }, settings), settings), [])
})
