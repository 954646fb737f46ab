/**
 * Keeps one delta ADS stream to a control plane and carries what comes over it into force. The link comes and goes; what was applied stays.
 * control-sync/ads-protocol.ts knows what to say, control-sync/apply.ts what to do with what is said, this file when.
 */
import { backoffMs, type Clock, type Random, type Timer } from '../agent/core/clock.ts'
import type { Current } from '../agent/core/current.ts'
import { MeshError, toMeshError } from '../agent/core/errors.ts'
import type { Log } from '../agent/core/log.ts'
import type { Family, Metrics } from '../agent/core/metrics.ts'
import type { WorkloadHealth } from '../agent/model/readiness-probe.ts'
import type { ResourceKind } from '../agent/model/snapshot.ts'
import { retryPace } from './ads-errors.ts'
import { AdsProtocol, BY_NAME, type AdsRequest, type AdsResponse } from './ads-protocol.ts'
import type { Applier, Change } from './apply.ts'
import { Shrink } from './shrink.ts'

/** One open stream, whatever carries it. */
export interface AdsStream {
  send(request: AdsRequest): void
  /** Tells of the workload's health (Istio's HealthInformation); absent where nobody wants to know. */
  sendHealth?(health: WorkloadHealth): void
  close(): void
}
export type AdsStreamEvents = { readonly onResponse: (response: AdsResponse) => void; readonly onEnd: (reason: MeshError) => void }
/** Opens a stream to the next of the configured addresses. Rejects when there is nothing to open it with (MESH_NO_IDENTITY, MESH_TOKEN_INVALID). */
export interface AdsTransport {
  readonly address: string
  open(events: AdsStreamEvents): Promise<AdsStream>
}

export type Link = {
  readonly mode: 'control plane' | 'directory'
  readonly address: string
  readonly state: 'connected' | 'connecting' | 'waiting' | 'watching'
  /** Monotonic milliseconds of the last change of `state`. */
  readonly sinceMs: number
  /** Monotonic milliseconds; undefined = never in this run. */
  readonly lastContactMs: number | undefined
  /** Why it is not connected. */
  readonly error: MeshError | undefined
}
export interface Sync extends AsyncDisposable {
  readonly link: Link
  /**
   * Resolves once the configuration is whole: clusters, listeners and all that they name have come from the control plane in this run, or a
   * folder has been read. A control plane that is silent about a name is waited for no longer than INITIAL_FETCH_MS.
   */
  readonly synced: Promise<void>
}

export type SyncOptions = {
  readonly transport: AdsTransport
  readonly applier: Applier
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly metrics: Metrics
  readonly shrinkHoldMs: number
  /** Route tables that agent.yaml's own listeners name: asked for beside those of pushed listeners. */
  readonly ownRoutes: ReadonlySet<string>
  /** Told on every stream and at every change. Only where the control plane keeps a WorkloadEntry for this node: another istiod may die of it. */
  readonly health?: Current<WorkloadHealth> | undefined
}

/** A stream on which nothing came for so long after it was opened is none. */
const FIRST_RESPONSE_MS = 15_000
/** Envoy's initial_fetch_timeout: what was named and has not come by then is not waited for. */
const INITIAL_FETCH_MS = 15_000
/** A stream that lasted so long was a good one: the next begins with the shortest wait. */
const GOOD_STREAM_MS = 10_000

export function startSync(options: SyncOptions): Sync {
  return new AdsSync(options)
}

class AdsSync implements Sync {
  readonly #o: SyncOptions
  readonly #stop = new AbortController()
  readonly #synced = Promise.withResolvers<void>()
  readonly #running: Promise<void>
  readonly #streams: Family<'result'>
  readonly #shrink: Shrink
  #link: Link

