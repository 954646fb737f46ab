/** A data path with its real codecs for HTTP and TCP on real sockets of the loopback, with simulated time. */
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { Current } from '../../../core/current.ts'
import { silentLog } from '../../../core/log.ts'
import { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import { Metrics } from '../../../core/metrics.ts'
import { systemNetwork, type Network } from '../../../core/os/network.ts'
import type { Cluster } from '../../../model/cluster.ts'
import type { Identity } from '../../../model/identity.ts'
import type { FilterChain, Listener } from '../../../model/listener.ts'
import { EMPTY_TABLES, type Tables } from '../../../model/tables.ts'
import type { Codecs } from '../../../protocols/codecs.ts'
import { DEFAULT_LIMITS, type Context, type Limits } from '../../../protocols/context.ts'
import { DataPath } from '../../../protocols/downstream/data-path.ts'
import { askAboutConnection } from '../../../protocols/http/filters/ext-authz/ask-about-connection.ts'
import { countConnection } from '../../../protocols/http/filters/rate-limit/count-connection.ts'
import { serveHttp1 } from '../../../protocols/http/server/h1-server.ts'
import { serveHttp2 } from '../../../protocols/http/server/h2-server.ts'
import type { HttpUpstreams } from '../../../protocols/http/message.ts'
import { serveTcp } from '../../../protocols/tcp/proxy.ts'
import type { Resolve } from '../../../protocols/upstream/discovery/dns.ts'
import { createUpstreams } from '../../../protocols/upstream/upstreams.ts'
import { seededRandom } from '../../helpers/random.ts'
import { settle, SimClock } from '../../helpers/sim-clock.ts'
import { cluster, endpoint, tablesOf } from '../http/harness.ts'

export const LOOPBACK = '127.0.0.1'

export type RigOptions = {
  identity?: Identity
  limits?: Partial<Limits>
  clusters?: readonly Cluster[]
  listener?: Partial<Listener>
  network?: Network
  resolve?: Resolve
  budgetBytes?: number
}

export class SocketRig implements AsyncDisposable {
  readonly clock = new SimClock(Date.now())
  readonly metrics = new Metrics()
  readonly tables: Current<Tables>
  readonly ctx: Context
  readonly upstreams: HttpUpstreams
  readonly path: DataPath
  readonly #open: net.Socket[] = []

  private constructor(first: Tables, p: RigOptions) {
    this.tables = new Current(first)
    this.ctx = {
      clock: this.clock,
      network: p.network ?? systemNetwork,
      metrics: this.metrics,
      log: silentLog,
      random: seededRandom(1),
      tables: this.tables,
      identity: { current: () => p.identity, watch: () => ({ [Symbol.dispose]: () => {} }) },
      limits: { ...DEFAULT_LIMITS, ...p.limits },
      ...(p.budgetBytes === undefined
        ? {}
        : { budget: new MemoryBudget({ maxBytes: p.budgetBytes, metrics: this.metrics }) }),
    }
    this.upstreams = createUpstreams(this.ctx, p.resolve)
    const codecs: Codecs = {
      http1: (conn) => serveHttp1(conn, this.ctx, this.upstreams),
      http2: (conn) => serveHttp2(conn, this.ctx, this.upstreams),
      tcp: (conn, tcp) => serveTcp(conn, tcp, this.ctx, this.upstreams),
      askService: (conn, settings) => askAboutConnection(conn, settings, this.ctx, this.upstreams),
      askCounter: (conn, settings) => countConnection(conn, settings, this.ctx, this.upstreams),
      mqtt: () => {
        throw new Error('not here')
      },
    }
    this.path = new DataPath(this.ctx, [], codecs)
  }

  /** @param chain of the one listener, `l` */
  static async open(chain: Partial<FilterChain> & Pick<FilterChain, 'codec'>, p: RigOptions = {}): Promise<SocketRig> {
    const rig = new SocketRig(EMPTY_TABLES, p)
    rig.use(chain, p)
    await rig.path.open()
    return rig
  }
  use(
    chain: Partial<FilterChain> & Pick<FilterChain, 'codec'>,
    p: Pick<RigOptions, 'clusters' | 'listener'> = {},
  ): void {
    this.tables.swap({ ...tablesOf(p.clusters ?? []), listeners: new Map([['l', listenerOf(chain, p.listener)]]) })
  }

  get port(): number {
    return this.path.portOf('l')!
  }
  async dial(options: Partial<net.TcpNetConnectOpts> = {}): Promise<net.Socket> {
    const socket = net.connect({ host: LOOPBACK, port: this.port, allowHalfOpen: true, ...options })
    this.#open.push(socket)
    socket.on('error', () => {})
    await once(socket, 'connect')
    return socket
  }
  /** @returns whether a client's connection came to the endpoint, or was closed */
  async passes(origin: SocketOrigin, stepMs = 0): Promise<boolean> {
    const before = origin.sockets.length
    const socket = await this.dial()
    let isOver = false
    socket
      .on('close', () => (isOver = true))
      .on('end', () => (isOver = true))
      .resume()
    await this.until('it is decided', () => isOver || origin.sockets.length > before, stepMs)
    return origin.sockets.length > before
  }
  /** One connection has, and no other. */
  hasFailed(code: string): boolean {
    return new RegExp(`mesh_connections_failed_total\\{.*code="${code}"\\} 1`).test(this.metrics.text())
  }
  /** Turns of the loop and steps of the clock until it is so. */
  async until(what: string, is: () => boolean, stepMs = 0): Promise<void> {
    for (let i = 0; i < 2_000 && !is(); i++) {
      if (stepMs > 0) await this.clock.advance(stepMs)
      else await settle()
    }
    if (!is()) throw new Error(`never came about: ${what}`)
  }
  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#open) socket.destroy()
    await this.path[Symbol.asyncDispose]()
    await this.upstreams[Symbol.asyncDispose]()
  }
}

function listenerOf(chain: Partial<FilterChain> & Pick<FilterChain, 'codec'>, more: Partial<Listener> = {}): Listener {
  return {
    name: 'l',
    address: LOOPBACK,
    port: 0,
    bindToPort: true,
    direction: 'inbound',
    useOriginalDst: false,
    sniff: { tls: false, http: false, timeoutMs: 0, onTimeout: 'close' },
    filterChains: [],
    source: 'test',
    defaultFilterChain: { name: 'c', match: {} as FilterChain['match'], tls: undefined, policies: [], ...chain },
    ...more,
  }
}

/** A server of the loopback that the test plays by hand. */
export class SocketOrigin implements Disposable {
  readonly sockets: net.Socket[] = []
  readonly #server: net.Server
  private constructor(server: net.Server) {
    this.#server = server
  }
  static async listen(onSocket: (socket: net.Socket) => void = () => {}): Promise<SocketOrigin> {
    const server = net.createServer({ allowHalfOpen: true }).listen(0, LOOPBACK)
    const origin = new SocketOrigin(server)
    server.on('connection', (socket) => {
      socket.on('error', () => {})
      origin.sockets.push(socket)
      onSocket(socket)
    })
    await once(server, 'listening')
    return origin
  }
  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }
  cluster(more: Partial<Cluster> = {}): Cluster {
    return cluster([endpoint(LOOPBACK, this.port)], more)
  }
  [Symbol.dispose](): void {
    for (const socket of this.sockets) socket.destroy()
    this.#server.close()
  }
}
