/**
 * A node on real sockets of the loopback that takes tunnels (HBONE) and opens them: a listener for tunnels, one that
 * asks for mutual TLS on the ports of its applications, and istiod's way to endpoints of an ambient mesh.
 */
import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import { Current } from '../../core/current.ts'
import type { Log } from '../../core/log.ts'
import { Metrics } from '../../core/metrics.ts'
import type { Cluster } from '../../model/cluster.ts'
import type { Identity } from '../../model/identity.ts'
import { ANY_CONNECTION, type Codec, type FilterChain, type Listener } from '../../model/listener.ts'
import type { Policy } from '../../model/policy.ts'
import { NO_HEADER_CHANGES } from '../../model/route.ts'
import type { Tables } from '../../model/tables.ts'
import type { DownstreamTls } from '../../model/tls.ts'
import type { Codecs } from '../../protocols/codecs.ts'
import type { Context, Limits } from '../../protocols/context.ts'
import { DEFAULT_LIMITS } from '../../protocols/context.ts'
import { DataPath } from '../../protocols/downstream/data-path.ts'
import { HpackDecoder } from '../../protocols/http/codec/hpack/decoder.ts'
import { serveHbone } from '../../protocols/http/server/hbone-server.ts'
import { serveHttp1 } from '../../protocols/http/server/h1-server.ts'
import { serveHttp2 } from '../../protocols/http/server/h2-server.ts'
import type { HttpUpstreams } from '../../protocols/http/message.ts'
import { serveTcp } from '../../protocols/tcp/proxy.ts'
import { createUpstreams } from '../../protocols/upstream/upstreams.ts'
import { freePorts } from '../../tools/free-ports.ts'
import { headers, RawH2, type Fields } from '../helpers/raw-h2.ts'
import { testCa, type TestCa } from '../helpers/test-ca.ts'
import { cluster, endpoint, manager, route, tablesOf } from './http/harness.ts'
import { ANY_TLS, realContext } from './parts.ts'
import { MUTUAL } from './mutual-tls.ts'

/** Where tunnels come to, and an address of the mesh for the same node. */
export const HERE = '127.0.0.1'
export const NODE = '127.0.0.44'

const ISTIO: DownstreamTls = { ...MUTUAL, alpnProtocols: ['istio-peer-exchange', 'istio', 'istio-http/1.1'] }
const tcpTo = (name: string): Codec => ({
  kind: 'tcp',
  tcp: { clusters: [{ name, weight: 1, headers: NO_HEADER_CHANGES }], idleMs: undefined },
})
/** As PeerAuthentication STRICT has it. */
const strict = (
  name: string,
  codec: Codec,
  match: Partial<FilterChain['match']>,
  policies: readonly Policy[],
): FilterChain => ({
  name,
  codec,
  policies,
  tls: ISTIO,
  match: { ...ANY_CONNECTION, transportProtocol: 'tls', ...match },
})
export const allow = (uri: string): Policy => ({
  action: 'allow',
  shadow: undefined,
  rules: [
    {
      name: 'who',
      permissions: [{ kind: 'any' }],
      principals: [{ kind: 'authenticated', name: { kind: 'exact', value: uri, ignoreCase: false } }],
    },
  ],
})

export type HboneOptions = {
  readonly limits?: Partial<Limits>
  readonly policies?: readonly Policy[]
  /** Whom the cluster of the application expects; default: the node itself. */
  readonly expected?: string
  readonly identity?: Identity
  /** Of the handshake that the ports of applications ask for without a tunnel. */
  readonly validation?: DownstreamTls['validation']
  readonly log?: Log
}

export class HboneRig implements AsyncDisposable {
  readonly ca: TestCa = testCa()
  readonly own: Identity
  readonly metrics = new Metrics()
  readonly ctx: Context
  readonly upstreams: HttpUpstreams
  readonly path: DataPath
  readonly ports: { readonly hbone: number; readonly tcp: number; readonly http: number; readonly admin: number }
  /** Of the application; a tunnel to `ports.tcp` or `ports.http` of this node leads there. */
  readonly app: net.Server
  readonly sockets: net.Socket[] = []
  readonly #tables: Current<Tables>
  readonly #o: HboneOptions

