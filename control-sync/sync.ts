/**
 * Keeps one configuration stream to a control plane open: opens the next one when it ends, and waits in between. The
 * link comes and goes; what was applied stays. control-sync/stream.ts is one stream.
 */
import type { Random } from '../core/os/clock.ts'
import { MeshError, type ErrorCode } from '../core/errors.ts'
import { guard } from '../core/defects/guard.ts'
import type { Family, Metrics } from '../core/metrics.ts'
import type { ResourceKind } from '../model/snapshot.ts'
import { RejectedRetry } from './ads/rejected-retry.ts'
import { RemovalGuard, type HeldRemoval } from './ads/removal-guard.ts'
import { Returning } from './ads/returning.ts'
import { ConfigStream, type ConfigStreamOptions, type Ending } from './stream.ts'

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
   * than INITIAL_FETCH_MS (control-sync/stream.ts).
   */
  readonly synced: Promise<void>
}
/** With a control plane. */
export interface StreamSync extends Sync {
  /** Ends the stream at hand; the next one follows at once. @param why for the log */
  reopen(why: string): void
}

export type SyncOptions = ConfigStreamOptions & {
  readonly random: Random
  readonly metrics: Metrics
  readonly shrinkHoldMs: number
  readonly refusedRetryMs: number
  readonly refusedRetryMaxMs: number
  /** Calls back when what proves who we are has changed: whoever was refused for that does not wait. */
  readonly onProof?: ((fn: () => void) => Disposable) | undefined
  /**
   * Calls back when this node has become another for the control plane: its address has changed. It is told on a new
   * stream.
   */
  readonly onNode?: ((fn: () => void) => Disposable) | undefined
}

const IDENTITY_ERRORS: ReadonlySet<string> = new Set<ErrorCode>([
  'MESH_NO_IDENTITY',
  'MESH_CONTROL_UNAUTHENTICATED',
  'MESH_CONTROL_FORBIDDEN',
])

export function startSync(options: SyncOptions): StreamSync {
  return new AdsSync(options)
}

class AdsSync implements StreamSync {
  readonly #o: SyncOptions
  readonly #stop = new AbortController()
  readonly #synced = Promise.withResolvers<void>()
  readonly #running: Promise<void>
  readonly #streams: Family<'result'>
  readonly #removalGuard: RemovalGuard
  readonly #rejectedRetry: RejectedRetry
  #link: ControlLinkStatus
  #stream: ConfigStream | undefined
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
      release: (changes) => this.#stream?.release(changes),
    })
    this.#rejectedRetry = new RejectedRetry(options, (kind, names) => this.#stream?.askAgain(kind, names))
    this.#onNode = options.onNode?.(() => this.reopen('what the control plane is told of this node has changed'))
    this.#running = this.#run()
  }

  get link(): ControlLinkStatus {
    return { ...this.#link, held: this.#removalGuard.held }
  }
  get synced(): Promise<void> {
    return this.#synced.promise
  }
  reopen(why: string): void {
    this.#moved.abort()
    this.#stream?.end(new MeshError('MESH_CONTROL_UNREACHABLE', why))
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    this.#onNode?.[Symbol.dispose]()
    this.#removalGuard[Symbol.dispose]()
    this.#rejectedRetry[Symbol.dispose]()
    await this.#running
  }

  async #run(): Promise<void> {
    const { clock, random, transport } = this.#o
    const returning = new Returning(transport.returnWithinMs, random)
    while (!this.#stop.signal.aborted) {
      this.#change({ state: 'connecting', address: transport.address })
      const openedMs = clock.monotonicMs()
      this.#moved = new AbortController()
      const { reason, answeredMs } = await this.#runStream()
      if (this.#stop.signal.aborted) return
      if (this.#moved.signal.aborted) {
        returning.forget()
        continue
      }
      this.#streams.cell({ result: answeredMs === undefined ? 'failed' : 'ended' }).value++
      const { waitMs, isNormal } = returning.next({ reason, openedMs, answeredMs, nowMs: clock.monotonicMs() })
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
  async #runStream(): Promise<Ending> {
    const { transport, clock } = this.#o
    const stream = new ConfigStream(this.#o, {
      removalGuard: this.#removalGuard,
      rejectedRetry: this.#rejectedRetry,
      onConnected: () => this.#change({ state: 'connected', error: undefined, address: transport.address }),
      onContact: () => {
        this.#link = { ...this.#link, lastContactMs: clock.monotonicMs() }
      },
      onSynced: () => this.#synced.resolve(),
    })
    const end = (reason: MeshError): void => stream.end(reason)
    const onStop = guard('control', end, () => end(new MeshError('MESH_DRAINING', 'the agent stops')))
    this.#stop.signal.addEventListener('abort', onStop, { once: true })
    this.#stream = stream
    this.#removalGuard.newStream()
    try {
      return await stream.run()
    } finally {
      this.#stop.signal.removeEventListener('abort', onStop)
      this.#stream = undefined
      this.#removalGuard.newStream()
    }
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
