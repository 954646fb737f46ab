/**
 * Keeps one ADS stream to a control plane and carries what comes over it into force. The link comes and goes; what was
 * applied stays. control-sync/ads/protocol.ts knows what to say, control-sync/apply.ts what to do with what is said,
 * this file when.
 */
import type { Clock, Random, Timer } from '../core/os/clock.ts'
import type { Current } from '../core/current.ts'
import { MeshError, toMeshError, type ErrorCode } from '../core/errors.ts'
import { detached, guarded } from '../core/defects/guard.ts'
import { releaseBuffer } from '../core/runtime/release-buffer.ts'
import type { Log } from '../core/log.ts'
import type { Family, Metrics } from '../core/metrics.ts'
import { nextTurn } from '../core/os/time-slice.ts'
import type { WorkloadHealth } from '../model/readiness-probe.ts'
import type { ResourceKind } from '../model/snapshot.ts'
import { AFTER_GOOD_STREAM_MS, Failures, retryWaitMs } from './ads/errors.ts'
import { AdsProtocol, BY_NAME, type AdsRequest, type AdsResponse } from './ads/protocol.ts'
import type { Applier, Change, Rejected } from './apply.ts'
import { RejectedRetry } from './ads/rejected-retry.ts'
import { RemovalGuard, type HeldRemoval } from './ads/removal-guard.ts'
import { GOOD_STREAM_MS, type AdsStream, type AdsTransport } from './ads/transport.ts'

export type ControlLinkStatus = {
  readonly mode: 'control plane' | 'directory'
  readonly address: string
  readonly state: 'connected' | 'connecting' | 'waiting' | 'watching'
  /** Monotonic milliseconds of the last change of `state`. */
  readonly sinceMs: number
  /** Monotonic milliseconds; undefined = never in this run. */
  readonly lastContactMs: number | undefined
  /** Why it is not connected. */
  readonly error: MeshError | undefined
  /** Clusters that the control plane took away and that serve on for a while (control-sync/ads/removal-guard.ts). */
  readonly held?: HeldRemoval | undefined
}
export interface Sync extends AsyncDisposable {
  readonly link: ControlLinkStatus
  /**
   * Resolves once the configuration is whole: clusters, listeners and all that they name have come from the control
   * plane in this run, or a folder has been read. A control plane that is silent about a name is waited for no longer
   * than INITIAL_FETCH_MS.
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
  readonly refusedRetryMs: number
  readonly refusedRetryMaxMs: number
  /**
   * Asks for further roots of the mesh (PCDS). Where the server sends none, istiod would show the kind as never sent.
   */
  readonly trustBundle: boolean
  /**
   * False: nobody here asks for names, so the control plane is not asked for them (60 bytes a service), and those of an
   * earlier run are dropped at its first word.
   */
  readonly names?: boolean
  /** Route tables that agent.yaml's own listeners name: asked for beside those of pushed listeners. */
  readonly ownRoutes: ReadonlySet<string>
  /** Calls back when what proves who we are has changed: whoever was refused for that does not wait. */
  readonly onProof?: ((fn: () => void) => Disposable) | undefined
  /**
   * Calls back when this node has become another for the control plane: its address has changed. It is told on a new
   * stream.
   */
  readonly onNode?: ((fn: () => void) => Disposable) | undefined
  /**
   * Told on every stream and at every change. Only where the control plane keeps a WorkloadEntry for this node: another
   * istiod may die of it.
   */
  readonly health?: Current<WorkloadHealth> | undefined
}

/** A stream on which nothing came for so long after it was opened is none. */
const FIRST_RESPONSE_MS = 15_000
/** Envoy's initial_fetch_timeout: what was named and has not come by then is not waited for. */
const INITIAL_FETCH_MS = 15_000
const LARGE_BYTES = 128 * 1024
/** After its first answer: the link carries, and what cut it was no answer to what we sent. */
const MIN_STABLE_MS = 1_000

const IDENTITY_ERRORS: ReadonlySet<string> = new Set<ErrorCode>([
  'MESH_NO_IDENTITY',
  'MESH_CONTROL_UNAUTHENTICATED',
  'MESH_CONTROL_FORBIDDEN',
])

export function startSync(options: SyncOptions): Sync {
  return new AdsSync(options)
}

