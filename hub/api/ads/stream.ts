/**
 * One ADS stream: authenticate, learn the node, then requests and changes of resources go through the state machine and
 * answers out.
 */
import type { Clock } from '../../../core/os/clock.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { detach, guard, doNothing } from '../../../core/defects/guard.ts'
import type { Log } from '../../../core/log.ts'
import type { Metrics } from '../../../core/metrics.ts'
import type { LiveDevices, LiveNode } from '../../registry/live-devices.ts'
import type { Registry } from '../../registry/registry.ts'
import type { Source, Watched } from '../../source/resources.ts'
import type { AnyAnswer, AnyRequest, Conversation } from './messages.ts'
import type { Outcome } from './session.ts'
import { checkCaller, describeHolder, type Authenticator, type Caller, type Credentials } from '../authenticate.ts'
import type { NamedNode } from '../../reports/receiver.ts'
import type { Budgets } from '../budgets.ts'
import { mayBe, readNodeIdentity, type NodeIdentity } from './node.ts'
import { Progress } from './progress.ts'
import type { CertificateWatcher, Watch } from '../certificate-expiry.ts'
import type { StreamLimit } from './stream-limit.ts'

export type AdsOptions = {
  readonly authenticate: Authenticator
  readonly registry: Registry
  readonly source: Source
  readonly limit: StreamLimit
  readonly budgets: Budgets
  readonly live: LiveDevices
  readonly watcher: CertificateWatcher
  /** The connection is no stranger's. @param peer as gRPC names it. Throws MESH_CONTROL_SLOW_DOWN. */
  readonly proved: (peer: string, caller: Caller) => void
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

const FIRST_REQUEST_WITHIN_MS = 30_000
/** A client that asks in a loop is cut off; a large mesh needs some hundred requests when it starts. */
const REQUEST_WINDOW = { ms: 10_000, requests: 5_000 }
const MAX_ERROR_CHARS = 2_000

type Started = {
  readonly node: NodeIdentity
  readonly watched: Watched
  readonly live: LiveNode
  readonly subscription: ReturnType<Budgets['subscription']>
}

/** What carries a stream: a call of gRPC, or a stream of the relay. */
export type AdsCall = {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as of every emitter
  on(event: string, listener: (message: any) => void): unknown
  pause(): unknown
  resume(): unknown
  /** False: `drain` follows. */
  write(answer: AnyAnswer): boolean
  end(): unknown
  destroy(): unknown
}
export type AdsPeer = {
  readonly credentials: Credentials
  readonly ip: string
  /** Its address and port, as gRPC names them. */
  readonly address: string
  /** Ends the call with an error that the client is told. */
  readonly fail: (reason: MeshError) => void
  /** What carries the stream; left out: gRPC. */
  readonly over?: string
  /** The stream has a node from now on, until the result is disposed of. */
  readonly enter?: (node: NamedNode) => Disposable
  /** Of what carries the stream, when that is over. */
  readonly endReason?: () => string | undefined
}

export class AdsStream<Q extends AnyRequest, A extends AnyAnswer> implements Disposable {
  readonly #call: AdsCall
  readonly #peer: AdsPeer
  readonly #conversation: Conversation<Q, A>
  readonly #p: AdsOptions
  readonly #owned = new DisposableStack()
  #caller: Caller | undefined
  #started: Started | undefined
  #watch: Watch | undefined
  /** `blocked`: the client reads slower than we write; `behind`: and the resources have changed since. */
  #output: 'open' | 'blocked' | 'behind' = 'open'
  /** For the node's folder to be read. */
  #waits = false
  #window = { startedMs: 0, requests: 0 }
  readonly #progress = new Progress()

  constructor(call: AdsCall, conversation: Conversation<Q, A>, peer: AdsPeer, p: AdsOptions) {
    this.#call = call
    this.#conversation = conversation
    this.#p = p
    this.#peer = peer
    const broken = (): void => {
      call.destroy()
    }
    const over = guard('hub', doNothing, () => this[Symbol.dispose]())
    for (const event of ['end', 'close', 'cancelled', 'error'] as const) call.on(event, over)
    call.on(
      'end',
      guard('hub', doNothing, () => call.end()),
    )
    detach(
      'hub',
      this.#guardedTask(() => this.#begin()),
      broken,
    )
  }

  /** What comes meanwhile waits in the call: nobody listens yet. */
  async #begin(): Promise<void> {
    const { clock, watcher, authenticate, proved, limit } = this.#p
    const late = clock.after(FIRST_REQUEST_WITHIN_MS, () => {
      if (!this.#started)
        this.fail(new MeshError('MESH_CONTROL_PROTOCOL', `no request within ${FIRST_REQUEST_WITHIN_MS / 1_000} s`))
    })
    this.#owned.defer(() => late.cancel())
    const revision = watcher.current
    const caller = await authenticate(this.#peer.credentials)
    if (this.#owned.disposed) return
    this.#caller = caller
    proved(this.#peer.address, caller)
    this.#owned.use(limit.enter(caller))
    const watched = { check: (what: 'end' | 'all') => this.#checkCaller(what), end: (err: MeshError) => this.fail(err) }
    this.#watch = this.#owned.use(watcher.enter(watched, revision))
    const call = this.#call
    const broken = (): void => {
      call.destroy()
    }
    // What is refused on purpose is no defect: #guarded tells the client, the outer guard finds what #guarded itself
    // does wrong.
    call.on(
      'data',
      guard('hub', broken, (message: Q) => this.#guarded(() => this.#onRequest(message))),
    )
    call.on(
      'drain',
      guard('hub', broken, () => this.#guarded(() => this.#onDrain())),
    )
  }

  /** Ends the stream with the error's gRPC status. */
  fail(thrown: unknown): void {
    if (this.#owned.disposed) return
    const err = toMeshError(thrown)
    this.#p.log.warn(
      {
        evt: 'hub.stream-refused',
        node: this.#started?.node.name,
        spiffeId: this.#caller?.spiffeId.uri,
        ip: this.#peer.ip,
        err,
      },
      'ADS stream ended by the hub',
    )
    this.#p.metrics
      .counter('mesh_hub_ads_refused_total', 'ADS streams that the hub refused or ended, by code.', ['code'])
      .cell({ code: err.code }).value++
    this.#started?.live.ends(`${err.code}: ${err.message}`)
    this[Symbol.dispose]()
    this.#peer.fail(err)
  }

  [Symbol.dispose](): void {
    const reason = this.#peer.endReason?.()
    if (reason !== undefined) this.#started?.live.ends(reason)
    this.#owned.dispose()
  }

  #onRequest(message: Q): void {
    if (this.#owned.disposed) return
    this.#countRequest()
    const started = this.#started
    if (started && !started.watched.ready) {
      this.#answer(started, message)
      return
    }
    // The order of requests is kept: none is looked at before the one that waits.
    this.#call.pause()
    this.#waits = true
    detach(
      'hub',
      this.#guardedTask(() => this.#answerLater(started, message)),
      () => {
        this.#call.destroy()
      },
    )
  }

  async #answerLater(before: Started | undefined, message: Q): Promise<void> {
    const started = before ?? (await this.#start(message))
    // The node's folder is being read: half of it would be taken for all.
    await started?.watched.ready
    this.#waits = false
    if (!started || this.#owned.disposed) return
    this.#answer(started, message)
    if (this.#output === 'open') this.#call.resume()
  }

  #answer({ node, watched, subscription }: Started, message: Q): void {
    const set = watched.current()
    const { responses, outcome } = this.#conversation.request(message, set)
    subscription.set(this.#conversation.subscribedBytes)
    this.#note(outcome, node, message)
    this.#progress.answered(outcome, message)
    this.#write(responses, set.revision)
  }

  /** Undefined: the stream has ended meanwhile. */
  async #start(message: Q): Promise<Started | undefined> {
    const caller = this.#caller!
    const node = readNodeIdentity(message.node)
    mayBe(caller, node)
    const { registry, clock, log, source, live, budgets, watcher } = this.#p
    const revision = watcher.current
    const refused = await registry.claimName({
      name: node.name,
      nodeId: node.id,
      spiffeUri: caller.spiffeId.uri,
      ip: this.#peer.ip,
      holder: describeHolder(caller),
      jti: caller.jti,
      nowMs: clock.wallMs(),
    })
    if (refused !== undefined)
      throw new MeshError(
        'MESH_CONTROL_FORBIDDEN',
        `the node name ${node.name} ${refused}; meshlet-hub token create --name ${node.name} makes a token for it, meshlet-hub devices forget ${node.name} frees it`,
      )
    if (this.#owned.disposed) return undefined
    const watched = this.#owned.use(
      source.watch(node.name, () => this.#guarded(() => this.#onChange()), {
        ...message.node!,
        namespace: caller.namespace,
      }),
    )
    log.debug(
      {
        evt: 'hub.stream',
        node: node.name,
        nodeId: node.id,
        spiffeId: caller.spiffeId.uri,
        by: caller.by,
        ip: this.#peer.ip,
      },
      'node connected',
    )
    this.#owned.defer(() =>
      log.debug({ evt: 'hub.stream-end', node: node.name, ip: this.#peer.ip }, 'node disconnected'),
    )
    // The name may have been taken away since it was claimed, when nobody knew yet whose stream to end.
    this.#watch?.recheckSince(revision)
    const { over = 'gRPC', enter } = this.#peer
    const conversation = this.#conversation
    if (enter) this.#owned.use(enter({ name: node.name, computeContent: () => conversation.computeContent() }))
    return (this.#started = {
      node,
      watched,
      live: this.#owned.use(live.connected(node.name, `over ${over}, by ${caller.by}`)),
      subscription: this.#owned.use(budgets.subscription(caller)),
    })
  }

  async #checkCaller(what: 'end' | 'all'): Promise<void> {
    const [caller, { registry }] = [this.#caller!, this.#p]
    await checkCaller(caller, what, this.#p)
    const name = this.#started?.node.name
    if (what === 'end' || name === undefined) return
    const lost = await registry.lostName({
      name,
      spiffeUri: caller.spiffeId.uri,
      holder: describeHolder(caller),
      jti: caller.jti,
      nowMs: this.#p.clock.wallMs(),
    })
    if (lost !== undefined) throw new MeshError('MESH_CONTROL_FORBIDDEN', `the node name ${name} ${lost}`)
  }

  #onChange(): void {
    if (this.#waits) return
    if (this.#output !== 'open') {
      this.#output = 'behind'
      return
    }
    const set = this.#started!.watched.current()
    this.#write(this.#conversation.push(set), set.revision)
  }

  #onDrain(): void {
    const before = this.#output
    this.#output = 'open'
    if (before === 'behind') this.#onChange()
    if (this.#output === 'open') this.#call.resume()
  }

  /** @param version revision that the responses are from */
  #write(responses: readonly A[], version: string): void {
    this.#progress.sent(version, responses)
    const { inForce, refused } = this.#progress
    this.#started?.live.is({ inForce, refused: refused?.slice(0, MAX_ERROR_CHARS) })
    for (const response of responses)
      if (!this.#call.write(response) && this.#output === 'open') this.#output = 'blocked'
    if (responses.length)
      this.#p.metrics.counter('mesh_hub_ads_responses_total', 'ADS responses that the hub sent.').cell({}).value +=
        responses.length
    // Nothing more is queued for a client that does not read; changes meanwhile become one answer.
    if (this.#output !== 'open') this.#call.pause()
  }

  #note(outcome: Outcome, node: NodeIdentity, message: Q): void {
    this.#p.metrics
      .counter(
        'mesh_hub_ads_requests_total',
        'ADS requests that came, by what they said of earlier responses (none, ack, nack, stale).',
        ['outcome'],
      )
      .cell({ outcome }).value++
    const seen = { node: node.name, type: message.typeUrl, nonce: message.responseNonce.slice(0, 64) }
    if (outcome === 'nack')
      this.#p.log.warn(
        { evt: 'hub.nack', ...seen, problem: (message.errorDetail?.message ?? '').slice(0, MAX_ERROR_CHARS) },
        'node refused resources and keeps its earlier ones',
      )
    else this.#p.log.debug({ evt: 'hub.request', ...seen, outcome }, 'ADS request')
  }

  #countRequest(): void {
    const nowMs = this.#p.clock.monotonicMs()
    if (nowMs - this.#window.startedMs >= REQUEST_WINDOW.ms) this.#window = { startedMs: nowMs, requests: 0 }
    if (++this.#window.requests > REQUEST_WINDOW.requests)
      throw new MeshError(
        'MESH_CONTROL_SLOW_DOWN',
        `more than ${REQUEST_WINDOW.requests} requests in ${REQUEST_WINDOW.ms / 1_000} s`,
      )
  }

  async #guardedTask(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (err) {
      this.fail(err)
    }
  }
  #guarded(work: () => void): void {
    try {
      work()
    } catch (err) {
      this.fail(err)
    }
  }
}
