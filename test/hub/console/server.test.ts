/** The console as hostile pages, programs and neighbours meet it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import type { Grant } from '../../../hub/registry/console-sessions.ts'
import { CONSOLE, consoleRig, PAGE, readCookie, request } from './console-rig.ts'

const JSON_TYPE = { 'content-type': 'application/json' }

test('a change is taken from the page of the console alone (CSRF)', async (t) => {
  const rig = await consoleRig(t)
  const cookie = await rig.login()
  const host = `127.0.0.1:${rig.hub.consolePort}`
  const body = { namespace: 'edge', serviceAccount: 'gw', nodes: 'gw-1' }
  const post = (only: Record<string, string>) =>
    rig.ask({ method: 'POST', path: '/api/v1/tokens', body, only: { cookie, ...only } })
  const cases: readonly [string, Record<string, string>][] = [
    ['no header of the page', { host, ...JSON_TYPE }],
    ['a form', { host, 'content-type': 'application/x-www-form-urlencoded' }],
    ['another origin', { host, ...JSON_TYPE, ...PAGE, origin: 'https://evil.example' }],
    ['an origin that begins like ours', { host, ...JSON_TYPE, ...PAGE, origin: `http://${host}.evil.example` }],
    ['another port', { host, ...JSON_TYPE, ...PAGE, origin: 'http://127.0.0.1:1' }],
    ['a page without an origin', { host, ...JSON_TYPE, ...PAGE, origin: 'null' }],
    ['another site', { host, ...JSON_TYPE, ...PAGE, 'sec-fetch-site': 'cross-site' }],
    ['a sibling', { host, ...JSON_TYPE, ...PAGE, 'sec-fetch-site': 'same-site' }],
    ['a navigation', { host, ...JSON_TYPE, ...PAGE, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }],
  ]
  for (const [what, headers] of cases) {
    const { status, body: said } = await post(headers)
    assert.deepEqual([status, said['code']], [403, 'MESH_CONSOLE_FOREIGN'], what)
  }
  assert.deepEqual(await rig.hub.registry.tokens(), [])
  const own = await post({ host, ...JSON_TYPE, ...PAGE, origin: `http://${host}`, 'sec-fetch-site': 'same-origin' })
  assert.equal(own.status, 200, own.text)
  assert.equal((await post({ host, 'content-type': 'text/plain', ...PAGE })).status, 400)
})

test('a command line shows a bearer: no header of a page is needed, and no cookie counts beside it', async (t) => {
  const rig = await consoleRig(t)
  const host = `127.0.0.1:${rig.hub.consolePort}`
  const login = async (grants?: readonly Grant[]) => {
    const body = { token: await rig.link(grants) }
    const said = await rig.ask({ method: 'POST', path: '/api/v1/login/cli', body })
    assert.equal(said.headers['set-cookie'], undefined)
    return String(said.body['secret'])
  }
  const secret = await login()
  const cookie = await rig.login()
  const body = { namespace: 'edge', serviceAccount: 'gw', nodes: 'gw-1' }
  const post = async (only: Record<string, string>) =>
    (await rig.ask({ method: 'POST', path: '/api/v1/tokens', body, only: { host, ...JSON_TYPE, ...only } })).status
  assert.equal(await post({ authorization: `Bearer ${secret}` }), 200)
  const viewer = await login([{ namespace: 'edge', role: 'viewer' }])
  const cases: readonly [string, Record<string, string>, number][] = [
    ['a bearer as a cookie', { cookie: `__Host-meshlet=${secret}`, ...PAGE }, 401],
    ['a cookie as a bearer', { authorization: `Bearer ${cookie.split('=')[1]}` }, 401],
    ['an admin who lends a viewer a cookie', { authorization: `Bearer ${viewer}`, cookie, ...PAGE }, 403],
    ['a made-up bearer beside a cookie', { authorization: `Bearer ${'B'.repeat(43)}`, cookie, ...PAGE }, 401],
    ['an empty one', { authorization: 'Bearer ', cookie }, 403],
    ['a page of another origin', { authorization: `Bearer ${secret}`, origin: 'https://evil.example' }, 403],
    ['another scheme without the header of the page', { authorization: 'Basic eDp5', cookie }, 403],
    ['another scheme, of a proxy, beside a cookie', { authorization: 'Basic eDp5', cookie, ...PAGE }, 200],
  ]
  for (const [what, headers, status] of cases) assert.equal(await post(headers), status, what)
  const show = { authorization: `Bearer ${secret}` }
  const { body: who } = await rig.ask({ path: '/api/v1/session', only: { host, ...show } })
  assert.deepEqual([who['via'], who['operator']], ['cli', 'operator:tester'])
  assert.equal((await rig.ask({ method: 'DELETE', path: '/api/v1/session', only: { host, ...show } })).status, 200)
  assert.equal(await post(show), 401, 'after the logout')
  const [made] = await rig.hub.registry.audit.page({ event: 'token.created', most: 1 })
  assert.equal(made?.actor, 'operator:tester')
})

test('a name that was made to lead here is no name of ours (DNS rebinding)', async (t) => {
  const rig = await consoleRig(t, 'console: {listen: "127.0.0.1:0", publicUrl: "https://console.example.org"}')
  const statusOf = async (host: string, more = {}) =>
    (await rig.ask({ path: '/api/v1/login', only: { host, ...more } })).status
  for (const host of [
    'evil.example',
    'evil.example:15080',
    'console.example.org.evil.example',
    'localhost@evil.example',
    '127.0.0.1, evil.example',
  ])
    assert.equal(await statusOf(host), 403, host)
  for (const host of ['127.0.0.1:1', 'localhost', '[::1]:15080', 'console.example.org', 'hub.demo.mesh'])
    assert.equal(await statusOf(host), 200, host)
  const origin = 'https://console.example.org'
  assert.equal(await statusOf('127.0.0.1:15080', { origin }), 200, 'a proxy that names itself in Origin alone')
  const two = await raw(
    rig.hub.consolePort!,
    'GET /api/v1/login HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n',
  )
  assert.match(two, /^HTTP\/1\.1 40[03]/)
})

test('every answer tells the browser what it may do with it', async (t) => {
  const rig = await consoleRig(t)
  for (const path of ['/', '/api/v1/login', '/api/v1/session', '/nosuch', '/api/v1/devices?limit=x']) {
    const { headers } = await rig.ask({ path })
    assert.match(String(headers['content-security-policy']), /default-src 'none'.*frame-ancestors 'none'/, path)
    assert.doesNotMatch(String(headers['content-security-policy']), /unsafe|https?:|data:|\*/)
    assert.equal(headers['x-frame-options'], 'DENY')
    assert.equal(headers['x-content-type-options'], 'nosniff')
    assert.equal(headers['referrer-policy'], 'no-referrer')
    assert.equal(headers['cache-control'], 'no-store')
    assert.equal(headers['access-control-allow-origin'], undefined)
    assert.equal(headers['strict-transport-security'], undefined, 'plain HTTP on loopback')
  }
  const behind = await consoleRig(t, 'console: {listen: "127.0.0.1:0", publicUrl: "https://console.example.org"}')
  assert.match(String((await behind.ask({ path: '/' })).headers['strict-transport-security']), /max-age=31536000/)
})

