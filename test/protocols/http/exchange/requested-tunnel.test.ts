/** A tunnel outlives the answer that opened it: time and changed policies still reach it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { readJwks } from '../../../../core/jwt/jwks.ts'
import { JWT_METADATA, type JwtAuthentication } from '../../../../model/http/jwt.ts'
import type { Transport } from '../../../../model/cluster.ts'
import type { HttpConnectionManager } from '../../../../model/listener.ts'
import type { Permission, Policy } from '../../../../model/policy.ts'
import type { ForwardAction, Route } from '../../../../model/route.ts'
import { NO_HEADER_CHANGES, type HeaderEdit } from '../../../../model/route.ts'
import { RouteTable } from '../../../../model/tables.ts'
import { UNKNOWN_LENGTH } from '../../../../protocols/http/codec/framing.ts'
import type { ForwardPlan } from '../../../../protocols/http/exchange/planning/plan.ts'
import { RequestedTunnel, type TunnelOwner } from '../../../../protocols/http/exchange/requested-tunnel.ts'
import { RequestHead } from '../../../../protocols/http/message.ts'
import type { HttpRuntime } from '../../../../protocols/http/runtime.ts'
import { cluster, forwardTo, Harness, manager, route, tablesOf, type Client } from '../harness.ts'
import { createJwtProvider } from '../jwt-provider.ts'
import { createKey, createToken } from '../../../helpers/jwt.ts'
import { ANY_TLS } from '../../parts.ts'

const WEBSOCKET = 'GET /ws HTTP/1.1\r\nhost: a\r\nx-user: b\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n'
const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n'
const CONNECT = 'CONNECT origin.test:443 HTTP/1.1\r\nhost: origin.test:443\r\nx-user: b\r\n\r\n'
const policy = (action: 'allow' | 'deny', of: Permission): Policy => ({
  action,
  rules: [{ name: 'p', permissions: [of], principals: [{ kind: 'any' }] }],
  shadow: undefined,
})
const user = (value: string, name = 'x-user'): Permission => ({
  kind: 'header',
  header: {
    name,
    test: { kind: 'string', match: { kind: 'exact', value, ignoreCase: false } },
    invert: false,
    missingAsEmpty: false,
  },
})
const DENY_ALL: Policy = { action: 'allow', rules: [], shadow: undefined }
const rbac = (of: Policy): HttpConnectionManager['filters'] => [{ kind: 'rbac', name: 'r', policy: of }]

type Kind = 'websocket' | 'connect'
const settings = (
  kind: Kind,
  routes?: readonly Route[],
  more: Partial<HttpConnectionManager> = {},
): HttpConnectionManager =>
  manager(routes ?? [route()], { upgrades: ['websocket'], explicitProxy: kind === 'connect', ...more })
async function open(h: Harness, kind: Kind, http: HttpConnectionManager): Promise<Client> {
  const origin = await h.origin()
  const client = h.connect(http)
  await client.send(kind === 'websocket' ? WEBSOCKET : CONNECT)
  if (kind === 'websocket') await origin.answer(SWITCH)
  assert.match(await client.take(), /^HTTP\/1\.1 (?:101|200) /)
  return client
}
/**
 * The listener's own settings are others now, as after the recheck of its connection; then the tables change.
 * @returns what the client is told of it
 */
async function push(h: Harness, client: Client, http: HttpConnectionManager): Promise<string> {
  client.conn.chain = { ...client.conn.chain, codec: { kind: 'http', http } }
  h.tables.swap(tablesOf([cluster()]))
  return await client.take()
}

