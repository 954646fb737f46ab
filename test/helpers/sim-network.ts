import { duplexPair, type Duplex } from 'node:stream'
import type { Address, DatagramEvents, Datagrams, Listening, Network, NetStream } from '../../core/os/network.ts'

type Accept = (accepted: NetStream) => void
type Bound = { readonly at: Address; readonly events: DatagramEvents; readonly peer: Address | undefined }

/** Everything that shares one SimNetwork reaches each other by address, with no OS socket. */
export class SimNetwork implements Network {
  readonly #listeners = new Map<string, Accept>()
  readonly #refused = new Set<string>()
  readonly #blackholed = new Set<string>()
  readonly #open = new Set<{ near: Duplex; far: Duplex; to: string }>()
  readonly #bound = new Map<string, Bound>()
  #nextPort = 40_000
  dials = 0
  /** UDP sockets that are open now. */
  get udpSockets(): number {
    return this.#bound.size
  }

  /** Dials fail at once with ECONNREFUSED; datagrams too. */
  refuse(to: Address): void {
    this.#refused.add(key(to))
  }
  /** Dials hang until their signal aborts; datagrams are lost. */
  blackhole(to: Address): void {
    this.#blackholed.add(key(to))
  }
  restore(to: Address): void {
    this.#refused.delete(key(to))
    this.#blackholed.delete(key(to))
  }
  /** Destroys every open stream to the address: both ends see a reset. */
  cut(to: Address): void {
    for (const conn of this.#open)
      if (conn.to === key(to)) {
        conn.near.destroy(failure('ECONNRESET', conn.to))
        conn.far.destroy(failure('ECONNRESET', conn.to))
      }
  }

  async listen(at: Address, onStream: Accept): Promise<Listening> {
    const port = at.port === 0 ? this.#nextPort++ : at.port
    const k = key({ host: at.host, port })
    if (this.#listeners.has(k)) throw failure('EADDRINUSE', k)
    this.#listeners.set(k, onStream)
    return {
      port,
      [Symbol.asyncDispose]: async () => {
        this.#listeners.delete(k)
      },
    }
  }

  async dial(to: Address, signal: AbortSignal, options?: { readonly from?: string }): Promise<NetStream> {
    signal.throwIfAborted()
    this.dials++
    const k = key(to)
    if (this.#blackholed.has(k))
      await new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      })
    const accept = this.#listeners.get(k) ?? this.#listeners.get(key({ host: '0.0.0.0', port: to.port }))
    if (!accept || this.#refused.has(k)) throw failure('ECONNREFUSED', k)
    const [near, far] = duplexPair()
    const conn = { near, far, to: k }
    this.#open.add(conn)
    near.once('close', () => {
      this.#open.delete(conn)
    })
    // A duplex pair does not carry a destroy across; a socket does.
    near.once('close', () => {
      if (!far.destroyed) far.destroy(near.writableFinished ? undefined : failure('ECONNRESET', k))
    })
    far.once('close', () => {
      if (!near.destroyed) near.destroy(far.writableFinished ? undefined : failure('ECONNRESET', k))
    })
    for (const side of [near, far]) side.on('error', () => {})
    const here = { host: options?.from ?? '10.0.0.99', port: this.#nextPort++ }
    accept({ stream: far, local: to, remote: here })
    return { stream: near, local: here, remote: to }
  }

  async bindUdp(at: Address, events: DatagramEvents, { peer }: { readonly peer?: Address } = {}): Promise<Datagrams> {
    const port = at.port === 0 ? this.#nextPort++ : at.port
    const k = key({ host: at.host, port })
    if (this.#bound.has(k)) throw failure('EADDRINUSE', k)
    const bound: Bound = { at: { host: at.host, port }, events, peer }
    this.#bound.set(k, bound)
    return {
      port,
      send: (bytes, to) => {
        this.#datagram(bound, Buffer.from(bytes), to)
      },
      [Symbol.asyncDispose]: async () => {
        this.#bound.delete(k)
      },
    }
  }
  /**
   * Arrives in a later turn, as over a kernel; nowhere when nobody is there, which a socket with a peer hears about.
   */
  #datagram(from: Bound, bytes: Buffer, to: Address): void {
    setImmediate(() => {
      if (this.#blackholed.has(key(to))) return
      const wild = { host: '0.0.0.0', port: to.port }
      const target = this.#refused.has(key(to)) ? undefined : (this.#bound.get(key(to)) ?? this.#bound.get(key(wild)))
      if (!target) {
        if (from.peer) from.events.onError(failure('ECONNREFUSED', key(to)))
        return
      }
      const source = from.at.host === '0.0.0.0' ? { host: '10.0.0.99', port: from.at.port } : from.at
      if (target.peer && key(target.peer) !== key(source)) return
      target.events.onDatagram(bytes, source)
    })
  }
}
const key = (a: Address): string => `${a.host}:${a.port}`
const failure = (code: string, at: string): Error => Object.assign(new Error(`${code} ${at}`), { code })
