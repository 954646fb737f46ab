/**
 * One cluster at work: its hosts, its pools, what it has under way. Lives as long as the cluster's object in the
 * tables.
 */
import { MeshError, toMeshError } from '../../core/errors.ts'
import { detach, guard, doNothing } from '../../core/defects/guard.ts'
import { deriveSource } from '../../core/ip-source.ts'
import { takeLease } from '../../core/lease.ts'
import { isInClear, selectTransport, turnsTlsOn, type Cluster, type Endpoint } from '../../model/cluster.ts'
import type { HealthCheck } from '../../model/http/health-check.ts'
import type { Context } from '../context.ts'
import type { Deadlines } from '../deadlines.ts'
import type { HostCount } from '../http/filters/health-check.ts'
import type { CallEvents, CallOptions, ClusterStatus, PendingCall } from '../http/message.ts'
import { getExpiryWatcher, usesIdentity, type CertificateExpiryWatcher } from '../certificate-expiry.ts'
import { isOurDoing, findRefusal } from '../tls/client.ts'
import { getWaiting } from '../waiting.ts'
import { Load } from './breakers.ts'
import { dial } from './dial.ts'
import { ClusterChecks, type CheckWorld } from './health/cluster-checks.ts'
import type { Progress } from './health/progress.ts'
import { ClusterHosts, type HostWanted } from './discovery/cluster-hosts.ts'
import type { Resolve } from './discovery/dns.ts'
import { type Host, formatHostKey, type HostConnections } from './host.ts'
import type { Hosts } from './hosts.ts'
import type { TryResult } from './outlier.ts'
import { openConnection } from './open-connection.ts'
import { Tunnels } from './tunnels.ts'
import { HostPool, type PoolOwner } from './pool.ts'
import type { ConnectOptions, UpstreamStream } from '../upstream-api.ts'

const CONNECTED: TryResult = { kind: 'connected' }

/** What the runtimes of all clusters have in common. */
export type Shared = {
  readonly deadlines: Deadlines
  readonly resolve: Resolve
  /** Left out: nobody is asked whether they are well. */
  readonly checks?: CheckWorld
}

export class ClusterRuntime implements PoolOwner, Disposable {
  readonly cluster: Cluster
  readonly ctx: Context
  readonly deadlines: Deadlines
  readonly expiryWatcher: CertificateExpiryWatcher
  readonly open = openConnection
  readonly load: Load
  readonly hosts: Hosts
  readonly #sources: ClusterHosts
  readonly #checks: ClusterChecks | undefined
  /** It has had traffic. */
  #wasUsed = false
  readonly #stop = new AbortController()
  readonly #tunnels: Tunnels
  /** Calls that wait for the cluster's name, each to be told when they shall ask elsewhere. */
  readonly #forName = new Set<() => void>()
  #autoSni: boolean
  readonly #warmsUp: boolean
  /** Connections tell who they are for, so that they are for nobody else. */
  readonly #tellsClient: boolean
  #draining = false
  readonly #gone: () => void

