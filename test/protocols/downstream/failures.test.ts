/**
 * Every failure of every stage, generated: whatever the endpoint does, whatever happens meanwhile, and with limits that
 * are met, in the end nothing is counted any more. A path that forgets to give back what it took is found here, also
 * one that nobody thought of.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import http2 from 'node:http2'
import type { Duplex } from 'node:stream'
import type { Breakers, Cluster } from '../../../model/cluster.ts'
import { cidr } from '../../../model/ip.ts'
import type { Codec, FilterChain } from '../../../model/listener.ts'
import type { Policy } from '../../../model/policy.ts'
import type { RetryPolicy } from '../../../model/route.ts'
import type { DownstreamTls } from '../../../model/tls.ts'
import { pausedStreamsOf } from '../../../protocols/paused-streams.ts'
import { expiryWatcherOf } from '../../../protocols/certificate-expiry.ts'
import { settle } from '../../helpers/sim-clock.ts'
import { SimNetwork } from '../../helpers/sim-network.ts'
import { frame, headers, PREFACE, type Fields } from '../../helpers/raw-h2.ts'
import { testCa } from '../../helpers/test-ca.ts'
import { cluster, endpoint, forwardTo, GET, manager, OK, ORIGIN, route } from '../http/harness.ts'
import { byName } from '../parts.ts'
import { LOOPBACK, SocketRig } from './socket-rig.ts'

const [DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY] = [0, 1, 3, 4, 7]
const word = (n: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(n)
  return bytes
}
const setting = (id: number, value: number): Buffer =>
  frame(SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, id]), word(value)]))
const H2_GET: Fields = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':authority', 'a'],
  [':path', '/'],
]
const H2_CONNECT: Fields = [
  [':method', 'CONNECT'],
  [':authority', 'a:80'],
]
const identity = testCa('mesh.test').issue('edge', 'gateway')
const TLS: DownstreamTls = {
  certificate: { from: 'workload' },
  validation: { roots: { from: 'workload' }, sans: [] },
  requireClientCertificate: true,
  alpnProtocols: [],
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  cipherSuites: [],
}
const RETRY: RetryPolicy = {
  on: new Set(['connect-failure', 'reset', '5xx'] as const),
  maxRetries: 2,
  perTryTimeoutMs: 20_000,
  statusCodes: new Set(),
  backoff: { baseMs: 25, capMs: 250 },
  avoidPreviousHosts: true,
  maxHostPicks: 3,
}
const http = manager([route(forwardTo({ retry: RETRY, timeoutMs: 50_000 }))], {
  codec: 'auto',
  upgrades: ['websocket'],
  requestTimeoutMs: 40_000,
})
const HTTP: Codec = { kind: 'http', http }
const TCP: Codec = { kind: 'tcp', tcp: { clusters: [{ name: 'origin', weight: 1 } as never], idleMs: 60_000 } }
const SNIFFING = { sniff: { tls: true, http: true, timeoutMs: 0, onTimeout: 'close' as const } }

/** What a client does once it is connected. */
const CLIENTS: Readonly<
  Record<string, { chain: Partial<FilterChain> & Pick<FilterChain, 'codec'>; speak(stream: Duplex): void }>
