/**
 * Sparkplug 3.0 on its way to an upstream broker, as an Edge Node with a Primary Host Application would send it (§5.4):
 * nothing while that is not online, then what was stored, in order and marked as historical, and births where the host
 * needs them. Everything waits together, births too: the host is to get it in the order of the sequence numbers.
 */
import type { Clock, Timer } from '../../../core/os/clock.ts'
import { detach } from '../../../core/defects/guard.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import type { Log } from '../../../core/log.ts'
import type { RouteSparkplug } from '../../../model/mqtt/sparkplug.ts'
import type { LocalBroker, StoredMessage } from '../durability.ts'
import type { SparkplugCounters } from './counters.ts'
import { EdgeNodes } from './edge-nodes.ts'
import { encodeRebirthRequest, markHistorical } from './payload.ts'
import { type HostState, PrimaryHost } from './primary-host.ts'
import { type RebirthReason, Rebirths } from './rebirths.ts'
import { nameCommandTopic, parseTopic, type SparkplugTopic } from './topic.ts'

/** What is retained comes with the subscription; who has said nothing after so long is not there. */
const HOST_WAIT_MS = 10_000

/** What a lane carries. */
export type LaneSparkplug = RouteSparkplug & { readonly filters: readonly string[] }
/** A Primary Host Application. */
export type HostStatus = {
  readonly hostId: string
  readonly state: HostState
  /** Since when it is not online. */
  readonly awaySec: number | undefined
  /** Messages that wait for it. */
  readonly held: number
}
type WaitingLane = { readonly sparkplug: LaneSparkplug | undefined; readonly queue: { readonly depth: number } }
type Parts = {
  readonly clock: Clock
  readonly log: Log
  readonly broker: LocalBroker
  readonly sparkplugCounters: SparkplugCounters
}
/** What a connection does for it. */
export type Connection = {
  /** The host is there: what waits for it goes. */
  onOpened(hostId: string): void
  /** Undefined: there is no other broker to go to. */
  readonly leave: ((why: MeshError) => void) | undefined
}
export type Departure = {
  /** Undefined: left over from routes that were changed. */
  readonly lane: LaneSparkplug | undefined
  /** It was there before the host was, or before the connection. */
  readonly isStored: boolean
}

export class SparkplugForwarding {
  readonly #p: Parts
  readonly #origin: string
  readonly #nodes = new EdgeNodes<LaneSparkplug>()
  readonly #rebirths: Rebirths
  #lanes: readonly LaneSparkplug[] = []
  #hosts = new Map<string, PrimaryHost>()
  readonly #awayMs = new Map<string, number>()
  #connection: Connection | undefined
  #waiting: Timer | undefined
  /** Monotonic milliseconds of when what was stored began to go. */
  #openedMs = 0

  /** @param origin whose messages are not sent up again */
  constructor(p: Parts, origin: string) {
    this.#p = p
    this.#origin = origin
    this.#rebirths = new Rebirths({ clock: p.clock, send: (node, reason) => this.#ask(node, reason) })
  }

  get isUsed(): boolean {
    return this.#lanes.length > 0
  }
  get hasHosts(): boolean {
    return this.#hosts.size > 0
  }
  get stateTopics(): readonly string[] {
    return [...this.#hosts.values()].flatMap(({ topics }) => topics)
  }
  listHosts(lanes: readonly WaitingLane[]): readonly HostStatus[] {
    const nowMs = this.#p.clock.monotonicMs()
    return [...this.#hosts.values()].map(({ hostId, state }) => {
      const awayMs = this.#awayMs.get(hostId)
      const mine = state === 'online' ? [] : lanes.filter(({ sparkplug }) => sparkplug?.hostId === hostId)
      return {
        hostId,
        state,
        awaySec: awayMs === undefined ? undefined : Math.round((nowMs - awayMs) / 1_000),
        held: mine.reduce((sum, { queue }) => sum + queue.depth, 0),
      }
    })
  }

