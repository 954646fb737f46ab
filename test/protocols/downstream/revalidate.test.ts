/** From the push to what becomes of what is under way: a whole data path, and tunnels and answers that last. */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { Current } from '../../../core/current.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import type { Codec, HttpConnectionManager } from '../../../model/listener.ts'
import { NO_HEADER_CHANGES, type HeaderChanges, type RouteConfig } from '../../../model/route.ts'
import type { Policy } from '../../../model/policy.ts'
import { RouteTable, type Tables } from '../../../model/tables.ts'
import { ENDED } from '../../../protocols/connection.ts'
import { DEFAULT_LIMITS, type Context } from '../../../protocols/context.ts'
import { DataPath } from '../../../protocols/downstream/data-path.ts'
import { serveHttp1 } from '../../../protocols/http/server/h1-server.ts'
import { createUpstreams } from '../../../protocols/upstream/upstreams.ts'
import { seededRandom } from '../../helpers/random.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { SimNetwork } from '../../helpers/sim-network.ts'
import { cluster, manager, ORIGIN, Origin, Peer, route, tablesOf } from '../http/harness.ts'
import { listener, PORT, tcpChain } from './data-path-rig.ts'

type Filters = HttpConnectionManager['filters']
const rbac = (policy: Policy): Filters => [{ kind: 'rbac', name: 'r', policy }]
const NOBODY: Policy = { action: 'allow', rules: [], shadow: undefined }
/** Who says so in this header. */
const who = (value: string): Policy => ({
  action: 'allow',
  rules: [
    {
      name: 'p',
      permissions: [{ kind: 'any' }],
      principals: [
        {
          kind: 'header',
          header: {
            name: 'x-who',
            test: { kind: 'string', match: { kind: 'exact', value, ignoreCase: false } },
            invert: false,
            missingAsEmpty: false,
          },
        },
      ],
    },
  ],
  shadow: undefined,
})
const WITHOUT_WHO: HeaderChanges = { ...NO_HEADER_CHANGES, request: { remove: ['x-who'], add: [] } }
const http = (filters: Filters = [], more: Partial<HttpConnectionManager> = {}): Codec => ({
  kind: 'http',
  http: manager([route(undefined, { headers: WITHOUT_WHO })], { filters, ...more }),
})

class Rig {
  readonly network = new SimNetwork()
  readonly origin = new Origin()
  readonly tables: Current<Tables>

  constructor(codec: Codec, more: Partial<Tables> = {}) {
    this.tables = new Current(tablesFor(codec, more))
  }
  push(codec: Codec, more: Partial<Tables> = {}): void {
    this.tables.swap(tablesFor(codec, more))
  }
  async open(t: TestContext): Promise<DataPath> {
    const ctx: Context = {
      clock: new SimClock(),
      network: this.network,
      metrics: new Metrics(),
      log: silentLog,
      random: seededRandom(1),
      tables: this.tables,
      identity: { current: () => undefined, watch: () => ({ [Symbol.dispose]: () => {} }) },
      limits: DEFAULT_LIMITS,
    }
    const upstreams = createUpstreams(ctx, async () => [ORIGIN.host])
    const nobody = (): Promise<typeof ENDED> => Promise.resolve(ENDED)
    const path = new DataPath(ctx, [], {
      http1: (conn) => serveHttp1(conn, ctx, upstreams),
      http2: nobody,
      tcp: nobody,
      mqtt: nobody,
    })
    t.after(async () => {
      await path[Symbol.asyncDispose]()
      await upstreams[Symbol.asyncDispose]()
    })
    await path.open()
    await this.network.listen(ORIGIN, ({ stream }) => this.origin.accept(stream))
    return path
  }
  async ask(request = 'GET /events HTTP/1.1\r\nhost: a\r\nx-who: me\r\n\r\n'): Promise<Peer> {
    const client = new Peer((await this.network.dial(PORT, new AbortController().signal, {})).stream)
    await client.send(request)
    return client
  }
}
function tablesFor(codec: Codec, more: Partial<Tables>): Tables {
  const one = listener([tcpChain({ codec })])
  return tablesOf([cluster()], { listeners: new Map([[one.name, one]]), ...more })
}
const BEGUN = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n'

