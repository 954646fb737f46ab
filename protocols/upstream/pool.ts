/**
 * Connections of one host for one way of speaking: the one used last is taken first, so that the others can end by
 * being idle. Calls that find none wait in a bounded queue while connections are made; the first one to come free, new
 * or old, serves the first in the queue.
 */
import type { Clock } from '../../core/os/clock.ts'
import { MeshError, toMeshError } from '../../core/errors.ts'
import { detach, guard, doNothing } from '../../core/defects/guard.ts'
import { takeLease, type Lease } from '../../core/lease.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { Cluster } from '../../model/cluster.ts'
import type { HeaderCase } from '../../model/http/header-case.ts'
import type { Context } from '../context.ts'
import type { Deadline, Deadlines } from '../deadlines.ts'
import type { HeadLimits } from '../http/codec/h1-head.ts'
import { deriveResponseHeadLimits } from '../http/head-limits.ts'
import type { CallEvents, CallOptions, PendingCall } from '../http/message.ts'
import type { CertificateUse, CertificateExpiryWatcher } from '../certificate-expiry.ts'
import { endFor, isOurDoing } from '../tls/client.ts'
import type { Load } from './breakers.ts'
import { dial, type Dialed } from './dial.ts'
import type { Host } from './host.ts'
import { getWaiting, type Waiting as WaitingBytes } from '../waiting.ts'
import type { Hosts } from './hosts.ts'
import type { ClientConnection } from '../upstream-api.ts'

/** One connection that carries calls: HTTP/1.1 one at a time, HTTP/2 several. */
export interface PooledConnection extends Deadline {
  /** How many calls it can take now; 0 when closed. */
  readonly room: number
  /**
   * Calls `events.onCall` before it returns. Only with room.
   * @param lease given back when the call is over, however it ended
   */
  start(events: CallEvents, lease: Disposable): void
  /** Ends when the calls at hand are over. */
  drain(): void
  destroy(): void
}

export type PoolOwner = {
  readonly ctx: Context
  readonly cluster: Cluster
  readonly load: Load
  readonly hosts: Pick<Hosts, 'report'>
  readonly deadlines: Deadlines
  readonly aborted: AbortSignal
  readonly expiryWatcher: CertificateExpiryWatcher
  /** Makes the codec's side of a stream that was just opened. */
  open(pool: HostPool, dialed: Dialed, speaks: PoolKind['speaks']): PooledConnection
  /** Left out: nobody asks whether they are well. */
  readonly answered?: ((host: Host, headers: readonly string[]) => void) | undefined
}
export type PoolKind = {
  readonly speaks: 'http1' | 'http2'
  readonly host: string | undefined
  /** Whose connections they are, where they are no one else's. */
  readonly client?: ClientConnection | undefined
}
/** Over HTTP/2, until a connection has shown otherwise (RFC 9113 §6.5.2 recommends no less). */
const EXPECTED_STREAMS = 100
/** Nobody else can use a connection that is one client's, and that client may be gone. */
const MAX_CLIENT_IDLE_MS = 60_000

type Waiting = {
  readonly events: CallEvents
  readonly fresh: boolean
  /** Of the call as a whole, from here to its end. */
  readonly lease: Disposable
  /** Of its place in the queue. */
  readonly place: Disposable
}
/** A used connection may turn out to be closed: who asks for a fresh one is not served by it. */
type ConnectionAge = 'new' | 'used'
type Open = { readonly held: CertificateUse; readonly watched: Disposable; readonly lease: Disposable }

export class HostPool {
  readonly host: Host
  readonly #owner: PoolOwner
  readonly #kind: PoolKind
  readonly #key: string
  /** With room, the one used last at the end. */
  readonly #idle: PooledConnection[] = []
  readonly #all = new Map<PooledConnection, Open>()
  readonly #waiting: Waiting[] = []
  /** Of connections that are being made. */
  readonly #connecting = new Set<Lease>()
  /** Calls that a connection which is being made will probably take: as many as the last one. */
  #callsEach: number
  #draining = false

  constructor(owner: PoolOwner, host: Host, kind: PoolKind, key: string) {
    this.#owner = owner
    this.host = host
    this.#kind = kind
    this.#callsEach = this.#countCalls(kind.speaks === 'http2' ? (host.maxStreams ?? EXPECTED_STREAMS) : 1)
    this.#key = key
  }

