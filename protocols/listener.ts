/**
 * The ports that are open: brings the set of bound listeners to what is wanted. A listener whose address stays keeps its socket while its
 * content changes; a port that cannot be opened is reported and tried again, and the others are served meanwhile.
 */
import type { Clock, Timer } from '../agent/core/clock.ts'
import { MeshError } from '../agent/core/errors.ts'
import type { Log } from '../agent/core/log.ts'
import type { Listening, Network, NetStream } from '../agent/core/network.ts'
import type { Listener } from '../agent/model/listener.ts'

export type PortStatus = { readonly name: string; readonly address: string; readonly state: 'listening' | 'failed'; readonly error: MeshError | undefined }
type Bound = { listener: Listener; socket: Listening | undefined; error: MeshError | undefined }

const RETRY_MS = 2_000

export class Ports implements AsyncDisposable {
  readonly #network: Network
  readonly #clock: Clock
  readonly #log: Log
  readonly #accept: (accepted: NetStream, listener: Listener) => void
  readonly #bound = new Map<string, Bound>()
  #work: Promise<void> = Promise.resolve()
  #retry: Timer | undefined
  #closed = false

  constructor(p: { network: Network; clock: Clock; log: Log; accept: (accepted: NetStream, listener: Listener) => void }) {
    this.#network = p.network
    this.#clock = p.clock
    this.#log = p.log
    this.#accept = p.accept
  }

  /** Resolves when every wanted port has been tried; failures stand in `status`. Calls are worked off in order. */
  apply(wanted: ReadonlyMap<string, Listener>): Promise<void> {
    this.#work = this.#work.then(() => this.#change(wanted))
    return this.#work
  }

  status(): PortStatus[] {
    return [...this.#bound.values()].map(({ listener: l, socket, error }) => ({
      name: l.name, address: `${l.address}:${socket?.port ?? l.port}`, state: socket ? 'listening' : 'failed', error,
    }))
  }
  /** The port that the kernel gave, for listeners with port 0. */
  portOf(name: string): number | undefined { return this.#bound.get(name)?.socket?.port }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#retry?.cancel()
    await this.apply(new Map())
  }

  async #change(wanted: ReadonlyMap<string, Listener>): Promise<void> {
    for (const [name, bound] of this.#bound) {
      const next = wanted.get(name)
      if (next && isSamePort(next, bound.listener)) { bound.listener = next; continue }
      this.#bound.delete(name)
      await bound.socket?.[Symbol.asyncDispose]()
      this.#log.info({ evt: 'listener.closed', listener: name }, 'listener closed')
    }
    for (const [name, listener] of wanted) {
      if (this.#bound.get(name)?.socket) continue
      const bound: Bound = { listener, socket: undefined, error: undefined }
      this.#bound.set(name, bound)
      await this.#open(bound)
    }
    this.#scheduleRetry(wanted)
  }

  async #open(bound: Bound): Promise<void> {
    const { name, address, port } = bound.listener
    try {
      bound.socket = await this.#network.listen({ host: address, port }, (accepted) => this.#accept(accepted, bound.listener))
      this.#log.info({ evt: 'listener.open', listener: name, address, port: bound.socket.port }, 'listening')
    } catch (err) {
      bound.error = portError(err as NodeJS.ErrnoException, `the port ${address}:${port} of listener ${name}`)
      this.#log.warn({ evt: 'listener.failed', listener: name, err: bound.error }, 'a port cannot be opened')
    }
  }

  #scheduleRetry(wanted: ReadonlyMap<string, Listener>): void {
    this.#retry?.cancel()
    if (this.#closed || [...this.#bound.values()].every((b) => b.socket)) return
    this.#retry = this.#clock.after(RETRY_MS, () => { void this.apply(wanted) })
  }
}

function isSamePort(a: Listener, b: Listener): boolean {
  return a.address === b.address && a.port === b.port
}

/** @param where the port in words, for the message */
export function portError(err: NodeJS.ErrnoException, where: string): MeshError {
  if (err.code === 'EADDRINUSE') return new MeshError('MESH_PORT_IN_USE', `${where} is taken by another process`, { cause: err })
  if (err.code === 'EACCES') return new MeshError('MESH_PORT_FORBIDDEN', `${where} may not be opened`, { cause: err })
  return new MeshError('MESH_PORT_FORBIDDEN', `${where} cannot be opened: ${err.message}`, { cause: err })
}
