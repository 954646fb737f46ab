/**
 * All clusters at work, by the objects of the tables: an unchanged cluster keeps its connections over a configuration
 * change.
 */
import { isDeepStrictEqual } from 'node:util'
import { takeLease } from '../../core/lease.ts'
import { isBlocked, type Cluster } from '../../model/cluster.ts'
import type { Tables } from '../../model/tables.ts'
import type { Context } from '../context.ts'
import { Deadlines } from '../deadlines.ts'
import type { CallEvents, CallOptions, ClusterStatus, HttpUpstreams, PendingCall } from '../http/message.ts'
import { getNodeHealth } from '../http/filters/health-check.ts'
import { getHboneDialer } from './hbone/open-tunnel.ts'
import { ClusterRuntime, type Shared } from './cluster-runtime.ts'
import { resolveBySystem, type Resolve } from './discovery/dns.ts'
import { createCheckWorld } from './health/cluster-checks.ts'
import type { Progress } from './health/progress.ts'
import type { ConnectOptions, UpstreamStream } from '../upstream-api.ts'

export type { HttpUpstreams } from '../http/message.ts'

/** @param resolve the resolver for DNS clusters; tests give their own */
export function createUpstreams(ctx: Context, resolve: Resolve = resolveBySystem): HttpUpstreams {
  return new ClusterRuntimes(ctx, resolve)
}

class ClusterRuntimes implements HttpUpstreams {
  readonly #ctx: Context
  readonly #shared: Shared
  readonly #byCluster = new Map<Cluster, ClusterRuntime>()
  /** No longer in the tables, as far as they were ever at work. */
  readonly #replaced = new WeakSet<Cluster>()
  /** Whose hosts are asked. */
  readonly #checked = new WeakSet<Cluster>()
  readonly #watch: Disposable

  constructor(ctx: Context, resolve: Resolve) {
    this.#ctx = ctx
    this.#shared = { deadlines: new Deadlines(ctx.clock), resolve, checks: createCheckWorld(ctx.metrics) }
    getHboneDialer(ctx).use(this)
    getNodeHealth(ctx).use((cluster) => this.#runtime(cluster).countHosts())
    this.#watch = ctx.tables.watch((next) => this.#swapped(next))
    ctx.metrics.gaugeOf(
      'mesh_upstream_unhealthy_hosts',
      'Endpoints that get nothing, because they did not answer as their health check wants it.',
      () => this.#sum((r) => r.failedHosts),
    )
    ctx.metrics.gaugeOf('mesh_upstream_connections', 'Connections to endpoints, open or being made.', () =>
      this.#sum((r) => r.load.connections.now),
    )
    ctx.metrics.gaugeOf('mesh_upstream_requests_active', 'HTTP requests on their way to endpoints.', () =>
      this.#sum((r) => r.load.requests.now),
    )
    ctx.metrics.gaugeOf(
      'mesh_upstream_requests_pending',
      'HTTP requests that wait for a connection to an endpoint or for its name.',
      () => this.#sum((r) => r.load.pending.now),
    )
    ctx.metrics.gaugeOf('mesh_upstream_retries_active', 'Requests that are being tried again.', () =>
      this.#sum((r) => r.load.retries.now),
    )
    this.#beginChecks(ctx.tables.get(), new Map())
  }

  startCall(cluster: Cluster, options: CallOptions, events: CallEvents): PendingCall | undefined {
    return this.#runtime(cluster).startCall(options, events)
  }
  /**
   * What was replaced while the connection was made (with TLS now, for one) is asked for anew: nobody has written to
   * it.
   */
  async connect(cluster: Cluster, options: ConnectOptions): Promise<UpstreamStream> {
    const made = await this.#runtime(cluster).connect(options)
    const now = this.#ctx.tables.get().cluster(cluster.name)
    if (now === cluster || !now || !this.#replaced.has(cluster)) return made
    made.release('ok')
    made.stream.destroy()
    return this.connect(now, options)
  }

  takeRetry(cluster: Cluster): Disposable | undefined {
    const { load } = this.#runtime(cluster)
    return load.mayRetry(cluster.breakers) ? takeLease(load.retries) : undefined
  }

  clusterStatus(): readonly ClusterStatus[] {
    return [...this.#byCluster.values()].map((r) => r.status())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watch[Symbol.dispose]()
    for (const runtime of this.#byCluster.values()) runtime[Symbol.dispose]()
    this.#byCluster.clear()
  }

  #runtime(cluster: Cluster): ClusterRuntime {
    const known = this.#byCluster.get(cluster)
    if (known) return known
    const made = new ClusterRuntime(this.#ctx, cluster, this.#shared, () => {
      if (this.#byCluster.get(cluster) === made) this.#byCluster.delete(cluster)
    })
    // An exchange that began with the tables before: what it needs is made for it, and goes with it.
    if (this.#replaced.has(cluster) && this.#ctx.tables.get().cluster(cluster.name) !== cluster) made.drain()
    this.#byCluster.set(cluster, made)
    return made
  }

  #swapped(next: Tables): void {
    const found = new Map<Cluster, ReadonlyMap<string, Progress> | undefined>()
    for (const [cluster, runtime] of this.#byCluster) {
      const now = next.cluster(cluster.name)
      if (now === cluster) {
        runtime.endpointsChanged()
        continue
      }
      this.#replaced.add(cluster)
      this.#checked.delete(cluster)
      if (now?.healthCheck && isDeepStrictEqual(now.healthCheck, cluster.healthCheck)) found.set(now, runtime.checked)
      if (now && isBlocked(now)) runtime.cut(now)
      else if (now) runtime.replaced(now)
      else runtime.drain()
    }
    this.#beginChecks(next, found)
  }

  /** They run whether a cluster is used or not. @param found what versions before have found, by the one of now */
  #beginChecks(tables: Tables, found: ReadonlyMap<Cluster, ReadonlyMap<string, Progress> | undefined>): void {
    for (const name of tables.checkedClusters()) {
      const cluster = tables.cluster(name)
      if (!cluster?.healthCheck || cluster.blocked !== undefined || this.#checked.has(cluster)) continue
      this.#checked.add(cluster)
      this.#runtime(cluster).beginChecks(found.get(cluster))
    }
  }

  #sum(of: (runtime: ClusterRuntime) => number): number {
    let sum = 0
    for (const runtime of this.#byCluster.values()) sum += of(runtime)
    return sum
  }
}
