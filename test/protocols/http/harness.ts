/** One HTTP listener connection in front of simulated endpoints: everything but the sockets is the real thing. */
import type { Duplex } from 'node:stream'
import { duplexPair } from 'node:stream'
import { Current } from '../../../core/current.ts'
import { Metrics } from '../../../core/metrics.ts'
import type { Cluster, Endpoint } from '../../../model/cluster.ts'
import type { HttpConnectionManager } from '../../../model/listener.ts'
import { NO_HEADER_CHANGES, type ForwardAction, type Route, type VirtualHost } from '../../../model/route.ts'
import { EMPTY_TABLES, type Tables } from '../../../model/tables.ts'
import type { Connection, Outcome } from '../../../protocols/connection.ts'
import { DEFAULT_LIMITS, type Context, type Limits } from '../../../protocols/context.ts'
import { serveHttp1 } from '../../../protocols/http/server/h1-server.ts'
import type { HttpUpstreams } from '../../../protocols/http/message.ts'
import type { Resolve } from '../../../protocols/upstream/discovery/dns.ts'
import { createUpstreams } from '../../../protocols/upstream/upstreams.ts'
import { SimClock, settle } from '../../helpers/sim-clock.ts'
import { SimNetwork } from '../../helpers/sim-network.ts'
import { seededRandom } from '../../helpers/random.ts'
import { connectionInClear, loadOf, realContext } from '../parts.ts'

export const ORIGIN = { host: '10.1.0.1', port: 8080 }

export const endpoint = (address: string, port: number, more: Partial<Endpoint> = {}): Endpoint => ({
  address,
  port,
  weight: 1,
  health: 'healthy',
  transportLabels: {},
  workload: undefined,
  ...more,
})

export function cluster(
  endpoints: readonly Endpoint[] = [endpoint(ORIGIN.host, ORIGIN.port)],
  more: Partial<Cluster> = {},
): Cluster {
  return {
    name: 'origin',
    connectTimeoutMs: 1000,
    balancer: { kind: 'round-robin' },
    protocol: 'http1',
    idleMs: 60_000,
    maxRequestsPerConnection: undefined,
    maxConnectionMs: undefined,
    breakers: { maxConnections: 100, maxPendingRequests: 100, maxRequests: 100, maxRetries: 3, retryBudget: undefined },
    outlier: undefined,
    panicPercent: 50,
    localityWeighted: false,
    transportMatches: [],
    transport: { kind: 'plaintext' },
    bindAddress: undefined,
    discovery: {
      kind: 'static',
      load: loadOf(endpoints),
    },
    ...more,
  }
}

export function forwardTo(more: Partial<ForwardAction> = {}): ForwardAction {
  return {
    kind: 'forward',
    clusters: [{ name: 'origin', weight: 1, headers: NO_HEADER_CHANGES }],
    timeoutMs: undefined,
    idleMs: undefined,
    retry: undefined,
    rewrite: { path: undefined, host: undefined },
    appendForwardedHost: false,
    upgrades: new Map(),
    hash: [],
    ...more,
  }
}
export function route(action: Route['action'] = forwardTo(), more: Partial<Route> = {}): Route {
  return {
    name: 'r',
    match: {
      path: { kind: 'prefix', value: '/' },
      caseSensitive: true,
      headers: [],
      query: [],
      grpc: false,
      fraction: undefined,
    },
    action,
    headers: NO_HEADER_CHANGES,
    ...more,
  }
}
export function manager(
  routes: readonly Route[] = [route()],
  more: Partial<HttpConnectionManager> = {},
  host: Partial<VirtualHost> = {},
): HttpConnectionManager {
  const virtualHost: VirtualHost = {
    name: 'v',
    domains: ['*'],
    routes,
    retry: undefined,
    headers: NO_HEADER_CHANGES,
    includeAttemptCount: false,
    ...host,
  }
  return {
    statPrefix: 'test',
    codec: 'http1',
    routes: {
      from: 'inline',
      config: { name: 'inline', virtualHosts: [virtualHost], ignorePortInHost: false, headers: NO_HEADER_CHANGES },
    },
    filters: [],
    forwardClientCert: 'sanitize',
    clientCertDetails: { subject: false, uri: false, dns: false, cert: false, chain: false },
    serverName: 'meshlet',
    useRemoteAddress: false,
    xffTrustedHops: 0,
    requestId: 'none',
    normalizePath: true,
    mergeSlashes: true,
    upgrades: [],
    streamIdleMs: 30_000,
    requestTimeoutMs: undefined,
    connectionIdleMs: 60_000,
    maxRequestHeadersBytes: 60 * 1024,
    explicitProxy: false,
    ...more,
  }
}