  get limits(): HeadLimits {
    return deriveResponseHeadLimits(this.#owner.cluster, this.#owner.ctx.limits)
  }
  get headerCase(): HeaderCase | undefined {
    return this.#owner.cluster.headerCase
  }
  get clock(): Clock {
    return this.#owner.ctx.clock
  }
  get metrics(): Metrics {
    return this.#owner.ctx.metrics
  }
  get maxBufferBytes(): number {
    return this.#owner.ctx.limits.maxBufferBytes
  }
  get waiting(): WaitingBytes {
    return getWaiting(this.#owner.ctx)
  }
  nowMs(): number {
    return this.#owner.ctx.clock.monotonicMs()
  }

  start(events: CallEvents, { source, fresh }: Pick<CallOptions, 'source' | 'fresh'>): PendingCall | undefined {
    const { load, cluster } = this.#owner
    const ofCall = takeLease(load.requests, this.host.active, load.requestsBySource.tally(source))
    if (!fresh && this.#waiting.length === 0) {
      const idle = this.#takeIdle()
      if (idle) {
        this.#hand(idle, events, ofCall)
        return undefined
      }
    }
    const refusal = load.refuseToWait(cluster, source)
    if (!refusal) return this.#wait(events, fresh, ofCall)
    ofCall[Symbol.dispose]()
    events.onCallFailed(refusal, 'nothing')
    return undefined
  }

  #wait(events: CallEvents, fresh: boolean, ofCall: Disposable): PendingCall {
    const { load } = this.#owner
    const waiting: Waiting = { events, fresh, lease: ofCall, place: takeLease(load.pending) }
    this.#waiting.push(waiting)
    if (this.#mayConnect() && !this.#isEnough) this.#connect()
    // A used connection that is idle keeps a new one from being made.
    else if (fresh && this.#connecting.size === 0) this.#idle[0]?.drain()
    return { cancel: () => this.#cancel(waiting) }
  }

  /** Those that wait are served by what is being made. */
  get #isEnough(): boolean {
    return this.#waiting.length <= this.#connecting.size * this.#callsEach
  }

  /** @param room of one that is new @returns how many of the calls that wait it takes before it is spent */
  #countCalls(room: number): number {
    const { maxRequestsPerConnection: max } = this.#owner.cluster
    return Math.max(1, max === undefined || max <= 0 ? room : Math.min(room, max))
  }

  /** Envoy: a host without any connection may always have one. */
  #mayConnect(): boolean {
    const { load, cluster } = this.#owner
    return load.mayConnect(cluster.breakers) || this.#all.size + this.#connecting.size === 0
  }

  #cancel(waiting: Waiting): void {
    const at = this.#waiting.indexOf(waiting)
    if (at < 0) return
    this.#waiting.splice(at, 1)
    waiting.place[Symbol.dispose]()
    waiting.lease[Symbol.dispose]()
    this.#forgetIfEmpty()
  }

