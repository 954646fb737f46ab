/**
 * The hub's TCP port. grpc-js would keep whoever comes for as long as they like; here a connection that has not proved
 * itself by an authenticated call has a deadline, and there are only so many of them, of all and of one address.
 */
import net from 'node:net'
import type { Clock, Timer } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import { guarded, nothing } from '../../core/defects/guard.ts'
import { sourceOf } from '../../core/ip-source.ts'
import { Tallies } from '../../core/lease.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../../core/metrics.ts'

export type DoorLimits = {
  readonly maxConnections: number
  readonly maxConnectionsPerDevice: number
  readonly maxStrangers: number
  readonly maxStrangersPerAddress: number
  readonly strangerMs: number
  readonly maxStrangerBytes: number
}
export type DoorOptions = {
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
   * An authenticated call came over the connection. @param peer its address and port as gRPC names them. @param device
   * undefined: of nobody in particular
   * @returns whether the device may have one more; if not, the connection stays a stranger's, and ends as one
   */
  proved(peer: string, device: string | undefined): boolean
}

/** gRPC gathers a message before anybody can ask who sends it, so what strangers send is looked at so often. */
const LOOK_MS = 50

/** Rejects with MESH_PORT_IN_USE or MESH_PORT_FORBIDDEN. */
export async function openDoor(o: DoorOptions): Promise<Door> {
  const { clock, limits, metrics } = o
  const open = new Set<net.Socket>()
  /** By remote address and port: those that have proved nothing. */
  const strangers = new Map<
    string,
    { readonly socket: net.Socket; readonly known: (device: string | undefined) => boolean }
  >()
  const byDevice = new Tallies<string>()
  const byAddress = new Map<string, number>()
  metrics.gaugeOf('mesh_hub_connections', 'TCP connections that are open at the hub.', () => open.size)
  metrics.gaugeOf(
    'mesh_hub_strangers',
    'TCP connections at the hub over which no authenticated call has come.',
    () => strangers.size,
  )
  const refused = metrics.counter(
    'mesh_hub_connections_refused_total',
    'TCP connections that the hub closed, by why: too many open, too many that proved nothing (of all, of one address), proved nothing in time or before so many bytes.',
    ['why'],
  )

  const tooMany = (address: string): string | undefined => {
    if (open.size >= limits.maxConnections) return 'connections'
    if (strangers.size >= limits.maxStrangers) return 'strangers'
    return (byAddress.get(address) ?? 0) >= limits.maxStrangersPerAddress ? 'address' : undefined
  }
  let look: Timer | undefined
  const lookLater = (): void => {
    look ??= clock.after(LOOK_MS, lookAtAll)
  }
  const lookAtAll = guarded('hub', nothing, () => {
    look = undefined
    for (const { socket } of strangers.values()) {
      if (socket.bytesRead <= limits.maxStrangerBytes) continue
      refused.cell({ why: 'bytes' }).value++
      socket.destroy()
    }
    if (strangers.size > 0) lookLater()
  })
  const accept = (socket: net.Socket): void => {
    socket.on('error', nothing)
    const { remoteAddress = '', remotePort } = socket
    const address = sourceOf(remoteAddress)
    const why = tooMany(address)
    if (why !== undefined) {
      refused.cell({ why }).value++
      socket.destroy()
      return
    }
    const peer = `${remoteAddress}:${remotePort}`
    open.add(socket)
    byAddress.set(address, (byAddress.get(address) ?? 0) + 1)
    const late = clock.after(
      limits.strangerMs,
      guarded(
        'hub',
        () => socket.destroy(),
        () => {
          refused.cell({ why: 'late' }).value++
          socket.destroy()
        },
      ),
    )
    const places = new DisposableStack()
    const known = (device: string | undefined): boolean => {
      if (device !== undefined && byDevice.of(device) >= limits.maxConnectionsPerDevice) return false
      if (!strangers.delete(peer)) return true
      if (device !== undefined) places.use(byDevice.lease(device))
      late.cancel()
      const left = byAddress.get(address)! - 1
      if (left === 0) byAddress.delete(address)
      else byAddress.set(address, left)
      return true
    }
    strangers.set(peer, { socket, known })
    lookLater()
    socket.once(
      'close',
      guarded('hub', nothing, () => {
        known(undefined)
        places.dispose()
        open.delete(socket)
        o.left?.(peer)
      }),
    )
    o.enter(socket)
  }

  const server = net.createServer({ noDelay: true, keepAlive: true })
  server.on(
    'connection',
    guarded(
      'hub',
      (_error, socket) => {
        socket.destroy()
      },
      accept,
    ),
  )
  const port = await listening(server, o.listen)
  return {
    port,
    proved: (peer, device) => strangers.get(peer)?.known(device) ?? true,
    async [Symbol.asyncDispose]() {
      look?.cancel()
      server.close()
      for (const socket of open) socket.destroy()
    },
  }
}

function listening(server: net.Server, listen: string): Promise<number> {
  const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(listen)!
  return new Promise((resolve, reject) => {
    // Later ones are connections that could not be accepted.
    server.on('error', (cause: NodeJS.ErrnoException) =>
      reject(
        new MeshError(
          cause.code === 'EACCES' ? 'MESH_PORT_FORBIDDEN' : 'MESH_PORT_IN_USE',
          `the hub cannot listen at ${listen}`,
          { cause },
        ),
      ),
    )
    server.listen(
      { host: host!, port: Number(port), backlog: 1024 },
      guarded('hub', reject, () => resolve((server.address() as net.AddressInfo).port)),
    )
  })
}
