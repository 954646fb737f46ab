/**
 * A TCP port of the hub. grpc-js would keep whoever comes for as long as they like; here a connection that has not proved
 * itself by an authenticated call has a deadline, and there are only so many of them, of all and of one address.
 */
import net from 'node:net'
import type { Clock, Timer } from '../../core/os/clock.ts'
import { guard, doNothing } from '../../core/defects/guard.ts'
import { deriveSource } from '../../core/ip-source.ts'
import { Tallies, type Lease } from '../../core/lease.ts'
import type { Log } from '../../core/log.ts'
import type { Cell, Family, Metrics } from '../../core/metrics.ts'
import { listenAt } from './listen.ts'

export type DoorLimits = {
  readonly maxConnections: number
  readonly maxConnectionsPerDevice: number
  readonly maxStrangers: number
  readonly maxStrangersPerAddress: number
  readonly strangerMs: number
  readonly maxStrangerBytes: number
}
export type DoorOptions = {
  /** What it is for, as its gauges say. */
  readonly name: 'grpc' | 'relay' | 'api' | 'console'
  /** ADDRESS:PORT; port 0 picks a free one. */
  readonly listen: string
  readonly limits: DoorLimits
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  /** Takes over what is let in: the TLS handshake comes next. */
  readonly enter: (socket: net.Socket) => void
  /** A connection is closed. @param peer as in `proved` */
  readonly left?: (peer: string) => void
}
export type Door = AsyncDisposable & {
  readonly port: number
  /**
   * An authenticated call came over the connection. @param peer its address and port as gRPC names them. @param holder
   * undefined: of nobody in particular. @param max connections of the holder; left out: as many as of a device
   * @returns whether the holder may have one more; if not, the connection stays a stranger's, and ends as one
   */
  proved(peer: string, holder: string | undefined, max?: number): boolean
}

/** gRPC gathers a message before anybody can ask who sends it, so what strangers send is looked at so often. */
const LOOK_MS = 50

/** Rejects with MESH_PORT_IN_USE or MESH_PORT_FORBIDDEN. */
export async function openDoor(options: DoorOptions): Promise<Door> {
  const connections = new Connections(options)
  const server = net.createServer({ noDelay: true, keepAlive: true })
  server.on(
    'connection',
    guard(
      'hub',
      (_error, socket) => {
        socket.destroy()
      },
      (socket: net.Socket) => connections.accept(socket),
    ),
  )
  const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(options.listen)!
  const { listen } = options
  const bound = await listenAt(
    server,
    { host: host!, port: Number(port), backlog: 1024 },
    `the hub cannot listen at ${listen}`,
  )
  return {
    port: bound.port,
    proved: (peer, holder, max) => connections.prove(peer, holder, max),
    async [Symbol.asyncDispose]() {
      server.close()
      connections[Symbol.dispose]()
    },
  }
}

/** A connection over which no authenticated call has come. `places`: what it holds of its device's limit, or its token's, once it has. */
type Stranger = {
  readonly socket: net.Socket
  readonly late: Timer
  readonly ofAddress: Lease
  readonly places: DisposableStack
}

class Connections implements Disposable {
  readonly #o: DoorOptions
  readonly #open = new Set<net.Socket>()
  /** By remote address and port. */
  readonly #strangers = new Map<string, Stranger>()
  readonly #byAddress = new Tallies<string>()
  readonly #byHolder = new Tallies<string>()
  readonly #refused: Family<'why'>
  readonly #gauges: Readonly<Record<'open' | 'strangers', Cell>>
  #look: Timer | undefined

  constructor(options: DoorOptions) {
    this.#o = options
    const { metrics, name: port } = options
    this.#gauges = {
      open: metrics
        .gauge('mesh_hub_connections', 'TCP connections that are open at a port of the hub.', ['port'])
        .cell({ port }),
      strangers: metrics
        .gauge(
          'mesh_hub_strangers',
          'TCP connections at a port of the hub over which no authenticated call has come.',
          ['port'],
        )
        .cell({ port }),
    }
    this.#refused = metrics.counter(
      'mesh_hub_connections_refused_total',
      'TCP connections that the hub closed, by why: too many open, too many that proved nothing (of all, of one address), proved nothing in time or before so many bytes.',
      ['why'],
    )
  }

  accept(socket: net.Socket): void {
    socket.on('error', doNothing)
    const { remoteAddress = '', remotePort } = socket
    const address = deriveSource(remoteAddress)
    const why = this.#tooMany(address)
    if (why !== undefined) {
      this.#refuse(socket, why)
      return
    }
    const peer = `${remoteAddress}:${remotePort}`
    const stranger: Stranger = {
      socket,
      late: this.#o.clock.after(
        this.#o.limits.strangerMs,
        guard(
          'hub',
          () => socket.destroy(),
          () => this.#refuse(socket, 'late'),
        ),
      ),
      ofAddress: this.#byAddress.lease(address),
      places: new DisposableStack(),
    }
    this.#open.add(socket)
    this.#strangers.set(peer, stranger)
    this.#count()
    this.#lookLater()
    socket.once(
      'close',
      guard('hub', doNothing, () => {
        this.#endStranger(peer)
        stranger.places.dispose()
        this.#open.delete(socket)
        this.#count()
        this.#o.left?.(peer)
      }),
    )
    this.#o.enter(socket)
  }

  /** As Door.proved. */
  prove(peer: string, holder: string | undefined, max = this.#o.limits.maxConnectionsPerDevice): boolean {
    const stranger = this.#strangers.get(peer)
    if (!stranger) return true
    if (holder !== undefined) {
      if (this.#byHolder.of(holder) >= max) return false
      stranger.places.use(this.#byHolder.lease(holder))
    }
    this.#endStranger(peer)
    return true
  }

  [Symbol.dispose](): void {
    this.#look?.cancel()
    for (const socket of this.#open) socket.destroy()
  }

  #tooMany(address: string): string | undefined {
    const { limits } = this.#o
    if (this.#open.size >= limits.maxConnections) return 'connections'
    if (this.#strangers.size >= limits.maxStrangers) return 'strangers'
    return this.#byAddress.of(address) >= limits.maxStrangersPerAddress ? 'address' : undefined
  }

  #refuse(socket: net.Socket, why: string): void {
    this.#refused.cell({ why }).value++
    socket.destroy()
  }

  /** It has proved itself, or it is closed. */
  #endStranger(peer: string): void {
    const stranger = this.#strangers.get(peer)
    if (!stranger) return
    this.#strangers.delete(peer)
    stranger.late.cancel()
    stranger.ofAddress[Symbol.dispose]()
    this.#count()
  }
  #count(): void {
    this.#gauges.open.value = this.#open.size
    this.#gauges.strangers.value = this.#strangers.size
  }

  #lookLater(): void {
    this.#look ??= this.#o.clock.after(LOOK_MS, this.#lookAtAll)
  }

  readonly #lookAtAll = guard('hub', doNothing, () => {
    this.#look = undefined
    for (const { socket } of this.#strangers.values())
      if (socket.bytesRead > this.#o.limits.maxStrangerBytes) this.#refuse(socket, 'bytes')
    if (this.#strangers.size > 0) this.#lookLater()
  })
}
