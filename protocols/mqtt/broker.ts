/**
 * The MQTT broker: many connections, one set of sessions, subscriptions and retained messages, durable by way of the
 * spool (durability.ts). connection/client.ts is one connection; this file only joins the parts.
 */
import { MeshError, toMeshError } from '../../core/errors.ts'
import { guard, doNothing } from '../../core/defects/guard.ts'
import { Tallies } from '../../core/lease.ts'
import { deriveSource } from '../../core/ip-source.ts'
import { MemoryBudget } from '../../core/runtime/memory-budget.ts'
import type { MqttPolicy } from '../../model/mqtt-policy.ts'
import type { Connection, Outcome } from '../connection.ts'
import { Client } from './connection/client.ts'
import { ProxiedClient } from './transparent/proxied-client.ts'
import { Proxying, type ProxyingOptions } from './transparent/proxying.ts'
import { Flusher } from './codec/flusher.ts'
import { createCounters } from './counters.ts'
import { limitUntilConnect, Doorstep, type Seat } from './connection/doorstep.ts'
import type { Durability, LocalBroker, StoredMessage } from './durability.ts'
import { type Holder, Memory } from './memory.ts'
import { createOperations, type Operations } from './operations/operations.ts'
import { ProxiedClients } from './operations/proxied-clients.ts'
import { Slices } from './slices.ts'
import { type LogLines, LogTopics } from './operations/log-topics.ts'
import { SysTopics, type SysTopicsOptions } from './operations/sys-topics.ts'
import { publishInside } from './publication.ts'
import type { AclFiles } from './authorization/acl-files.ts'
import { GroundsOf } from './authorization/grounds.ts'
import { Retained } from './topics/retained.ts'
import { CommitWaiters } from './session/commit-waiters.ts'
import type { Session } from './session/session.ts'
import { SessionShares } from './session/session-shares.ts'
import { UserQuotas } from './session/user-quotas.ts'
import { KeptSessions } from './session/reauthorize.ts'
import { restore, saveAll } from './session/sessions.ts'
import type { BrokerContext, BrokerState } from './state.ts'
import { type Clone, Takeovers } from './session/takeovers.ts'
import { Authentication } from './users/authentication.ts'
import type { UserDatabase } from './users/user-database.ts'
import { type Route, Subscriptions } from './topics/subscriptions.ts'

export type Broker = LocalBroker &
  AsyncDisposable & {
    /**
     * Serves one connection until it ends; never rejects. `conn.stream` is plain text already; transport 'websocket'
     * upgrades first.
     */
    serve(conn: Connection, mqtt: MqttPolicy, transport: 'tcp' | 'websocket'): Promise<Outcome>
    /**
     * Tells that rules may have changed. Connections ask those of their own chain, sessions without one those of
     * `policiesOf`.
     */
    reauthorize(): void
    readonly stats: { readonly connections: number; readonly sessions: number; readonly retained: number }
    readonly operations: Operations
    /** Client ids that more than one device has, as it seems. */
    clones(): readonly Clone[]
    /** Of files and keys that users are proved by. */
    userProblems(): readonly MeshError[]
  }

/** Memory budget of a broker that shares none with others. */
const OWN_BUDGET_BYTES = 256 * 1024 * 1024

export type BrokerOptions = {
  readonly ctx: BrokerContext
  readonly durability: Durability
  /** Name of this agent, the beginning of client ids that the broker assigns. */
  readonly node: string
  readonly policiesOf: BrokerState['policiesOf']
  /** Those that policies name. */
  readonly acls?: Pick<AclFiles, 'find'>
  /** Undefined: clients need not authenticate as users. */
  readonly users?: UserDatabase | undefined
  /** For what waits in memory; shared with other parts of the process. */
  readonly budget?: MemoryBudget
  /** Of listeners of mode transparent; undefined: their clients are refused. */
  readonly proxying?: ProxyingOptions
  /** Of `$SYS/broker/…`; undefined: there are none. */
  readonly sys?: Pick<SysTopicsOptions, 'intervalSec' | 'version' | 'heapBytes'>
  /** Of the process. */
  readonly logLines?: LogLines
}

/** A connection, whether its session is ours or an upstream broker's. */
type Served = Holder & {
  run(): Promise<Outcome>
  close(err: MeshError): void
  reauthorize(): void
}

