/**
 * Every open connection, from accept to its end: counted, bounded, and within reach of draining and of the recheck
 * after a configuration change, also while its first bytes are looked at.
 */
import { MeshError } from '../../core/errors.ts'
import { takeLease, Tallies, Tally } from '../../core/lease.ts'
import type { Address, NetStream } from '../../core/os/network.ts'
import { deriveSource } from '../../core/ip-source.ts'
import type { FilterChain, Listener } from '../../model/listener.ts'
import type { Connection, DownstreamTlsFacts, ProxiedCertificate } from '../connection.ts'
import type { Limits } from '../context.ts'
import { type Abortable, Notice } from '../../core/runtime/notice.ts'
import type { ChainFacts } from './filter-chain.ts'

/** `originalDst`: see Connection. */
export type Accepted = NetStream & { readonly originalDst: Address | undefined; readonly tunnel?: TunnelOrigin }
/** It is a stream of another connection (HBONE). */
export type TunnelOrigin = {
  /** What that one's handshake has proved. */
  readonly tls: DownstreamTlsFacts | undefined
  /** That one is to end. */
  readonly draining: Abortable
  /** Told before the stream is destroyed. */
  readonly over: (error: MeshError | undefined) => void
}

/** Which limit of agent.yaml was met. */
export type ConnectionLimit = 'listener' | 'source' | 'total' | 'memory'

type Instant = { readonly monotonicMs: number; readonly wallMs: number }

export class TrackedConnection implements Disposable {
  #accepted: Accepted
  /** Until a filter chain is chosen; then the connection has it. */
  #listener: Listener
  /** Undefined while the first bytes are looked at. */
  conn: Connection | undefined
  facts: ChainFacts | undefined
  readonly id: string
  #serving = false
  readonly #started: Instant
  readonly draining = new Notice()
  readonly aborted = new Notice()
  readonly #all: Set<TrackedConnection>
  /** That it is open; given back last. */
  readonly #open: Disposable
  /** That no codec serves it yet. */
  #starting: Disposable | undefined
  /** What else ends with it. */
  #held: Disposable[] | undefined

  /** @param p.starting given back when a codec serves it */
  constructor(p: {
    id: string
    accepted: Accepted
    listener: Listener
    started: Instant
    all: Set<TrackedConnection>
    open: Disposable
    starting: Disposable
  }) {
    this.id = p.id
    this.#accepted = p.accepted
    this.#listener = p.listener
    this.#started = p.started
    this.#all = p.all.add(this)
    this.#open = p.open
    this.#starting = p.starting
  }

  get accepted(): Accepted {
    return this.#accepted
  }
  /** What a load balancer says of the client's certificate, where that counts. */
  proxied: ProxiedCertificate | undefined
  /** What the PROXY header said besides. */
  said: Pick<Connection, 'tlvs' | 'metadata' | 'meant'> | undefined
  /** A load balancer has said from whom it comes. @param lease of that source */
  comesFrom(remote: Address, lease: Disposable): void {
    this.#accepted = { ...this.#accepted, remote }
    this.holds(lease)
  }
  /** To be given back when it is over, the last one first. */
  holds(lease: Disposable): void {
    ;(this.#held ??= []).push(lease)
  }
  /** Its last version: a configuration change replaces it. */
  get listener(): Listener {
    return this.conn?.listener ?? this.#listener
  }
  set listener(next: Listener) {
    if (this.conn) this.conn.listener = next
    else this.#listener = next
  }
  /** False until a codec serves it: then a drain is an end, for nothing has begun. */
  get serving(): boolean {
    return this.#serving
  }

  /** Its filter chain is chosen. */
  enter(chain: FilterChain, facts: ChainFacts): Connection {
    const { local, remote, originalDst, stream } = this.accepted
    this.facts = facts
    this.conn = {
      id: this.id,
      local,
      remote,
      originalDst,
      startedMs: this.#started.monotonicMs,
      startedWallMs: this.#started.wallMs,
      listener: this.listener,
      chain,
      stream,
      tls: undefined,
      proxied: this.proxied,
      ...this.said,
      offered: facts,
      draining: this.draining,
      aborted: this.aborted,
      receivedBytes: 0,
      sentBytes: 0,
      cluster: '-',
    }
    return this.conn
  }

  /** A codec serves it from now on. */
  serves(): void {
    this.#serving = true
    this.#starting?.[Symbol.dispose]()
    this.#starting = undefined
  }

  /**
   * End after the exchange at hand.
   * @param reason what the peer is told where the protocol has words for it; default: the agent goes
   */
  drain(reason?: MeshError): void {
    this.draining.abort(reason)
    // A connection that has sent no byte has nothing under way.
    if (!this.serving && this.#isSilent)
      this.abort(reason ?? new MeshError('MESH_DRAINING', 'the agent drains and the client had not said anything'))
  }
  /** Its first bytes may be on their way: to end it now would be to reset a client that has done nothing wrong. */
  hasJustCome(nowMs: number): boolean {
    return this.#isSilent && nowMs - this.#started.monotonicMs < FIRST_BYTES_MS
  }
  get #isSilent(): boolean {
    return (this.accepted.stream as { bytesRead?: number }).bytesRead === 0
  }

  /** End now. */
  abort(reason: Error): void {
    this.draining.abort(reason)
    this.aborted.abort(reason)
    this.conn?.stream.destroy()
    this.accepted.stream.destroy()
  }

  [Symbol.dispose](): void {
    const held = this.#held
    this.#held = undefined
    for (let i = (held?.length ?? 0) - 1; i >= 0; i--) held![i]![Symbol.dispose]()
    this.#starting?.[Symbol.dispose]()
    this.#all.delete(this)
    this.#open[Symbol.dispose]()
  }
}

/** Long enough for the first bytes of a client over a slow link, which come one round trip later. */
export const FIRST_BYTES_MS = 250

/** Of a limit for all: left to sources that have less than an equal share of it, so that a few cannot take it whole. */
const RESERVED_SHARE = 1 / 8
/** Of what a source may have, it gets when memory is short. */
const MEMORY_FULL_SHARE = 1 / 8

type LimitCheck = {
  readonly open: number
  readonly max: number
  /** Undefined: of a load balancer, which has not said it yet. */
  readonly source: string | undefined
  readonly listener: string
}

export class Connections {
  readonly #limits: Pick<Limits, 'maxConnections' | 'maxConnectionsTotal' | 'maxConnectionsPerSource'>
  readonly #live = new Set<TrackedConnection>()
  readonly #open = new Tally(() => {
    for (const resolve of this.#idle) resolve()
    this.#idle.clear()
  })
  readonly #starting = new Tally()
  readonly #byListener = new Tallies<string>()
  readonly #bySource = new Tallies<string>()
  readonly #idle = new Set<() => void>()
  readonly #limitMet: (limit: ConnectionLimit) => void
  readonly #isMemoryFull: () => boolean
  #made = 0