test('the cookie is out of reach of scripts and other sites, and another each time (session fixation)', async (t) => {
  const rig = await consoleRig(t)
  const fixed = `__Host-meshlet=${'F'.repeat(43)}`
  const said = await rig.ask({
    method: 'POST',
    path: '/api/v1/login',
    body: { token: await rig.link() },
    cookie: fixed,
  })
  const [line] = said.headers['set-cookie']!
  assert.match(line!, /^__Host-meshlet=[\w-]{43}; Path=\/; Secure; HttpOnly; SameSite=Strict; Max-Age=43200$/)
  assert.notEqual(readCookie(said), fixed)
  assert.equal((await rig.ask({ path: '/api/v1/session', cookie: fixed })).status, 401)
  const planted = `${readCookie(said)}; ${fixed}`
  assert.equal((await rig.ask({ path: '/api/v1/session', cookie: planted })).status, 401, 'two cookies of one name')
})

test('what is no path of ours is none, however it is written', async (t) => {
  const rig = await consoleRig(t)
  const cookie = await rig.login()
  for (const path of [
    '/../../etc/passwd',
    '/assets/../../hub.yaml',
    '/assets/%2e%2e%2fhub.yaml',
    '/api/v1/../../state/registry.db',
    '/api/v1/devices/..%2f..%2fetc%2fpasswd',
    '/api/v1/devices/%00',
    `/api/v1/devices/${'a'.repeat(300)}`,
    "/api/v1/devices/x'%20OR%201=1--",
    '/__proto__',
    '/api/v1/devices/constructor',
  ]) {
    const { status, text } = await rig.ask({ path, cookie })
    assert.ok(status === 404 || status === 400 || status === 414, `${path}: ${status}`)
    assert.doesNotMatch(text, /root:|SQLite|at .*\.ts:/)
  }
  assert.equal((await rig.ask({ path: '/api/v1/devices/%zz', cookie })).status, 400)
})

