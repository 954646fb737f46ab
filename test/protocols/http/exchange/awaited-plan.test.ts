/** Pushes that come while a request waits, or is tried: what they ask for counts for it, too. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { HttpConnectionManager, HttpFilter } from '../../../../model/listener.ts'
import type { Policy } from '../../../../model/policy.ts'
import type { InternalRedirects } from '../../../../model/http/internal-redirect.ts'
import { NO_HEADER_CHANGES, type RetryPolicy, type RouteConfig } from '../../../../model/route.ts'
import { RouteTable } from '../../../../model/tables.ts'
import { HTTP as AUTH_SERVICE, SETTINGS as AUTH_SETTINGS } from '../filters/ext-authz/rig.ts'
import { cluster, endpoint, forwardTo, GET, Harness, manager, OK, route, tablesOf, type Client } from '../harness.ts'

const AUTH_AT = { host: '10.1.0.3', port: 8080 }
const OTHER_AT = { host: '10.1.0.4', port: 8080 }
const CLUSTERS = [
  cluster(),
  cluster([endpoint(AUTH_AT.host, AUTH_AT.port)], { name: 'auth' }),
  cluster([endpoint(OTHER_AT.host, OTHER_AT.port)], { name: 'other' }),
]
const ask = (service = 'auth', name = 'a'): HttpFilter => ({
  kind: 'ext-authz',
  name,
  authz: {
    ...AUTH_SETTINGS,
    service: {
      ...AUTH_SERVICE,
      cluster: service,
      timeoutMs: 60_000,
      upstream: [{ kind: 'exact', value: 'x-user', ignoreCase: false }],
    },
  },
})
const DELAY: HttpFilter = {
  kind: 'fault',
  name: 'f',
  fault: { delay: { ms: 1_000, fraction: 1 }, abort: undefined, headers: [] },
}
const REFUSES: Policy = { action: 'allow', rules: [], shadow: undefined }
const refusing: HttpFilter = { kind: 'rbac', name: 'r', policy: REFUSES }
const tableOf = (filters?: Map<string, { off: boolean; policy?: { value: Policy } }>): RouteConfig => ({
  name: 'table',
  virtualHosts: [
    {
      name: 'v',
      domains: ['*'],
      routes: [route(forwardTo(), filters ? { filters } : {})],
      retry: undefined,
      headers: NO_HEADER_CHANGES,
      includeAttemptCount: false,
    },
  ],
  ignorePortInHost: false,
  headers: NO_HEADER_CHANGES,
})
/** As revalidate.ts does it. */
function push(h: Harness, client: Client, http: HttpConnectionManager | undefined, table?: RouteConfig): void {
  h.tables.swap(tablesOf(CLUSTERS, table && { routes: () => new RouteTable(table) }))
  if (http) client.conn.chain = { ...client.conn.chain, codec: { kind: 'http', http } }
}

for (const [name, filter] of [
  ['a service is asked about it', ask()],
  ['a fault delays it', DELAY],
] as const)
  for (const [what, filters, want] of [
    ['refuses it', [filter, refusing], /^HTTP\/1\.1 403 [^]*RBAC: access denied/],
    ['blocks its listener', [{ kind: 'blocked', name: 'b', reason: 'not known' }], /^HTTP\/1\.1 503 /],
    ['changes nothing about it', undefined, /^HTTP\/1\.1 200 /],
  ] as readonly (readonly [string, readonly HttpFilter[] | undefined, RegExp])[])
    test(`a push that ${what}, while ${name}`, async () => {
      await using h = new Harness(CLUSTERS)
      const [origin, auth] = [await h.origin(), await h.origin(AUTH_AT)]
      const client = h.connect(manager([route()], { filters: [filter] }))
      await client.send(GET)
      push(h, client, filters && manager([route()], { filters }))
      // Asked again by what is in force, and delayed no more than once.
      for (let i = 0; i < 2 && filter.kind === 'ext-authz' && auth.connections.length > 0; i++) await auth.answer(OK)
      await h.clock.advance(1_000)
      if (filters === undefined) await origin.answer(OK)
      assert.match(await client.take(), want)
      assert.equal(origin.connections.length, filters ? 0 : 1)
    })

test('a policy of the route that a push brings is asked, one of another host changes nothing', async () => {
  for (const isOurs of [true, false]) {
    await using h = new Harness(CLUSTERS)
    const [origin, auth] = [await h.origin(), await h.origin(AUTH_AT)]
    const first = tableOf()
    const policy: HttpFilter = { kind: 'rbac', name: 'r', policy: { ...REFUSES, action: 'log' } }
    h.tables.swap(tablesOf(CLUSTERS, { routes: () => new RouteTable(first) }))
    const client = h.connect(manager([], { filters: [ask(), policy], routes: { from: 'rds', name: 'table' } }))
    await client.send(GET)
    const other = { ...first, virtualHosts: [...first.virtualHosts, { ...first.virtualHosts[0]!, domains: ['other'] }] }
    push(h, client, undefined, isOurs ? tableOf(new Map([['r', { off: false, policy: { value: REFUSES } }]])) : other)
    await auth.answer(OK)
    if (isOurs) await auth.answer(OK)
    else await origin.answer(OK)
    assert.match(await client.take(), isOurs ? /^HTTP\/1\.1 403 / : /^HTTP\/1\.1 200 /)
    assert.equal(auth.connections.length, 1)
  }
})

