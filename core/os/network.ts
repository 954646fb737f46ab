import { createRequire } from 'node:module'
import type * as Dgram from 'node:dgram'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { guard, doNothing } from '../defects/guard.ts'

export type Address = { readonly host: string; readonly port: number }

/** `unixMode`: `host` is the path of a Unix socket, which gets this mode. */
export type ListenAddress = Address & { readonly ipv6Only?: boolean; readonly unixMode?: number | undefined }

/**
 * A byte stream to or from a peer. Real ones are `net.Socket`; simulated ones are in-memory duplex pairs.
 * The addresses are those of the kernel: with transparent capture `local` is the original destination.
 */
export type NetStream = { readonly stream: Duplex; readonly local: Address; readonly remote: Address }

/** True for a connection that does not leave this machine: over loopback, or from one of its addresses to the same. */
export function staysHere({ local, remote }: Pick<NetStream, 'local' | 'remote'>): boolean {
  return local.host === remote.host || remote.host === '::1' || remote.host.startsWith('127.')
}

/** The agent's only door to sockets. */
export interface Network {
  /**
   * Rejects with the OS error (`code` set) or the signal's reason.
   * The stream is half-open capable (`allowHalfOpen`) and sends without Nagle's delay.
   */
  dial(
    to: Address,
    signal: AbortSignal,
    options?: { readonly from?: string; readonly keepAlive?: KeepAlive },
  ): Promise<NetStream>
  /**
   * Port 0 picks a free one. Disposing stops accepting; accepted streams stay open. `ipv6Only`: `::` without IPv4
   * (IPV6_V6ONLY). Rejects with the OS error, e.g. EADDRINUSE, EACCES.
   */
  listen(at: ListenAddress, onStream: (accepted: NetStream) => void): Promise<Listening>
  /**
   * A UDP socket; `host` is an IP address, port 0 picks a free one. With `peer` the kernel lets through what comes from
   * there and nothing else, and ICMP's "port unreachable" arrives as an error. Rejects with the OS error, e.g.
   * EADDRINUSE, EACCES, ENETUNREACH.
   */
  bindUdp(at: Address, events: DatagramEvents, options?: { readonly peer?: Address }): Promise<Datagrams>
}

/** `inherited`: from the service manager (inherited-sockets.ts). Once disposed of, it cannot be had again. */
export type Listening = AsyncDisposable & { readonly port: number; readonly inherited?: boolean }

export type DatagramEvents = {
  onDatagram(bytes: Buffer, from: Address): void
  /** A datagram could not be sent or was refused. The socket stays usable. */
  onError(err: Error): void
}
export type Datagrams = AsyncDisposable & {
  readonly port: number
  /** Sent or lost, as datagrams are; what the kernel says of it comes to `onError`. With a peer, `to` is that peer. */
  send(bytes: Uint8Array, to: Address): void
}

let dgram: typeof Dgram | undefined

/** TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT; left out: Node's, which for the first is 30 s here. */
export type KeepAlive = {
  readonly idleMs?: number | undefined
  readonly intervalMs?: number | undefined
  readonly probes?: number | undefined
}
const KEEP_ALIVE_IDLE_MS = 30_000

export const systemNetwork: Network = {
  dial(to, signal, options) {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason)
        return
      }
      const keepAlive = options?.keepAlive ?? {}
      const socket = net.connect({
        host: to.host,
        port: to.port,
        noDelay: true,
        allowHalfOpen: true,
        keepAlive: true,
        keepAliveInitialDelay: keepAlive.idleMs ?? KEEP_ALIVE_IDLE_MS,
        ...(options?.from === undefined ? {} : { localAddress: options.from }),
      })
      setProbes(socket, keepAlive)
      const onAbort = guard('network', reject, () => {
        socket.destroy()
        reject(signal.reason)
      })
      signal.addEventListener('abort', onAbort, { once: true })
      const broken = (error: unknown): void => {
        socket.destroy()
        reject(error)
      }
      socket.once(
        'error',
        guard('network', broken, (err: Error) => {
          signal.removeEventListener('abort', onAbort)
          reject(err)
        }),
      )
      socket.once(
        'connect',
        guard('network', broken, () => {
          signal.removeEventListener('abort', onAbort)
          socket.removeAllListeners('error')
          resolve(described(socket))
        }),
      )
    })
  },
  listen: (at, onStream) =>
    waitUntilOpen((server) => {
      listenAt(server, at)
    }, onStream),
  bindUdp(at, events, { peer } = {}) {
    // Loaded at the first use: only the DNS proxy needs it.
    dgram ??= createRequire(import.meta.url)('node:dgram') as typeof Dgram
    const socket = dgram.createSocket(net.isIPv6(at.host) ? 'udp6' : 'udp4')
    return new Promise((resolve, reject) => {
      const fail = guard('network', reject, (err: Error) => {
        socket.close()
        reject(err)
      })
      socket.once('error', fail)
      socket.bind(
        { address: at.host, port: at.port, exclusive: true },
        guard('network', fail, () => {
          const open = (): void => {
            socket.removeListener('error', fail)
            // One datagram that fails is one datagram: the socket serves everybody.
            socket.on(
              'error',
              guard('network', doNothing, (err: Error) => events.onError(err)),
            )
            socket.on(
              'message',
              guard('network', doNothing, (bytes: Buffer, from: Dgram.RemoteInfo) =>
                events.onDatagram(bytes, { host: toPlainAddress(from.address), port: from.port }),
              ),
            )
            resolve(new UdpSocket(socket, events.onError, peer))
          }
          if (!peer) {
            open()
            return
          }
          socket.connect(
            peer.port,
            peer.host,
            guard('network', fail, (err?: Error | null) => {
              if (err) fail(err)
              else open()
            }),
          )
        }),
      )
    })
  },
}

