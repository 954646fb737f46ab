/**
 * One configuration stream, from opening to its end: carries what comes over it into force, answers it, and asks for what
 * that names. control-sync/ads/protocol.ts knows what to say, control-sync/apply.ts what to do with what is said, this
 * file when.
 */
import type { Clock, Timer } from '../core/os/clock.ts'
import type { Current } from '../core/current.ts'
import { MeshError, toMeshError } from '../core/errors.ts'
import { detach } from '../core/defects/guard.ts'
import { releaseBuffer } from '../core/runtime/release-buffer.ts'
import type { Log } from '../core/log.ts'
import { waitForNextTurn } from '../core/os/time-slice.ts'
import type { WorkloadHealth } from '../model/readiness-probe.ts'
import type { ResourceKind } from '../model/snapshot.ts'
import { AdsProtocol, BY_NAME, type AdsRequest, type AdsResponse } from './ads/protocol.ts'
import type { RejectedRetry } from './ads/rejected-retry.ts'
import type { RemovalGuard } from './ads/removal-guard.ts'
import type { AdsStream, AdsTransport } from './ads/transport.ts'
import type { Applier, Change } from './apply.ts'
import type { Rejected } from './findings.ts'
import type { RevisionInForce } from './revision-in-force.ts'

export type ConfigStreamOptions = {
  readonly transport: AdsTransport
  readonly applier: Applier
  readonly clock: Clock
  readonly log: Log
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
  readonly ownRoutes: Current<ReadonlySet<string>>
  /**
   * Told on every stream and at every change. Only where the control plane keeps a WorkloadEntry for this node: another
   * istiod may crash.
   */
  readonly health?: Current<WorkloadHealth> | undefined
  /** Told of what has been applied. */
  readonly revision?: Pick<RevisionInForce, 'note'> | undefined
}
/** What outlives a stream. */
export type StreamOwner = {
  readonly removalGuard: RemovalGuard
  readonly rejectedRetry: RejectedRetry
  /** The first answer has come. */
  readonly onConnected: () => void
  /** An answer has come. */
  readonly onContact: () => void
  /** The configuration is whole, or has been waited for long enough. */
  readonly onSynced: () => void
}
/** `answeredMs`: monotonic, of the first answer. */
export type Ending = { readonly reason: MeshError; readonly answeredMs: number | undefined }

/** A stream on which nothing came for so long after it was opened is none. */
const FIRST_RESPONSE_MS = 15_000
/** Envoy's initial_fetch_timeout: what was named and has not come by then is not waited for. */
const INITIAL_FETCH_MS = 15_000
const LARGE_BYTES = 128 * 1024

export class ConfigStream {
  readonly #o: ConfigStreamOptions
  readonly #owner: StreamOwner
  readonly #protocol: AdsProtocol
  readonly #heard = new Set<ResourceKind>()
  readonly #ended = Promise.withResolvers<MeshError>()
  readonly #silence: Timer
  #stream: AdsStream | undefined
  #answeredMs: number | undefined
  #initialFetch: Timer | undefined
  /** Responses that have come and are not in force: while there are any, no more is read. */
  #unapplied = 0
  /** They are worked off in order. */
  #work: Promise<void> = Promise.resolve()