export function createBroker(options: BrokerOptions): Broker {
  const closing = new AbortController()
  const open = new Set<Served>()
  const state = createState(options, closing.signal)
  const shedding = state.memory.budget.onOver((isEnough) => state.memory.shed(isEnough))
  const stats = collectStats(state, open)
  const proxying = options.proxying && new Proxying(options.proxying, options.ctx.metrics)
  const sys = startSysTopics(options, state, open)
  const log = options.logLines && new LogTopics(state, options.logLines)
  const through = new Tallies<string>()
  const watching = options.users?.watch(() => {
    for (const client of open) client.reauthorize()
  })
  restore(state)
  const kept = new KeptSessions(state)

  return {
    stats,
    operations: createOperations(state),
    clones: () => state.takeovers.listClones(),
    userProblems: () => options.users?.problems() ?? [],
    serve: (conn, mqtt, transport) => serveClient(state, { conn, mqtt, transport, proxying, through }, open),
    reauthorize() {
      Object.assign(state, readQosSettings(options))
      for (const client of open) client.reauthorize()
      kept.reauthorize()
    },
    publish: (message, origin) => publishInside(state, message, { from: undefined, origin }),
    retained: (filter, give) => deliverRetained(state, filter, give),
    attach: (route: Route) => attachRoute(state, route),
    async [Symbol.asyncDispose]() {
      for (const client of open) client.close(new MeshError('MESH_DRAINING', 'the broker is closing'))
      await Promise.allSettled(state.clientLocks.values())
      await saveAll(state)
      closing.abort()
      for (const one of [log, sys, watching, shedding, state.quotas]) one?.[Symbol.dispose]()
      for (const session of state.sessions.values()) session.end()
      state.flusher.flush()
    },
  }
}

function createState(options: BrokerOptions, closed: AbortSignal): BrokerState {
  const { ctx, durability, node, policiesOf, users } = options
  const budget = options.budget ?? new MemoryBudget({ maxBytes: OWN_BUDGET_BYTES })
  const isMemoryFull = (): boolean => budget.isFull
  return {
    ctx,
    node,
    durability,
    commits: new CommitWaiters(),
    policiesOf,
    grounds: new GroundsOf(options.acls),
    ...readQosSettings(options),
    counters: createCounters(ctx.metrics),
    flusher: new Flusher(undefined, budget.maxBytes / 16),
    sessions: new Map<string, Session>(),
    shares: new SessionShares(),
    quotas: new UserQuotas(ctx),
    proxied: new ProxiedClients(),
    subscriptions: new Subscriptions(budget.maxBytes, isMemoryFull),
    sys: undefined,
    retained: new Retained({ durability, clock: ctx.clock, maxBytes: budget.maxBytes, isMemoryFull }),
    closed,
    clientLocks: new Map(),
    memory: new Memory(budget),
    slices: new Slices(ctx.clock),
    doorstep: new Doorstep(),
    authentication: new Authentication({ users, wallMs: () => ctx.clock.wallMs(), metrics: ctx.metrics }),
    takeovers: new Takeovers(ctx.clock),
  }
}

function readQosSettings({ policiesOf }: Pick<BrokerOptions, 'policiesOf'>): {
  readonly keepsQos0: boolean
  readonly upgradesQos: boolean
} {
  const policies = policiesOf(undefined)
  return {
    keepsQos0: policies.some((policy) => policy.queueQos0Messages),
    upgradesQos: policies.some((policy) => policy.upgradeOutgoingQos),
  }
}

function startSysTopics(
  { sys: asked }: BrokerOptions,
  state: BrokerState,
  open: ReadonlySet<Served>,
): SysTopics | undefined {
  const sys = asked && new SysTopics({ ...asked, state, connections: () => open.size })
  state.sys = sys
  return sys
}

function attachRoute({ subscriptions }: BrokerState, route: Route): Disposable {
  subscriptions.addRoute(route)
  return { [Symbol.dispose]: () => subscriptions.removeRoute(route) }
}

function deliverRetained(
  { sys, retained }: BrokerState,
  filter: string,
  give: (message: StoredMessage) => void,
): Promise<void> | undefined {
  sys?.deliver(filter, give)
  return retained.deliver(filter, retained.lastChange, give)
}