export class Harness implements AsyncDisposable {
  readonly clock = new SimClock()
  readonly network = new SimNetwork()
  readonly metrics = new Metrics()
  readonly tables: Current<Tables>
  readonly ctx: Context
  readonly upstreams: HttpUpstreams
  readonly #draining = new AbortController()
  readonly #aborted = new AbortController()

  constructor(
    clusters: readonly Cluster[] = [cluster()],
    limits: Partial<Limits> = {},
    resolve: Resolve = async () => [ORIGIN.host],
  ) {
    this.tables = new Current<Tables>(tablesOf(clusters))
    this.ctx = realContext({
      clock: this.clock,
      random: seededRandom(7),
      network: this.network,
      metrics: this.metrics,
      tables: this.tables,
      limits: { ...DEFAULT_LIMITS, ...limits },
    })
    this.upstreams = createUpstreams(this.ctx, resolve)
  }

  /** A client connection that is being served. */
  connect(http: HttpConnectionManager = manager(), more: Partial<Connection> = {}): Client {
    const [near, far] = duplexPair()
    near.once('close', () => {
      if (!far.destroyed) far.destroy()
    })
    far.once('close', () => {
      if (!near.destroyed) near.destroy()
    })
    for (const s of [near, far]) s.on('error', () => {})
    const conn = connectionInClear(far, http, {
      id: 'c1',
      local: { host: '10.0.0.1', port: 80 },
      remote: { host: '10.0.0.2', port: 5555 },
      draining: this.#draining.signal,
      aborted: this.#aborted.signal,
      ...more,
    })
    return new Client(near, conn, serveHttp1(conn, this.ctx, this.upstreams))
  }
  drain(): void {
    this.#draining.abort()
  }

  /** An endpoint that the test plays by hand. */
  async origin(at = ORIGIN): Promise<Origin> {
    const origin = new Origin()
    await this.network.listen(at, ({ stream }) => origin.accept(stream))
    return origin
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.#aborted.abort()
    await this.upstreams[Symbol.asyncDispose]()
  }
}

export function tablesOf(clusters: readonly Cluster[], more: Partial<Tables> = {}): Tables {
  return {
    ...EMPTY_TABLES,
    cluster: (name) => clusters.find((c) => c.name === name),
    clusterNames: () => clusters.map((c) => c.name),
    checkedClusters: () => clusters.filter((c) => c.healthCheck).map((c) => c.name),
    ...more,
  }
}

/** One byte stream as the test sees it. */
export class Peer {
  readonly stream: Duplex
  received = ''
  ended = false
  closed = false
  constructor(stream: Duplex) {
    this.stream = stream
    stream.on('data', (chunk: Buffer) => {
      this.received += chunk.toString('latin1')
    })
    stream.on('end', () => {
      this.ended = true
    })
    stream.on('close', () => {
      this.closed = true
    })
    stream.on('error', () => {})
  }
  async send(text: string): Promise<void> {
    this.stream.write(text, 'latin1')
    await settle()
    await settle()
  }
  /** What came since the last take. */
  async take(): Promise<string> {
    await settle()
    await settle()
    const text = this.received
    this.received = ''
    return text
  }
}
export class Client extends Peer {
  readonly conn: Connection
  readonly outcome: Promise<Outcome>
  constructor(stream: Duplex, conn: Connection, outcome: Promise<Outcome>) {
    super(stream)
    this.conn = conn
    this.outcome = outcome
  }
}
export class Origin {
  readonly connections: Peer[] = []
  accept(stream: Duplex): void {
    this.connections.push(new Peer(stream))
  }
  get last(): Peer {
    return this.connections.at(-1)!
  }
  async answer(text: string): Promise<void> {
    await this.last.send(text)
  }
}
export const GET = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'
export const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi'