  constructor(options: ConfigStreamOptions, owner: StreamOwner) {
    this.#o = options
    this.#owner = owner
    const { transport, clock, trustBundle, names = true } = options
    this.#protocol = new AdsProtocol(
      new Set([
        ...(transport.without ?? []),
        ...(trustBundle ? [] : (['proxyConfig'] as const)),
        ...(names ? [] : (['nameTable'] as const)),
      ]),
    )
    this.#silence = clock.after(FIRST_RESPONSE_MS, () =>
      this.end(
        new MeshError('MESH_CONTROL_TIMEOUT', `${transport.address} sent nothing within ${FIRST_RESPONSE_MS} ms`),
      ),
    )
  }

  /** From opening to end. Never rejects. */
  async run(): Promise<Ending> {
    using _health = this.#o.health?.watch(() => this.#tellHealth())
    using _routes = this.#o.ownRoutes.watch(() => this.#enqueue(() => this.#subscribe()))
    try {
      await this.#open()
      const reason = await this.#ended.promise
      return { reason, answeredMs: this.#answeredMs }
    } catch (thrown) {
      return { reason: toMeshError(thrown), answeredMs: this.#answeredMs }
    } finally {
      this.#silence.cancel()
      this.#initialFetch?.cancel()
      this.#owner.rejectedRetry.pause()
      this.#stream?.close()
      // What came is applied; nobody is there to be answered.
      this.#stream = undefined
      await this.#work
    }
  }

  end(reason: MeshError): void {
    this.#ended.resolve(reason)
  }
  askAgain(kind: ResourceKind, names: readonly string[]): void {
    for (const request of this.#protocol.again(kind, names)) this.#send(request)
  }
  /**
   * Puts in force what the removal guard held back. It was acknowledged when it came; what is wrong with it is told when
   * it is asked for again.
   */
  release(changes: readonly Change[]): void {
    this.#enqueue(async () => {
      // What nobody names any more has been given up in the meantime.
      await this.#o.applier.apply(changes.map((change) => this.#onlyWanted(change)))
      await this.#subscribe()
      this.#retryRejected()
    })
  }

  async #open(): Promise<void> {
    const { transport, applier } = this.#o
    const opening = transport.open({
      onResponse: (response) => this.#onResponse(response),
      onEnd: (reason) => this.end(reason),
    })
    this.#stream = await Promise.race([opening, this.#ended.promise.then(() => undefined)])
    if (!this.#stream) {
      // It ended before it was open.
      detach(
        'control',
        opening.then(
          (late) => late.close(),
          () => undefined,
        ),
      )
      return
    }
    const requests = this.#protocol.open(
      (kind) => applier.snapshot.resources[kind],
      (kind) => this.#wanted(kind),
    )
    for (const request of requests) this.#send(request)
    if (this.#unapplied > 0) this.#stream.pause?.()
  }

  #onResponse(response: AdsResponse): void {
    const { clock } = this.#o
    this.#silence.cancel()
    if (this.#answeredMs === undefined) {
      this.#answeredMs = clock.monotonicMs()
      this.#owner.onConnected()
      this.#tellHealth()
    }
    // The callback is not made here: it would keep the response, a megabyte, until the timer fires.
    this.#initialFetch ??= clock.after(INITIAL_FETCH_MS, this.#owner.onSynced)
    this.#owner.onContact()
    if (this.#unapplied++ === 0) this.#stream?.pause?.()
    this.#enqueue(async () => {
      await this.#respond(response)
      if (--this.#unapplied === 0) this.#stream?.resume?.()
    })
  }

  async #respond(response: AdsResponse): Promise<void> {
    const { applier, log, revision } = this.#o
    const { kind, resources, bytes } = response
    // Envoy: a secret that is gone there, or that the server may not read at the moment, serves on where it is named.
    const removed = kind === 'secret' ? [] : response.removed
    // Reading a large message has filled this turn.
    if ((bytes?.byteLength ?? 0) > LARGE_BYTES) await waitForNextTurn()
    if (!this.#heard.has(kind)) applier.forgetRejected(kind)
    this.#heard.add(kind)
    const change = this.#onlyWanted({ kind, put: resources, removed })
    const allowed = this.#owner.removalGuard.filter(change)
    const { changed, rejected } = await applier.apply([allowed, ...this.#dropNames()])
    revision?.note(response)
    if (bytes && allowed === change && changed + rejected.length === 0) releaseBuffer(bytes)
    log.debug(
      {
        evt: 'control.push',
        kind,
        resources: resources.length,
        removed: removed.length,
        changed,
        rejected: rejected.length,
      },
      'push received',
    )
    this.#send(this.#protocol.answer(response, rejected.map(describeProblem)))
    await this.#subscribe()
    this.#retryRejected()
    if (this.#protocol.complete) this.#owner.onSynced()
  }

  /** Asks for what is named now and gives up what is not any more. */
  async #subscribe(): Promise<void> {
    for (const kind of BY_NAME) {
      const request = this.#protocol.want(kind, this.#wanted(kind))
      if (!request) continue
      this.#send(request)
      // Nothing refers to these any more, and the control plane does not say so (istiod answers an unsubscription with
      // silence).
      if (request.unsubscribe.length > 0) await this.#o.applier.apply([{ kind, put: [], removed: request.unsubscribe }])
    }
  }

  #wanted(kind: ResourceKind): ReadonlySet<string> {
    const { applier, ownRoutes } = this.#o
    if (kind === 'endpoint' || kind === 'secret' || kind === 'extension') return applier.referenced(kind)
    return kind === 'route' ? applier.referenced('route').union(ownRoutes.get()) : new Set()
  }

  #onlyWanted(change: Change): Change {
    return { ...change, put: change.put.filter((r) => this.#protocol.takes(change.kind, r.name)) }
  }

  /** Names that are not asked for any more would grow old here, and be believed once they are wanted again. */
  #dropNames(): Change[] {
    const removed = this.#o.names === false ? [...this.#o.applier.snapshot.resources.nameTable.keys()] : []
    return removed.length > 0 ? [{ kind: 'nameTable', put: [], removed }] : []
  }

  /** Blocked resources are in force as they were sent, so a new request would bring the same. */
  #retryRejected(): void {
    this.#owner.rejectedRetry.update(this.#o.applier.rejected.filter(({ blocked }) => !blocked))
  }

  /** Not before the first answer: istiod forgets what comes before it has made the node's WorkloadEntry. */
  #tellHealth(): void {
    const health = this.#o.health?.get()
    if (health && this.#answeredMs !== undefined && health.state !== 'unknown') this.#stream?.sendHealth?.(health)
  }

  #send(request: AdsRequest): void {
    this.#stream?.send(request)
  }

  #enqueue(job: () => Promise<void>): void {
    this.#work = this.#work.then(job).catch((thrown: unknown) => this.end(toMeshError(thrown)))
  }
}

function describeProblem({ name, issues }: Rejected): string {
  return `${name}: ${issues.map((i) => `${i.path}: ${i.problem}`).join(', ')}`
}
