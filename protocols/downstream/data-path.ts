/** The data path as one part: ports, connections, and what a configuration change means for both. */
import { Tally } from '../../core/lease.ts'
import { MeshError } from '../../core/errors.ts'
import type { Listener, ListenerAddress } from '../../model/listener.ts'
import type { Timer } from '../../core/os/clock.ts'
import type { NetStream } from '../../core/os/network.ts'
import type { Tables } from '../../model/tables.ts'
import type { Codecs } from '../codecs.ts'
import { ConnectionLimits } from './connection-limits.ts'
import { Connections, FIRST_BYTES_MS, type Accepted, type TrackedConnection } from './connections.ts'
import { createOwnPorts, findInternalListener, type OwnPort } from './hbone/own-ports.ts'
import { deriveTunnelListener } from './hbone/tunnel-listener.ts'
import type { Context } from '../context.ts'
import { getNodeHealth } from '../http/filters/health-check.ts'
import { isSamePort, overlap, Ports, type PortStatus } from './ports.ts'
import { isRedirected, findOwner } from './original-destination.ts'
import { revalidate, type Verdict } from './revalidate.ts'
import { refuse, serve, type Serving } from './serve.ts'
import { ServeMetrics } from './serve-metrics.ts'
import { getExpiryWatcher } from '../certificate-expiry.ts'
import { TlsTerminator } from '../tls/server.ts'
import { selectListeners } from './wanted-listeners.ts'
import { detach, guard } from '../../core/defects/guard.ts'

export type { OwnPort }

/** Of this machine, as agent.yaml has it. */
export type Machine = {
  readonly reserved: readonly OwnPort[]
  /** The addresses under which the mesh knows this node. */
  readonly addresses: () => readonly string[]
}
const NOWHERE: Machine = { reserved: [], addresses: () => [] }

export type ListenerState = PortStatus & { readonly connections: number }

export class DataPath implements AsyncDisposable {
  readonly #ctx: Context
  readonly #own: readonly Listener[]
  readonly #connections: Connections
  readonly #serving: Serving
  readonly #ports: Ports
  readonly #watching: Disposable
  /** Who waits until none is served. */
  #onNone: (() => void)[] = []
  /** Of listeners of agent.yaml, when the tables were swapped last. */
  #ownNames: ReadonlySet<string>
  /** Of connections whose listener is gone. */
  readonly #timers = new Set<Timer>()

