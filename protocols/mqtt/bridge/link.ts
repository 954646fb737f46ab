/** One connection to an upstream broker as its client: CONNECT, subscriptions, keep-alive, and the two flows. */
import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../../../core/os/clock.ts'
import { MeshError, toMeshError } from '../../../core/errors.ts'
import { detach, guard } from '../../../core/defects/guard.ts'
import type { Log } from '../../../core/log.ts'
import type { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import type { BridgeCounters } from './counters.ts'
import { BRIDGE_RECEIVE_MAXIMUM, BridgeInflow } from './inflow.ts'
import { BridgeOutflow } from './outflow.ts'
import type { Trouble } from './sending/trouble.ts'
import { type PeerLimits, readPeerLimits } from './peer-limits.ts'
import { prepareSending, freePacketId, type Lanes } from './lanes.ts'
import type { IsOther, LanePair } from './sending/lane-pair.ts'
import type { Leg } from './legs.ts'
import { tellUpstream, buildWill } from './notifications.ts'
import type { SessionPlan } from './plan.ts'
import { Reading } from './transport/reading.ts'
import { BridgeSubscriptions, type WantedFilter } from './subscriptions.ts'
import type { Flusher } from '../codec/flusher.ts'
import { Outbox } from '../codec/outbox.ts'
import type { Connack, Packet, Version } from '../codec/packet.ts'
import { PacketParser } from '../codec/parser.ts'
import { NO_PROPERTIES } from '../codec/properties.ts'
import { findRefusal } from '../../tls/client.ts'
import type { Durability, LocalBroker, StoredMessage } from '../durability.ts'
import type { BridgeCredentials } from '../users/bridge-credentials.ts'
import { toDisconnectReason, REASON, createViolation } from '../codec/reason.ts'
import { asUpstream, finish } from '../ending.ts'
import type { SparkplugForwarding } from '../sparkplug/forwarding.ts'

/** Largest packet that we take from an upstream broker; a broker of MQTT 5 is told. */
export const MAX_PACKET_BYTES = 1024 * 1024
const CONNACK_MS = 10_000
const PINGRESP_MS = 10_000
/** With so much that the broker does not read, messages and answers, nothing more of it is taken. */
const MAX_UNREAD_BYTES = 512 * 1024
const NEVER_EXPIRES = 0xffffffff

export type LinkParts = {
  readonly stream: Duplex
  readonly leg: Leg
  /** Another broker had the session since this one. */
  readonly isReturn: boolean
  readonly plan: SessionPlan
  readonly credentials: BridgeCredentials
  readonly lanes: Lanes
  readonly trouble: Trouble
  /** What it says counts when `isUsed`. */
  readonly sparkplug: SparkplugForwarding
  readonly broker: LocalBroker
  readonly durability: Durability
  readonly budget: MemoryBudget
  readonly flusher: Flusher
  readonly clock: Clock
  readonly counters: BridgeCounters
  readonly log: Log
  onConnected(): void
  /** The upstream broker begins anew: what it had retained is gone. */
  onSessionLost(): Promise<void>
  setAside(message: StoredMessage): Promise<void>
  refreshRetained(pair: LanePair, isOther: IsOther): void
  onSent(): void
  onReceived(): void
}
/** `version`: the peer does not speak MQTT 5. `refused`: its CONNACK said no. */
export type LinkEnd = {
  readonly why: 'closed' | 'version' | 'refused' | 'failed'
  readonly error: MeshError | undefined
  /** Where else the broker says that this client belongs; none it is sure of counts for an ordinary end. */
  readonly serverReference?: string | undefined
}

export class BridgeLink {
  readonly #p: LinkParts
  readonly #outbox: Outbox
  readonly #parser: PacketParser
  readonly #inflow: BridgeInflow
  readonly #reading: Reading
  readonly #subscriptions: BridgeSubscriptions
  #outflow: BridgeOutflow | undefined
  readonly #version: Version
  #plan: SessionPlan
  #state: 'connecting' | 'connected' | 'over' = 'connecting'
  #peer: PeerLimits
  #deadline: Timer
  #heardMs = 0
  #sentMs = 0
  /** When PINGREQ was sent last. */
  #askedMs = 0
  readonly #ended = Promise.withResolvers<LinkEnd>()

  constructor(p: LinkParts) {
    this.#p = p
    this.#plan = p.plan
    const { version } = p.leg.dialect
    this.#version = version
    this.#peer = readPeerLimits(version, p.plan.settings, NO_PROPERTIES)
    this.#outbox = new Outbox({
      ...p,
      version,
      owner: {
        noteBytes: () => {
          this.#sentMs = p.clock.monotonicMs()
        },
        noteTooLarge: () => undefined,
      },
    })
    this.#parser = new PacketParser({
      maxPacketBytes: MAX_PACKET_BYTES,
      side: 'client',
      version,
      large: 'skip',
    })
    const fail = (err: unknown): void => this.#end({ why: 'failed', error: toMeshError(err) })
    this.#reading = new Reading(p.stream)
    this.#inflow = new BridgeInflow(
      {
        ...p,
        offered: p.leg.offered,
        reading: this.#reading,
        outbox: this.#outbox,
        maxPacketBytes: MAX_PACKET_BYTES,
        fail,
        hear: (publish) => p.sparkplug.hear(publish),
        ...originsOf(p),
      },
      p.plan,
    )
    this.#subscriptions = new BridgeSubscriptions({
      ...p,
      subscribed: p.leg.subscribed,
      outbox: this.#outbox,
      maxPacketBytes: () => this.#peer.maxPacketBytes,
      freePacketId: () => freePacketId(p.lanes.all, (id) => this.#outflow?.isInFlight(id) ?? false),
    })
    this.#deadline = p.clock.after(CONNACK_MS, () =>
      fail(new MeshError('MESH_UPSTREAM_TIMEOUT', `no CONNACK within ${CONNACK_MS} ms`)),
    )
  }

  /** Serves the connection until it ends; never rejects. The stream is destroyed then. */
  run(): Promise<LinkEnd> {
    const { stream } = this.#p
    const defect = (error: MeshError): void => this.#end({ why: 'failed', error })
    const gone = guard('bridge', defect, (err?: Error) => {
      this.#outflow?.noteClosedByPeer()
      this.#end({
        why: 'failed',
        error:
          findRefusal(stream) ??
          new MeshError('MESH_UPSTREAM_RESET', 'the upstream broker closed the connection', { cause: err }),
      })
    })
    stream.on(
      'data',
      guard('bridge', defect, (chunk: Buffer) => this.#onData(chunk)),
    )
    stream.on('end', gone)
    stream.on(
      'close',
      guard('bridge', defect, () => gone()),
    )
    stream.on('error', gone)
    stream.on(
      'drain',
      guard('bridge', defect, () => {
        this.#reading.release('answers')
        this.#outflow?.pump()
      }),
    )
    this.#connect()
    return this.#ended.promise
  }
  #connect(): void {
    const { plan, leg, credentials } = this.#p
    const { version, isBridge } = leg.dialect
    this.#outbox.writePacket({
      type: 'connect',
      version,
      isBridge,
      cleanStart: plan.settings.cleanStart,
      keepAliveSec: announcedSec(plan),
      clientId: plan.clientId,
      ...credentials,
      will: buildWill(plan),
      properties:
        version === 4
          ? NO_PROPERTIES
          : {
              ...(plan.settings.cleanStart ? undefined : { sessionExpirySec: NEVER_EXPIRES }),
              receiveMaximum: BRIDGE_RECEIVE_MAXIMUM,
              maximumPacketBytes: MAX_PACKET_BYTES,
            },
    })
  }

  /** The routes have changed: subscribes and unsubscribes what differs. */
  use(plan: SessionPlan): void {
    this.#plan = plan
    this.#inflow.use(plan)
    if (this.#state === 'connected') detach('bridge', this.#subscriptions.want(this.#subscribed(plan)))
  }
  #subscribed(plan: SessionPlan): readonly WantedFilter[] {
    const states = this.#p.sparkplug.stateTopics.map((filter) => ({ filter, maxQos: 1 as const, sendRetained: true }))
    return [...plan.down, ...states]
  }
  /** Filters of routes down that the broker does not grant. */
  get refusedFilters(): readonly string[] {
    return this.#subscriptions.refused
  }
  pump(): void {
    this.#outflow?.pump()
  }
  /** Says goodbye; the session stays with the broker. */
  close(reason?: MeshError): void {
    this.#goAway({ why: 'closed', error: reason })
  }
  #goAway(end: LinkEnd): void {
    if (this.#state === 'connected') {
      tellUpstream(this.#outbox, this.#plan, '0', this.#peer)
      this.#outbox.writePacket({ type: 'disconnect', reason: 0, properties: NO_PROPERTIES })
    }
    this.#end(end)
  }

  #onData(chunk: Buffer): void {
    // What was said last is still leaving.
    if (this.#isOver()) return
    this.#heardMs = this.#p.clock.monotonicMs()
    try {
      this.#parser.push(chunk)
      for (let packet = this.#parser.next(); packet && this.#state !== 'over'; packet = this.#parser.next())
        this.#onPacket(packet)
      if (this.#outbox.pendingBytes > MAX_UNREAD_BYTES) this.#reading.hold('answers')
    } catch (thrown) {
      const error = toMeshError(thrown)
      // Before CONNACK only CONNECT and AUTH may be sent.
      if (this.#state === 'connected' && this.#version === 5)
        this.#outbox.writePacket({ type: 'disconnect', reason: toDisconnectReason(error), properties: NO_PROPERTIES })
      this.#end({ why: 'failed', error: asUpstream(error) })
    }
  }

  #onPacket(packet: Packet): void {
    if (this.#state === 'connecting') {
      if (packet.type !== 'connack')
        throw createViolation(REASON.protocolError, `${packet.type} before CONNACK [MQTT-3.2.0-1]`)
      this.#onConnack(packet)
      return
    }
    // oxlint-disable-next-line typescript/switch-exhaustiveness-check -- the parser has refused what only clients send
    switch (packet.type) {
      case 'publish':
        this.#p.onReceived()
        this.#inflow.publish(packet)
        return
      case 'pubrel':
        this.#inflow.pubrel(packet.packetId)
        return
      case 'puback':
        this.#outflow?.puback(packet.packetId, packet.reason)
        return
      case 'pubrec':
        this.#outflow?.pubrec(packet.packetId, packet.reason)
        return
      case 'pubcomp':
        this.#outflow?.pubcomp(packet.packetId)
        return
      case 'suback':
      case 'unsuback':
        this.#subscriptions.takeAnswer(packet)
        this.#outflow?.resume()
        return
      case 'pingresp':
        this.#outflow?.unanswered.noteAlive(this.#askedMs)
        return
      case 'disconnect':
        this.#outflow?.noteClosedByPeer()
        this.#end({
          why: 'failed',
          serverReference: referenceOf(packet),
          error: new MeshError(
            'MESH_UPSTREAM_RESET',
            `the upstream broker disconnected with reason code 0x${packet.reason.toString(16)}`,
          ),
        })
        return
      default:
        throw createViolation(REASON.protocolError, `the upstream broker sent ${packet.type}`)
    }
  }

  #onConnack(packet: Connack): void {
    const { reason } = packet
    if (reason !== 0) {
      // 0x01 is 3.1.1's way of saying so; older brokers answer an MQTT 5 CONNECT with it.
      const { version, isBridge } = this.#p.leg.dialect
      const isVersion =
        (version === 5 && reason === REASON.unsupportedVersion) || (reason === 1 && (version === 5 || isBridge))
      this.#end({
        why: isVersion ? 'version' : 'refused',
        serverReference: referenceOf(packet),
        error: new MeshError(
          'MESH_MQTT_UPSTREAM_REFUSED',
          `CONNACK with code 0x${reason.toString(16).padStart(2, '0')}`,
        ),
      })
      return
    }
    if (packet.sessionPresent && this.#p.plan.settings.cleanStart)
      throw createViolation(REASON.protocolError, '[MQTT-3.2.2-2] a session is present after Clean Start')
    this.#deadline.cancel()
    this.#p.lanes.isLinkUp = true
    detach(
      'bridge',
      this.#begin(packet).catch((err: unknown) => this.#end({ why: 'failed', error: toMeshError(err) })),
    )
  }

  async #begin({ sessionPresent, properties }: Connack): Promise<void> {
    const { durability, leg, isReturn } = this.#p
    const lanes = this.#p.lanes.all
    const plan = this.#plan
    this.#state = 'connected'
    this.#peer = readPeerLimits(this.#version, plan.settings, properties)
    const hasOthers = plan.settings.failover.length > 0
    this.#p.sparkplug.begin({
      onOpened: (hostId) => this.#outflow?.hostOpened(hostId),
      leave: hasOthers ? (error) => this.#goAway({ why: 'failed', error }) : undefined,
    })
    this.#keepAlive(properties.serverKeepAliveSec ?? announcedSec(this.#plan))
    // What it confirmed half, another one has had meanwhile; its packet ids are of other messages now.
    if (isReturn && sessionPresent) for (const id of leg.unfinished) this.#outbox.ack('pubrel', id, 0)
    if (!sessionPresent) leg.subscribed.clear()
    if (!sessionPresent || isReturn) {
      // [MQTT-3.2.2-5]: what it had confirmed half is published anew, and is no repetition for it.
      for (const { queue, mark } of lanes) {
        await queue.forgetReleases()
        mark.seq = mark.begunSeq = queue.firstSeq - 1
      }
      await this.#p.onSessionLost()
    }
    if (!sessionPresent) await Promise.all(leg.offered.values())
    // The peer begins anew with packet ids; an old one would make a new message look like a repetition.
    if (!sessionPresent && durability.inbound(leg.inboundName).size > 0) await durability.deleteSession(leg.inboundName)
    // MQTT 3.1.1 does not say which messages of the time without a connection were retained, and QoS 0 is not kept.
    for (const { filter, maxQos, sendRetained } of plan.down)
      if (sendRetained && (this.#version === 4 || maxQos === 0)) leg.subscribed.delete(filter)
    // What a host says now is what is retained.
    for (const topic of this.#p.sparkplug.stateTopics) leg.subscribed.delete(topic)
    // Subscriptions first: their packet ids come from the same range as those of messages.
    await this.#subscriptions.want(this.#subscribed(plan))
    if (this.#isOver()) return
    // Not before: whoever reads "connected" may rely on what is published there from now on coming here.
    tellUpstream(this.#outbox, plan, '1', this.#peer)
    this.#p.onConnected()
    if (lanes.length === 0) return
    await Promise.all(lanes.map(prepareSending))
    if (this.#isOver()) return
    this.#outflow = new BridgeOutflow({
      ...this.#p,
      lanes,
      sparkplug: this.#p.sparkplug.isUsed ? this.#p.sparkplug : undefined,
      askedId: () => this.#subscriptions.askedId,
      gapTopic: plan.settings.gapTopic ?? `meshlet/gap/${plan.clientId}`,
      gapNames: { clientId: plan.clientId, cluster: plan.cluster },
      outbox: this.#outbox,
      peer: this.#peer,
      rate: plan.settings.replay,
      fail: (err: unknown) => this.#end({ why: 'failed', error: toMeshError(err) }),
    })
    this.#outflow.pump()
  }
  #isOver(): boolean {
    return this.#state === 'over'
  }

  /**
   * PINGREQ when nothing was heard, or nothing said [MQTT-3.1.2-20], for three quarters of the time; whoever does not
   * answer anything is gone.
   * @param sec 0: the broker wants none
   */
  #keepAlive(sec: number): void {
    if (sec === 0) return
    const { clock, leg } = this.#p
    const { keepAliveSec } = this.#plan.settings
    const maxMs = sec * 750
    const silenceMs = leg.keepAlive.computeSilenceMs({ minMs: Math.min(keepAliveSec * 750, maxMs), maxMs })
    const dueMs = (): number => Math.min(this.#heardMs + silenceMs, this.#sentMs + maxMs) - clock.monotonicMs()
    const silent = (): void => {
      const leftMs = dueMs()
      if (leftMs > 0) {
        this.#deadline = clock.after(leftMs, silent)
        return
      }
      const askedMs = clock.monotonicMs()
      this.#askedMs = askedMs
      const wasSilent = this.#sentMs <= this.#heardMs && this.#heardMs + silenceMs <= askedMs
      this.#outbox.writePacket({ type: 'pingreq' })
      this.#deadline = clock.after(PINGRESP_MS, () => {
        if (this.#reading.isHeldHere || (this.#heardMs >= askedMs && this.#heardMs > 0)) {
          if (wasSilent && !this.#reading.isHeldHere) leg.keepAlive.noteSurvived(silenceMs)
          this.#keepAlive(sec)
          return
        }
        if (wasSilent) leg.keepAlive.noteLost(silenceMs)
        this.#end({
          why: 'failed',
          error: new MeshError(
            'MESH_MQTT_KEEP_ALIVE',
            `the upstream broker did not answer PINGREQ within ${PINGRESP_MS} ms`,
          ),
        })
      })
    }
    this.#deadline = clock.after(Math.max(0, dueMs()), silent)
  }

  #end(end: LinkEnd): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#p.lanes.isLinkUp = false
    this.#deadline.cancel()
    if (this.#outflow) this.#p.leg.unfinished = this.#outflow.stop()
    this.#inflow.stop()
    this.#subscriptions.stop()
    this.#p.sparkplug.end(end.why === 'closed' ? 'closed' : 'lost')
    const { stream } = this.#p
    this.#outbox.flush()
    finish(stream, this.#p.clock, () => stream.destroy())
    this.#ended.resolve(end)
  }
}

/** Whose messages they are here, and whose packet ids. */
function originsOf({ plan, leg }: LinkParts): { readonly origin: string; readonly inboundName: string } {
  return { origin: plan.origin, inboundName: leg.inboundName }
}

/** The Keep Alive of CONNECT is the longest silence that may occur. */
function announcedSec({ settings: { keepAliveSec, keepAliveMaxSec = 0 } }: SessionPlan): number {
  return Math.max(keepAliveSec, keepAliveMaxSec)
}

/** Only with the reason codes that are about it (MQTT 5.0 §4.11). */
function referenceOf({ reason, properties }: Pick<Connack, 'reason' | 'properties'>): string | undefined {
  return reason === REASON.useAnotherServer || reason === REASON.serverMoved ? properties.serverReference : undefined
}