for (const kind of ['websocket', 'connect'] as const) {
  for (const { name, now, cut } of [
    { name: 'deny-all', now: settings(kind, undefined, { filters: rbac(DENY_ALL) }), cut: true },
    {
      name: 'DENY of what the request said',
      now: settings(kind, undefined, { filters: rbac(policy('deny', user('b'))) }),
      cut: true,
    },
    {
      name: 'DENY of somebody else',
      now: settings(kind, undefined, { filters: rbac(policy('deny', user('c'))) }),
      cut: false,
    },
    {
      name: 'a filter that is not implemented',
      now: settings(kind, undefined, { filters: [{ kind: 'blocked', name: 'x', reason: 'x' }] }),
      cut: true,
    },
    {
      name: 'a route that cannot be taken as it is configured',
      now: settings(kind, [route(undefined, { action: { kind: 'blocked' } as never })]),
      cut: true,
    },
    { name: 'nothing', now: settings(kind), cut: false },
    {
      name: 'a fault',
      now: settings(kind, undefined, {
        filters: [
          {
            kind: 'fault',
            name: 'f',
            fault: { delay: undefined, abort: { status: 503, grpcStatus: undefined, fraction: 1 }, headers: [] },
          },
        ],
      }),
      cut: false,
    },
    {
      name: 'a cluster that is gone',
      now: settings(kind, [route(forwardTo({ clusters: [{ name: 'gone', weight: 1, headers: NO_HEADER_CHANGES }] }))]),
      cut: false,
    },
  ])
    test(`an open ${kind} tunnel and a push of: ${name}`, async () => {
      await using h = new Harness()
      const client = await open(h, kind, settings(kind))
      await push(h, client, now)
      assert.equal(client.closed, cut)
      if (!cut) return
      assert.equal(
        (await client.outcome).error?.code,
        name.startsWith('a filter')
          ? 'MESH_CHAIN_BLOCKED'
          : name.startsWith('a route')
            ? 'MESH_ROUTE_BLOCKED'
            : 'MESH_PEER_NOT_ALLOWED',
      )
    })
}
const KEY = createKey()
const PROVIDER = createJwtProvider(readJwks({ keys: [KEY.jwk] }), { payloadKey: 'p' })
const jwt: JwtAuthentication = {
  providers: [PROVIDER],
  rules: [{ match: route().match, requires: { kind: 'provider', provider: PROVIDER } }],
  named: new Map(),
  bypassesPreflight: false,
  hidesReason: false,
}
const ofSubject = (sub: string): Policy =>
  policy('allow', {
    kind: 'metadata',
    metadata: {
      filter: JWT_METADATA,
      path: ['p', 'sub'],
      value: { kind: 'string', match: { kind: 'exact', value: sub, ignoreCase: false } },
      invert: false,
    },
  })
for (const { allowed, cut } of [
  { allowed: 'ann', cut: false },
  { allowed: 'bob', cut: true },
])
  test(`what the token of an open tunnel said counts for policies that come: ${allowed} may`, async () => {
    await using h = new Harness()
    const filters = (who: string): HttpConnectionManager['filters'] => [
      { kind: 'jwt', name: 'jwt', jwt },
      ...rbac(ofSubject(who)),
    ]
    const origin = await h.origin()
    const client = h.connect(settings('websocket', undefined, { filters: filters('ann') }))
    const token = createToken(KEY, { iss: 'i', sub: 'ann', exp: 4e9 })
    await client.send(WEBSOCKET.replace('x-user: b', `authorization: Bearer ${token}`))
    await origin.answer(SWITCH)
    assert.match(await client.take(), /^HTTP\/1\.1 101 /)
    await push(h, client, settings('websocket', undefined, { filters: filters(allowed) }))
    assert.equal(client.closed, cut)
  })