/** What one stream is while it is open. */
type StreamState = {
  readonly heard: Set<ResourceKind>
  readonly protocol: AdsProtocol
  readonly send: (request: AdsRequest) => void
  readonly enqueue: (work: () => Promise<void>) => void
}
/** `answeredMs`: monotonic, of the first answer. */
type Ending = { readonly reason: MeshError; readonly answeredMs: number | undefined }

class AdsSync implements Sync {
  readonly #o: SyncOptions
  readonly #stop = new AbortController()
  readonly #synced = Promise.withResolvers<void>()
  readonly #running: Promise<void>
  readonly #streams: Family<'result'>
  readonly #removalGuard: RemovalGuard
  readonly #rejectedRetry: RejectedRetry
  #link: ControlLinkStatus
  #streamState: StreamState | undefined
  #end: ((reason: MeshError) => void) | undefined
  readonly #onNode: Disposable | undefined
  /** Since the stream at hand, or the last one, was opened. */
  #moved = new AbortController()

  constructor(options: SyncOptions) {
    this.#o = options
    const { applier, metrics } = options
    this.#link = {
      mode: 'control plane',
      address: options.transport.address,
      state: 'connecting',
      sinceMs: options.clock.monotonicMs(),
      lastContactMs: undefined,
      error: undefined,
    }
    this.#streams = metrics.counter('mesh_control_streams_total', 'Configuration streams that ended, by how.', [
      'result',
    ])
    metrics.gaugeOf('mesh_control_connected', '1 while the configuration stream is up.', () =>
      this.#link.state === 'connected' ? 1 : 0,
    )
    metrics.gaugeOf(
      'mesh_control_held_clusters',
      'Clusters that the control plane took away in a first push and that serve on for a while.',
      () => this.#removalGuard.held?.clusters ?? 0,
    )
    const inForce = {
      get clusterCount() {
        return applier.snapshot.resources.cluster.size
      },
      references: (kind: ResourceKind, name: string) => applier.references(kind, name),
    }
    this.#removalGuard = new RemovalGuard({
      ...options,
      inForce,
      release: (changes) => this.#streamState?.enqueue(() => this.#release(changes)),
    })
    this.#rejectedRetry = new RejectedRetry(options, (kind, names) => {
      for (const request of this.#streamState?.protocol.again(kind, names) ?? []) this.#streamState?.send(request)
    })
    this.#onNode = options.onNode?.(() => {
      this.#moved.abort()
      this.#end?.(new MeshError('MESH_CONTROL_UNREACHABLE', 'the address of this node is another now'))
    })
    this.#running = this.#run()
  }

  get link(): ControlLinkStatus {
    return { ...this.#link, held: this.#removalGuard.held }
  }
  get synced(): Promise<void> {
    return this.#synced.promise
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    this.#onNode?.[Symbol.dispose]()
    this.#removalGuard[Symbol.dispose]()
    this.#rejectedRetry[Symbol.dispose]()
    await this.#running
  }

  async #run(): Promise<void> {
    const { clock, random } = this.#o
    const failures = new Failures()
    while (!this.#stop.signal.aborted) {
      this.#change({ state: 'connecting', address: this.#o.transport.address })
      const openedMs = clock.monotonicMs()
      this.#moved = new AbortController()
      const { reason, answeredMs } = await this.#stream()
      if (this.#stop.signal.aborted) return
      if (this.#moved.signal.aborted) {
        failures.forget()
        continue
      }
      this.#streams.cell({ result: answeredMs === undefined ? 'failed' : 'ended' }).value++
      // An age limit (istiod: 30 min), a restart: the normal life of a stream.
      const wasCut = answeredMs !== undefined && reason.code === 'MESH_CONTROL_UNREACHABLE'
      const isNormal = wasCut && clock.monotonicMs() - openedMs > GOOD_STREAM_MS
      // On a link that comes and goes by the second the waits begin anew with each stream that stood. Envoy's and
      // gRPC's (A57) do after any answer; what breaks while everything is sent, again and again, is opened more and
      // more seldom here, because each try costs all of it.
      if (isNormal || (wasCut && clock.monotonicMs() - answeredMs > MIN_STABLE_MS)) failures.forget()
      const waitMs = isNormal ? random.float() * AFTER_GOOD_STREAM_MS : retryWaitMs(reason, failures.of(reason), random)
      if (!isNormal) failures.add(reason)
      this.#report(reason, { isNormal, waitMs })
      await this.#wait(waitMs, reason)
    }
  }

  async #wait(ms: number, { code }: MeshError): Promise<void> {
    const woken = new AbortController()
    using _watch = IDENTITY_ERRORS.has(code) ? this.#o.onProof?.(() => woken.abort()) : undefined
    await this.#o.clock
      .sleep(ms, AbortSignal.any([this.#stop.signal, this.#moved.signal, woken.signal]))
      .catch(() => undefined)
  }

  #report(reason: MeshError, { isNormal, waitMs }: { isNormal: boolean; waitMs: number }): void {
    const line = { address: this.#link.address, retryInMs: Math.round(waitMs), err: reason }
    if (isNormal)
      this.#o.log.info({ evt: 'control.ended', ...line }, 'the configuration stream came to its end; the next follows')
    else
      this.#o.log.warn(
        { evt: 'control.lost', ...line },
        'no configuration stream; the last good configuration serves on',
      )
    this.#change({ state: 'waiting', error: isNormal ? undefined : reason })
  }

  /** One stream from opening to end. Never rejects. */
  async #stream(): Promise<Ending> {
    const { transport, applier, clock, health, trustBundle, names = true } = this.#o
    const ended = Promise.withResolvers<MeshError>()
    const protocol = new AdsProtocol(
      new Set([
        ...(transport.without ?? []),
        ...(trustBundle ? [] : (['proxyConfig'] as const)),
        ...(names ? [] : (['nameTable'] as const)),
      ]),
    )
    let answeredMs: number | undefined
    let work: Promise<void> = Promise.resolve()
    let stream: AdsStream | undefined
    let initial: Timer | undefined
    // Not before the first answer: istiod forgets what comes before it has made the node's WorkloadEntry.
    const tellHealth = (): void => {
      if (health && answeredMs !== undefined && health.get().state !== 'unknown') stream?.sendHealth?.(health.get())
    }
    using _told = health?.watch(tellHealth)
    // Not made beside a response: the timer would keep a megabyte of it.
    const synced = (): void => this.#synced.resolve()
    const enqueue = (job: () => Promise<void>): void => {
      work = work.then(job).catch((thrown: unknown) => ended.resolve(toMeshError(thrown)))
    }
    const silence = clock.after(FIRST_RESPONSE_MS, () =>
      ended.resolve(
        new MeshError('MESH_CONTROL_TIMEOUT', `${transport.address} sent nothing within ${FIRST_RESPONSE_MS} ms`),
      ),
    )
    const onStop = guarded('control', ended.resolve, () =>
      ended.resolve(new MeshError('MESH_DRAINING', 'the agent stops')),
    )
    this.#stop.signal.addEventListener('abort', onStop, { once: true })
    const onResponse = (response: AdsResponse): void => {
      silence.cancel()
      if (answeredMs === undefined) {
        answeredMs = clock.monotonicMs()
        this.#change({ state: 'connected', error: undefined, address: transport.address })
        tellHealth()
      }
      initial ??= clock.after(INITIAL_FETCH_MS, synced)
      this.#link = { ...this.#link, lastContactMs: clock.monotonicMs() }
      enqueue(() => this.#respond(response))
    }
    this.#end = ended.resolve
    this.#removalGuard.newStream()
    this.#streamState = { heard: new Set(), protocol, send: (r) => stream?.send(r), enqueue }
    try {
      const opening = transport.open({ onResponse, onEnd: (reason) => ended.resolve(reason) })
      stream = await Promise.race([opening, ended.promise.then(() => undefined)])
      // Opened too late, for nobody.
      if (!stream)
        detached(
          'control',
          opening.then(
            (late) => late.close(),
            () => undefined,
          ),
        )
      else
        for (const request of protocol.open(
          (kind) => applier.snapshot.resources[kind],
          (kind) => this.#wanted(kind),
        ))
          stream.send(request)
      const reason = await ended.promise
      return { reason, answeredMs }
    } catch (thrown) {
      return { reason: toMeshError(thrown), answeredMs }
    } finally {
      silence.cancel()
      initial?.cancel()
      this.#end = undefined
      this.#stop.signal.removeEventListener('abort', onStop)
      this.#rejectedRetry.pause()
      stream?.close()
      // What came is applied; nobody is there to be answered.
      stream = undefined
      await work
      this.#streamState = undefined
      this.#removalGuard.newStream()
    }
  }

  async #respond(response: AdsResponse): Promise<void> {
    const talk = this.#streamState
    if (!talk) return
    const { applier, log } = this.#o
    const { kind, removed } = response
    // What is large took a slice of its own to be read.
    if ((response.bytes?.byteLength ?? 0) > LARGE_BYTES) await nextTurn()
    if (!talk.heard.has(kind)) applier.forgetRejected(kind)
    talk.heard.add(kind)
    const change: Change = { kind, put: response.resources.filter((r) => talk.protocol.takes(kind, r.name)), removed }
    const allowed = this.#removalGuard.filter(change)
    const { changed, rejected } = await applier.apply([allowed, ...this.#unasked()])
    if (response.bytes && allowed === change && changed + rejected.length === 0) releaseBuffer(response.bytes)
    log.debug(
      {
        evt: 'control.push',
        kind,
        resources: response.resources.length,
        removed: removed.length,
        changed,
        rejected: rejected.length,
      },
      'push received',
    )
    talk.send(talk.protocol.answer(response, rejected.map(problemOf)))
    await this.#subscribe()
    this.#rejectedRetry.update(applier.rejected.filter(isLost))
    if (talk.protocol.complete) this.#synced.resolve()
  }

  /**
   * What was held back comes into force. It was acknowledged when it came; what is wrong with it is told when it is
   * asked for anew.
   */
  async #release(changes: readonly Change[]): Promise<void> {
    const talk = this.#streamState
    if (!talk) return
    const { applier } = this.#o
    // What nobody names any more has been given up in the meantime.
    await applier.apply(changes.map((c) => ({ ...c, put: c.put.filter((r) => talk.protocol.takes(c.kind, r.name)) })))
    await this.#subscribe()
    this.#rejectedRetry.update(applier.rejected.filter(isLost))
  }

  /** Asks for what is named now and gives up what is not any more. */
  async #subscribe(): Promise<void> {
    for (const kind of BY_NAME) {
      const request = this.#streamState?.protocol.want(kind, this.#wanted(kind))
      if (!request) continue
      this.#streamState?.send(request)
      // Nobody refers to these any more, and the control plane does not say so (istiod answers an unsubscription with
      // silence).
      if (request.unsubscribe.length > 0) await this.#o.applier.apply([{ kind, put: [], removed: request.unsubscribe }])
    }
  }

  /** Names that are not asked for any more would grow old here, and be believed once they are wanted again. */
  #unasked(): Change[] {
    const removed = this.#o.names === false ? [...this.#o.applier.snapshot.resources.nameTable.keys()] : []
    return removed.length > 0 ? [{ kind: 'nameTable', put: [], removed }] : []
  }

  #wanted(kind: ResourceKind): ReadonlySet<string> {
    const { applier, ownRoutes } = this.#o
    if (kind === 'endpoint' || kind === 'extension') return applier.referenced(kind)
    return kind === 'route' ? applier.referenced('route').union(ownRoutes) : new Set()
  }

  #change(next: Partial<ControlLinkStatus>): void {
    const moved = next.state !== undefined && next.state !== this.#link.state
    // Pings have kept it alive, so it was there until now (control-plane.ts).
    if (moved && this.#link.state === 'connected') this.#o.applier.contact()
    this.#link = { ...this.#link, ...next, ...(moved ? { sinceMs: this.#o.clock.monotonicMs() } : {}) }
    if (moved && next.state === 'connected')
      this.#o.log.info({ evt: 'control.connected', address: this.#link.address }, 'configuration stream is up')
  }
}

/** What is blocked is here as it was sent: nothing is learnt by asking for it again. */
function isLost({ blocked }: Rejected): boolean {
  return !blocked
}

function problemOf({ name, issues }: Rejected): string {
  return `${name}: ${issues.map((i) => `${i.path}: ${i.problem}`).join(', ')}`
}