test('another service that a push names is asked about the request as it came', async () => {
  await using h = new Harness(CLUSTERS)
  const [origin, auth, other] = [await h.origin(), await h.origin(AUTH_AT), await h.origin(OTHER_AT)]
  const client = h.connect(manager([route()], { filters: [ask(), ask('auth', 'b')] }))
  await client.send('GET //x/../y HTTP/1.1\r\nhost: a\r\n\r\n')
  await auth.answer('HTTP/1.1 200 OK\r\nx-user: first\r\ncontent-length: 0\r\n\r\n')
  push(h, client, manager([route()], { filters: [ask('other')], mergeSlashes: false }))
  await auth.answer(OK)
  assert.equal(origin.connections.length, 0)
  assert.match(await other.last.take(), /^GET \/\/y HTTP/)
  await other.answer(OK)
  assert.doesNotMatch(origin.last.received, /x-user/)
  assert.match(origin.last.received, /^GET \/\/y HTTP/)
})

test('pushes without end refuse the request at last', async () => {
  await using h = new Harness(CLUSTERS)
  const [origin, auth] = [await h.origin(), await h.origin(AUTH_AT)]
  const client = h.connect(manager([route()], { filters: [ask()] }))
  await client.send(GET)
  for (let i = 0; i < 9; i++) {
    push(h, client, manager([route()], { filters: [ask()] }))
    await auth.answer(OK)
  }
  assert.match(await client.take(), /^HTTP\/1\.1 503 [^]*cannot be planned anew/)
  assert.equal(origin.connections.length, 0)
})

const RETRY: RetryPolicy = {
  on: new Set(['5xx', 'connect-failure', 'reset']),
  maxRetries: 4,
  perTryTimeoutMs: undefined,
  statusCodes: new Set(),
  backoff: { baseMs: 20, capMs: 100 },
  avoidPreviousHosts: false,
  maxHostPicks: 3,
}
const RETRIED = forwardTo({ retry: RETRY })
const UNAVAILABLE = 'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n'

for (const [what, now, want] of [
  ['refuses it', manager([route(RETRIED)], { filters: [refusing] }), /^HTTP\/1\.1 403 [^]*RBAC: access denied/],
  [
    'has another route for it',
    manager([route(forwardTo({ clusters: [{ name: 'other', weight: 1, headers: NO_HEADER_CHANGES }] }))]),
    'other',
  ],
  ['has no route for it', manager([]), /^HTTP\/1\.1 404 /],
  ['changes nothing about it', undefined, 'first'],
] as const)
  test(`a push that ${what}, while it waits to be tried again`, async () => {
    await using h = new Harness(CLUSTERS)
    const [origin, other] = [await h.origin(), await h.origin(OTHER_AT)]
    const client = h.connect(manager([route(RETRIED)]))
    await client.send('PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n')
    assert.match(await client.take(), /^HTTP\/1\.1 100 Continue\r\n\r\n$/)
    await client.send('abc')
    await origin.answer(UNAVAILABLE)
    await origin.last.take()
    push(h, client, now)
    await h.clock.advance(100)
    if (want === 'first' || want === 'other') {
      const second = want === 'first' ? origin : other
      assert.match(await second.last.take(), /^PUT \/ [^]*\r\n\r\nabc$/)
      await second.answer(OK)
      assert.match(await client.take(), /^HTTP\/1\.1 200 /)
      return
    }
    assert.match(await client.take(), want)
    assert.equal(await origin.last.take(), '')
  })

test('a service is asked again about what is tried again after a push, as it came', async () => {
  await using h = new Harness(CLUSTERS)
  const [origin, auth, other] = [await h.origin(), await h.origin(AUTH_AT), await h.origin(OTHER_AT)]
  const client = h.connect(manager([route(RETRIED)], { filters: [ask()] }))
  await client.send(GET)
  await auth.answer('HTTP/1.1 200 OK\r\nx-user: first\r\ncontent-length: 0\r\n\r\n')
  await origin.answer(UNAVAILABLE)
  assert.match(await origin.last.take(), /x-user: first/)
  push(h, client, manager([route(RETRIED)], { filters: [ask('other')] }))
  await h.clock.advance(100)
  assert.doesNotMatch(await other.last.take(), /x-user/)
  await other.answer('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n')
  assert.match(await client.take(), /^HTTP\/1\.1 403 /)
  assert.equal(await origin.last.take(), '')
})

test('pushes make no retries beyond what the route has, and a copy for a mirror is made once', async () => {
  await using h = new Harness(CLUSTERS)
  const [origin, other] = [await h.origin(), await h.origin(OTHER_AT)]
  const mirrored = (): HttpConnectionManager =>
    manager([
      route(
        forwardTo({
          retry: { ...RETRY, maxRetries: 2 },
          mirrors: [{ cluster: { name: 'other' }, fraction: 1, keepsHost: false }],
        }),
      ),
    ])
  const client = h.connect(mirrored())
  await client.send(GET)
  for (let i = 0; i < 3; i++) {
    await origin.answer(UNAVAILABLE)
    push(h, client, mirrored())
    await h.clock.advance(100)
  }
  assert.match(await client.take(), /^HTTP\/1\.1 503 /)
  assert.equal(origin.last.received.match(/GET/g)?.length, 3)
  assert.equal(other.last.received.match(/GET/g)?.length, 1)
})

test('a redirect that is followed after a push is planned by what that brought', async () => {
  await using h = new Harness(CLUSTERS)
  const origin = await h.origin()
  const redirects: InternalRedirects = {
    max: 1,
    statuses: new Set([302]),
    predicates: [],
    copies: [],
    crossesSchemes: false,
  }
  const following = [route(forwardTo({ internalRedirects: redirects }))]
  const client = h.connect(manager(following))
  await client.send(GET)
  push(h, client, manager(following, { filters: [refusing] }))
  await origin.answer('HTTP/1.1 302 Found\r\nlocation: http://a/next\r\ncontent-length: 0\r\n\r\n')
  assert.match(await client.take(), /^HTTP\/1\.1 403 /)
})