  /**
   * @param own listeners of agent.yaml, which may be others whenever the tables are swapped; see wanted-listeners.ts for what becomes of pushed ones beside them
   * @param machine further ports of agent.yaml, and the addresses of this node
   */
  constructor(ctx: Context, own: readonly Listener[], codecs: Codecs, machine: Machine = NOWHERE) {
    const { reserved } = machine
    this.#ctx = ctx
    this.#own = own
    this.#ownNames = collectNames(own)
    const connections = new Connections(
      ctx.limits,
      (limit) => {
        metrics.limitMet(limit)
      },
      () => ctx.budget?.isFull ?? false,
    )
    const metrics = new ServeMetrics(ctx.metrics, {
      open: () => connections.size,
      starting: () => connections.starting,
      sources: () => connections.sources,
    })
    this.#connections = connections
    this.#serving = {
      ctx,
      codecs,
      connections: this.#connections,
      limits: new ConnectionLimits(ctx),
      expiryWatcher: getExpiryWatcher(ctx),
      metrics,
      served: new Tally(() => {
        for (const resolve of this.#onNone) resolve()
        this.#onNone = []
      }),
      terminator: new TlsTerminator(ctx.clock, ctx.identity, ctx.files, () => ctx.tables.get()),
      tunnels: {
        own: createOwnPorts(() => selectListeners(ctx.tables.get(), own), machine),
        findInternal: (cluster) => findInternalListener(ctx.tables.get(), cluster),
        serve: (accepted, listener) => this.#serve(accepted, listener),
        refused: ({ listener, remote, tls }, error) => {
          metrics.ended(listener, error)
          const peer = `${remote.host}:${remote.port}`
          const fields = { listener: listener.name, peer, spiffeId: tls?.peer?.spiffeId?.uri }
          ctx.log.warn({ evt: 'tunnel.refused', ...fields, err: error }, 'a tunnel was refused')
        },
      },
    }
    this.#ports = new Ports({
      network: ctx.network,
      clock: ctx.clock,
      log: ctx.log,
      accept: (accepted, listener, at) => {
        this.#accept(accepted, listener, at)
      },
      refuse: (accepted, last) => {
        refuse(accepted, last, this.#serving)
      },
      ownedBy: (listener, at) => findPortOwner(listener, at, own, reserved),
    })
    this.#watching = ctx.tables.watch((next) => {
      this.#apply(next)
    })
  }

  /**
   * Opens the ports of the tables at hand. Resolves when each has been tried; see `listeners` for those that failed.
   */
  open(): Promise<void> {
    return this.#ports.apply(selectListeners(this.#ctx.tables.get(), this.#own))
  }

  /** This machine's addresses have changed. */
  addressesChanged(): void {
    detach('configuration', this.#ports.again())
  }

  /** Resolves when every port of the tables at hand has been tried. */
  get settled(): Promise<void> {
    return this.#ports.settled
  }

  listeners(): ListenerState[] {
    return this.#ports.status().map((p) => ({ ...p, connections: this.#connections.countOf(p.name) }))
  }
  portOf(name: string): number | undefined {
    return this.#ports.portOf(name)
  }
  get connections(): number {
    return this.#connections.size
  }

  /** Accepts nothing more, lets what is open come to its end within limits.drainMs, then cuts it off. */
  async drain(): Promise<'drained' | 'forced'> {
    const { clock, limits } = this.#ctx
    getNodeHealth(this.#ctx).isDraining = true
    this.#watching[Symbol.dispose]()
    await this.#ports[Symbol.asyncDispose]()
    for (const live of this.#connections) if (!live.hasJustCome(clock.monotonicMs())) live.drain()
    const later = clock.after(
      FIRST_BYTES_MS,
      guard(
        'network',
        (error) => {
          for (const live of this.#connections) live.abort(error)
        },
        () => {
          for (const live of this.#connections) live.drain()
        },
      ),
    )
    const over = new AbortController()
    const late = clock.sleep(limits.drainMs, over.signal).then(
      () => 'forced' as const,
      () => 'drained' as const,
    )
    const how = await Promise.race([this.#connections.whenNone().then(() => 'drained' as const), late])
    over.abort()
    later.cancel()
    for (const live of this.#connections)
      live.abort(
        new MeshError(
          'MESH_DRAINING',
          `the agent drains, and the connection did not end within ${limits.drainMs} ms (limits.drainMs)`,
        ),
      )
    await this.#whenServed()
    return how
  }

  /** Whoever took a listener out of agent.yaml waits for its connections no longer than a drain does. */
  #endLater(left: readonly TrackedConnection[]): void {
    if (left.length === 0) return
    const { clock, limits } = this.#ctx
    const end = (reason?: Error): void => {
      this.#timers.delete(timer)
      const err = reason ?? new MeshError('MESH_DRAINING', `its listener is gone since ${limits.drainMs} ms`)
      for (const live of left) live.abort(err)
    }
    const timer = clock.after(
      limits.drainMs,
      guard('network', end, () => end()),
    )
    this.#timers.add(timer)
  }

  /** Cuts everything off. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) timer.cancel()
    this.#watching[Symbol.dispose]()
    await this.#ports[Symbol.asyncDispose]()
    for (const live of this.#connections) live.abort(new MeshError('MESH_DRAINING', 'the agent stops'))
    await this.#whenServed()
  }

  #accept(accepted: NetStream, bound: Listener, at: ListenerAddress): void {
    const listener = findOwner(bound, accepted, this.#ctx.tables.get())
    const originalDst = isRedirected(at, accepted) ? accepted.local : undefined
    detach('network', this.#serve({ ...accepted, originalDst }, listener))
  }
  #serve(accepted: Accepted, listener: Listener): Promise<void> {
    this.#serving.metrics.accepted(listener)
    return serve(accepted, listener, this.#serving)
  }
  async #whenServed(): Promise<void> {
    if (this.#serving.served.now > 0)
      await new Promise<void>((resolve) => {
        this.#onNone.push(resolve)
      })
  }

  #apply(tables: Tables): void {
    const wanted = selectListeners(tables, this.#own)
    detach('configuration', this.#ports.apply(wanted))
    const counts: Record<Verdict, number> = { unconcerned: 0, 'goes-on': 0, drained: 0, cut: 0 }
    const left: TrackedConnection[] = []
    for (const live of this.#connections) {
      const { name } = live.listener
      const verdict = revalidate(live, findNext(live, wanted.get(name) ?? tables.listeners.get(name)), this.#serving)
      counts[verdict]++
      if (verdict === 'drained' && this.#ownNames.has(name) && !isOwnStill(live.listener, this.#own)) left.push(live)
    }
    this.#ownNames = collectNames(this.#own)
    this.#endLater(left)
    if (counts.drained + counts.cut + counts['goes-on'] > 0)
      this.#ctx.log.info(
        { evt: 'connections.rechecked', ...counts },
        'open connections checked against the new configuration',
      )
  }
}

/** What came through a tunnel is served by a listener that was made of that one, unless it is for nothing else. */
function findNext({ accepted }: TrackedConnection, next: Listener | undefined): Listener | undefined {
  return next && accepted.tunnel && !next.internal ? deriveTunnelListener(next) : next
}

const collectNames = (own: readonly Listener[]): ReadonlySet<string> => new Set(own.map(({ name }) => name))

function isOwnStill(listener: Listener, own: readonly Listener[]): boolean {
  return own.some((one) => one.name === listener.name && isSamePort(one, listener))
}

/**
 * A listener of agent.yaml is asked about the others' ports only where it is not one of them: two that are the same are
 * told apart by who opens first.
 */
function findPortOwner(
  listener: Listener,
  at: ListenerAddress,
  own: readonly Listener[],
  reserved: readonly OwnPort[],
): string | undefined {
  if (own.some(({ name }) => name === listener.name)) return undefined
  const owner = own.find((one) => overlap(one, at))
  return owner ? `listener ${owner.name} of agent.yaml` : reserved.find((one) => overlap(one, at))?.name
}
