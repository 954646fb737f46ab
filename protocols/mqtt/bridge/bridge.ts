/**
 * The bridge: carries messages between the local broker and upstream brokers as the policy's routes say. What goes up
 * waits in the spool until the upstream has acknowledged it; what comes down is acknowledged once the local broker has
 * it.
 */
import { MeshError } from '../../../core/errors.ts'
import type { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import type { Context } from '../../context.ts'
import type { Upstreams } from '../../upstream-api.ts'
import { registerBridgeCounters } from './counters.ts'
import { Lanes } from './lanes.ts'
import { type BridgePolicy, planSessions, type SessionPlan } from './plan.ts'
import { BridgeSession, type BridgeState, type BridgeStatus, type SessionParts } from './session.ts'
import type { ProxySources } from './transport/http-proxy.ts'
import { Flusher } from '../codec/flusher.ts'
import type { Durability, DurableQueue, LocalBroker } from '../durability.ts'
import { registerSparkplugCounters } from '../sparkplug/counters.ts'
import { NO_CREDENTIALS, type ReadCredentials } from '../users/bridge-credentials.ts'

export type { BridgePolicy } from './plan.ts'
export type { BridgeState, BridgeStatus } from './session.ts'
export type Bridge = AsyncDisposable & {
  /**
   * Brings the sessions to what the policy says; the same again changes nothing. A session whose routes are gone
   * is closed, and what it had not delivered stays in the spool for when they come back. Rejects with MESH_STORAGE_FULL
   * or MESH_STORAGE_FAILED when a queue cannot be made (the other sessions run then), MESH_DRAINING after disposal.
   */
  apply(policy: BridgePolicy): Promise<void>
  status(): readonly BridgeStatus[]
  /** Of the session that sends from the queue of this name, or set aside what is in it; undefined: no route names it. */
  findState(queueName: string): BridgeState | undefined
  /** Those that are not reached, with the monotonic milliseconds since when. */
  unreached(): readonly (BridgeStatus & { readonly failedMs: number })[]
}
export type BridgeOptions = {
  readonly ctx: Pick<Context, 'clock' | 'random' | 'log' | 'metrics' | 'tables'>
  readonly broker: LocalBroker
  readonly durability: Durability
  /** For what came down and is not stored yet; shared with other parts of the process. */
  readonly budget: MemoryBudget
  readonly upstreams: Upstreams
  /** What upstream brokers are told of us; default: nothing. */
  readonly readCredentials?: ReadCredentials
  /** What a file holds, for credentials of an HTTP proxy. Throws when there is none. */
  readonly readFile?: (file: string) => string
  /** How long the first connection of a session waits; default: not at all. */
  readonly drawFirstWaitMs?: () => number
  /** Of the environment; default: there is none. Throws what is wrong with it. */
  readonly readEnvironmentProxy?: ProxySources['readEnvironmentProxy']
  /** Name of this agent; the default client id is `<node>/<cluster>`. */
  readonly node: string
}

export function createBridge(options: BridgeOptions): Bridge {
  return new SessionBridge(options)
}

class SessionBridge implements Bridge {
  readonly #o: BridgeOptions
  readonly #parts: SessionParts
  readonly #sessions = new Map<string, BridgeSession>()
  #isClosed = false
  /** Names of queues without a route that were told; bounded by the queues there are. */
  readonly #told = new Set<string>()
  /** The last change that was asked for; the next one waits for it. */
  #lock: Promise<unknown> = Promise.resolve()

  constructor(options: BridgeOptions) {
    const { ctx, broker, durability, budget, upstreams, readCredentials = () => NO_CREDENTIALS, readFile } = options
    const { drawFirstWaitMs = () => 0, readEnvironmentProxy = () => undefined } = options
    this.#o = options
    this.#parts = {
      ...ctx,
      broker,
      durability,
      budget,
      upstreams,
      readCredentials,
      readFile,
      drawFirstWaitMs,
      readEnvironmentProxy,
      flusher: new Flusher(),
      counters: registerBridgeCounters(ctx.metrics),
      sparkplugCounters: registerSparkplugCounters(ctx.metrics),
    }
    ctx.metrics.gaugeOf('mesh_mqtt_bridge_queued_messages', 'Messages that wait for an upstream broker.', () =>
      this.#sum((s) => s.queued),
    )
    ctx.metrics.gaugeOf('mesh_mqtt_bridge_connected', 'Upstream brokers that are connected.', () =>
      this.#sum((s) => (s.state === 'connected' ? 1 : 0)),
    )
    ctx.metrics.gaugeOf('mesh_mqtt_sparkplug_held_messages', 'Messages that wait for a Primary Host Application.', () =>
      this.#sum(({ hosts = [] }) => hosts.reduce((sum, { held }) => sum + held, 0)),
    )
    ctx.metrics.gaugeOf(
      'mesh_mqtt_bridge_orphaned_messages',
      'Messages that wait for an upstream broker and client id that no route names any more.',
      () => this.#orphans().reduce((sum, { depth }) => sum + depth, 0),
    )
  }

  apply(policy: BridgePolicy): Promise<void> {
    return this.#enqueue(() => this.#bring(policy))
  }
  status(): readonly BridgeStatus[] {
    return [...this.#sessions.values()].map((session) => session.status)
  }
  findState(queueName: string): BridgeState | undefined {
    for (const { plan, status } of this.#sessions.values())
      if (ownsQueue(plan, queueName) || plan.asideName === queueName) return status.state
    return undefined
  }
  unreached(): readonly (BridgeStatus & { readonly failedMs: number })[] {
    return [...this.#sessions.values()].flatMap(({ status, failedMs }) =>
      failedMs === undefined ? [] : [{ ...status, failedMs }],
    )
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.#enqueue(async () => {
      this.#isClosed = true
      const all = [...this.#sessions.values()]
      this.#sessions.clear()
      await Promise.all(all.map((session) => session[Symbol.asyncDispose]()))
      this.#parts.flusher.flush()
    })
  }

  async #bring(policy: BridgePolicy): Promise<void> {
    if (this.#isClosed) throw new MeshError('MESH_DRAINING', 'the bridge is closed')
    const plans = planSessions(policy, this.#o.node)
    for (const [key, session] of this.#sessions) if (!plans.has(key)) await this.#end(key, session)
    const started = await Promise.allSettled([...plans].map(([key, plan]) => this.#start(key, plan)))
    this.#tellOrphans()
    for (const result of started) if (result.status === 'rejected') throw result.reason
  }

  /** Of routes whose cluster or client id has changed, or that are gone. They stay, and are sent when those come back. */
  #orphans(): readonly DurableQueue[] {
    const { durability } = this.#o
    const plans = [...this.#sessions.values()].map(({ plan }) => plan)
    return durability
      .queueNames('up/')
      .filter((name) => !plans.some((plan) => ownsQueue(plan, name)))
      .flatMap((name) => durability.queue(name) ?? [])
      .filter(({ isEmpty }) => !isEmpty)
  }
  #tellOrphans(): void {
    for (const { name, depth } of this.#orphans()) {
      if (this.#told.has(name)) continue
      this.#told.add(name)
      this.#parts.log.warn(
        { evt: 'mqtt.bridge.orphaned', queue: name, messages: depth },
        'messages wait for an upstream broker that no route names any more: they are sent once a route has the same cluster and client id again',
      )
    }
  }

  async #start(key: string, plan: SessionPlan): Promise<void> {
    const running = this.#sessions.get(key)
    if (running?.plan.fingerprint === plan.fingerprint) return
    if (running) {
      await running.use(plan)
      return
    }
    const lanes = new Lanes(this.#o.durability)
    await lanes.use(plan)
    this.#sessions.set(key, new BridgeSession(this.#parts, plan, lanes))
  }

  async #end(key: string, session: BridgeSession): Promise<void> {
    this.#sessions.delete(key)
    const { cluster, queued } = session.status
    await session[Symbol.asyncDispose]()
    this.#parts.log.info({ evt: 'mqtt.bridge.removed', cluster, queued }, 'bridge session ended, its routes are gone')
  }

  /** One change after the other, in the order they were asked for. */
  #enqueue(work: () => Promise<void>): Promise<void> {
    const mine = this.#lock.then(work)
    this.#lock = mine.catch(() => undefined)
    return mine
  }

  #sum(of: (status: BridgeStatus) => number): number {
    return this.status().reduce((total, status) => total + of(status), 0)
  }
}

/** Its only queue, or that of a lane (lanes.ts). */
function ownsQueue({ queueName }: SessionPlan, name: string): boolean {
  return name === queueName || name.startsWith(`${queueName}\0`)
}