/** A server that `listen` makes accept. */
export function waitUntilOpen(
  listen: (server: net.Server) => void,
  onStream: (accepted: NetStream) => void,
): Promise<Listening> {
  return new Promise((resolve, reject) => {
    const server = net.createServer({
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_IDLE_MS,
    })
    server.on(
      'connection',
      guard(
        'network',
        (_error, socket) => {
          socket.destroy()
        },
        (socket: net.Socket) => onStream(described(socket)),
      ),
    )
    server.once('error', reject)
    server.once(
      'listening',
      guard('network', reject, () => {
        server.removeListener('error', reject)
        // Not accepted for want of descriptors: without any listener that would end the process.
        server.on('error', doNothing)
        resolve({
          // Of a Unix socket the path is all there is.
          port: (server.address() as Partial<net.AddressInfo>).port ?? 0,
          // close() calls back only once every accepted socket is gone; nobody needs to wait for that here.
          [Symbol.asyncDispose]: async () => {
            server.close()
          },
        })
      }),
    )
    listen(server)
  })
}

class UdpSocket implements Datagrams {
  readonly port: number
  readonly #socket: Dgram.Socket
  readonly #done: (err: Error | null) => void
  readonly #peer: Address | undefined
  readonly #mapped: boolean
  #closed = false

  constructor(socket: Dgram.Socket, onError: (err: Error) => void, peer: Address | undefined) {
    const { port, family } = socket.address()
    this.port = port
    this.#socket = socket
    this.#done = guard('network', doNothing, (err: Error | null) => {
      if (err && !this.#closed) onError(err)
    })
    this.#peer = peer
    this.#mapped = family === 'IPv6'
  }
  send(bytes: Uint8Array, { host, port }: Address): void {
    if (this.#closed) return
    if (this.#peer) this.#socket.send(bytes, this.#done)
    else this.#socket.send(bytes, port, this.#mapped && net.isIPv4(host) ? `::ffff:${host}` : host, this.#done)
  }
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#socket.close()
  }
}

export const BACKLOG = 1024

export function listenAt(server: net.Server, { host, port, ipv6Only = false }: ListenAddress): void {
  server.listen({ host, port, backlog: BACKLOG, ipv6Only })
}

/** What a stream of ours runs over, e.g. the socket under TLS: some things are done to the connection itself. */
const carriers = new WeakMap<Duplex, Duplex>()
export function runsOver(stream: Duplex, carrier: Duplex): void {
  carriers.set(stream, carrier)
}
export function findCarrier(stream: Duplex): Duplex {
  const carrier = carriers.get(stream)
  return carrier ? findCarrier(carrier) : stream
}

/** Breaks a connection off, so that the peer cannot take what it got for all there is: over TCP a RST. */
export function reset(stream: Duplex): void {
  const carrier = findCarrier(stream)
  // Not of a stream that Node has taken the handle from, nor of one that is no TCP.
  try {
    if (carrier instanceof net.Socket && !carrier.destroyed) carrier.resetAndDestroy()
  } catch {
    carrier.destroy()
  }
  stream.destroy()
}

function described(socket: net.Socket): NetStream {
  return {
    stream: socket,
    local: { host: toPlainAddress(socket.localAddress), port: socket.localPort ?? 0 },
    remote: { host: toPlainAddress(socket.remoteAddress), port: socket.remotePort ?? 0 },
  }
}

/** Dual-stack listeners report IPv4 peers as ::ffff:a.b.c.d; policies and logs mean the IPv4 address. */
export function toPlainAddress(address: string | undefined): string {
  return address?.startsWith('::ffff:') ? address.slice(7) : (address ?? '')
}

/** Only where they are not Node's: it keeps them in fields of their own (docs/performance.md, shapes of sockets). */
function setProbes(socket: net.Socket, { idleMs = KEEP_ALIVE_IDLE_MS, intervalMs, probes }: KeepAlive): void {
  if (intervalMs === undefined && probes === undefined) return
  const options = { enable: true, initialDelay: idleMs, interval: intervalMs, count: probes }
  // This form is not in the types yet.
  ;(socket.setKeepAlive as unknown as (options: object) => void).call(socket, options)
}
