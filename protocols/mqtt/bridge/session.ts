/**
 * One client session with an upstream broker over as many connections as it takes: what waits for it outlives each of
 * them.
 */
import { backoffMs, type Clock, type Random } from '../../../core/os/clock.ts'
import type { Current } from '../../../core/current.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { detached } from '../../../core/defects/guard.ts'
import type { Log } from '../../../core/log.ts'
import type { Tables } from '../../../model/tables.ts'
import type { UpstreamStream, Upstreams } from '../../upstream-api.ts'
import type { BridgeCounters } from './counters.ts'
import { BridgeLink, type LinkEnd } from './link.ts'
import { messageNowMs } from '../expiry.ts'
import type { SentMark } from './outflow.ts'
import type { BridgeRoute, SessionPlan } from './plan.ts'
import type { Flusher } from '../codec/outbox.ts'
import type { Version } from '../codec/packet.ts'
import type { Durability, DurableQueue, LocalBroker, StoredMessage } from '../durability.ts'

const BACKOFF = { baseMs: 500, capMs: 30_000 }
const MIN_WAIT_MS = 100
/** A connection that lived so long was a good one; the next failure begins with a short wait again. */
const STABLE_MS = 10_000

/** Messages that are set aside; above it the oldest go. */
const MAX_SET_ASIDE = 1_000

export type BridgeState = 'connecting' | 'connected' | 'waiting' | 'refused'
export type BridgeStatus = {
  readonly cluster: string
  readonly state: BridgeState
  readonly queued: number
  readonly sent: number
  readonly received: number
  /** What the upstream broker does not take. */
  readonly setAside: number
  readonly error: string | undefined
}
export type SessionParts = {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly tables: Current<Tables>
  readonly upstreams: Upstreams
  readonly broker: LocalBroker
  readonly durability: Durability
  readonly flusher: Flusher
  readonly counters: BridgeCounters
}

export class BridgeSession implements AsyncDisposable {
  readonly #p: SessionParts
  readonly #log: Log
  readonly #stop = new AbortController()
  readonly #queue: DurableQueue | undefined
  readonly #subscribed = new Map<string, string>()
  readonly #mark: SentMark = { seq: 0, stuck: undefined }
  readonly #running: Promise<void>
  #plan: SessionPlan
  #attached: Disposable[] = []
  #link: BridgeLink | undefined
  #version: Version = 5
  #state: BridgeState = 'connecting'
  #error: string | undefined
  #failedMs: number | undefined
  #connectedMs = Infinity
  #sent = 0
  #received = 0

  /** @param queue undefined when nothing goes up and nothing is left of earlier */
  constructor(p: SessionParts, plan: SessionPlan, queue: DurableQueue | undefined) {
    this.#p = p
    this.#plan = plan
    this.#queue = queue
    this.#log = p.log.child({ cluster: plan.cluster, clientId: plan.clientId })
    if (queue) {
      // After a restart nobody knows what was sent, so all that is there counts as a repetition [MQTT-3.3.1-1].
      this.#mark.seq = queue.lastSeq
      queue.onAppended = () => this.#link?.pump()
    }
    this.#attach()
    this.#running = this.#run()
  }

  get plan(): SessionPlan {
    return this.#plan
  }
  get hasQueue(): boolean {
    return this.#queue !== undefined
  }
  /**
   * Monotonic milliseconds of the first try in vain since it was connected; undefined: it is connected, or was not
   * tried yet.
   */
  get failedMs(): number | undefined {
    return this.#failedMs
  }
  get status(): BridgeStatus {
    return {
      cluster: this.#plan.cluster,
      state: this.#state,
      queued: this.#queue?.depth ?? 0,
      sent: this.#sent,
      received: this.#received,
      setAside: this.#p.durability.queue(this.#plan.asideName)?.depth ?? 0,
      error: this.#error,
    }
  }