  /** @param lanes those that have the plan's objects; a host that stays is known on */
  use(lanes: readonly LaneSparkplug[]): void {
    this.#lanes = lanes
    const before = this.#hosts
    this.#hosts = new Map()
    for (const { hostId, legacyState } of lanes) {
      if (hostId === undefined || this.#hosts.has(hostId)) continue
      const known = before.get(hostId)
      const isLegacy = legacyState || lanes.some((lane) => lane.hostId === hostId && lane.legacyState)
      const isSame = known !== undefined && known.topics.length === (isLegacy ? 2 : 1)
      this.#hosts.set(hostId, isSame ? known : new PrimaryHost(hostId, isLegacy))
      if (!this.#awayMs.has(hostId)) this.#awayMs.set(hostId, this.#p.clock.monotonicMs())
    }
    for (const hostId of this.#awayMs.keys()) if (!this.#hosts.has(hostId)) this.#awayMs.delete(hostId)
    if (lanes.length === 0) {
      this.#nodes.clear()
      this.#rebirths.stop()
    }
  }
  stop(): void {
    this.#waiting?.cancel()
    this.use([])
  }

  /** A connection, before it subscribes. What an earlier one knew was forgotten at its end. */
  begin(connection: Connection): void {
    this.#connection = connection
    this.#openedMs = this.#p.clock.monotonicMs()
    if (!connection.leave || this.#hosts.size === 0) return
    this.#waiting = this.#p.clock.after(HOST_WAIT_MS, () => {
      const silent = [...this.#hosts.values()].find(({ state }) => state === 'unknown')
      if (silent) this.#leave(silent)
    })
  }
  /** It is over. `closed`: from here, and soon there is another one. */
  end(how: 'closed' | 'lost'): void {
    this.#waiting?.cancel()
    this.#connection = undefined
    for (const host of this.#hosts.values()) {
      const { state } = host
      host.forget()
      if (state === 'online') this.#closed(host, how)
    }
  }

  /** @returns whether this was a STATE that is listened for */
  hear({ topic, payload }: { readonly topic: string; readonly payload: Uint8Array }): boolean {
    for (const host of this.#hosts.values()) {
      const before = host.state
      const heard = host.hear(topic, payload)
      if (heard === undefined) continue
      this.#p.sparkplugCounters.states[heard].value++
      if (heard === 'stale' || heard === 'invalid')
        this.#p.log.warn({ evt: 'mqtt.sparkplug.state', hostId: host.hostId, heard }, 'a STATE message does not count')
      else if (host.state !== before) this.#changed(host, before)
      return true
    }
    return false
  }
  #changed(host: PrimaryHost, before: HostState): void {
    const { hostId, state } = host
    this.#p.log.info({ evt: 'mqtt.sparkplug.host', hostId, state }, `the Primary Host Application is ${state}`)
    if (state === 'online') this.#opened(host)
    else {
      if (before === 'online') this.#closed(host, 'lost')
      this.#leave(host)
    }
  }
  #opened(host: PrimaryHost): void {
    const { hostId } = host
    this.#awayMs.delete(hostId)
    this.#openedMs = this.#p.clock.monotonicMs()
    // A host that was there all the time has the births that it had.
    if (!host.isSameSession) this.#askAll((lane) => lane.hostId === hostId && lane.rebirth === 'session', 'host')
    host.settle()
    this.#connection?.onOpened(hostId)
  }
  /** What is stored from now on begins with births, so that it can be read even by a host that has forgotten all. */
  #closed({ hostId }: PrimaryHost, how: 'closed' | 'lost'): void {
    this.#awayMs.set(hostId, this.#p.clock.monotonicMs())
    if (how === 'lost') this.#askAll((lane) => lane.hostId === hostId && lane.rebirth === 'session', 'host')
  }
  /** [tck-id-operational-behavior-edge-node-termination-host-offline, -host-offline-reconnect] */
  #leave({ hostId, state }: PrimaryHost): void {
    const how = state === 'offline' ? 'is offline at this broker' : `has said nothing for ${HOST_WAIT_MS} ms`
    this.#connection?.leave?.(
      new MeshError('MESH_MQTT_HOST_OFFLINE', `the Primary Host Application ${hostId} ${how}: the next one is tried`),
    )
  }

  /** Whether nothing of the lane may go now. */
  isHeld({ hostId }: LaneSparkplug): boolean {
    return hostId !== undefined && this.#hosts.get(hostId)?.state !== 'online'
  }
  /** The same of a message that routes left over which have been changed since. */
  holds(topic: string): boolean {
    return parseTopic(topic) !== undefined && this.#lanes.every((lane) => this.isHeld(lane))
  }

  /** The message as it goes. */
  depart(message: StoredMessage, { lane, isStored }: Departure): StoredMessage {
    const topic = isStored ? parseTopic(message.topic) : undefined
    const settings = lane ?? this.#lanes[0]
    if (!topic || !settings || !isData(topic)) return message
    const { sparkplugCounters: counters } = this.#p
    const payload = markHistorical(message.payload, settings.maxInflatedBytes)
    if (typeof payload === 'string') {
      counters.unread[payload].value++
      return message
    }
    counters.historical.value++
    if (settings.rebirth === 'session' && this.#rebirths.lastAskedMs(topic.node) < this.#openedMs)
      this.#want(topic.node, settings, 'replay')
    return { ...message, payload }
  }
  /** It has gone, for the first time. @param message as it was stored */
  sent(message: StoredMessage, { lane, isStored }: Departure): void {
    const topic = parseTopic(message.topic)
    if (!topic || !lane) return
    const { sparkplugCounters: counters } = this.#p
    const { forgotten } = this.#nodes
    const found = this.#nodes.observe(topic, message.payload, lane)
    counters.forgotten.value += this.#nodes.forgotten - forgotten
    if (found === 'next') return
    if (found !== 'gap') {
      // What was stored has been counted when it was to be marked.
      if (!(isStored && isData(topic))) counters.unread[found].value++
      return
    }
    counters.gaps.value++
    if (lane.rebirth !== 'none') this.#want(topic.node, lane, 'sequence')
  }
  /** The upstream broker was told of messages that a full queue gave up. */
  gapTold(lane: LaneSparkplug): void {
    if (lane.rebirth !== 'none') this.#askAll((one) => one === lane, 'gap')
  }

  #askAll(ofLane: (lane: LaneSparkplug) => boolean, reason: RebirthReason): void {
    for (const { node, carried } of this.#nodes.of(ofLane)) this.#want(node, carried, reason)
  }
  #want(node: string, { rebirthIntervalSec }: RouteSparkplug, reason: RebirthReason): void {
    const { leftOut } = this.#rebirths
    this.#rebirths.want(node, reason, rebirthIntervalSec * 1_000)
    this.#p.sparkplugCounters.forgotten.value += this.#rebirths.leftOut - leftOut
  }
  /** [tck-id-payloads-ncmd-qos, -retain]: QoS 0, not retained. */
  #ask(node: string, reason: RebirthReason): void {
    const { log, broker, sparkplugCounters, clock } = this.#p
    sparkplugCounters.rebirths[reason].value++
    log.info({ evt: 'mqtt.sparkplug.rebirth', node, reason }, 'an Edge Node is asked for its birth certificates')
    const message: StoredMessage = {
      topic: nameCommandTopic(node),
      payload: encodeRebirthRequest(clock.wallMs()),
      qos: 0,
      retain: false,
      properties: new Uint8Array(0),
      expiresAtMs: undefined,
    }
    detach(
      'bridge',
      broker.publish(message, this.#origin).catch((thrown: unknown) => {
        log.warn({ evt: 'mqtt.sparkplug.rebirth', node, err: toMeshError(thrown) }, 'a Rebirth Request failed')
      }),
    )
  }
}

/** What says values, and may be late. */
const isData = ({ type }: SparkplugTopic): boolean => type === 'NDATA' || type === 'DDATA'