> = {
  silent: { chain: { codec: HTTP }, speak: () => {} },
  'half a ClientHello': {
    chain: { codec: HTTP, tls: TLS },
    speak: (s) => {
      s.write(Buffer.from([22, 3, 1, 2, 0, 1]))
    },
  },
  'no TLS where TLS is asked for': {
    chain: { codec: HTTP, tls: TLS },
    speak: (s) => {
      s.write('\x16\x03\x01\x00\x02hi')
    },
  },
  'half a request head': {
    chain: { codec: HTTP },
    speak: (s) => {
      s.write('GET / HTTP/1.1\r\nhost:')
    },
  },
  garbage: {
    chain: { codec: HTTP },
    speak: (s) => {
      s.write('\0\0\0\0\r\n\r\n')
    },
  },
  'a request': {
    chain: { codec: HTTP },
    speak: (s) => {
      s.write(GET)
    },
  },
  'pipelined requests': {
    chain: { codec: HTTP },
    speak: (s) => {
      s.write(GET.repeat(5))
    },
  },
  'half a body': {
    chain: { codec: HTTP },
    speak: (s) => {
      s.write('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nabc')
    },
  },
  'an upgrade': {
    chain: { codec: HTTP },
    speak: (s) => {
      s.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n')
    },
  },
  CONNECT: {
    chain: { codec: { kind: 'http', http: { ...http, explicitProxy: true } } },
    speak: (s) => {
      s.write('CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n')
    },
  },
  'HTTP/2 requests': {
    chain: { codec: HTTP },
    speak: (s) => {
      const session = http2.connect('http://a', { createConnection: () => s }).on('error', () => {})
      for (let i = 0; i < 3; i++)
        session
          .request({ ':path': '/', ':method': i === 0 ? 'POST' : 'GET' }, { endStream: i > 0 })
          .on('error', () => {})
          .resume()
    },
  },
  'HTTP/2 requests that wait for their turn': {
    chain: { codec: HTTP },
    speak: (s) => {
      s.write(
        Buffer.concat([PREFACE, ...Array.from({ length: 40 }, (_, i) => headers(2 * i + 1, H2_GET, i % 2 === 0))]),
      )
    },
  },
  'an HTTP/2 tunnel': {
    chain: { codec: { kind: 'http', http: { ...http, explicitProxy: true } } },
    speak: (s) => {
      s.write(Buffer.concat([PREFACE, headers(1, H2_CONNECT, false), frame(DATA, 0, 1, Buffer.from('hello'))]))
    },
  },
  'an HTTP/2 tunnel that is half closed': {
    chain: { codec: { kind: 'http', http: { ...http, explicitProxy: true } } },
    speak: (s) => {
      s.write(Buffer.concat([PREFACE, headers(1, H2_CONNECT, true)]))
    },
  },
  'an HTTP/2 flood': {
    chain: { codec: HTTP },
    speak: (s) => {
      s.write(
        Buffer.concat([
          PREFACE,
          headers(1, H2_GET, false),
          ...Array.from({ length: 600 }, (_, i) =>
            Buffer.concat([headers(2 * i + 3, H2_GET, true), frame(RST_STREAM, 0, 2 * i + 3, word(8))]),
          ),
        ]),
      )
    },
  },
  'an HTTP/2 client that goes in the middle': {
    chain: { codec: HTTP },
    speak: (s) => {
      s.write(
        Buffer.concat([
          PREFACE,
          headers(1, H2_GET, true),
          headers(3, H2_GET, false),
          frame(GOAWAY, 0, 0, Buffer.alloc(8)),
        ]),
      )
    },
  },
  TCP: {
    chain: { codec: TCP },
    speak: (s) => {
      s.write('hello')
    },
  },
}
const later = (fn: () => void): void => {
  setImmediate(fn)
}
/** What becomes of connections to the endpoint. */
const ENDPOINTS: Readonly<
  Record<
    string,
    {
      cluster?: Partial<Cluster>
      refuses?: true
      hangs?: true
      resolve?: () => Promise<readonly string[]>
      serve?(stream: Duplex): void
    }
  >