test('a chain that speaks something else now has no policies for a tunnel, which is no defect', async () => {
  await using h = new Harness()
  const client = await open(h, 'websocket', settings('websocket'))
  client.conn.chain = { ...client.conn.chain, codec: { kind: 'tcp', tcp: { clusters: [], idleMs: undefined } } }
  h.tables.swap(tablesOf([cluster()]))
  await client.take()
  assert.equal(client.closed, false)
})
test('an upgrade that the listener does not permit any more is cut', async () => {
  await using h = new Harness()
  const client = await open(h, 'websocket', settings('websocket'))
  await push(h, client, settings('websocket', undefined, { upgrades: [] }))
  assert.equal(client.closed, true)
})
test('a policy of the route table reaches a tunnel, too (typed_per_filter_config)', async () => {
  await using h = new Harness()
  const table = (of: Policy | undefined): RouteTable =>
    new RouteTable({
      name: 'r',
      ignorePortInHost: false,
      headers: NO_HEADER_CHANGES,
      virtualHosts: [
        {
          name: 'v',
          domains: ['*'],
          routes: [route(forwardTo(), of ? { filters: new Map([['r', { off: false, policy: { value: of } }]]) } : {})],
          retry: undefined,
          headers: NO_HEADER_CHANGES,
          includeAttemptCount: false,
        },
      ],
    })
  const tables = (of: Policy | undefined): ReturnType<typeof tablesOf> =>
    tablesOf([cluster()], { routes: () => table(of) })
  h.tables.swap(tables(undefined))
  const client = await open(h, 'websocket', {
    ...settings('websocket', undefined, { filters: rbac({ action: 'log', rules: [], shadow: undefined }) }),
    routes: { from: 'rds', name: 'r' },
  })
  h.tables.swap(tables(policy('deny', user('c'))))
  await client.take()
  assert.equal(client.closed, false)
  h.tables.swap(tables(policy('deny', user('b'))))
  await client.take()
  assert.equal(client.closed, true)
})
test('header changes of the route do not hide from a policy what the client had sent', async () => {
  await using h = new Harness()
  const stripping = (filters: HttpConnectionManager['filters']): HttpConnectionManager =>
    settings(
      'websocket',
      [
        route(forwardTo(), {
          headers: { request: { remove: ['x-user'], add: [] }, response: { remove: [], add: [] } },
        }),
      ],
      { filters },
    )
  const client = await open(h, 'websocket', stripping([]))
  await push(h, client, stripping(rbac(policy('deny', user('b')))))
  assert.equal(client.closed, true)
})
test('header_mutation in front of a policy is made once for each look at it', async () => {
  await using h = new Harness()
  const say = (value: string, how: 'overwrite-present' | 'if-absent'): HeaderEdit => ({
    remove: [],
    add: [{ name: 'x-seen', value, how }],
  })
  const mutations = { request: [say('twice', 'overwrite-present'), say('once', 'if-absent')], response: [] }
  const now = settings('websocket', undefined, {
    filters: [
      { kind: 'mutation', name: 'm', mutations, nearestWins: false, isEarly: true },
      ...rbac(policy('allow', user('once', 'x-seen'))),
    ],
  })
  const client = await open(h, 'websocket', now)
  await push(h, client, now)
  await push(h, client, now)
  assert.equal(client.closed, false)
})

/* Time. */