  /** A caller that fails in the middle has neither the connection nor a call any more. */
  #hand(connection: PooledConnection, events: CallEvents, ofCall: Disposable): void {
    try {
      connection.start(events, ofCall)
    } catch (thrown) {
      ofCall[Symbol.dispose]()
      connection.destroy()
      throw thrown
    }
  }

  #connect(): void {
    detach('upstream', this.#connected(takeLease(this.#owner.load.connections, this.host.connections)))
  }

  async #connected(ofConnection: Lease): Promise<void> {
    this.#connecting.add(ofConnection)
    let connection: PooledConnection
    try {
      connection = await this.#dialed(ofConnection)
    } catch (thrown) {
      this.#connecting.delete(ofConnection)
      ofConnection[Symbol.dispose]()
      const error = toMeshError(thrown)
      if (!isOurDoing(error)) this.failed()
      this.#failWaiting(error)
      this.#forgetIfEmpty()
      return
    }
    this.#connecting.delete(ofConnection)
    this.#callsEach = this.#countCalls(connection.room)
    this.#serve(connection, 'new')
  }

  async #dialed(ofConnection: Lease): Promise<PooledConnection> {
    const { ctx, cluster, aborted, expiryWatcher, deadlines } = this.#owner
    const { endpoint } = this.host
    const dialed = await dial(ctx, cluster, endpoint, {
      address: endpoint.address,
      port: endpoint.port,
      speaks: this.#kind.speaks,
      host: this.#kind.host,
      client: this.#kind.client,
      signal: aborted,
    })
    let connection: PooledConnection
    try {
      connection = this.#owner.open(this, dialed, this.#kind.speaks)
    } catch (thrown) {
      dialed.stream.destroy()
      throw thrown
    }
    if (connection.room === 0) {
      connection.destroy()
      throw new MeshError('MESH_UPSTREAM_RESET', 'the endpoint closed the connection as soon as it was open')
    }
    const held: CertificateUse = {
      side: 'server',
      certificates: dialed.certificates,
      drain: () => connection.drain(),
      cut: (reason) => {
        endFor(dialed.stream, reason)
        connection.destroy()
      },
    }
    this.#all.set(connection, { held, watched: expiryWatcher.add(held), lease: ofConnection })
    deadlines.add(connection)
    return connection
  }

  /**
   * A connection could not be made. Each that is being made still serves some; the others would wait for what nobody
   * makes (Envoy purges all that wait for the host).
   */
  #failWaiting(error: MeshError): void {
    for (let left = this.#waiting.length - this.#connecting.size * this.#callsEach; left > 0; left--) {
      const next = this.#next('new')
      if (!next) return
      next.lease[Symbol.dispose]()
      next.events.onCallFailed(error, 'nothing')
    }
  }

  /** @returns who waits longest for such a connection; its place in the queue is given back */
  #next(age: ConnectionAge): Waiting | undefined {
    if (this.#waiting.length === 0) return undefined
    const at = age === 'new' ? 0 : this.#waiting.findIndex((w) => !w.fresh)
    const [next] = at < 0 ? [] : this.#waiting.splice(at, 1)
    next?.place[Symbol.dispose]()
    return next
  }

  #serve(connection: PooledConnection, age: ConnectionAge): void {
    while (connection.room > 0) {
      const next = this.#next(age)
      if (!next) break
      this.#hand(connection, next.events, next.lease)
    }
    const { room } = connection
    if (room === 0) {
      // It takes fewer than was expected.
      while (!this.#isEnough && this.#mayConnect()) this.#connect()
      return
    }
    if (this.#draining || this.#isInTheWay()) {
      connection.drain()
      return
    }
    // One that takes several calls stays there while it has some.
    if (room === 1 || !this.#idle.includes(connection)) this.#idle.push(connection)
    const idleMs = Math.min(this.#owner.cluster.idleMs, this.#kind.client ? MAX_CLIENT_IDLE_MS : Infinity)
    if (idleMs > 0 && idleMs < Infinity) this.#owner.deadlines.arm(connection, this.nowMs() + idleMs)
  }

  /** Waiting calls need a new connection, and this idle one may take its place. */
  #isInTheWay(): boolean {
    if (this.#isEnough) return false
    if (!this.#mayConnect()) return true
    this.#connect()
    return false
  }

  #takeIdle(): PooledConnection | undefined {
    for (;;) {
      const last = this.#idle.at(-1)
      if (!last) return undefined
      if (last.room <= 1) this.#idle.pop()
      if (last.room > 0) return last
    }
  }

  /* From the connections. */

  /** It has room again. */
  release(connection: PooledConnection): void {
    this.#serve(connection, 'used')
  }
  answered(status: number, headers: readonly string[]): void {
    this.#owner.hosts.report(this.host, { kind: 'status', status })
    this.#owner.answered?.(this.host, headers)
  }
  failed(): void {
    this.#owner.hosts.report(this.host, { kind: 'local-failure' })
  }

  closed(connection: PooledConnection): void {
    const open = this.#all.get(connection)
    if (!open) return
    this.#all.delete(connection)
    open.watched[Symbol.dispose]()
    const at = this.#idle.indexOf(connection)
    if (at >= 0) this.#idle.splice(at, 1)
    this.#owner.deadlines.delete(connection)
    open.lease[Symbol.dispose]()
    if (!this.#isEnough && this.#mayConnect()) this.#connect()
    else this.#forgetIfEmpty()
  }

  /** Not to be used for another call. */
  isSpent(served: number, openedMs: number): boolean {
    const { maxRequestsPerConnection, maxConnectionMs } = this.#owner.cluster
    return (
      this.#draining ||
      (maxRequestsPerConnection !== undefined && maxRequestsPerConnection > 0 && served >= maxRequestsPerConnection) ||
      (maxConnectionMs !== undefined && this.nowMs() - openedMs >= maxConnectionMs)
    )
  }

  /** Calls that wait here are told to ask the cluster that replaced this one. */
  moveWaiting(): void {
    for (const { events, place, lease: ofCall } of this.#waiting.splice(0)) {
      place[Symbol.dispose]()
      ofCall[Symbol.dispose]()
      moved(events)
    }
    this.#forgetIfEmpty()
  }

  /** Idle connections close now, the others after their call. */
  drain(): void {
    this.#draining = true
    for (const connection of this.#all.keys()) connection.drain()
  }
  destroy(): void {
    this.#draining = true
    for (const connection of this.#all.keys()) connection.destroy()
  }
  /** As drain, and whoever comes gets new ones. */
  renew(): void {
    for (const connection of this.#all.keys()) connection.drain()
  }

  /** With auto_sni clients choose the key: pools must not outlive their connections. */
  #forgetIfEmpty(): void {
    if (this.#all.size + this.#connecting.size + this.#waiting.length === 0 && this.host.pools.get(this.#key) === this)
      this.host.pools.delete(this.#key)
  }
}

/** One that fails keeps no other from hearing it; what is told to it then is its own matter. */
const moved = guard('upstream', doNothing, (events: CallEvents) => {
  events.onCallMoved()
})