/** Also as gauges. */
function collectStats(state: BrokerState, open: ReadonlySet<Served>): Broker['stats'] {
  const { metrics } = state.ctx
  const stats = {
    get connections() {
      return open.size
    },
    get sessions() {
      return state.sessions.size
    },
    get retained() {
      return state.retained.size
    },
  }
  metrics.gaugeOf('mesh_mqtt_connections', 'MQTT connections that are open.', () => stats.connections)
  metrics.gaugeOf(
    'mesh_mqtt_pending_connects',
    'MQTT connections that have not sent their CONNECT.',
    () => state.doorstep.size,
  )
  metrics.gaugeOf('mesh_mqtt_sessions', 'MQTT sessions that are connected or kept.', () => stats.sessions)
  metrics.gaugeOf('mesh_mqtt_subscriptions', 'Subscriptions of sessions.', () => state.subscriptions.size)
  metrics.gaugeOf(
    'mesh_mqtt_shared_subscriptions',
    'Subscriptions of sessions that share their messages with others.',
    () => state.subscriptions.sharedSize,
  )
  metrics.gaugeOf(
    'mesh_mqtt_retained_bytes',
    'Bytes that retained messages take in memory.',
    () => state.retained.bytes,
  )
  metrics.gaugeOf('mesh_mqtt_inflight_messages', 'Messages that were sent to clients and are not acknowledged.', () =>
    sumOver(state, ({ flow }) => flow?.inflight ?? 0),
  )
  metrics.gaugeOf('mesh_mqtt_queued_messages', 'Messages that wait for sessions, in memory and on the disk.', () =>
    sumOver(state, ({ queue, flow }) => queue?.depth ?? flow?.waiting ?? 0),
  )
  metrics.gaugeOf('mesh_mqtt_queued_bytes', 'Their bytes.', () =>
    sumOver(state, ({ queue, waitingBytes }) => queue?.bytes ?? waitingBytes),
  )
  metrics.gaugeOf('mesh_mqtt_retained_messages', 'Topics with a retained message.', () => stats.retained)
  return stats
}

function sumOver({ sessions }: BrokerState, of: (session: Session) => number): number {
  let sum = 0
  for (const session of sessions.values()) sum += of(session)
  return sum
}

type Serving = {
  readonly conn: Connection
  readonly mqtt: MqttPolicy
  readonly transport: 'tcp' | 'websocket'
  readonly proxying: Proxying | undefined
  /** Connections by listener. */
  readonly through: Tallies<string>
}
/** @throws MESH_DRAINING, MESH_LISTENER_FULL @returns to be disposed of when the connection is over */
function countClient({ closed }: BrokerState, { conn, mqtt, through }: Serving, open: ReadonlySet<Served>): Disposable {
  if (closed.aborted) throw new MeshError('MESH_DRAINING', 'the broker is closed')
  if (open.size >= mqtt.limits.maxConnections)
    throw new MeshError(
      'MESH_LISTENER_FULL',
      `${mqtt.limits.maxConnections} MQTT connections are open (mqtt.limits.maxConnections)`,
    )
  const { maxConnections } = mqtt.listener
  if (maxConnections !== undefined && through.of(conn.listener.name) >= maxConnections)
    throw new MeshError(
      'MESH_LISTENER_FULL',
      `${maxConnections} MQTT connections are open through listener ${conn.listener.name} (its maxConnections)`,
    )
  return through.lease(conn.listener.name)
}
/** One connection as the broker counts it, and as the memory budget sees it. */
class Place implements Seat, Holder {
  readonly #state: BrokerState
  readonly #open: Set<Served>
  readonly #lease: Disposable
  /** Until CONNECT has come. */
  #doorstep: Disposable | undefined
  /** Of a WebSocket, likewise. */
  frames: Disposable | undefined
  /** Of a WebSocket, the stream above it. */
  upgraded: Connection['stream'] | undefined
  readonly #conn: Connection
  #client: Served | undefined
  /** Of a WebSocket, in frames. */
  #frameBytes = 0
  #isOver = false

