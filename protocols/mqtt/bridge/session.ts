/**
 * One client session with an upstream broker over as many connections as it takes: what waits for it outlives each of
 * them.
 */
import type { Duplex } from 'node:stream'
import type { Clock, Random, Timer } from '../../../core/os/clock.ts'
import type { Current } from '../../../core/current.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { detach } from '../../../core/defects/guard.ts'
import type { Log } from '../../../core/log.ts'
import type { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import type { Tables } from '../../../model/tables.ts'
import type { UpstreamStream, Upstreams } from '../../upstream-api.ts'
import type { BridgeCounters } from './counters.ts'
import type { Lanes } from './lanes.ts'
import type { IsOther } from './sending/lane-pair.ts'
import { sendRetained } from './sending/send-retained.ts'
import { type Leg, Legs } from './legs.ts'
import { BridgeLink, type LinkEnd, MAX_PACKET_BYTES } from './link.ts'
import { sweepExpired } from './sweep.ts'
import { tellLocally } from './notifications.ts'
import { describeWay, openStream } from './transport/way.ts'
import type { ProxySources } from './transport/http-proxy.ts'
import { STABLE_MS, Waits } from './waits.ts'
import { readMessageMs } from '../expiry.ts'
import { Trouble } from './sending/trouble.ts'
import type { BridgeRoute, SessionPlan } from './plan.ts'
import { Flusher } from '../codec/flusher.ts'
import type { SparkplugCounters } from '../sparkplug/counters.ts'
import { type HostStatus, SparkplugForwarding } from '../sparkplug/forwarding.ts'
import type { BridgeCredentials, ReadCredentials } from '../users/bridge-credentials.ts'
import type { Durability, LocalBroker, StoredMessage } from '../durability.ts'
import { countDrop } from '../gap.ts'

/** While another broker has the session, the first one is asked so often whether it is there again. */
const RETURN_MS = 60_000
/** What has expired makes room so often. */
const SWEEP_MS = 30_000
/** A wait that ends only when the session is woken. */
const NEVER_MS = 2 ** 40
/** Messages that are set aside; above it the oldest go. */
const MAX_SET_ASIDE = 1_000

/** `idle`: a lazy one that has nothing to do; `ended`: one that connects once, and has. */
export type BridgeState = 'connecting' | 'connected' | 'waiting' | 'refused' | 'idle' | 'ended'
export type BridgeStatus = {
  readonly cluster: string
  readonly state: BridgeState
  readonly queued: number
  readonly sent: number
  readonly received: number
  /** What the upstream broker does not take. */
  readonly setAside: number
  readonly error: string | undefined
  /** Filters of routes down that the broker does not grant; undefined when there are none. */
  readonly refusedFilters?: readonly string[]
  /** Of those that routes wait for; undefined when there are none. */
  readonly hosts?: readonly HostStatus[]
}
export type SessionParts = ProxySources & {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly tables: Current<Tables>
  readonly upstreams: Upstreams
  readonly broker: LocalBroker
  readonly durability: Durability
  readonly budget: MemoryBudget
  readonly flusher: Flusher
  readonly counters: BridgeCounters
  readonly sparkplugCounters: SparkplugCounters
  readonly readCredentials: ReadCredentials
  /** How long the first connection waits. */
  readonly drawFirstWaitMs: () => number
}

export class BridgeSession implements AsyncDisposable {
  readonly #p: SessionParts
  readonly #log: Log
  readonly #stop = new AbortController()
  readonly #lanes: Lanes
  readonly #legs: Legs
  readonly #waits: Waits
  readonly #sparkplug: SparkplugForwarding
  /** Ends a wait before its time. */
  #wake = new AbortController()
  readonly #trouble = new Trouble()
  readonly #running: Promise<void>
  readonly #watching: Disposable
  #plan: SessionPlan
  #attached: Disposable[] = []
  #link: BridgeLink | undefined
  #state: BridgeState = 'connecting'
  #error: string | undefined
  /** Why the link is closed from here, when it is to go on at once. */
  #closing: 'idle' | 'changed' | 'return' | undefined
  #idle: Timer | undefined
  #returning: Timer | undefined
  #failedMs: number | undefined
  #connectedMs = Infinity
  #sent = 0
  #received = 0

  /** @param lanes with the queues of this plan */
  constructor(p: SessionParts, plan: SessionPlan, lanes: Lanes) {
    this.#p = p
    this.#plan = plan
    this.#lanes = lanes
    this.#legs = new Legs(plan)
    this.#waits = new Waits(p.random)
    this.#log = p.log.child({ cluster: plan.cluster, clientId: plan.clientId })
    this.#sparkplug = new SparkplugForwarding({ ...p, log: this.#log }, plan.origin)
    this.#sparkplug.use(plan.lanes.flatMap((lane) => lane.sparkplug ?? []))
    this.#attach()
    this.#watching = p.tables.watch((tables) => {
      const { cluster, tried } = this.#legs.current
      if (tables.cluster(cluster) !== tried) this.#wake.abort()
    })
    this.#running = Promise.all([this.#run(), this.#sweep()]).then(() => undefined)
  }

  get plan(): SessionPlan {
    return this.#plan
  }
  /**
   * Monotonic milliseconds of the first try in vain since it was connected; undefined: it is connected, or was not
   * tried yet.
   */
  get failedMs(): number | undefined {
    return this.#failedMs
  }
  get status(): BridgeStatus {
    const refusedFilters = this.#link?.refusedFilters ?? []
    return {
      cluster: this.#plan.cluster,
      state: this.#state,
      queued: this.#lanes.depth,
      sent: this.#sent,
      received: this.#received,
      setAside: this.#p.durability.queue(this.#plan.asideName)?.depth ?? 0,
      error: this.#error,
      ...(refusedFilters.length > 0 ? { refusedFilters } : undefined),
      ...(this.#sparkplug.hasHosts ? { hosts: this.#sparkplug.listHosts(this.#lanes.all) } : undefined),
    }
  }

  /** @throws what has come of a queue that cannot be made; everything is as it was then */
  async use(plan: SessionPlan): Promise<void> {
    const hasOtherLanes = await this.#lanes.use(plan)
    const known = new Set(this.#plan.up.map((route) => route.key))
    const isOther = JSON.stringify(plan.settings) !== JSON.stringify(this.#plan.settings)
    this.#plan = plan
    this.#sparkplug.use(plan.lanes.flatMap((lane) => lane.sparkplug ?? []))
    // New ones first: a message that both want would rather come twice than not at all.
    const before = this.#attached
    this.#attach()
    for (const route of before) route[Symbol.dispose]()
    this.#link?.use(plan)
    if (isOther) this.#legs.use(plan)
    if (isOther || hasOtherLanes) {
      this.#close('changed')
      this.#wake.abort()
    }
    detach('bridge', this.#sendRetained(plan.up.filter((route) => !known.has(route.key))))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const route of this.#attached) route[Symbol.dispose]()
    this.#attached = []
    for (const { queue } of this.#lanes.all) queue.onAppended = undefined
    this.#watching[Symbol.dispose]()
    this.#sparkplug.stop()
    this.#stop.abort(new MeshError('MESH_DRAINING', 'the bridge is closing'))
    this.#link?.close()
    await this.#running
  }

  #attach(): void {
    const { origin, up } = this.#plan
    const { clock, broker } = this.#p
    for (const { queue } of this.#lanes.all) queue.onAppended = () => this.#appended()
    this.#attached = up.map(({ filter, lane, make }) => {
      const target = this.#lanes.findTarget(lane)
      return broker.attach({
        filter,
        get queue() {
          return target.queue
        },
        origin,
        make: (message) => make(message, readMessageMs(clock)),
      })
    })
  }

  #refreshRetained(key: string, isOther: IsOther): void {
    const routes = this.#plan.up.filter(({ lane }) => lane === key)
    detach('bridge', this.#sendRetained(routes, isOther))
  }
  #sendRetained(routes: readonly BridgeRoute[], isWanted?: IsOther): Promise<void> {
    return sendRetained({ ...this.#p, log: this.#log, lanes: this.#lanes }, routes, isWanted)
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

  #appended(): void {
    this.#link?.pump()
    if (this.#state === 'idle') this.#wake.abort()
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    tellLocally(this.#p, this.#plan, '0')
    const firstWaitMs = this.#p.drawFirstWaitMs()
    // Nothing wakes it: what would, comes to all machines at once.
    if (firstWaitMs > 0) await this.#p.clock.sleep(firstWaitMs, signal).catch(() => undefined)
    while (!signal.aborted) {
      await this.#wanted(signal)
      if (signal.aborted) return
      this.#state = 'connecting'
      this.#connectedMs = Infinity
      this.#closing = undefined
      const end = await this.#connection(this.#legs.current, signal)
      if (this.#connectedMs !== Infinity) tellLocally(this.#p, this.#plan, '0')
      if (signal.aborted) return
      if (this.#goesOn(end)) continue
      if (this.#plan.settings.start === 'once') {
        this.#state = 'ended'
        this.#error = end.error?.message
        return
      }
      await this.#pause(end, signal)
    }
  }

  /** Sweeps while there is no connection to send on. Never rejects. */
  async #sweep(): Promise<void> {
    const { clock, counters } = this.#p
    const { signal } = this.#stop
    while (!signal.aborted) {
      await clock.sleep(SWEEP_MS, signal).catch(() => undefined)
      for (const lane of this.#lanes.all) {
        if (this.#link || signal.aborted) break
        const swept = await sweepExpired(lane, readMessageMs(clock))
        counters.dropped.expired.value += swept
        countDrop(lane.queue, 'expired', swept)
      }
    }
  }

  /** A lazy session is, once there is something to do. */
  async #wanted(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { start, lazyMessages } = this.#plan.settings
      if (start !== 'lazy' || this.#lanes.all.length === 0 || this.#lanes.depth >= lazyMessages) return
      this.#state = 'idle'
      this.#error = undefined
      await this.#sleep(NEVER_MS, signal)
    }
  }
  /** @returns whether the next connection is tried at once */
  #goesOn({ why, serverReference }: LinkEnd): boolean {
    if (why === 'version') {
      this.#legs.current.speakOlder(this.#plan)
      return true
    }
    if (this.#closing !== undefined) {
      if (this.#closing === 'return') this.#legs.returnToFirst()
      return true
    }
    if (this.#plan.settings.start === 'once') return false
    if (this.#livedMs() >= STABLE_MS) this.#legs.noteSettled()
    if (serverReference !== undefined && this.#legs.redirect(serverReference)) {
      this.#log.info({ evt: 'mqtt.bridge.redirected', serverReference }, 'the upstream broker names another one')
      return true
    }
    return this.#legs.advance()
  }
  #livedMs(): number {
    return Math.max(0, this.#p.clock.monotonicMs() - this.#connectedMs)
  }
  async #pause({ why, error }: LinkEnd, signal: AbortSignal): Promise<void> {
    const { clock, counters } = this.#p
    const { reconnectMinMs, reconnectMaxMs } = this.#plan.settings
    const waitMs = this.#waits.next(this.#livedMs(), { minMs: reconnectMinMs, maxMs: reconnectMaxMs })
    this.#state = why === 'refused' ? 'refused' : 'waiting'
    this.#error = error?.message
    this.#failedMs ??= clock.monotonicMs()
    counters.connects[why === 'refused' ? 'refused' : 'failed'].value++
    this.#log.warn(
      { evt: 'mqtt.bridge.down', waitMs: Math.round(waitMs), queued: this.#lanes.depth, err: error },
      'no connection to the upstream broker',
    )
    await this.#sleep(waitMs, signal)
  }
  /** Until something wakes it, too. Never rejects. */
  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    this.#wake = new AbortController()
    await this.#p.clock.sleep(ms, AbortSignal.any([signal, this.#wake.signal])).catch(() => undefined)
  }
  /** Of its own where packets are gathered for longer. */
  #flusher(): Flusher {
    const { flusher, clock } = this.#p
    const { batchMs } = this.#plan.settings
    return batchMs === 0 ? flusher : new Flusher((flush) => clock.after(batchMs, flush))
  }
  /** From here, to go on at once. */
  #close(why: 'idle' | 'changed' | 'return'): void {
    if (!this.#link) return
    this.#closing = why
    this.#link.close()
  }

  async #connection(leg: Leg, signal: AbortSignal): Promise<LinkEnd> {
    let upstream: UpstreamStream | undefined
    let stream: Duplex
    let credentials: BridgeCredentials
    try {
      credentials = this.#p.readCredentials(this.#plan.settings)
      const cluster = this.#p.tables.get().cluster(leg.cluster)
      leg.tried = cluster
      if (!cluster) throw new MeshError('MESH_NO_CLUSTER', `there is no cluster ${leg.cluster}`)
      upstream = await this.#p.upstreams.connect(cluster, {
        ...describeWay(this.#plan, this.#p),
        signal,
        onEnding: (reason) => this.#link?.close(reason),
      })
      const { clock } = this.#p
      stream = await openStream(upstream, this.#plan, this.#p, { clock, signal, maxPacketBytes: MAX_PACKET_BYTES })
    } catch (err) {
      upstream?.release('failed')
      return { why: 'failed', error: toMeshError(err) }
    }
    let wasConnected = false
    const link = new BridgeLink({
      ...this.#p,
      flusher: this.#flusher(),
      stream,
      leg,
      isReturn: this.#legs.isReturnTo(leg),
      plan: this.#plan,
      credentials,
      lanes: this.#lanes,
      trouble: this.#trouble,
      sparkplug: this.#sparkplug,
      log: this.#log,
      onConnected: () => {
        wasConnected = true
        this.#connected(leg)
      },
      onSessionLost: () => this.#sendRetained(this.#plan.up),
      setAside: (message) => this.#setAside(message),
      refreshRetained: ({ key }, isOther) => this.#refreshRetained(key, isOther),
      onSent: () => {
        this.#sent++
        this.#idle?.refresh()
      },
      onReceived: () => {
        this.#received++
        this.#idle?.refresh()
      },
    })
    this.#link = link
    if (signal.aborted) link.close()
    const end = await link.run()
    this.#link = undefined
    this.#idle?.cancel()
    this.#returning?.cancel()
    upstream.release(wasConnected || end.why !== 'failed' ? 'ok' : 'failed')
    return end
  }

  #connected(leg: Leg): void {
    this.#legs.noteConnected(leg)
    tellLocally(this.#p, this.#plan, '1')
    this.#state = 'connected'
    this.#connectedMs = this.#p.clock.monotonicMs()
    this.#error = undefined
    this.#failedMs = undefined
    this.#p.counters.connects.connected.value++
    this.#log.info(
      { evt: 'mqtt.bridge.up', broker: leg.cluster, ...leg.dialect, queued: this.#lanes.depth },
      'connected to the upstream broker',
    )
    const { clock } = this.#p
    const { start, idleSec, roundRobin } = this.#plan.settings
    if (start === 'lazy') this.#idle = clock.after(idleSec * 1_000, () => this.#whenIdle())
    // A host may be there only; Edge Nodes stay where it is.
    if (!roundRobin && !this.#legs.isFirst && !this.#sparkplug.hasHosts)
      this.#returning = clock.after(RETURN_MS, () => detach('bridge', this.#lookForFirst()))
  }
  /** Something has passed when it was refreshed; what still waits is being sent. */
  #whenIdle(): void {
    if (this.#lanes.all.length > 0 && this.#lanes.depth === 0) this.#close('idle')
    else this.#idle?.refresh()
  }
  /** Never rejects. */
  async #lookForFirst(): Promise<void> {
    const link = this.#link
    const cluster = this.#p.tables.get().cluster(this.#plan.cluster)
    const { signal } = this.#stop
    const found = cluster
      ? await this.#p.upstreams.connect(cluster, { ...describeWay(this.#plan, this.#p), signal }).catch(() => undefined)
      : undefined
    found?.release('ok')
    found?.stream.destroy()
    if (link !== this.#link || signal.aborted) return
    if (found) this.#close('return')
    else this.#returning?.refresh()
  }
}