  constructor(options: SyncOptions) {
    this.#o = options
    this.#link = { mode: 'control plane', address: options.transport.address, state: 'connecting', sinceMs: options.clock.monotonicMs(), lastContactMs: undefined, error: undefined }
    this.#streams = options.metrics.counter('mesh_control_streams_total', 'Configuration streams that ended, by how.', ['result'])
    options.metrics.gaugeOf('mesh_control_connected', '1 while the configuration stream is up.', () => (this.#link.state === 'connected' ? 1 : 0))
    this.#shrink = new Shrink({ ...options, release: (removed) => { void options.applier.apply([{ kind: 'cluster', put: [], removed }]) } })
    this.#running = this.#run()
  }

  get link(): Link { return this.#link }
  get synced(): Promise<void> { return this.#synced.promise }
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    this.#shrink[Symbol.dispose]()
    await this.#running
  }

  async #run(): Promise<void> {
    const { clock, random, log } = this.#o
    for (let attempt = 0; !this.#stop.signal.aborted;) {
      this.#change({ state: 'connecting', address: this.#o.transport.address })
      const openedMs = clock.monotonicMs()
      const { reason, answered } = await this.#stream()
      if (this.#stop.signal.aborted) return
      this.#streams.cell({ result: answered ? 'ended' : 'failed' }).value++
      attempt = answered && clock.monotonicMs() - openedMs > GOOD_STREAM_MS ? 0 : attempt + 1
      const waitMs = backoffMs(attempt, retryPace(reason), random)
      log.warn({ evt: 'control.lost', address: this.#link.address, retryInMs: Math.round(waitMs), err: reason }, 'no configuration stream; the last good configuration serves on')
      this.#change({ state: 'waiting', error: reason })
      await clock.sleep(waitMs, this.#stop.signal).catch(() => undefined)
    }
  }

  /** One stream from opening to end. Never rejects. */
  async #stream(): Promise<{ reason: MeshError; answered: boolean }> {
    const { transport, clock, health } = this.#o
    const ended = Promise.withResolvers<MeshError>()
    const protocol = new AdsProtocol()
    let answered = false
    let work: Promise<void> = Promise.resolve()
    let stream: AdsStream | undefined
    let initial: Timer | undefined
    // Not before the first answer: istiod forgets what comes before it has made the node's WorkloadEntry.
    const tellHealth = (): void => { if (health && answered && health.get().state !== 'unknown') stream?.sendHealth?.(health.get()) }
    using _told = health?.watch(tellHealth)
    const silence = clock.after(FIRST_RESPONSE_MS, () => ended.resolve(new MeshError('MESH_CONTROL_UNREACHABLE', `${transport.address} sent nothing within ${FIRST_RESPONSE_MS} ms`)))
    const onStop = (): void => ended.resolve(new MeshError('MESH_DRAINING', 'the agent stops'))
    this.#stop.signal.addEventListener('abort', onStop, { once: true })
    try {
      this.#shrink.newStream()
      stream = await transport.open({
        onResponse: (response) => {
          silence.cancel()
          if (!answered) { answered = true; this.#change({ state: 'connected', error: undefined, address: transport.address }); tellHealth() }
          initial ??= clock.after(INITIAL_FETCH_MS, () => this.#synced.resolve())
          this.#link = { ...this.#link, lastContactMs: clock.monotonicMs() }
          work = work.then(() => this.#respond(response, protocol, (r) => stream?.send(r))).catch((thrown: unknown) => ended.resolve(toMeshError(thrown)))
        },
        onEnd: (reason) => ended.resolve(reason),
      })
      for (const request of protocol.open((kind) => this.#known(kind), (kind) => this.#wanted(kind))) stream.send(request)
      return { reason: await ended.promise, answered }
    } catch (thrown) {
      return { reason: toMeshError(thrown), answered }
    } finally {
      silence.cancel()
      initial?.cancel()
      this.#stop.signal.removeEventListener('abort', onStop)
      stream?.close()
      await work
    }
  }

  async #respond(response: AdsResponse, protocol: AdsProtocol, send: (request: AdsRequest) => void): Promise<void> {
    const { applier, log } = this.#o
    const { kind } = response
    const removed = kind === 'cluster' ? this.#shrink.filter(response.removed, applier.snapshot.resources.cluster.size) : response.removed
    const change: Change = { kind, put: response.resources.filter((r) => protocol.takes(kind, r.name)), removed }
    const { changed, rejected } = await applier.apply([change])
    log.debug({ evt: 'control.push', kind, resources: response.resources.length, removed: response.removed.length, changed, rejected: rejected.length }, 'push received')
    send(protocol.answer(response, rejected.map((r) => `${r.name}: ${r.issues.map((i) => `${i.path}: ${i.problem}`).join(', ')}`)))
    for (const byName of BY_NAME) {
      const request = protocol.want(byName, this.#wanted(byName))
      if (!request) continue
      send(request)
      // Nobody refers to these any more, and the control plane does not say so (istiod answers an unsubscription with silence).
      if (request.unsubscribe.length > 0) await applier.apply([{ kind: byName, put: [], removed: request.unsubscribe }])
    }
    if (protocol.complete) this.#synced.resolve()
  }

  #known(kind: ResourceKind): Record<string, string> {
    return Object.fromEntries([...this.#o.applier.snapshot.resources[kind].values()].map((raw) => [raw.name, raw.version]))
  }
  #wanted(kind: ResourceKind): ReadonlySet<string> {
    if (kind === 'endpoint') return this.#o.applier.referenced('endpoint')
    return kind === 'route' ? this.#o.applier.referenced('route').union(this.#o.ownRoutes) : new Set()
  }

  #change(next: Partial<Link>): void {
    const moved = next.state !== undefined && next.state !== this.#link.state
    this.#link = { ...this.#link, ...next, ...(moved ? { sinceMs: this.#o.clock.monotonicMs() } : {}) }
    if (moved && next.state === 'connected') this.#o.log.info({ evt: 'control.connected', address: this.#link.address }, 'configuration stream is up')
  }
}