test('an answer that lasts is cut when a push denies its request, and goes on when it does not', async (t) => {
  const rig = new Rig(http(rbac(who('me'))))
  const path = await rig.open(t)
  const client = await rig.ask()
  await rig.origin.answer(BEGUN)
  // The route takes the header away that the policy asks for: what filters saw counts.
  rig.push(http(rbac(who('me')), { streamIdleMs: 1_000 }))
  await rig.origin.answer('6\r\nsecond\r\n')
  assert.match(await client.take(), /first[^]*second/)
  assert.equal(client.closed, false)
  rig.push(http(rbac(who('you'))))
  await client.take()
  assert.deepEqual([client.closed, rig.origin.last.closed, path.connections], [true, true, 0])
})

test('a request that has no answer yet is refused', async (t) => {
  const rig = new Rig(http())
  await rig.open(t)
  const client = await rig.ask()
  rig.push(http(rbac(NOBODY)))
  assert.match(await client.take(), /^HTTP\/1\.1 403 /)
  assert.equal(rig.origin.last.closed, true)
})

test('a policy that comes with the route table counts, too', async (t) => {
  const codec: Codec = {
    kind: 'http',
    http: { ...manager(), routes: { from: 'rds', name: 't' }, filters: rbac(who('me')) },
  }
  const table = (value: string): Partial<Tables> => {
    const config: RouteConfig = {
      name: 't',
      ignorePortInHost: false,
      headers: NO_HEADER_CHANGES,
      virtualHosts: [
        {
          name: 'v',
          domains: ['*'],
          routes: [route(undefined, { filters: new Map([['r', { off: false, policy: { value: who(value) } }]]) })],
          retry: undefined,
          headers: NO_HEADER_CHANGES,
          includeAttemptCount: false,
        },
      ],
    }
    const made = new RouteTable(config)
    return { routes: (name) => (name === 't' ? made : undefined) }
  }
  const rig = new Rig(codec, table('me'))
  await rig.open(t)
  const client = await rig.ask()
  await rig.origin.answer(BEGUN)
  rig.push(codec, table('you'))
  await client.take()
  assert.equal(client.closed, true)
})

test('a chain that speaks something else now lets the exchange at hand end, and takes no other', async (t) => {
  const rig = new Rig(http())
  await rig.open(t)
  const client = await rig.ask()
  const headers = NO_HEADER_CHANGES
  rig.push({ kind: 'tcp', tcp: { clusters: [{ name: 'origin', weight: 1, headers }], idleMs: 1_000 } })
  await rig.origin.answer('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi')
  const answer = await client.take()
  assert.match(answer, /^HTTP\/1\.1 200 [^]*connection: close[^]*hi$/)
  assert.equal(client.ended, true)
})

const TUNNELS = {
  websocket: 'GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n',
  connect: 'CONNECT origin.test:443 HTTP/1.1\r\nhost: origin.test:443\r\n\r\n',
}
for (const kind of ['websocket', 'connect'] as const) {
  test(`deny-all cuts an open ${kind} tunnel, and a push without it does not`, async (t) => {
    const tunnelling = (filters: Filters): Codec =>
      http(filters, { upgrades: ['websocket'], explicitProxy: kind === 'connect' })
    const rig = new Rig(tunnelling([]))
    const path = await rig.open(t)
    const client = await rig.ask(TUNNELS[kind])
    if (kind === 'websocket')
      await rig.origin.answer('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n')
    assert.match(await client.take(), /^HTTP\/1\.1 (?:101|200) /)

    rig.push(tunnelling([]))
    await client.send('before')
    assert.equal((await rig.origin.last.take()).endsWith('before'), true)
    rig.push(tunnelling(rbac(NOBODY)))
    await client.take()
    assert.deepEqual([client.closed, rig.origin.last.closed, path.connections], [true, true, 0])
  })
}
