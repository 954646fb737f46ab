/** Bytes on the wire to the hub: TLS, what asks a proxy, WebSocket, frames, pings, messages; not TCP and IP. */
import type net from 'node:net'
import { doNothing, guard } from '../../core/defects/guard.ts'
import type { WireCount } from '../connection/control-plane.ts'

type Counted = { sent: number; received: number }

export class WireMeter {
  readonly #count: WireCount | undefined
  readonly #open = new Map<net.Socket, Counted>()

  constructor(count: WireCount | undefined) {
    this.#count = count
  }

  /** @param socket below TLS, which counts what is inside */
  enter(socket: net.Socket): void {
    this.#open.set(socket, { sent: 0, received: 0 })
    socket.once(
      'close',
      guard('control', doNothing, () => {
        this.#read(socket)
        this.#open.delete(socket)
      }),
    )
  }
  /** Counts what has been moved since the last time. */
  read(): void {
    for (const socket of this.#open.keys()) this.#read(socket)
  }

  #read(socket: net.Socket): void {
    const counted = this.#open.get(socket)
    if (!counted) return
    const { bytesWritten: sent, bytesRead: received } = socket
    this.#count?.('sent', sent - counted.sent)
    this.#count?.('received', received - counted.received)
    this.#open.set(socket, { sent, received })
  }
}