  private constructor([hbone, tcp, http, admin]: number[], app: net.Server, o: HboneOptions) {
    this.#o = o
    this.app = app
    this.ports = { hbone: hbone!, tcp: tcp!, http: http!, admin: admin! }
    this.own = o.identity ?? this.ca.issue('edge', 'node')
    this.#tables = new Current(this.#makeTables(o.policies ?? []))
    this.ctx = realContext({
      metrics: this.metrics,
      tables: this.#tables,
      identity: { current: () => this.own, watch: () => ({ [Symbol.dispose]: () => {} }) },
      limits: { ...DEFAULT_LIMITS, ...o.limits },
      ...(o.log && { log: o.log }),
    })
    this.upstreams = createUpstreams(this.ctx)
    const codecs: Codecs = {
      http1: (conn) => serveHttp1(conn, this.ctx, this.upstreams),
      http2: (conn) => serveHttp2(conn, this.ctx, this.upstreams),
      tcp: (conn, to) => serveTcp(conn, to, this.ctx, this.upstreams),
      hbone: (conn, host) => serveHbone(conn, this.ctx, host),
      mqtt: () => {
        throw new Error('not here')
      },
    }
    this.path = new DataPath(this.ctx, [this.#tunnels()], codecs, {
      reserved: [{ name: 'the admin port', address: HERE, port: this.ports.admin }],
      addresses: () => [NODE],
    })
  }
  static async open(o: HboneOptions = {}): Promise<HboneRig> {
    const app = net.createServer({ allowHalfOpen: true }).listen(0, HERE)
    await once(app, 'listening')
    const rig = new HboneRig(await freePorts(4), app, o)
    app.on('connection', (socket) => {
      rig.sockets.push(socket.on('error', () => {}))
    })
    await rig.path.open()
    return rig
  }

  /** The application answers what it gets in capital letters. */
  echo(): this {
    this.app.on('connection', (socket) => {
      socket.on('data', (chunk) => socket.write(chunk.toString().toUpperCase())).on('end', () => socket.end())
    })
    return this
  }
  use(policies: readonly Policy[]): void {
    this.#tables.swap(this.#makeTables(policies))
  }
  /** What the agent counts as open: all of it is given back when nobody is there. */
  held(): Record<string, number> {
    const names = [
      'mesh_connections_open',
      'mesh_upstream_connections',
      'mesh_upstream_requests_active',
      'mesh_stream_waiting_bytes',
    ]
    return Object.fromEntries(names.map((name) => [name, this.metrics.total(name)]))
  }

