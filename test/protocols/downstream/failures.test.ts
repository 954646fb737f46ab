/**
 * Every failure of every stage, generated: whatever the endpoint does, whatever happens meanwhile, and with limits that
 * are met, in the end nothing is counted any more. A path that forgets to give back what it took is found here, also
 * one that nobody thought of.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Duplex } from 'node:stream'
import type { Breakers, Cluster } from '../../../model/cluster.ts'
import { parseCidr } from '../../../model/ip.ts'
import type { FilterChain } from '../../../model/listener.ts'
import type { Policy } from '../../../model/policy.ts'
import { getPausedStreams } from '../../../protocols/paused-streams.ts'
import { getExpiryWatcher } from '../../../protocols/certificate-expiry.ts'
import { settle } from '../../helpers/sim-clock.ts'
import { SimNetwork } from '../../helpers/sim-network.ts'
import { cluster, ORIGIN } from '../http/harness.ts'
import { CLIENTS, identity, SNIFFING } from './failing/clients.ts'
import { MUTUAL } from '../mutual-tls.ts'
import { ENDPOINTS, H2_ENDPOINTS } from './failing/endpoints.ts'
import { LOOPBACK, SocketRig } from './socket-rig.ts'

const denyAll: Policy = {
  action: 'deny',
  shadow: undefined,
  rules: [
    {
      name: 'nobody',
      permissions: [{ kind: 'any' }],
      principals: [{ kind: 'direct-remote-ip', range: parseCidr('0.0.0.0', 0)! }],
    },
  ],
}

type Case = {
  readonly rig: SocketRig
  readonly clients: readonly Duplex[]
  readonly chain: Partial<FilterChain> & Pick<FilterChain, 'codec'>
  readonly clusters: readonly Cluster[]
}
/** What happens meanwhile. */
const EVENTS: Readonly<Record<string, (c: Case) => void | Promise<unknown>>> = {
  nothing: () => {},
  'the clients end': ({ clients }) => {
    for (const s of clients) s.end()
  },
  'the clients reset': ({ clients }) => {
    for (const s of clients) s.destroy()
  },
  'the listener goes': ({ rig }) => {
    rig.tables.swap({ ...rig.tables.get(), listeners: new Map() })
  },
  'the listener denies': ({ rig, chain, clusters }) => {
    rig.use({ ...chain, policies: [denyAll] }, { clusters, listener: SNIFFING })
  },
  'the listener asks for TLS': ({ rig, chain, clusters }) => {
    rig.use({ ...chain, tls: { ...MUTUAL, alpnProtocols: ['x'] } }, { clusters, listener: SNIFFING })
  },
  'the cluster is replaced': ({ rig, chain, clusters }) => {
    rig.use(chain, { clusters: clusters.map((c) => ({ ...c })), listener: SNIFFING })
  },
  'the cluster goes': ({ rig, chain }) => {
    rig.use(chain, { clusters: [], listener: SNIFFING })
  },
  'the agent drains': ({ rig }) => rig.path.drain(),
  'the agent stops': async ({ rig }) => {
    await rig.path[Symbol.asyncDispose]()
    await rig.upstreams[Symbol.asyncDispose]()
  },
}
const WIDE: Breakers = {
  maxConnections: 100,
  maxPendingRequests: 100,
  maxRequests: 100,
  maxRetries: 3,
  retryBudget: undefined,
}
const NARROW: Breakers = {
  maxConnections: 1,
  maxPendingRequests: 1,
  maxRequests: 3,
  maxRetries: 1,
  retryBudget: undefined,
}
const GAUGES = [
  'mesh_connections_open',
  'mesh_connections_starting',
  'mesh_connections_sources',
  'mesh_upstream_connections',
  'mesh_upstream_requests_active',
  'mesh_upstream_requests_pending',
  'mesh_upstream_retries_active',
  'mesh_stream_waiting_bytes',
]

