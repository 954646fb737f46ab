import net from 'node:net'
import type { Duplex } from 'node:stream'

export type Address = { readonly host: string; readonly port: number }

/**
 * A byte stream to or from a peer. Real ones are `net.Socket`; simulated ones are in-memory duplex pairs.
 * The addresses are those of the kernel: with transparent capture `local` is the original destination.
 */
export type NetStream = { readonly stream: Duplex; readonly local: Address; readonly remote: Address }

/** The agent's only door to TCP sockets. */
export interface Network {
  /**
   * Rejects with the OS error (`code` set) or the signal's reason.
   * The stream is half-open capable (`allowHalfOpen`) and sends without Nagle's delay.
   */
  dial(to: Address, signal: AbortSignal, options?: { readonly from?: string; readonly keepAliveMs?: number }): Promise<NetStream>
  /**
   * Port 0 picks a free one. Disposing stops accepting; accepted streams stay open.
   * Rejects with the OS error, e.g. EADDRINUSE, EACCES.
   */
  listen(at: Address, onStream: (accepted: NetStream) => void): Promise<Listening>
}

export type Listening = AsyncDisposable & { readonly port: number }

export const systemNetwork: Network = {
  dial(to, signal, options) {
    return new Promise((resolve, reject) => {
      if (signal.aborted) { reject(signal.reason); return }
      const socket = net.connect({
        host: to.host, port: to.port, noDelay: true, allowHalfOpen: true,
        keepAlive: true, keepAliveInitialDelay: options?.keepAliveMs ?? 30_000,
        ...(options?.from === undefined ? {} : { localAddress: options.from }),
      })
      const onAbort = (): void => { socket.destroy(); reject(signal.reason) }
      signal.addEventListener('abort', onAbort, { once: true })
      socket.once('error', (err) => { signal.removeEventListener('abort', onAbort); reject(err) })
      socket.once('connect', () => {
        signal.removeEventListener('abort', onAbort)
        socket.removeAllListeners('error')
        resolve(described(socket))
      })
    })
  },
  listen(at, onStream) {
    return new Promise((resolve, reject) => {
      const server = net.createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 })
      server.on('connection', (socket) => onStream(described(socket)))
      server.once('error', reject)
      server.listen({ host: at.host, port: at.port, backlog: 1024 }, () => {
        server.removeListener('error', reject)
        const bound = server.address()
        resolve({
          port: typeof bound === 'object' && bound ? bound.port : at.port,
          // close() calls back only once every accepted socket is gone; nobody needs to wait for that here.
          [Symbol.asyncDispose]: async () => { server.close() },
        })
      })
    })
  },
}

function described(socket: net.Socket): NetStream {
  return {
    stream: socket,
    local: { host: plain(socket.localAddress), port: socket.localPort ?? 0 },
    remote: { host: plain(socket.remoteAddress), port: socket.remotePort ?? 0 },
  }
}

/** Dual-stack listeners report IPv4 peers as ::ffff:a.b.c.d; policies and logs mean the IPv4 address. */
function plain(address: string | undefined): string {
  return address?.startsWith('::ffff:') ? address.slice(7) : address ?? ''
}