  /** @param gone called once it has been drained and nothing of it is under way */
  constructor(ctx: Context, cluster: Cluster, shared: Shared, gone: () => void = doNothing) {
    const { deadlines, resolve } = shared
    this.ctx = ctx
    this.#gone = gone
    this.load = new Load(() => {
      this.#goneIfEmpty()
    })
    this.cluster = cluster
    this.deadlines = deadlines
    this.expiryWatcher = getExpiryWatcher(ctx)
    this.#tunnels = new Tunnels(this.expiryWatcher)
    this.#sources = new ClusterHosts(ctx, cluster, {
      resolve,
      removed: (host, isReplaced) => this.#removed(host, isReplaced),
      changed: () => this.#checks?.reconcile(),
      ejected: (host) => this.#failed(host),
      forgotten: drainPools,
    })
    this.hosts = this.#sources.balanced
    this.#checks = cluster.healthCheck && shared.checks && this.#createChecks(cluster.healthCheck, shared.checks)
    this.#warmsUp = 'slowStart' in cluster.balancer && cluster.balancer.slowStart !== undefined
    const transports = [cluster.transport, ...cluster.transportMatches.map((m) => m.transport)]
    this.#tellsClient = transports.some((t) => t.kind !== 'blocked' && t.header)
    this.#autoSni = transports.some(
      (t) => t.kind === 'tls' && ((t.tls.autoSni && t.tls.sni === '') || t.tls.autoSan === 'host'),
    )
  }

  #createChecks(check: HealthCheck, world: CheckWorld): ClusterChecks {
    const { ctx, cluster, deadlines, aborted, expiryWatcher, hosts } = this
    return new ClusterChecks({
      ctx,
      cluster,
      deadlines,
      aborted,
      expiryWatcher,
      hosts,
      check,
      world,
      wasUsed: () => this.#wasUsed,
      failed: (host) => this.#failed(host),
    })
  }
  /** Its hosts are asked from now on, whoever uses it. @param before what the version before has found */
  beginChecks(before: ReadonlyMap<string, Progress> | undefined): void {
    if (before) this.#checks?.inherit(before)
    this.#sources.begin()
  }
  get checked(): ReadonlyMap<string, Progress> | undefined {
    return this.#checks?.progress
  }

  get aborted(): AbortSignal {
    return this.#stop.signal
  }

  startCall(options: CallOptions, events: CallEvents): PendingCall | undefined {
    const { load, cluster } = this
    if (cluster.blocked !== undefined) {
      events.onCallFailed(blocked(cluster), 'nothing')
      return undefined
    }
    const { breakers } = cluster
    // Callers that read their answers must not wait for callers that hold a place and do not read.
    if (
      !load.mayRequest(breakers, options.source) &&
      !(getWaiting(this.ctx).makeRoom(cluster) && load.mayRequest(breakers, options.source))
    ) {
      events.onCallFailed(
        new MeshError(
          'MESH_UPSTREAM_OVERFLOW',
          `${load.requests.now} requests are under way to cluster ${cluster.name} (max_requests)`,
        ),
        'nothing',
      )
      return undefined
    }
    const naming = this.#resolveFirst(options)
    return naming ? this.#afterNaming(naming, options, events) : this.#startNow(options, events)
  }

  #startNow(options: CallOptions, events: CallEvents): PendingCall | undefined {
    this.#wasUsed = true
    const host = this.#pick(options)
    if (host instanceof MeshError) {
      events.onCallFailed(host, 'nothing')
      return undefined
    }
    events.onCallPicked(host.endpoint)
    // A pooled connection outlives the certificate that it was made with; what is asked over it must not.
    const expired = this.ctx.identity.validity?.refusal()
    if (expired && this.#isMesh(host)) {
      events.onCallFailed(expired, 'nothing')
      return undefined
    }
    return this.#poolOf(host, options).start(events, options)
  }

  #isMesh({ endpoint }: Host): boolean {
    const transport = selectTransport(this.cluster, endpoint)
    return endpoint.via !== undefined || (transport.kind === 'tls' && usesIdentity(transport.tls))
  }

  /** A call that waits for a name takes a place among those that wait for a connection. */
  #afterNaming(ready: () => Promise<void>, options: CallOptions, events: CallEvents): PendingCall | undefined {
    const { load, cluster } = this
    const refusal = load.refuseToWait(cluster, options.source)
    if (refusal) {
      events.onCallFailed(refusal, 'nothing')
      return undefined
    }
    let cancelled = false
    let pending: PendingCall | undefined
    const place = takeLease(load.requests, load.pending, load.requestsBySource.tally(options.source))
    const move = (): void => {
      cancelled = true
      place[Symbol.dispose]()
      events.onCallMoved()
    }
    this.#forName.add(move)
    detach(
      'upstream',
      ready()
        .then(() => undefined, toMeshError)
        .then((error) => {
          this.#forName.delete(move)
          place[Symbol.dispose]()
          if (cancelled) return
          if (error) events.onCallFailed(error, 'nothing')
          else pending = this.#startNow(options, events)
        }),
    )
    return {
      cancel: () => {
        cancelled = true
        this.#forName.delete(move)
        // The lookup of a host goes on, and keeps its place: who comes and goes could have looked up without end.
        if (!this.#sources.areNamed) place[Symbol.dispose]()
        pending?.cancel()
      },
    }
  }
  /** @returns undefined: what it needs is known */
  #resolveFirst(wanted: Pick<HostWanted, 'host' | 'forwardPort'>): (() => Promise<void>) | undefined {
    const naming = this.#sources.resolveFirst(wanted)
    const checks = this.#checks
    if (!checks) return naming
    if (!naming) {
      this.#sources.update()
      return checks.isReady ? undefined : () => checks.ready()
    }
    return async () => {
      await naming()
      this.#sources.update()
      await checks.ready()
    }
  }
  /** Of a host it takes a place until the lookup is over, whoever still waits for it. */
  async #named(options: ConnectOptions): Promise<void> {
    const { load, cluster } = this
    const ready = this.#resolveFirst(options)
    if (!ready || !this.#sources.areNamed) return ready?.()
    const { client } = options
    const source = client ? deriveSource(client.remote.host) : ''
    const refusal = load.refuseToWait(cluster, source)
    if (refusal) throw refusal
    using _place = takeLease(load.pending, load.requestsBySource.tally(source))
    await ready()
  }

  async connect(options: ConnectOptions): Promise<UpstreamStream> {
    const { load, cluster } = this
    if (cluster.blocked !== undefined) throw blocked(cluster)
    const signal = AbortSignal.any([options.signal, this.#stop.signal])
    await unlessAborted(() => this.#named(options), signal)
    signal.throwIfAborted()
    if (!load.mayConnect(cluster.breakers))
      throw new MeshError(
        'MESH_UPSTREAM_OVERFLOW',
        `${load.connections.now} connections are open to cluster ${cluster.name} (max_connections)`,
      )
    this.#wasUsed = true
    const host = this.#pick({ ...options, maxHostPicks: 3 })
    if (host instanceof MeshError) throw host
    const { endpoint } = host
    const held = new DisposableStack()
    held.use(takeLease(load.connections, host.connections))
    held.use(takeLease(host.active))
    try {
      const { stream, alpn, certificates, local } = await dial(this.ctx, cluster, endpoint, {
        address: endpoint.address,
        port: endpoint.port,
        speaks: options.speaks,
        exchangesPeers: options.exchangesPeers,
        host: options.host,
        through: options.through,
        makeHeader: options.makeHeader,
        client: options.client,
        signal,
      })
      held.use(this.#tunnels.track(stream, certificates, { endpoint, onEnding: options.onEnding }))
      // A closed stream no longer counts as a connection, also where its user does not report it.
      stream.once(
        'close',
        guard('upstream', doNothing, () => {
          held.dispose()
        }),
      )
      this.hosts.report(host, CONNECTED)
      let told = false
      return {
        stream,
        endpoint,
        alpn,
        certificates,
        local,
        release: (how) => {
          if (!told && how === 'failed' && !isOurDoing(findRefusal(stream)))
            this.hosts.report(host, { kind: 'local-failure' })
          told = true
          held.dispose()
        },
      }
    } catch (thrown) {
      held.dispose()
      if (!options.signal.aborted && !isOurDoing(toMeshError(thrown)))
        this.hosts.report(host, { kind: 'local-failure' })
      throw thrown
    }
  }

  /** No longer in the tables: nothing new, idle connections close, the others after their call. */
  drain(): void {
    this.#draining = true
    for (const host of this.#sources.every) drainPools(host)
    this.#sources[Symbol.dispose]()
    this.#checks?.[Symbol.dispose]()
    this.#goneIfEmpty()
  }
  /**
   * Perhaps. They are looked at when somebody picks one; who waits has picked already, and warm-up counts from when a
   * host came.
   */
  endpointsChanged(): void {
    if (this.load.pending.now > 0 || this.#tunnels.size > 0 || this.#warmsUp || this.#checks) this.#sources.update()
  }
  /** An answer came from the host, perhaps with a word about itself. */
  answered(host: Host, headers: readonly string[]): void {
    if (this.#checks && headers.includes('x-envoy-immediate-health-check-fail')) this.#checks.failPassively(host)
  }
  /** New connections may find another way to it. */
  #failed(host: Host): void {
    for (const pool of host.pools.values()) pool.renew()
    if (!this.cluster.closesOnHealthFailure) return
    const reason = new MeshError('MESH_UPSTREAM_RESET', `the endpoint ${host.key} does not answer as it should`)
    this.#tunnels.cut(reason, (endpoint) => formatHostKey(endpoint) === host.key)
  }
  #removed(host: Host, isReplaced: boolean): void {
    drainPools(host)
    if (!isReplaced) return
    for (const pool of host.pools.values()) pool.moveWaiting()
    this.#endTunnels((e) => formatHostKey(e) === host.key && isInClear(selectTransport(this.cluster, e)))
  }
  #endTunnels(isMeant: (endpoint: Endpoint) => boolean): void {
    this.#tunnels.end(isMeant, new MeshError('MESH_DRAINING', `cluster ${this.cluster.name} asks for TLS now`))
  }
  /** Another has come in its place, which may ask for more (TLS, for one): what has not left yet goes there. */
  replaced(next: Cluster): void {
    this.drain()
    this.#endTunnels((endpoint) => turnsTlsOn(this.cluster, next, endpoint))
    for (const move of this.#forName) {
      this.#forName.delete(move)
      moved(move)
    }
    for (const host of this.#sources.every) for (const pool of host.pools.values()) pool.moveWaiting()
  }
  #goneIfEmpty(): void {
    if (this.#draining && this.load.isEmpty) this.#gone()
  }
  /**
   * A newer version that cannot be taken has come: what this one was told may be less than is asked for now, so nothing
   * goes on over it.
   */
  cut(next: Cluster): void {
    const reason = blocked(next)
    this.drain()
    this.#stop.abort(reason)
    for (const host of this.#sources.every) for (const pool of host.pools.values()) pool.destroy()
    this.#tunnels.cut(reason)
  }

  [Symbol.dispose](): void {
    this.drain()
    this.#stop.abort(new MeshError('MESH_DRAINING', 'the agent is shutting down'))
    for (const host of this.#sources.every) for (const pool of host.pools.values()) pool.destroy()
  }

  get failedHosts(): number {
    let sum = 0
    for (const { check } of this.hosts.all) if (check?.hasFailed) sum++
    return sum
  }

  status(): ClusterStatus {
    const { load } = this
    this.#sources.update()
    return {
      name: this.cluster.name,
      activeRequests: load.requests.now,
      pendingRequests: load.pending.now,
      connections: load.connections.now,
      endpoints: [...this.#sources.every].map((h) => ({
        address: h.endpoint.address,
        port: h.endpoint.port,
        priority: h.priority,
        weight: h.weight,
        health: h.endpoint.health,
        ejected: h.health.ejectedUntilMs > this.ctx.clock.monotonicMs(),
        ...(h.check && { check: { ...h.check, isLeaving: h.isLeaving, reason: this.#checks?.reasonOf(h) } }),
        activeRequests: h.active.now,
        connections: h.connections.now,
        ...(h.endpoint.via && { tunnel: h.endpoint.via.listener }),
      })),
    }
  }

  /** For whom this node is well while they are; found without a request. */
  countHosts(): HostCount {
    this.#sources.begin()
    return this.#sources.balanced.count()
  }

  #pick(wanted: HostWanted): Host | MeshError {
    try {
      const found = this.#sources.pick(wanted)
      return found ?? new MeshError('MESH_NO_ENDPOINT', `cluster ${this.cluster.name} has no endpoint that can serve`)
    } catch (thrown) {
      return toMeshError(thrown)
    }
  }

  #poolOf(host: Host, { speaks, host: authority, client }: CallOptions): HostConnections {
    const { protocol } = this.cluster
    const kind = protocol === 'downstream' ? speaks : protocol
    const ofClient = this.#tellsClient ? client : undefined
    const ofHost = this.#autoSni ? `${kind} ${authority ?? ''}` : kind
    const key = ofClient ? `${ofHost} ${ofClient.id}` : ofHost
    const known = host.pools.get(key)
    if (known) return known
    const made = new HostPool(this, host, { speaks: kind, host: authority, client: ofClient }, key)
    if (this.#draining) made.drain()
    host.pools.set(key, made)
    return made
  }
}

function drainPools({ pools }: Host): void {
  for (const pool of pools.values()) pool.drain()
}
const moved = guard('upstream', doNothing, (move: () => void) => {
  move()
})

function blocked({ name }: Cluster): MeshError {
  return new MeshError('MESH_CLUSTER_BLOCKED', `cluster ${name} cannot be taken as it was configured`)
}

/** The awaited event may never come, so a stop does not wait for it. */
async function unlessAborted<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const onAbort = guard('upstream', aborted.reject, () => {
    aborted.reject(signal.reason)
  })
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([work(), aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