test('what is too large, malformed or of another kind is refused, and says nothing of the inside', async (t) => {
  const rig = await consoleRig(t)
  const cookie = await rig.login()
  const post = (body: unknown) => rig.ask({ method: 'POST', path: '/api/v1/tokens', body, cookie })
  assert.equal((await post({ namespace: 'x'.repeat(70_000) })).status, 413)
  assert.equal((await post('{"namespace":')).status, 400)
  assert.equal((await post('{"__proto__":{"role":"admin"},"namespace":"edge"}')).status, 400)
  assert.equal((await post({ namespace: 'edge', serviceAccount: 'gw', nodes: '../x' })).status, 400)
  assert.equal(
    (await post({ namespace: 'edge', serviceAccount: 'gw', nodes: 'gw-1', labels: { 'a b': '<x>' } })).status,
    400,
  )
  assert.equal((await post([])).status, 400)
  assert.equal((await rig.ask({ path: '/api/v1/devices?limit=100000', cookie })).status, 400)
  assert.equal((await rig.ask({ path: '/api/v1/login', headers: { 'x-long': 'y'.repeat(9_000) } })).status, 431)
  assert.deepEqual(await rig.hub.registry.tokens(), [])
})

test('one address asks and logs in only so often', async (t) => {
  const rig = await consoleRig(t, 'console: {listen: "127.0.0.1:0", requestsPerMinute: 30, loginsPerMinute: 3}')
  const tries = []
  for (let i = 0; i < 5; i++)
    tries.push((await rig.ask({ method: 'POST', path: '/api/v1/login', body: { token: 'A'.repeat(43) } })).status)
  assert.deepEqual(tries, [401, 401, 401, 429, 429])
  let last = 0
  for (let i = 0; i < 30; i++) last = (await rig.ask({ path: '/api/v1/login' })).status
  assert.equal(last, 429)
})

test('a hub whose hub.yaml has no console opens no port for one', async (t) => {
  const rig = await consoleRig(t, '')
  assert.equal(rig.hub.consolePort, undefined)
})

test('connections that prove nothing are few, and those of a session are counted', async (t) => {
  const rig = await consoleRig(t, `console: {listen: "127.0.0.1:0", maxConnections: 4}`)
  const open: net.Socket[] = []
  t.after(() => {
    for (const socket of open) socket.destroy()
  })
  for (let i = 0; i < 4; i++) {
    const socket = net.connect(rig.hub.consolePort!, '127.0.0.1')
    await once(socket, 'connect')
    open.push(socket)
  }
  await assert.rejects(request(rig.hub.consolePort!, { path: '/api/v1/login' }), /hang up|ECONNRESET/)
  open.pop()!.destroy()
  await until(async () => (await rig.ask({ path: '/api/v1/login' }).catch(() => undefined))?.status === 200)
})

async function until(ask: () => Promise<boolean>): Promise<void> {
  while (!(await ask()))
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
}

function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(text))
    let got = ''
    socket.on('data', (part) => {
      got += part.toString()
      socket.end()
    })
    socket.on('close', () => resolve(got))
    socket.on('error', reject)
  })
}

test('settings of the console that contradict each other are refused by name', async (t) => {
  await assert.rejects(
    consoleRig(t, 'console: {listen: "127.0.0.1:0", certificateFile: /nosuch/c.pem, keyFile: /nosuch/k.pem}'),
    /console.certificateFile \/nosuch\/c.pem/,
  )
  await assert.rejects(consoleRig(t, `${CONSOLE}\nnosuch: 1`), /nosuch/)
})