> = {
  refuses: { refuses: true },
  'does not accept': { hangs: true },
  'is silent': {
    serve: (s) => {
      s.resume()
    },
  },
  'does not read': {},
  'resets at once': {
    serve: (s) => {
      s.destroy()
    },
  },
  'ends at once': {
    serve: (s) => {
      s.end()
    },
  },
  'resets what it was asked': {
    serve: (s) => {
      s.once('data', () => {
        s.destroy()
      })
    },
  },
  'answers garbage': {
    serve: (s) => {
      s.on('data', () => {
        s.write('garbage\r\n\r\n')
      })
    },
  },
  'answers half and resets': {
    serve: (s) => {
      s.on('data', () => {
        s.write('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc')
        later(() => {
          s.destroy()
        })
      })
    },
  },
  'answers half and is silent': {
    serve: (s) => {
      s.on('data', () => {
        s.write('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc')
      })
    },
  },
  'answers before it was asked': {
    serve: (s) => {
      s.resume().write(OK)
    },
  },
  'answers twice': {
    serve: (s) => {
      s.on('data', () => {
        s.write(OK + OK)
      })
    },
  },
  'answers 503': {
    serve: (s) => {
      s.on('data', () => {
        s.write('HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n')
      })
    },
  },
  answers: {
    serve: (s) => {
      s.on('data', () => {
        s.write(OK)
      })
    },
  },
  'switches protocols': {
    serve: (s) => {
      s.on('data', () => {
        s.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello')
      })
    },
  },
  'speaks no TLS': {
    cluster: { transport: { kind: 'tls', tls: { ...TLS, sni: '', autoSni: false } } },
    serve: (s) => {
      s.resume().write('HTTP/1.1 400 Bad Request\r\n\r\n')
    },
  },
  'is silent in the TLS handshake': {
    cluster: { transport: { kind: 'tls', tls: { ...TLS, sni: '', autoSni: false } } },
    serve: (s) => {
      s.resume()
    },
  },
  'speaks HTTP/1 where HTTP/2 is spoken': {
    cluster: { protocol: 'http2' },
    serve: (s) => {
      s.on('data', () => {
        s.write(OK)
      })
    },
  },
  'has no name': { cluster: named(), resolve: () => Promise.reject(new Error('ENOTFOUND')) },
  'has a name that nobody answers for': { cluster: named(), resolve: () => new Promise(() => {}) },
}
/** Of an endpoint that speaks HTTP/2. @param answer to each head */
function h2(
  answer: (stream: number, s: Duplex) => readonly Buffer[],
  first = frame(SETTINGS, 0, 0, Buffer.alloc(0)),
): { cluster: Partial<Cluster>; serve(stream: Duplex): void } {
  return {
    cluster: { protocol: 'http2' },
    serve: (s) => {
      let rest = Buffer.alloc(0)
      let skip = 24
      s.write(first)
      s.on('data', (chunk: Buffer) => {
        rest = Buffer.concat([rest, chunk])
        if (rest.length < skip) return
        rest = rest.subarray(skip)
        skip = 0
        for (
          let size: number;
          rest.length >= 9 && rest.length >= (size = 9 + rest.readUIntBE(0, 3));
          rest = rest.subarray(size)
        ) {
          if (rest[3] === SETTINGS && rest[4] === 0) s.write(frame(SETTINGS, 1, 0, Buffer.alloc(0)))
          if (rest[3] === HEADERS) {
            const bytes = Buffer.concat(answer(rest.readUInt32BE(5), s))
            if (bytes.length > 0) s.write(bytes)
          }
        }
      })
    },
  }
}
const ok = (stream: number, end = true): Buffer => headers(stream, [[':status', '200']], end)
/** The same over HTTP/2, and what only HTTP/2 has. */
const H2_ENDPOINTS: typeof ENDPOINTS = {
  'does not read HTTP/2': { cluster: { protocol: 'http2' } },
  'is silent over HTTP/2': h2(() => []),
  'takes no streams': h2(() => [], setting(3, 0)),
  'gives no window': h2(() => [], setting(4, 0)),
  'refuses each stream': h2((stream) => [frame(RST_STREAM, 0, stream, word(7))]),
  'refuses each stream after 103': h2((stream) => [
    headers(stream, [[':status', '103']], false),
    frame(RST_STREAM, 0, stream, word(7)),
  ]),
  'says GOAWAY and works on nothing': h2(() => [frame(GOAWAY, 0, 0, Buffer.alloc(8))]),
  'says GOAWAY in the middle of its answer and ends': h2((stream, s) => {
    later(() => {
      s.end()
    })
    return [ok(stream, false), frame(GOAWAY, 0, 0, Buffer.concat([word(stream), word(0)]))]
  }),
  'says GOAWAY and is silent': h2((stream) => [frame(GOAWAY, 0, 0, Buffer.concat([word(stream), word(0)]))]),
  'resets in the middle of its answer': h2((stream) => [
    ok(stream, false),
    frame(DATA, 0, stream, Buffer.from('hi')),
    frame(RST_STREAM, 0, stream, word(2)),
  ]),
  'answers before the end of the request': h2((stream) => [ok(stream), frame(RST_STREAM, 0, stream, word(0))]),
  'answers what is malformed': h2((stream) => [
    headers(
      stream,
      [
        [':status', '200'],
        ['connection', 'x'],
      ],
      true,
    ),
  ]),
  'answers without an end': h2((stream) => [ok(stream, false)]),
  'breaks the connection': h2(() => [frame(DATA, 0, 99, Buffer.from('x'))]),
  'sends SETTINGS only to make work': h2(() => Array.from({ length: 300 }, () => setting(3, 100))),
  'answers over HTTP/2': h2((stream) => [ok(stream)]),
}
function named(): Partial<Cluster> {
  return { discovery: byName([endpoint('origin.test', ORIGIN.port)], { refreshMs: 300_000 }) }
}
const denyAll: Policy = {
  action: 'deny',
  shadow: undefined,
  rules: [
    {
      name: 'nobody',
      permissions: [{ kind: 'any' }],
      principals: [{ kind: 'direct-remote-ip', range: cidr('0.0.0.0', 0)! }],
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
    rig.use({ ...chain, tls: { ...TLS, alpnProtocols: ['x'] } }, { clusters, listener: SNIFFING })
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
  all['expiryWatcher'] = expiryWatcherOf(rig.ctx).size
  all['paused'] = pausedStreamsOf(rig.ctx).size
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
