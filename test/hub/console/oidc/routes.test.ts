/** Login at an issuer, as it should be and as somebody tries to bend it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { createKey } from '../../../helpers/jwt.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'
import { consoleRig, readCookie, type ConsoleRig, type Said } from '../console-rig.ts'
import { startProvider, type LocalProvider } from './local-provider.ts'

type Finally = { after(fn: () => void | Promise<void>): void }
const ROLES = '[{value: ops, role: operator}, {value: lab, role: viewer, namespace: lab}]'

async function rigs(t: Finally, more = ''): Promise<{ rig: ConsoleRig; provider: LocalProvider }> {
  const provider = await startProvider(t)
  const folder = temporaryFolder(t)
  fs.writeFileSync(path.join(folder, 'roots.pem'), provider.rootsPem)
  fs.writeFileSync(path.join(folder, 'secret'), 'geheim:&\n')
  const oidc = `{issuer: "${provider.issuer}", clientId: hub, clientSecretFile: ${folder}/secret, roots: ${folder}/roots.pem, roles: ${ROLES}}`
  const rig = await consoleRig(t, `console: {listen: "127.0.0.1:0", loginsPerMinute: 1000${more}, oidc: ${oidc}}`)
  return { rig, provider }
}
const loginCookie = ({ headers }: Said): string => headers['set-cookie']![0]!.split(';')[0]!

async function begin(rig: ConsoleRig): Promise<{ url: string; cookie: string }> {
  const said = await rig.ask({ path: '/login/oidc' })
  assert.equal(said.status, 302, said.text)
  return { url: String(said.headers['location']), cookie: loginCookie(said) }
}
const back = (rig: ConsoleRig, query: URLSearchParams, cookie: string | undefined): Promise<Said> =>
  rig.ask({
    path: `/login/oidc/callback?${query.toString()}`,
    cookie,
    headers: { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' },
  })

async function login(rig: ConsoleRig, provider: LocalProvider): Promise<Said> {
  const { url, cookie } = await begin(rig)
  return back(rig, provider.authorize(url), cookie)
}

test('whoever the issuer knows gets the role that their groups give', async (t) => {
  const { rig, provider } = await rigs(t)
  assert.deepEqual((await rig.ask({ path: '/api/v1/login' })).body, { oidc: true })
  const { url, cookie } = await begin(rig)
  const asked = new URL(url).searchParams
  assert.deepEqual(
    ['response_type', 'client_id', 'code_challenge_method', 'scope'].map((name) => asked.get(name)),
    ['code', 'hub', 'S256', 'openid profile'],
  )
  provider.claims = { name: '<b>Ann</b>', groups: ['ops', 'lab', 'others'] }
  const said = await back(rig, provider.authorize(url), cookie)
  assert.deepEqual([said.status, said.headers['location']], [303, '/'])
  assert.match(said.headers['set-cookie']!.join('\n'), /__Host-meshlet-login=;.*Max-Age=0/, 'the flow is over')
  const { body } = await rig.ask({ path: '/api/v1/session', cookie: readCookie(said) })
  assert.deepEqual([body['name'], body['operator'], body['via']], ['<b>Ann</b>', 'oidc:u1', 'oidc'])
  assert.deepEqual(body['grants'], [
    { namespace: '*', role: 'operator' },
    { namespace: 'lab', role: 'viewer' },
  ])
  const token = provider.asked.find(({ path: at }) => at === '/token')!
  assert.equal(Buffer.from(token.authorization!.slice(6), 'base64').toString(), 'hub:geheim%3A%26')
  assert.equal(token.form.get('client_secret'), null)
})

test('the issuer may change its keys', async (t) => {
  const { rig, provider } = await rigs(t)
  assert.equal((await login(rig, provider)).headers['location'], '/')
  assert.equal((await login(rig, provider)).headers['location'], '/')
  assert.equal(provider.asked.filter(({ path: at }) => at === '/keys').length, 1, 'they are kept')
})

const bent: readonly [string, (p: LocalProvider) => void][] = [
  ['another key under the same name', (p) => (p.key = createKey('RS256', 'one'))],
  ['a key that nobody knows', (p) => (p.key = createKey('ES256', 'other'))],
  ['another issuer', (p) => (p.claims = { iss: 'https://evil.example' })],
  ['another audience', (p) => (p.claims = { aud: 'other' })],
  ['two audiences, made for the other', (p) => (p.claims = { aud: ['hub', 'other'], azp: 'other' })],
  ['two audiences without azp', (p) => (p.claims = { aud: ['hub', 'other'] })],
  ['a token that ended', (p) => (p.claims = { exp: 1 })],
  ['a token without an end', (p) => (p.claims = { exp: undefined })],
  ['another nonce', (p) => (p.claims = { nonce: 'x'.repeat(43) })],
  ['no nonce', (p) => (p.claims = { nonce: undefined })],
  ['nobody', (p) => (p.claims = { sub: '' })],
  ['a number for somebody', (p) => (p.claims = { sub: 1 })],
  ['no groups', (p) => (p.claims = { groups: undefined })],
  ['groups of another kind', (p) => (p.claims = { groups: { ops: true } })],
  ['other groups', (p) => (p.claims = { groups: ['ops2', 'OPS', 'ops '] })],
  ['no token', (p) => (p.failure = { status: 200, body: '{}' })],
  ['no JSON', (p) => (p.failure = { status: 200, body: '<html>' })],
  ['too much', (p) => (p.failure = { status: 200, body: `{"x":"${'y'.repeat(600_000)}"}` })],
  ['a refusal', (p) => (p.failure = { status: 400, body: '{"error":"invalid_client"}' })],
  ['metadata of another issuer', (p) => (p.metadata = { issuer: 'https://evil.example' })],
  ['keys over plain HTTP', (p) => (p.metadata = { jwks_uri: 'http://127.0.0.1/keys' })],
  ['a script as endpoint', (p) => (p.metadata = { authorization_endpoint: 'javascript:alert(1)' })],
]
test('what the issuer, or somebody in its place, says wrongly lets nobody in', async (t) => {
  for (const [what, bend] of bent) {
    const { rig, provider } = await rigs(t)
    bend(provider)
    const first = await rig.ask({ path: '/login/oidc' })
    if (first.status === 302) {
      const said = await back(rig, provider.authorize(String(first.headers['location'])), loginCookie(first))
      assert.match(String(said.headers['location']), /^\/login\?refused=MESH_CONSOLE_\w+$/, what)
      assert.equal(readCookie(said), '', what)
    } else assert.deepEqual([first.status, first.body['code']], [502, 'MESH_CONSOLE_OIDC'], what)
    assert.deepEqual(await rig.hub.registry.sessions.all(), [], what)
    assert.doesNotMatch(JSON.stringify(rig.lines), /geheim|code_verifier|"id_token/, what)
  }
})

test('an answer counts in the browser that asked, once, and leads nowhere but to the console', async (t) => {
  const { rig, provider } = await rigs(t)
  const { url, cookie } = await begin(rig)
  const query = provider.authorize(url)
  const other = await begin(rig)
  const isRefused = ({ headers }: Said) => /^\/login\?refused=MESH_CONSOLE_OIDC$/.test(String(headers['location']))
  assert.ok(isRefused(await back(rig, query, undefined)), 'login CSRF: no login is under way here')
  assert.ok(isRefused(await back(rig, query, other.cookie)), 'state of another browser')
  assert.ok(
    isRefused(
      await back(rig, new URLSearchParams({ ...Object.fromEntries(query), iss: 'https://evil.example' }), cookie),
    ),
    'mixed up',
  )
  assert.ok(
    isRefused(await back(rig, new URLSearchParams({ state: query.get('state')!, error: 'access_denied' }), cookie)),
  )
  assert.ok(isRefused(await back(rig, query, `${cookie.slice(0, -4)}AAAA`)), 'a cookie that was changed')
  query.set('redirect_uri', 'https://evil.example')
  query.set('next', '//evil.example')
  assert.equal((await back(rig, query, cookie)).headers['location'], '/')
  assert.ok(isRefused(await back(rig, query, cookie)), 'replayed: the code is used')
})

test('where the issuer leads back to is the address of the console, and not what a Host says', async (t) => {
  const { rig } = await rigs(t, ', publicUrl: "https://console.example.org"')
  const { url } = await begin(rig)
  assert.equal(new URL(url).searchParams.get('redirect_uri'), 'https://console.example.org/login/oidc/callback')
  const forged = await rig.ask({ path: '/login/oidc', only: { host: 'evil.example' } })
  assert.equal(forged.status, 403)
})