  constructor(
    limits: Pick<Limits, 'maxConnections' | 'maxConnectionsTotal' | 'maxConnectionsPerSource'>,
    limitMet: (limit: ConnectionLimit) => void,
    isMemoryFull = (): boolean => false,
  ) {
    this.#limits = limits
    this.#limitMet = limitMet
    this.#isMemoryFull = isMemoryFull
  }

  get size(): number {
    return this.#open.now
  }
  /** Of them, those that no codec serves yet. */
  get starting(): number {
    return this.#starting.now
  }
  /** Addresses that have connections open. */
  get sources(): number {
    return this.#bySource.size
  }
  *[Symbol.iterator](): Iterator<TrackedConnection> {
    yield* this.#live
  }
  countOf(listener: string): number {
    return this.#byListener.of(listener)
  }

  /** From here on it is known and counted, until it is disposed of. Throws MESH_LISTENER_FULL. */
  accept(accepted: Accepted, listener: Listener, started: Instant): TrackedConnection {
    // Of a load balancer it is the source that its header names (comesFrom).
    const source = listener.proxyProtocol ? undefined : deriveSource(accepted.remote.host)
    this.#admit(listener, source)
    const ofSource = source === undefined ? undefined : this.#admitSource(source)
    const ofListener = this.#byListener.tally(listener.name)
    return new TrackedConnection({
      id: (++this.#made).toString(36),
      accepted,
      listener,
      started,
      all: this.#live,
      // Given back in this order: whoever waits for the last one finds nothing left of it.
      open: ofSource ? takeLease(ofSource, ofListener, this.#open) : takeLease(ofListener, this.#open),
      starting: takeLease(this.#starting),
    })
  }
  /** A load balancer has said from whom it comes. Throws MESH_LISTENER_FULL. */
  comesFrom(live: TrackedConnection, remote: Address): void {
    live.comesFrom(remote, takeLease(this.#admitSource(deriveSource(remote.host))))
  }
  /** Resolves when none is open. */
  async whenNone(): Promise<void> {
    if (this.size > 0)
      await new Promise<void>((resolve) => {
        this.#idle.add(resolve)
      })
  }

  #admit({ name }: Listener, source: string | undefined): void {
    const { maxConnections, maxConnectionsTotal } = this.#limits
    this.#checkLimit('total', { open: this.#open.now, max: maxConnectionsTotal, source, listener: name })
    this.#checkLimit('listener', { open: this.#byListener.of(name), max: maxConnections, source, listener: name })
  }
  #checkLimit(limit: 'total' | 'listener', { open, max, source, listener }: LimitCheck): void {
    const refuse = (rest = ''): never => {
      const where =
        limit === 'total' ? '(limits.maxConnectionsTotal)' : `to listener ${listener} (limits.maxConnections)`
      throw this.#full(limit, `${open} connections are open ${where}${rest}`)
    }
    if (open >= max) refuse()
    if (source === undefined || open < max - Math.floor(max * RESERVED_SHARE)) return
    const ofSource = this.#bySource.of(source)
    // Whoever is alone takes nothing from anybody.
    const isAlone = this.#bySource.size === (ofSource > 0 ? 1 : 0)
    if (!isAlone && ofSource >= max / (this.#bySource.size + 1))
      refuse(`, ${ofSource} of all from ${source}; the rest is for others`)
  }
  /** For a lease that is taken at once. */
  #admitSource(source: string): Tally {
    const { maxConnectionsPerSource } = this.#limits
    const open = this.#bySource.of(source)
    if (open >= maxConnectionsPerSource * MEMORY_FULL_SHARE && this.#isMemoryFull())
      throw this.#full(
        'memory',
        `the process has nearly all the memory that it may have, and ${open} connections are open from ${source}`,
      )
    if (open >= maxConnectionsPerSource)
      throw this.#full(
        'source',
        `${maxConnectionsPerSource} connections are open from ${source} (limits.maxConnectionsPerSource)`,
      )
    return this.#bySource.tally(source)
  }
  #full(limit: ConnectionLimit, why: string): MeshError {
    this.#limitMet(limit)
    return new MeshError('MESH_LISTENER_FULL', why)
  }
}
