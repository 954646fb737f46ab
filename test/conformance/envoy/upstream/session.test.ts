/** Persistent sessions: which endpoint gets a request, and what the client is told. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import http from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { JsonObject } from '@bufbuild/protobuf'
import { clusterTo, httpTo, startBoth, type, type Ports } from './both.ts'

const filter = (kind: 'cookie' | 'header', state: JsonObject, more: JsonObject = {}): JsonObject => ({
  name: 'envoy.filters.http.stateful_session',
  typed_config: {
    '@type': type('extensions.filters.http.stateful_session.v3.StatefulSession'),
    session_state: {
      name: `envoy.http.stateful_session.${kind}`,
      typed_config: state,
    },
    ...more,
  },
})
const cookie = (more: JsonObject): JsonObject => ({
  '@type': type('extensions.http.stateful_session.cookie.v3.CookieBasedSessionState'),
  cookie: { name: 'session', ...more },
})
const HEADER: JsonObject = {
  '@type': type('extensions.http.stateful_session.header.v3.HeaderBasedSessionState'),
  name: 'X-Session',
}
const FILTERS: Readonly<Record<string, JsonObject>> = {
  cookie: filter('cookie', cookie({})),
  path: filter('cookie', cookie({ path: '/a' })),
  attributes: filter(
    'cookie',
    cookie({ path: '/', attributes: [{ name: 'SameSite', value: 'Lax' }, { name: 'Secure' }] }),
  ),
  header: filter('header', HEADER),
  'strict-cookie': filter('cookie', cookie({}), { strict: true }),
  'strict-header': filter('header', HEADER, { strict: true, status_on_strict_destination_not_found: 410 }),
}
type Answer = { readonly status: number; readonly app: string; readonly cookie: string; readonly session: string }

function ask(port: number, path: string, headers: Readonly<Record<string, string>>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    http
      .get({ port, host: '127.0.0.1', path, headers: { host: 'a', ...headers }, agent: false }, (response) => {
        let app = ''
        response.on('data', (chunk: Buffer) => {
          app += chunk.toString()
        })
        response.on('end', () => {
          resolve({
            status: response.statusCode ?? 0,
            app: response.statusCode === 200 ? app : '',
            cookie: String(response.headers['set-cookie'] ?? ''),
            session: String(response.headers['x-session'] ?? ''),
          })
        })
      })
      .on('error', reject)
  })
}

async function comparePaths({ ours, theirs }: Ports): Promise<void> {
  for (const path of ['/a', '/a/b', '/a?b', '/ab', '/']) {
    const [own, their] = [await ask(ours, path, {}), await ask(theirs, path, {})]
    assert.equal(own.cookie === '', their.cookie === '', path)
  }
}

test('sessions are kept as by Envoy', { timeout: 120_000 }, async (t) => {
  const endpoint = http.createServer((request, response) => response.end(request.socket.localAddress))
  endpoint.listen(0, '0.0.0.0')
  await once(endpoint, 'listening')
  t.after(() => void endpoint.close())
  const { port } = endpoint.address() as AddressInfo
  const hosts = ['127.0.3.1', '127.0.3.2', '127.0.3.3']
  const ports = await startBoth(
    t,
    [
      clusterTo(
        'c',
        hosts.map((host) => [host, port] as const),
      ),
    ],
    Object.fromEntries(Object.entries(FILTERS).map(([name, one]) => [name, httpTo('c', [one])])),
  )
  const base64 = (bytes: Buffer | string): string => Buffer.from(bytes).toString('base64')
  /** Envoy's cookie. */
  const inCookie = (address: string): string =>
    base64(Buffer.concat([Buffer.from([0x0a, address.length]), Buffer.from(address)]))
  const brought = (name: string, address: string): Record<string, string> =>
    name.includes('header') ? { 'x-session': base64(address) } : { cookie: `session="${inCookie(address)}"` }
  for (const name of Object.keys(FILTERS)) {
    const both = async (path: string, headers: Record<string, string>): Promise<readonly [Answer, Answer]> => [
      await ask(ports[name]!.ours, path, headers),
      await ask(ports[name]!.theirs, path, headers),
    ]
    await t.test(`${name}: an endpoint of the cluster`, async () => {
      for (const host of hosts) {
        const [own, their] = await both('/a', brought(name, `${host}:${port}`))
        assert.equal(their.app, host)
        assert.deepEqual(own, their)
      }
    })
    await t.test(`${name}: addresses that are none`, async () => {
      for (const foreign of [`127.0.3.4:${port}`, '127.0.3.1:1', 'x']) {
        const [own, their] = await both('/a', brought(name, foreign))
        assert.equal(own.status, their.status)
        assert.equal(hosts.includes(own.app), hosts.includes(their.app))
        assert.equal(own.cookie === '' && own.session === '', their.cookie === '' && their.session === '')
      }
    })
    await t.test(`${name}: a client without a session is told of its endpoint`, async () => {
      const [own, their] = await both('/a', {})
      const told = (answer: Answer): string =>
        `${answer.cookie} ${answer.session}`
          .replace(inCookie(`${answer.app}:${port}`), 'COOKIE')
          .replace(base64(`${answer.app}:${port}`), 'SESSION')
      assert.match(told(their), /COOKIE|SESSION/)
      assert.equal(told(own), told(their))
    })
  }
  await t.test('path: requests to other paths belong to none', () => comparePaths(ports['path']!))
})
