/** From the push to the cut: a whole data path, an open tunnel through it, and a policy that changes. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Current } from '../../../core/current.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import type { Policy } from '../../../model/policy.ts'
import type { Tables } from '../../../model/tables.ts'
import { ENDED } from '../../../protocols/connection.ts'
import { DEFAULT_LIMITS, type Context } from '../../../protocols/context.ts'
import { DataPath } from '../../../protocols/downstream/data-path.ts'
import { serveHttp1 } from '../../../protocols/http/server/h1-server.ts'
import { createUpstreams } from '../../../protocols/upstream/upstreams.ts'
import { seededRandom } from '../../helpers/random.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { SimNetwork } from '../../helpers/sim-network.ts'
import { listener, PORT, tcpChain } from './data-path-rig.ts'
import { cluster, manager, ORIGIN, Origin, Peer, route, tablesOf } from '../http/harness.ts'

const DENY_ALL: HttpConnectionManager['filters'] = [
  { kind: 'rbac', name: 'r', policy: { action: 'allow', rules: [], shadow: undefined } satisfies Policy },
]
const REQUEST = {
  websocket: 'GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n',
  connect: 'CONNECT origin.test:443 HTTP/1.1\r\nhost: origin.test:443\r\n\r\n',
}

for (const kind of ['websocket', 'connect'] as const) {
  test(`deny-all cuts an open ${kind} tunnel, and a push without it does not`, async (t) => {
    const http = (filters: HttpConnectionManager['filters']): HttpConnectionManager =>
      manager([route()], { upgrades: ['websocket'], explicitProxy: kind === 'connect', filters })
    const tables = (filters: HttpConnectionManager['filters']): Tables => {
      const one = listener([tcpChain({ codec: { kind: 'http', http: http(filters) } })])
      return tablesOf([cluster()], { listeners: new Map([[one.name, one]]) })
    }
    const network = new SimNetwork()
    const current = new Current(tables([]))
    const ctx: Context = {
      clock: new SimClock(),
      network,
      metrics: new Metrics(),
      log: silentLog,
      random: seededRandom(1),
      tables: current,
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
    const origin = new Origin()
    await network.listen(ORIGIN, ({ stream }) => origin.accept(stream))

    const client = new Peer((await network.dial(PORT, new AbortController().signal, {})).stream)
    await client.send(REQUEST[kind])
    if (kind === 'websocket')
      await origin.answer('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n')
    assert.match(await client.take(), /^HTTP\/1\.1 (?:101|200) /)

    current.swap(tables([]))
    await client.send('before')
    assert.equal((await origin.last.take()).endsWith('before'), true)
    current.swap(tables(DENY_ALL))
    await client.take()
    assert.deepEqual([client.closed, origin.last.closed, path.connections], [true, true, 0])
  })
}
