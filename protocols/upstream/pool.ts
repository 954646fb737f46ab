/**
 * Connections of one host for one way of speaking: the one used last is taken first, so that the others can end by being idle. Calls that
 * find none wait in a bounded queue while connections are made; the first one to come free, new or old, serves the first in the queue.
 */
import { MeshError, toMeshError } from '../../agent/core/errors.ts'
import type { Cluster } from '../../agent/model/cluster.ts'
import type { Context } from '../context.ts'
import type { Deadline, Deadlines } from '../http/deadlines.ts'
import type { HeadLimits } from '../http/h1-head.ts'
import type { CallEvents, PendingCall } from '../http/message.ts'
import type { Held, OpenStandings } from '../standing.ts'
import { endFor } from '../tls/client.ts'
import type { Load } from './breakers.ts'
import { dial, type Dialed } from './dial.ts'
import type { Host } from './host.ts'
import type { Hosts } from './hosts.ts'

/** One connection that carries calls: HTTP/1.1 one at a time, HTTP/2 several. */
export interface PooledConnection extends Deadline {
  /** How many calls it can take now; 0 when closed. */
  readonly room: number
  /** Calls `events.onCall` before it returns. Only with room. */
  start(events: CallEvents): void
  /** Ends when the calls at hand are over. */
  drain(): void
  destroy(): void
}

export type PoolOwner = {
  readonly ctx: Context
  readonly cluster: Cluster
  readonly load: Load
  readonly hosts: Hosts
  readonly deadlines: Deadlines
  readonly aborted: AbortSignal
  readonly standings: OpenStandings
  /** Makes the codec's side of a stream that was just opened. */
  open(pool: HostPool, dialed: Dialed, speaks: PoolKind['speaks']): PooledConnection
}
export type PoolKind = { readonly speaks: 'http1' | 'http2'; readonly host: string | undefined }

type Waiting = { readonly events: CallEvents; readonly fresh: boolean }

export class HostPool {
  readonly host: Host
  readonly #owner: PoolOwner
  readonly #kind: PoolKind
  readonly #key: string
  /** With room, the one used last at the end. */
  readonly #idle: PooledConnection[] = []
  readonly #all = new Map<PooledConnection, Held>()
  readonly #waiting: Waiting[] = []
  #connecting = 0
  #draining = false

  constructor(owner: PoolOwner, host: Host, kind: PoolKind, key: string) {
    this.#owner = owner
    this.host = host
    this.#kind = kind
    this.#key = key
  }

  get limits(): HeadLimits { return this.#owner.ctx.limits }
  nowMs(): number { return this.#owner.ctx.clock.monotonicMs() }

  /** @param fresh not on a connection that was used before */
  start(events: CallEvents, fresh: boolean): PendingCall | undefined {
    const { load } = this.#owner
    load.requests++
    this.host.active++
    if (!fresh && this.#waiting.length === 0) {
      const idle = this.#takeIdle()
      if (idle) { idle.start(events); return undefined }
    }
    return this.#wait({ events, fresh })
  }

  #wait(waiting: Waiting): PendingCall | undefined {
    const { load, cluster } = this.#owner
    // Envoy: a host without any connection may always have one.
    const mayConnect = load.mayConnect(cluster.breakers) || this.#all.size + this.#connecting === 0
    if (!load.mayWait(cluster.breakers)) {
      this.callDone()
      waiting.events.onCallFailed(new MeshError('MESH_UPSTREAM_OVERFLOW', `${load.pending} requests wait for cluster ${cluster.name} (max_pending_requests)`), 'nothing', false)
      return undefined
    }
    this.#waiting.push(waiting)
    load.pending++
    if (mayConnect) void this.#connect()
    return { cancel: () => this.#cancel(waiting) }
  }

  #cancel(waiting: Waiting): void {
    const at = this.#waiting.indexOf(waiting)
    if (at < 0) return
    this.#waiting.splice(at, 1)
    this.#owner.load.pending--
    this.callDone()
  }

  async #connect(): Promise<void> {
    const { ctx, cluster, load, aborted } = this.#owner
    const { endpoint } = this.host
    this.#connecting++
    load.connections++
    this.host.connections++
    try {
      const dialed = await dial(ctx, cluster, endpoint, { address: endpoint.address, port: endpoint.port, speaks: this.#kind.speaks, host: this.#kind.host, signal: aborted })
      this.#connecting--
      const connection = this.#owner.open(this, dialed, this.#kind.speaks)
      const held: Held = { side: 'server', standing: dialed.standing, drain: () => connection.drain(), cut: (reason) => { endFor(dialed.stream, reason); connection.destroy() } }
      this.#all.set(connection, held)
      this.#owner.standings.add(held)
      this.#owner.deadlines.add(connection)
      if (connection.room === 0) this.closed(connection)
      else this.#serve(connection, true)
    } catch (thrown) {
      this.#connecting--
      this.#counted()
      this.failed()
      // Those behind may still be served by the connections that are being made.
      if (this.#waiting.length > this.#connecting) this.#next()?.events.onCallFailed(toMeshError(thrown), 'nothing', false)
      this.#forgetIfEmpty()
    }
  }

  #next(fresh = true): Waiting | undefined {
    if (this.#waiting.length === 0) return undefined
    const at = fresh ? 0 : this.#waiting.findIndex((w) => !w.fresh)
    const [next] = at < 0 ? [] : this.#waiting.splice(at, 1)
    if (next) this.#owner.load.pending--
    return next
  }

  #serve(connection: PooledConnection, fresh: boolean): void {
    while (connection.room > 0) {
      const next = this.#next(fresh)
      if (!next) break
      connection.start(next.events)
    }
    const { room } = connection
    if (room === 0 || (room > 1 && this.#idle.includes(connection))) return
    if (this.#draining) { connection.drain(); return }
    this.#idle.push(connection)
    const { idleMs } = this.#owner.cluster
    if (idleMs > 0 && idleMs < Infinity) this.#owner.deadlines.arm(connection, this.nowMs() + idleMs)
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
  release(connection: PooledConnection): void { this.#serve(connection, false) }
  /** A call is over, however it ended. */
  callDone(): void {
    this.#owner.load.requests--
    this.host.active--
  }
  answered(status: number): void { this.#owner.hosts.report(this.host, { kind: 'status', status }) }
  failed(): void { this.#owner.hosts.report(this.host, { kind: 'local-failure' }) }

  closed(connection: PooledConnection): void {
    const held = this.#all.get(connection)
    if (!held) return
    this.#all.delete(connection)
    this.#owner.standings.delete(held)
    const at = this.#idle.indexOf(connection)
    if (at >= 0) this.#idle.splice(at, 1)
    this.#owner.deadlines.delete(connection)
    this.#counted()
    if (this.#waiting.length > this.#connecting) void this.#connect()
    else this.#forgetIfEmpty()
  }

  /** Not to be used for another call. */
  isSpent(served: number, openedMs: number): boolean {
    const { maxRequestsPerConnection, maxConnectionMs } = this.#owner.cluster
    return this.#draining
      || (maxRequestsPerConnection !== undefined && maxRequestsPerConnection > 0 && served >= maxRequestsPerConnection)
      || (maxConnectionMs !== undefined && this.nowMs() - openedMs >= maxConnectionMs)
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

  #counted(): void {
    this.#owner.load.connections--
    this.host.connections--
  }
  /** With auto_sni clients choose the key: pools must not outlive their connections. */
  #forgetIfEmpty(): void {
    if (this.#all.size + this.#connecting + this.#waiting.length === 0 && this.host.pools.get(this.#key) === this) this.host.pools.delete(this.#key)
  }
}