  constructor(state: BrokerState, serving: Serving, open: Set<Served>) {
    const { conn, mqtt } = serving
    this.#state = state
    this.#conn = conn
    this.#open = open
    this.#lease = countClient(state, serving, open)
    this.#doorstep = state.doorstep.enter(deriveSource(conn.remote.host), mqtt.limits.maxPendingConnects, (err) => {
      if (this.#client) this.#client.cutOff(err)
      else conn.stream.destroy(err)
    })
  }
  take(client: Served): void {
    this.#client = client
    this.#open.add(client)
    this.#state.counters.sockets.value++
    this.#state.memory.add(this)
  }
  cutOff(err: MeshError): void {
    this.#client?.cutOff(err)
    this.#forgetFrames()
  }
  get isAwaitingConnect(): boolean {
    return this.#client?.isAwaitingConnect ?? false
  }
  get waitingBytes(): number {
    return this.#client?.waitingBytes ?? 0
  }
  get heldBytes(): number {
    return this.#frameBytes + (this.#client?.heldBytes ?? 0)
  }
  recount(): void {
    this.#client?.recount()
  }
  dropWaiting(): number {
    return this.#client?.dropWaiting() ?? 0
  }
  noteFrames(bytes: number): void {
    if (this.#isOver || bytes === this.#frameBytes) return
    const by = bytes - this.#frameBytes
    this.#frameBytes = bytes
    this.#state.memory.budget.take(by)
  }
  #forgetFrames(): void {
    this.noteFrames(0)
    this.#isOver = true
  }
  noteConnect(): void {
    this.#doorstep?.[Symbol.dispose]()
    this.frames?.[Symbol.dispose]()
    this.#doorstep = this.frames = undefined
  }
  [Symbol.dispose](): void {
    this.noteConnect()
    this.#forgetFrames()
    if (this.#client) {
      this.#open.delete(this.#client)
      this.#state.memory.remove(this)
    }
    this.#lease[Symbol.dispose]()
    if (this.upgraded) closeWith(this.#conn.stream, this.upgraded)
  }
}

/** Never rejects. While the client is served nothing stands here: each of many would have it in memory. */
async function serveClient(state: BrokerState, serving: Serving, open: Set<Served>): Promise<Outcome> {
  let place: Place | undefined
  let client: Served
  try {
    const { conn, mqtt, transport, proxying } = serving
    const seat = (place = new Place(state, serving, open))
    let { stream } = conn
    if (transport === 'websocket') {
      stream = place.upgraded = await upgraded(serving, state.ctx, (bytes) => seat.noteFrames(bytes))
      place.frames = limitUntilConnect(conn.stream, mqtt.limits.maxConnectBytes, (err) => seat.cutOff(err))
    }
    client = clientOf(state, { conn, stream, policy: mqtt, seat: place }, proxying)
    place.take(client)
  } catch (thrown) {
    place?.[Symbol.dispose]()
    return { error: toMeshError(thrown) }
  }
  return client.run()
}
function clientOf(
  state: BrokerState,
  p: { conn: Connection; stream: Connection['stream']; policy: MqttPolicy; seat: Seat },
  proxying: Proxying | undefined,
): Served {
  const { codec } = p.conn.chain
  const proxy = codec.kind === 'mqtt' ? codec.proxy : undefined
  if (!proxy) return new Client({ ...p, state })
  if (!proxying) throw new MeshError('MESH_NO_CLUSTER', `there is no way to the cluster ${proxy.cluster}`)
  return new ProxiedClient({ ...p, state, proxy, proxying })
}

/**
 * ws never ends its stream once the connection below was reset: what waits there would be held, and counted, for ever.
 */
function closeWith(below: Connection['stream'], above: Connection['stream']): void {
  const close = guard('websocket', doNothing, () => {
    above.destroy()
  })
  if (below.closed) close()
  else below.once('close', close)
}

/** Loaded when somebody needs it: `ws` costs memory that a device without WebSocket clients keeps. */
async function upgraded(
  { conn, mqtt }: Serving,
  ctx: BrokerContext,
  onHeld: (bytes: number) => void,
): Promise<Connection['stream']> {
  const { upgrade } = await import('./connection/websocket.ts')
  return upgrade(conn.stream, {
    clock: ctx.clock,
    timeoutMs: mqtt.limits.connectTimeoutMs,
    maxPacketBytes: mqtt.limits.maxPacketBytes,
    aborted: conn.aborted,
    localHost: conn.local.host,
    allowedOrigins: mqtt.allowedOrigins,
    onHeld,
  })
}
