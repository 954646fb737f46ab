/** A command line whose user logs in at the issuer, in a browser of the same machine. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import type { RemoteRig } from '../remote-rig.ts'
import { issuerRig, remoteRig } from '../remote-rig.ts'
import type { LocalProvider } from '../../console/oidc/local-provider.ts'
import type { Said } from '../../console/console-rig.ts'
import type { Ran } from '../hub-cli.ts'

/** The browser at the hub, and at the issuer. @returns what the hub says at last */
async function browse(rig: RemoteRig, provider: LocalProvider, path: string): Promise<Said> {
  const begun = await rig.ask({ path })
  const cookie = begun.headers['set-cookie']![0]!.split(';')[0]!
  const query = provider.authorize(String(begun.headers['location']))
  return rig.ask({
    path: `/login/oidc/callback?${query.toString()}`,
    cookie,
    headers: { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' },
  })
}

/** Of the page of consent. */
function readLink({ status, text }: Said, label: string): string {
  assert.equal(status, 200, 'nothing leads to the terminal before somebody says so')
  const [, href] = new RegExp(`<a href="([^"]+)">${label}`).exec(text) ?? []
  assert.ok(href !== undefined, text)
  return href.replaceAll('&amp;', '&')
}

async function logIn(rig: RemoteRig, browser: (path: string) => Promise<void>): Promise<Ran> {
  let browsing = Promise.resolve()
  const err: string[] = []
  const ran = await rig.machine.run(['login', '--oidc', '--hub', rig.url], {
    err: (text) => {
      err.push(text)
      const [, path] = /^open in a browser on this machine: http:\/\/[^/]+(\S+)/.exec(text) ?? []
      if (path !== undefined) browsing = browser(path)
    },
  })
  await browsing
  return { ...ran, err: err.join('') }
}

test('whoever logs in at the issuer has a session of the command line, with the roles of their groups', async (t) => {
  const { rig, provider } = await issuerRig(t)
  let page = ''
  let consent = ''
  const { code, out, err } = await logIn(rig, async (path) => {
    const said = await browse(rig, provider, path)
    consent = said.text
    assert.equal(said.headers['location'], undefined)
    const to = readLink(said, 'Yes')
    assert.match(to, /^http:\/\/127\.0\.0\.1:\d+\/[\w-]{43}\?code=/)
    const elsewhere = new URL(to)
    elsewhere.pathname = '/'
    assert.equal((await fetch(elsewhere)).status, 404, 'who guesses the port does not know the path')
    page = await (await fetch(to)).text()
  })
  assert.equal(code, 0, err)
  assert.match(page, /^You are logged in/)
  const [, shown] = /its page must show ([0-9A-F]{4}-[0-9A-F]{4}) /.exec(err) ?? []
  assert.ok(shown !== undefined && consent.includes(`<strong>${shown}</strong>`), consent)
  assert.match(consent, /<strong>u1 \(oidc:u1\)<\/strong> at this hub: operator of all namespaces/)
  assert.match(out, /^logged in to http:\S+ as oidc:u1, operator of all namespaces, until 20/)
  assert.equal((await rig.remote('devices')).code, 0)
  assert.match((await rig.remote('sessions')).err, /that needs the role admin/)
  const [session] = await rig.hub.registry.sessions.all()
  assert.deepEqual([session!.via, session!.operator, session!.claims], ['cli', 'oidc:u1', ['ops']])
})

test('who has none of the groups is told so, in the browser and in the terminal', async (t) => {
  const { rig, provider } = await issuerRig(t)
  provider.claims = { groups: ['others'] }
  let page = ''
  const { code, err } = await logIn(rig, async (path) => {
    const { status, headers } = await browse(rig, provider, path)
    assert.equal(status, 303)
    page = await (await fetch(String(headers['location']))).text()
  })
  assert.equal(code, 1)
  assert.match(page, /^The login was refused/)
  assert.match(err, /MESH_HUB_SESSION: the hub refuses the login: MESH_CONSOLE_FORBIDDEN/)
  assert.deepEqual(await rig.hub.registry.sessions.all(), [])
})

test('a login that another program began ends where its user says no, and no session is made', async (t) => {
  const { rig, provider } = await issuerRig(t)
  provider.claims = { name: '<script>alert(1)</script>"' }
  let consent = ''
  const { code, err } = await logIn(rig, async (path) => {
    const said = await browse(rig, provider, path)
    consent = said.text
    assert.deepEqual(await rig.hub.registry.sessions.all(), [], 'logging in at the issuer alone gives nothing')
    await fetch(readLink(said, 'No'))
  })
  assert.equal(code, 1)
  assert.match(err, /MESH_HUB_SESSION: refused by the browser/)
  assert.match(consent, /&lt;script&gt;alert\(1\)&lt;\/script&gt;&quot;/, 'a name is no markup')
  assert.doesNotMatch(consent, /<script/)
  assert.deepEqual(await rig.hub.registry.sessions.all(), [])
})

test('without an issuer there is no such login', async (t) => {
  const rig = await remoteRig(t)
  const { code, err } = await logIn(rig, () => assert.fail('no browser is asked for'))
  assert.deepEqual([code, err.includes('has no issuer (console.oidc)')], [2, true], err)
  assert.match(
    (await rig.machine.run(['login', '--oidc'])).err,
    /--oidc and --device-code are for a hub on another machine/,
  )
})

test('the code is good once, as it is, for whoever began the login, and no link', async (t) => {
  const { rig, provider } = await issuerRig(t)
  const verifier = randomBytes(32).toString('base64url')
  const challenge = createHash('sha256').update(verifier).digest('base64url')
  const to = readLink(await browse(rig, provider, `/login/oidc?port=4711&challenge=${challenge}`), 'Yes')
  assert.match(to, /^http:\/\/127\.0\.0\.1:4711\//)
  const token = new URL(to).searchParams.get('code')!
  const redeem = async (body: object): Promise<number> =>
    (await rig.ask({ method: 'POST', path: '/api/v1/login/cli', body })).status
  const [random, said] = token.split('.') as [string, string]
  const more = Buffer.from(JSON.stringify({ name: 'u1', claims: ['ops', 'root'] })).toString('base64url')
  assert.notEqual(said, more)
  for (const body of [
    { token, verifier: randomBytes(32).toString('base64url') },
    { token: `${random}.${more}`, verifier },
    { token: random, verifier },
    { token: random },
    { token },
  ])
    assert.equal(await redeem(body), 401, JSON.stringify(body))
  assert.equal(await redeem({ token, verifier }), 200)
  assert.equal(await redeem({ token, verifier }), 401, 'it is used')
  for (const query of ['port=0', 'port=70000', 'port=1&challenge=short', 'port=x'])
    assert.equal((await rig.ask({ path: `/login/oidc?${query}` })).status, 400, query)
})
