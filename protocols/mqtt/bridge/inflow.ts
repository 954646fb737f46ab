/**
 * What comes down, on one connection: a message is acknowledged once the local broker has it as durable as it must be,
 * in the order of arrival [MQTT-4.6.0-2]. What the broker has no room for is offered again later and never acknowledged
 * before; the peer's window is then full and it stops. What waits here counts against the memory budget, and with much
 * of it the peer is not read from.
 */
import type { Clock, Timer } from '../../../core/os/clock.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { detach } from '../../../core/defects/guard.ts'
import type { Log } from '../../../core/log.ts'
import type { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import type { BridgeCounters } from './counters.ts'
import { withHop } from './hops.ts'
import type { BridgeRoute, SessionPlan } from './plan.ts'
import { toOwnMemory } from '../codec/parser.ts'
import type { Publish } from '../codec/packet.ts'
import type { Outbox } from '../codec/outbox.ts'
import type { Durability, LocalBroker, StoredMessage } from '../durability.ts'
import { computeExpiry, readMessageMs } from '../expiry.ts'
import { createViolation, REASON } from '../codec/reason.ts'
import { matches } from '../topics/topics.ts'
import { BackPressure } from '../back-pressure.ts'
import { measureMessageBytes } from '../shared-message.ts'
import type { Reading } from './transport/reading.ts'

/**
 * Receive Maximum that we announce. A peer of 3.1.1 knows none, so it may be a multiple before the connection is given
 * up.
 */
export const BRIDGE_RECEIVE_MAXIMUM = 100
const MAX_WAITING = BRIDGE_RECEIVE_MAXIMUM * 10
const RETRY_MS = 1_000
/** Of the memory budget: with more in the line the peer is not read from. */
const LINE_SHARE = 1 / 32

type Arrival = {
  readonly message: StoredMessage | undefined
  readonly qos: 0 | 1 | 2
  readonly packetId: number
  state: 'waiting' | 'publishing' | 'taken'
}

type Parts = {
  readonly broker: LocalBroker
  readonly durability: Durability
  readonly outbox: Outbox
  readonly origin: string
  /** Whose QoS 2 packet ids they are. */
  readonly inboundName: string
  /** Of QoS 2, by packet id: whether it was taken; kept across connections. */
  readonly offered: Map<number, Promise<boolean>>
  readonly budget: MemoryBudget
  readonly reading: Reading
  readonly clock: Clock
  readonly counters: BridgeCounters
  readonly log: Log
  readonly maxPacketBytes: number
  /** @returns whether it is for the bridge itself, whatever the routes want */
  hear(publish: Publish): boolean
  /** The connection cannot go on. */
  fail(err: unknown): void
}

export class BridgeInflow {
  readonly #p: Parts
  #routes: readonly BridgeRoute[]
  #maxHops: number
  /** Not yet acknowledged, in order of arrival. */
  readonly #line: Arrival[] = []
  readonly #arriving = new Set<number>()
  /** QoS 2 ids whose PUBREL waits for the disk; a repeated one is answered with it. */
  readonly #releasing = new Set<number>()
  /** Of QoS 2, answered without having been taken; their PUBREL is still to come. */
  readonly #leftOut = new Set<number>()
  readonly #backPressure: BackPressure
  readonly #shedding: Disposable
  /** Of the line. */
  #bytes = 0
  #retry: Timer | undefined
  #over = false

  constructor(p: Parts, plan: SessionPlan) {
    this.#p = p
    this.#routes = plan.down
    this.#maxHops = plan.settings.maxHops
    const { budget, clock, counters, reading } = p
    this.#backPressure = new BackPressure({ memory: { budget }, ctx: { clock }, counters }, reading)
    this.#shedding = budget.onOver(
      () => this.#giveUp(),
      () => this.#bytes,
    )
  }
  use(plan: SessionPlan): void {
    this.#routes = plan.down
    this.#maxHops = plan.settings.maxHops
  }
  stop(): void {
    this.#over = true
    this.#retry?.cancel()
    this.#backPressure.end()
    this.#shedding[Symbol.dispose]()
    for (const { qos, state } of this.#line.splice(0))
      if (qos === 0 && state === 'waiting') this.#p.counters.dropped['not-taken'].value++
    this.#hold(-this.#bytes)
  }
  /** Nothing of it is acknowledged: the peer sends it again. */
  #giveUp(): void {
    if (this.#bytes === 0) return
    this.#p.budget.countGivenUp('connection')
    const what = `${this.#line.length} messages of the upstream broker that are not stored yet held the most of it`
    this.#p.fail(
      new MeshError('MESH_MQTT_QUOTA', `the memory budget is used up, and ${what} (limits.maxQueuedMemoryBytes)`),
    )
  }
  #hold(bytes: number): void {
    const { budget, reading } = this.#p
    const maxBytes = budget.maxBytes * LINE_SHARE
    this.#bytes += bytes
    budget.take(bytes)
    if (this.#bytes > maxBytes) reading.hold('line')
    else if (this.#bytes <= maxBytes / 2) reading.release('line')
  }

  /** @throws MESH_MQTT_PROTOCOL, MESH_MQTT_QUOTA: the connection is to be closed */
  publish(p: Publish): void {
    const { counters, durability, inboundName, offered } = this.#p
    counters.received.value++
    if (p.qos === 2) {
      if (this.#arriving.has(p.packetId)) return
      // One that was offered may be given back yet, and its id forgotten.
      if (!offered.has(p.packetId) && durability.inbound(inboundName).has(p.packetId)) {
        this.#answerInOrder(p)
        return
      } // [MQTT-4.3.3-10]
    }
    if (p.topicAlias > 0)
      throw createViolation(
        REASON.topicAliasInvalid,
        '[MQTT-3.3.2-11] the upstream broker used a Topic Alias, and we take none',
      )
    if (p.oversizedBytes !== undefined) {
      this.#passOver(p, p.oversizedBytes)
      return
    }
    const isHeard = this.#p.hear(p)
    const route = this.#routes.find((r) => matches(r.topics, p.topic))
    if (!route) {
      if (isHeard) this.#answerNotStored(p)
      else this.#leaveOut(p, 'unrouted')
      return
    }
    const properties = withHop(p.properties, this.#maxHops)
    if (!properties) {
      this.#leaveOut(p, 'loop')
      return
    }
    const arrival: Arrival = {
      message: this.#stored({ ...p, properties }, route),
      qos: p.qos,
      packetId: p.packetId,
      state: 'waiting',
    }
    this.#enqueue(arrival)
    // While one waits for room, those behind it wait too: order.
    if (!this.#retry) this.#offer(arrival)
  }

  /** @throws MESH_MQTT_QUOTA */
  #enqueue(arrival: Arrival): void {
    if (this.#line.length >= MAX_WAITING)
      throw new MeshError(
        'MESH_MQTT_QUOTA',
        `${MAX_WAITING} messages of the upstream broker wait for room in the spool`,
      )
    this.#line.push(arrival)
    this.#hold(measureBytes(arrival))
    if (arrival.qos === 2) this.#arriving.add(arrival.packetId)
  }
  /** Behind those that came before [MQTT-4.6.0-2], [MQTT-4.6.0-3]. */
  #answerInOrder({ qos, packetId }: Publish): void {
    if (qos === 0) return
    this.#enqueue({ message: undefined, qos, packetId, state: 'taken' })
    this.#settle()
  }

  #answerNotStored(p: Publish): void {
    if (p.qos === 2) this.#leftOut.add(p.packetId)
    this.#answerInOrder(p)
  }

  /** @throws MESH_MQTT_PROTOCOL */
  pubrel(packetId: number): void {
    const { durability, inboundName, outbox } = this.#p
    // Answered now, its packet id would be kept for ever, and the next message that has it be taken for a repetition.
    if (this.#arriving.has(packetId))
      throw createViolation(REASON.protocolError, '[MQTT-4.3.3-4] the upstream broker sent PUBREL before PUBREC')
    if (this.#leftOut.delete(packetId)) {
      outbox.ack('pubcomp', packetId, 0)
      return
    }
    if (!durability.inbound(inboundName).has(packetId)) {
      outbox.ack('pubcomp', packetId, REASON.packetIdNotFound)
      return
    }
    if (this.#releasing.has(packetId)) return
    this.#releasing.add(packetId)
    const fail = (err: unknown): void => {
      if (!this.#over) this.#p.fail(err)
    }
    detach(
      'bridge',
      durability.releaseInbound(inboundName, packetId).then(() => {
        this.#releasing.delete(packetId)
        if (!this.#over) outbox.ack('pubcomp', packetId, 0)
      }, fail),
      fail,
    )
  }

  #stored(p: Publish, { make }: BridgeRoute): StoredMessage {
    const nowMs = readMessageMs(this.#p.clock)
    const { topic, qos, retain } = p
    const [payload, properties] = [toOwnMemory(p.payload), toOwnMemory(p.properties)]
    return make({ topic, payload, qos, retain, properties, ...computeExpiry(p.messageExpirySec, nowMs) }, nowMs)
  }

  /** Left over from routes that are gone, or going round in a circle. Acknowledged, or the peer would send it for ever. */
  #leaveOut(p: Publish, why: 'unrouted' | 'loop'): void {
    const { counters, log } = this.#p
    const { topic } = p
    counters.dropped[why].value++
    if (why === 'loop')
      log.warn(
        { evt: 'mqtt.bridge.loop', topic, maxHops: this.#maxHops },
        'a message came down through too many bridges: their routes send it round in a circle',
      )
    this.#answerNotStored(p)
  }

  /** Acknowledged, or the peer would send it again for ever, and nothing else would come any more. */
  #passOver(p: Publish, bytes: number): void {
    const { counters, log, maxPacketBytes } = this.#p
    const { topic } = p
    counters.dropped['too-large'].value++
    log.error(
      { evt: 'mqtt.bridge.too-large', code: 'MESH_MQTT_PACKET_TOO_LARGE', topic, bytes, maxPacketBytes },
      'a message of the upstream broker is larger than this agent takes and is passed over',
    )
    this.#answerNotStored(p)
  }

  #offer(arrival: Arrival): void {
    const { broker, durability, origin, inboundName, offered } = this.#p
    const { message, qos, packetId } = arrival
    if (!message) return
    const { refusals } = durability
    arrival.state = 'publishing'
    const before = qos === 2 ? offered.get(packetId) : undefined
    if (before) {
      detach(
        'bridge',
        before.then((isTaken) => this.#repeated(arrival, isTaken)),
        this.#p.fail,
      )
      return
    }
    // Both in one turn of the event loop, so that the spool puts them into one transaction: message and id, or neither.
    const published = broker.publish(message, origin)
    const remembered = qos === 2 ? durability.append(message, [], { clientId: inboundName, packetId }) : undefined
    const decided = Promise.all([published, remembered]).then(
      ([bytes]) => {
        if (qos === 2) offered.delete(packetId)
        arrival.state = 'taken'
        this.#settle()
        this.#backPressure.note(bytes)
        return true
      },
      async (err: unknown) => {
        if (remembered)
          await remembered.then(() => durability.releaseInbound(inboundName, packetId)).catch(() => undefined)
        if (qos === 2) offered.delete(packetId)
        this.#refused(arrival, toMeshError(err))
        return false
      },
    )
    if (qos === 2) offered.set(packetId, decided)
    detach('bridge', decided, this.#p.fail)
    // The promise tells only after what stands behind this message in the same bytes would have been offered too.
    if (qos > 0 && durability.refusals !== refusals) this.#offerLater()
  }

  /** It came over the connection before, too. */
  #repeated(arrival: Arrival, isTaken: boolean): void {
    if (this.#over) return
    arrival.state = isTaken ? 'taken' : 'waiting'
    if (isTaken) this.#settle()
    else this.#offerLater()
  }
  #refused(arrival: Arrival, err: MeshError): void {
    if (this.#over) return
    const hasNoRoom = err.code === 'MESH_MQTT_QUOTA' || err.code === 'MESH_STORAGE_FULL'
    const hasFailed = err.code === 'MESH_STORAGE_FAILED' || err.code === 'MESH_STORAGE_DAMAGED'
    if (arrival.qos === 0 || (!hasNoRoom && !hasFailed)) {
      if (arrival.qos > 0) {
        this.#p.fail(err)
        return
      }
      this.#p.counters.dropped['not-taken'].value++
      arrival.state = 'taken'
      this.#settle()
      return
    }
    arrival.state = 'waiting'
    this.#offerLater()
  }

  #offerLater(): void {
    this.#retry ??= this.#p.clock.after(RETRY_MS, () => {
      this.#retry = undefined
      // What the peer acknowledges may make the room that is waited for.
      this.#p.reading.release('line')
      for (const waiting of this.#line) {
        if (waiting.state === 'waiting') this.#offer(waiting)
        if (this.#retry) return // set by the call
      }
    })
  }

  #settle(): void {
    while (this.#line[0]?.state === 'taken') {
      const first = this.#line.shift()!
      const { qos, packetId } = first
      this.#hold(-measureBytes(first))
      this.#arriving.delete(packetId)
      if (qos > 0 && !this.#over) this.#p.outbox.ack(qos === 1 ? 'puback' : 'pubrec', packetId, 0)
    }
  }
}

function measureBytes({ message }: Arrival): number {
  return message ? measureMessageBytes(message) : 0
}