  #tunnels(): Listener {
    const chain: FilterChain = {
      name: 'hbone',
      match: ANY_CONNECTION,
      tls: { ...ISTIO, alpnProtocols: ['h2'] },
      policies: [],
      codec: { kind: 'hbone', hbone: { cluster: undefined } },
    }
    return { ...LISTENER, name: 'hbone', address: HERE, port: this.ports.hbone, defaultFilterChain: chain }
  }
  #makeTables(policies: readonly Policy[]): Tables {
    const { tcp, http } = this.ports
    const { validation = ISTIO.validation } = this.#o
    const inbound: Listener = {
      ...LISTENER,
      name: 'virtualInbound',
      address: NODE,
      port: 15006,
      bindToPort: false,
      hasOriginalDst: true,
      filterChains: [
        strict('tcp', tcpTo('app'), { destinationPort: tcp, applicationProtocols: ['istio'] }, policies),
        strict(
          'http',
          { kind: 'http', http: manager([route()]) },
          { destinationPort: http, applicationProtocols: ['istio-http/1.1', 'istio'] },
          policies,
        ),
      ].map((one) => ({ ...one, tls: { ...ISTIO, validation } })),
    }
    const tunnel: FilterChain = {
      name: '',
      match: ANY_CONNECTION,
      tls: undefined,
      policies: [],
      codec: {
        kind: 'tcp',
        tcp: {
          ...tcpTo('connect_originate'),
          clusters: [{ name: 'connect_originate', weight: 1, headers: NO_HEADER_CHANGES }],
          idleMs: undefined,
          tunnels: true,
        },
      },
    }
    const originate: Listener = {
      ...LISTENER,
      name: 'connect_originate',
      internal: true,
      bindToPort: false,
      filterChains: [tunnel],
    }
    // Bound, but taken from no port: what a tunnel asks for is found by address.
    const listeners = [{ ...inbound, bindToPort: true, port: 0 }, originate]
    return tablesOf(this.#clusters(), { listeners: new Map(listeners.map((l) => [l.name, l])) })
  }
  #clusters(): readonly Cluster[] {
    const { port } = this.app.address() as net.AddressInfo
    const app = [endpoint(HERE, port)]
    const far = [
      endpoint(HERE, this.ports.tcp, { via: { listener: 'connect_originate' }, transportLabels: { tunnel: 'http' } }),
    ]
    const validation = (prefix: string) => ({
      roots: { from: 'workload' } as const,
      sans: [{ type: 'uri' as const, match: { kind: 'prefix' as const, value: prefix, ignoreCase: false } }],
    })
    const mesh = { ...ANY_TLS, sni: '', certificate: { from: 'workload' } as const }
    return [
      cluster(app, { name: 'app' }),
      cluster(app),
      cluster(far, {
        name: 'far',
        transportMatches: [
          { name: 'hbone', match: { tunnel: 'http' }, transport: { kind: 'plaintext', internal: true } },
          {
            name: 'tlsMode-istio',
            match: { tlsMode: 'istio' },
            transport: {
              kind: 'tls',
              tls: { ...mesh, validation: validation(this.#o.expected ?? this.own.spiffeId.uri) },
            },
          },
        ],
      }),
      cluster([], {
        name: 'connect_originate',
        protocol: 'http2',
        discovery: { kind: 'original-dst', portOverride: this.ports.hbone },
        transport: {
          kind: 'tls',
          tls: { ...mesh, alpnProtocols: ['h2'], validation: validation('spiffe://cluster.local/') },
        },
      }),
    ]
  }

  /** A peer that says what it likes once the handshake is done. */
  async peer(
    identity: Identity | 'nobody' = this.ca.issue('shop', 'client'),
    offers: readonly string[] = ['h2'],
  ): Promise<RawH2> {
    const socket = tls.connect({
      host: HERE,
      port: this.ports.hbone,
      rejectUnauthorized: false,
      ...(identity !== 'nobody' && { cert: identity.chainPem, key: identity.keyPem }),
      ...(offers.length > 0 && { ALPNProtocols: [...offers] }),
    })
    socket.on('error', () => {})
    await Promise.race([once(socket, 'secureConnect'), once(socket, 'close')])
    return new RawH2(socket)
  }
  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    this.app.close()
    await this.path[Symbol.asyncDispose]()
    await this.upstreams[Symbol.asyncDispose]()
  }
}
const LISTENER: Listener = {
  name: '',
  address: '',
  port: 0,
  bindToPort: true,
  direction: 'inbound',
  useOriginalDst: false,
  sniff: { tls: false, http: false, timeoutMs: 0, onTimeout: 'close' },
  filterChains: [],
  defaultFilterChain: undefined,
  source: 'test',
}

export const connect = (stream: number, authority: string, more: Fields = []): Buffer => {
  const end = false
  return headers(stream, [[':method', 'CONNECT'], [':authority', authority], ...more], end)
}

/** Turns of the loop until it is so. */
export async function until(what: string, is: () => boolean): Promise<void> {
  for (const endMs = Date.now() + 8_000; !is();) {
    if (Date.now() > endMs) throw new Error(`never came about: ${what}`)
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
}

/** Status of the answer on a stream; undefined when the connection closes without one. */
export async function answerOf(peer: RawH2, stream: number): Promise<number | undefined> {
  await peer.until((f) => f.stream === stream && f.type === 1)
  // What a block means depends on those before it.
  const decoder = new HpackDecoder({ maxTableBytes: 4096, maxListBytes: 65_536, maxFields: 100 })
  for (const { type, stream: of, payload } of peer.heard) {
    if (type !== 1) continue
    const { fields } = decoder.decode(payload, 0, payload.length)
    if (of === stream) return Number(fields[1])
  }
  return undefined
}