function counted(rig: SocketRig): Record<string, number> {
  const all: Record<string, number> = Object.fromEntries(GAUGES.map((name) => [name, rig.metrics.total(name)]))
  all['expiryWatcher'] = getExpiryWatcher(rig.ctx).size
  all['paused'] = getPausedStreams(rig.ctx).size
  for (const c of rig.upstreams.clusterStatus())
    for (const e of c.endpoints) all[`${c.name} ${e.address}`] = e.activeRequests + e.connections
  return Object.fromEntries(Object.entries(all).filter(([, n]) => n !== 0))
}

async function leftBy(
  client: keyof typeof CLIENTS,
  to: string,
  event: keyof typeof EVENTS,
  breakers: Breakers,
): Promise<Record<string, number>> {
  const network = new SimNetwork()
  const { chain, speak } = CLIENTS[client]!
  const kind = ENDPOINTS[to] ?? H2_ENDPOINTS[to]!
  const clusters = [cluster(undefined, { breakers, connectTimeoutMs: 5_000, ...kind.cluster })]
  const rig = await SocketRig.open(chain, {
    identity,
    network,
    clusters,
    listener: SNIFFING,
    limits: { maxConnections: breakers === NARROW ? 4 : 100, idleMs: 90_000, requestHeadMs: 10_000, drainMs: 30_000 },
    resolve: kind.resolve ?? (async () => [ORIGIN.host]),
  })
  await network.listen(ORIGIN, ({ stream }) => {
    stream.on('error', () => {})
    kind.serve?.(stream)
  })
  if (kind.refuses) network.refuse(ORIGIN)
  if (kind.hangs) network.blackhole(ORIGIN)
  const clients: Duplex[] = []
  for (let i = 0; i < 5; i++) {
    const { stream } = await network.dial({ host: LOOPBACK, port: rig.port }, new AbortController().signal)
    stream.on('error', () => {})
    // Who reads what comes is node:http2 there.
    if (client !== 'HTTP/2 requests') stream.resume()
    if (!stream.destroyed) speak(stream)
    clients.push(stream)
  }
  await settle()
  const over = EVENTS[event]!({ rig, clients, chain, clusters })
  // All timeouts there are, and whoever is left goes then.
  await rig.clock.advance(200_000)
  for (const s of clients) s.destroy()
  await settle()
  await rig.clock.advance(200_000)
  await over
  const left = counted(rig)
  await rig[Symbol.asyncDispose]()
  return left
}

/** Enough of those that get as far as an HTTP/2 endpoint. */
const SPOKEN_BY_H2: ReadonlySet<string> = new Set(['a request', 'half a body', 'HTTP/2 requests'])
for (const client of Object.keys(CLIENTS)) {
  // Who never gets as far as an endpoint need not be tried with each.
  const all = SPOKEN_BY_H2.has(client)
    ? [...Object.keys(ENDPOINTS), ...Object.keys(H2_ENDPOINTS)]
    : Object.keys(ENDPOINTS)
  const few =
    client.startsWith('an HTTP/2') || client.endsWith('their turn')
      ? [
          'does not accept',
          'is silent',
          'resets at once',
          'answers half and resets',
          'answers',
          ...Object.keys(H2_ENDPOINTS).slice(0, client.includes('tunnel') ? 0 : 5),
        ]
      : all
  const endpoints = [
    'silent',
    'half a ClientHello',
    'no TLS where TLS is asked for',
    'half a request head',
    'garbage',
  ].includes(client)
    ? ['answers']
    : few
  test(`${client}: nothing is counted in the end, whatever ${endpoints.length} endpoints do and ${Object.keys(EVENTS).length} things that happen`, async () => {
    const wrong: string[] = []
    for (const to of endpoints) {
      for (const event of Object.keys(EVENTS)) {
        for (const breakers of to in H2_ENDPOINTS && client !== 'HTTP/2 requests' ? [WIDE] : [WIDE, NARROW]) {
          const left = await leftBy(client, to, event, breakers)
          if (Object.keys(left).length > 0)
            wrong.push(
              `the endpoint ${to}, ${event}${breakers === NARROW ? ', narrow limits' : ''}: ${JSON.stringify(left)}`,
            )
        }
      }
    }
    assert.deepEqual(wrong, [])
  })
}