  use(plan: SessionPlan): void {
    const known = new Set(this.#plan.up.map((route) => route.key))
    this.#plan = plan
    // New ones first: a message that both want would rather come twice than not at all.
    const before = this.#attached
    this.#attach()
    for (const route of before) route[Symbol.dispose]()
    this.#link?.use(plan)
    detached('bridge', this.#sendRetained(plan.up.filter((route) => !known.has(route.key))))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const route of this.#attached) route[Symbol.dispose]()
    this.#attached = []
    if (this.#queue) this.#queue.onAppended = undefined
    this.#stop.abort(new MeshError('MESH_DRAINING', 'the bridge is closing'))
    this.#link?.close()
    await this.#running
  }

  #attach(): void {
    const { origin, up } = this.#plan
    const { clock } = this.#p
    const queue = this.#queue
    if (queue) queue.whenFull = this.#plan.whenFull
    this.#attached = queue
      ? up.map(({ filter, make }) =>
          this.#p.broker.attach({ filter, queue, origin, make: (message) => make(message, messageNowMs(clock)) }),
        )
      : []
  }

  /** What is retained here is retained there: to a route that is new, and to a broker that has lost it. Never rejects. */
  async #sendRetained(routes: readonly BridgeRoute[]): Promise<void> {
    const queue = this.#queue
    if (!queue) return
    const { broker, durability, clock } = this.#p
    for (const { topics, make } of routes.filter((route) => route.sendRetained)) {
      const sent: Promise<void>[] = []
      const decided = broker.retained(topics, (message) => {
        sent.push(durability.append(make(message, messageNowMs(clock)), [queue]))
      })
      await decided
      const refused = (await Promise.allSettled(sent)).find((one) => one.status === 'rejected')
      if (refused)
        this.#log.warn(
          { evt: 'mqtt.bridge.retained', err: toMeshError(refused.reason) },
          'not all retained messages could be queued for the upstream broker',
        )
    }
  }

  async #setAside(message: StoredMessage): Promise<void> {
    const { durability } = this.#p
    const { asideName } = this.#plan
    const queue = durability.queue(asideName) ?? (await durability.createQueue(asideName))
    queue.whenFull = 'drop-oldest'
    if (queue.depth >= MAX_SET_ASIDE) {
      this.#p.counters.dropped['set-aside'].value++
      queue.done(queue.firstSeq)
    }
    await durability.append(message, [queue])
  }

  async #run(): Promise<void> {
    const { clock, random } = this.#p
    const { signal } = this.#stop
    for (let attempt = 0; !signal.aborted;) {
      this.#state = 'connecting'
      this.#connectedMs = Infinity
      const end = await this.#connection(signal)
      if (signal.aborted) return
      if (end.why === 'version') {
        this.#version = 4
        continue
      }
      if (clock.monotonicMs() - this.#connectedMs >= STABLE_MS) attempt = 0
      const waitMs = Math.max(backoffMs(attempt++, BACKOFF, random), MIN_WAIT_MS)
      this.#state = end.why === 'refused' ? 'refused' : 'waiting'
      this.#error = end.error?.message
      this.#failedMs ??= clock.monotonicMs()
      this.#p.counters.connects[end.why === 'refused' ? 'refused' : 'failed'].value++
      this.#log.warn(
        { evt: 'mqtt.bridge.down', waitMs: Math.round(waitMs), queued: this.#queue?.depth ?? 0, err: end.error },
        'no connection to the upstream broker',
      )
      await clock.sleep(waitMs, signal).catch(() => undefined)
    }
  }

  async #connection(signal: AbortSignal): Promise<LinkEnd> {
    let upstream: UpstreamStream
    try {
      const cluster = this.#p.tables.get().cluster(this.#plan.cluster)
      if (!cluster) throw new MeshError('MESH_NO_CLUSTER', `there is no cluster ${this.#plan.cluster}`)
      upstream = await this.#p.upstreams.connect(cluster, {
        speaks: 'tcp',
        signal,
        onEnding: (reason) => this.#link?.close(reason),
      })
    } catch (err) {
      return { why: 'failed', error: toMeshError(err) }
    }
    let wasConnected = false
    const link = new BridgeLink({
      ...this.#p,
      stream: upstream.stream,
      version: this.#version,
      plan: this.#plan,
      queue: this.#queue,
      mark: this.#mark,
      subscribed: this.#subscribed,
      log: this.#log,
      onConnected: () => {
        wasConnected = true
        this.#connected()
      },
      onSessionLost: () => this.#sendRetained(this.#plan.up),
      setAside: (message) => this.#setAside(message),
      onSent: () => {
        this.#sent++
      },
      onReceived: () => {
        this.#received++
      },
    })
    this.#link = link
    if (signal.aborted) link.close()
    const end = await link.run()
    this.#link = undefined
    upstream.release(wasConnected || end.why !== 'failed' ? 'ok' : 'failed')
    return end
  }

  #connected(): void {
    this.#state = 'connected'
    this.#connectedMs = this.#p.clock.monotonicMs()
    this.#error = undefined
    this.#failedMs = undefined
    this.#p.counters.connects.connected.value++
    this.#log.info(
      { evt: 'mqtt.bridge.up', version: this.#version, queued: this.#queue?.depth ?? 0 },
      'connected to the upstream broker',
    )
  }
}
