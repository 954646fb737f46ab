/**
 * A stream of the relay and a socket as one: bytes both ways, each side no faster than the other takes them, and each
 * direction with an end of its own.
 */
import type { Duplex } from 'node:stream'
import { doNothing, guard, type Part } from '../defects/guard.ts'
import { MeshError, toMeshError } from '../errors.ts'
import { resetSocket } from '../os/sockets/reset-socket.ts'
import type { RelayStream } from './stream.ts'

export type TunnelEnd = {
  /** From the socket to the stream, and the other way. */
  readonly sent: number
  readonly received: number
  /** Why it ended; undefined: both sides had said all. */
  readonly reason: MeshError | undefined
}

/**
 * @param signal ends it, with a MeshError
 * @returns what became of it, once it is over both ways
 */
export async function joinTunnel(
  stream: RelayStream,
  socket: Duplex,
  part: Part,
  signal?: AbortSignal,
): Promise<TunnelEnd> {
  const tunnel = new Tunnel(stream, socket, part)
  const stop = guard(part, doNothing, () => tunnel.end(toMeshError(signal?.reason)))
  if (signal?.aborted) stop()
  signal?.addEventListener('abort', stop, { once: true })
  try {
    return await tunnel.ended
  } finally {
    signal?.removeEventListener('abort', stop)
  }
}

class Tunnel {
  readonly #stream: RelayStream
  readonly #socket: Duplex
  readonly #ended = Promise.withResolvers<TunnelEnd>()
  readonly #open = { socket: true, stream: true }
  #sent = 0
  #received = 0
  #isOver = false

  constructor(stream: RelayStream, socket: Duplex, part: Part) {
    this.#stream = stream
    this.#socket = socket
    this.#listenToSocket(part)
    if (stream.isOver) this.#fail('the other side has gone')
    if (socket.destroyed) this.#fail('the connection was closed')
    // Node says the end of an empty one to nobody, if nobody listens yet.
    else if (socket.readableEnded) this.#endOwn()
    stream.listen({
      onMessage: (bytes) => {
        this.#received += bytes.length
        if (!socket.write(bytes)) stream.pause()
      },
      onEnd: () => {
        socket.end()
        this.#closeHalf('stream')
      },
      onReset: (reason) => this.#finish(reason),
      onDrain: () => socket.resume(),
    })
  }

  end(reason: MeshError): void {
    this.#finish(reason)
  }
  get ended(): Promise<TunnelEnd> {
    return this.#ended.promise
  }

  #listenToSocket(part: Part): void {
    const [stream, socket] = [this.#stream, this.#socket]
    const broken = (error: MeshError): void => this.#finish(error)
    socket.on(
      'data',
      guard(part, broken, (bytes: Buffer) => {
        this.#sent += bytes.length
        if (!stream.send(bytes)) socket.pause()
      }),
    )
    socket.on(
      'end',
      guard(part, broken, () => this.#endOwn()),
    )
    socket.on(
      'drain',
      guard(part, broken, () => stream.resume()),
    )
    socket.on(
      'error',
      guard(part, broken, (err: Error) => this.#fail(`the connection failed: ${err.message}`)),
    )
    socket.on(
      'close',
      guard(part, broken, () => {
        if (this.#open.socket || this.#open.stream) this.#fail('the connection was closed')
      }),
    )
  }

  #endOwn(): void {
    this.#stream.end()
    this.#closeHalf('socket')
  }
  #closeHalf(half: 'socket' | 'stream'): void {
    this.#open[half] = false
    if (!this.#open.socket && !this.#open.stream) this.#finish(undefined)
  }
  #fail(what: string): void {
    this.#finish(new MeshError('MESH_CONTROL_UNREACHABLE', what))
  }
  #finish(reason: MeshError | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    if (reason) {
      this.#stream.reset(reason)
      resetSocket(this.#socket)
    }
    this.#ended.resolve({ sent: this.#sent, received: this.#received, reason })
  }
}