for (const { name, action = {}, http = {}, kind = 'websocket', endsMs, code } of [
  {
    name: 'stream_idle_timeout of the listener',
    http: { streamIdleMs: 5000 },
    endsMs: 5000,
    code: 'MESH_IDLE_TIMEOUT',
  },
  {
    name: 'idle_timeout of the route',
    action: { idleMs: 2000 },
    http: { streamIdleMs: 5000 },
    endsMs: 2000,
    code: 'MESH_IDLE_TIMEOUT',
  },
  {
    name: 'a CONNECT tunnel is as patient as a TCP connection (limits.idleMs)',
    kind: 'connect',
    http: { streamIdleMs: 5000 },
    endsMs: 3_600_000,
    code: 'MESH_IDLE_TIMEOUT',
  },
  {
    name: 'max_stream_duration',
    action: { maxStreamMs: 3000 },
    http: { streamIdleMs: 5000 },
    endsMs: 3000,
    code: 'MESH_STREAM_DURATION',
  },
] satisfies {
  name: string
  action?: Partial<ForwardAction>
  http?: Partial<HttpConnectionManager>
  kind?: Kind
  endsMs: number
  code: string
}[]) {
  test(`what ends a tunnel: ${name}`, async () => {
    await using h = new Harness()
    const client = await open(h, kind, settings(kind, [route(forwardTo({ timeoutMs: 1000, ...action }))], http))
    await h.clock.advance(endsMs - 100)
    assert.equal(client.closed, false)
    await h.clock.advance(200)
    assert.equal(client.closed, true)
    assert.equal((await client.outcome).error?.code, code)
  })
}
test('bytes in either direction keep a tunnel, but not beyond max_stream_duration', async () => {
  await using h = new Harness()
  const client = await open(
    h,
    'websocket',
    settings('websocket', [route(forwardTo({ maxStreamMs: 12_000 }))], { streamIdleMs: 5000 }),
  )
  for (let i = 0; i < 3; i++) {
    await h.clock.advance(3500)
    await client.send('x')
    assert.equal(client.closed, false)
  }
  await h.clock.advance(1600)
  assert.equal(client.closed, true)
})
test('deny-all that comes while an endpoint is asked for another protocol: 403, and no tunnel', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const client = h.connect(settings('websocket'))
  await client.send(WEBSOCKET)
  const told = await push(h, client, settings('websocket', undefined, { filters: rbac(DENY_ALL) }))
  assert.match(told, /^HTTP\/1\.1 403 /)
  await origin.answer(SWITCH)
  assert.equal(await client.take(), '')
  assert.equal(origin.last.closed, true)
  assert.deepEqual(
    h.upstreams
      .clusterStatus()
      .map((c) => [c.activeRequests, c.pendingRequests, c.connections])
      .filter((c) => c.join() !== '0,0,0'),
    [],
  )
})
test('deny-all that comes while a CONNECT waits: 403, and no tunnel', async () => {
  await using h = new Harness()
  const origin = await h.origin()
  const slowly = {
    kind: 'fault',
    name: 'f',
    fault: { delay: { ms: 1_000, fraction: 1 }, abort: undefined, headers: [] },
  } as const
  const client = h.connect(settings('connect', undefined, { filters: [slowly] }))
  await client.send(CONNECT)
  await push(h, client, settings('connect', undefined, { filters: rbac(DENY_ALL) }))
  await h.clock.advance(1_000)
  assert.match(await client.take(), /^HTTP\/1\.1 403 /)
  assert.ok(origin.connections.every((c) => c.closed))
})
const TLS: Transport = { kind: 'tls', tls: ANY_TLS }
for (const kind of ['websocket', 'connect'] as const) {
  for (const { name, now, cut } of [
    { name: 'asks for TLS now is cut', now: cluster(undefined, { transport: TLS }), cut: true },
    {
      name: 'asks for TLS of others goes on',
      now: cluster(undefined, { transportMatches: [{ name: 'm', match: { tlsMode: 'istio' }, transport: TLS }] }),
      cut: false,
    },
    { name: 'has another timeout goes on', now: cluster(undefined, { connectTimeoutMs: 7 }), cut: false },
  ])
    test(`an open ${kind} tunnel in clear, and its cluster ${name}`, async () => {
      await using h = new Harness()
      const client = await open(h, kind, settings(kind))
      h.tables.swap(tablesOf([now]))
      await client.take()
      assert.equal(client.closed, cut)
    })
}

test('a client that leaves while it is told of its tunnel: nothing is joined, watched or left open', () => {
  const [near, far] = [new PassThrough(), new PassThrough()]
  const released: boolean[] = []
  const request = new RequestHead({
    method: 'GET',
    scheme: 'http',
    authority: 'a',
    path: '/',
    headers: [],
    version: 'HTTP/1.1',
    bodyLength: 0,
    upgrade: 'websocket',
    expectContinue: false,
  })
  const rt = { ctx: { tables: { watch: assert.fail } } } as unknown as HttpRuntime
  const tunnel: RequestedTunnel = new RequestedTunnel(
    rt,
    {
      down: {
        takeOver: () => {
          tunnel.end()
          return { stream: near, rest: undefined }
        },
      },
      client: {},
    } as unknown as TunnelOwner,
    request,
  )
  const end = { stream: far, rest: undefined, release: (failed: boolean) => released.push(failed) }
  tunnel.open({ status: 101, headers: [], contentLength: UNKNOWN_LENGTH }, end, {} as ForwardPlan)
  assert.deepEqual([near.destroyed, far.destroyed], [true, true])
  assert.deepEqual(released, [false])
})
