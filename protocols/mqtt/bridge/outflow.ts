/**
 * What goes up, on one connection: each lane in order, within the peer's Receive Maximum, and an entry is done only when
 * the peer has said so.
 */
import type { Clock, Timer } from '../../../core/os/clock.ts'
import { MeshError } from '../../../core/errors.ts'
import { detach } from '../../../core/defects/guard.ts'
import type { Log } from '../../../core/log.ts'
import type { BridgeCounters } from './counters.ts'
import { GapRecord } from './sending/gap-record.ts'
import { MAX_MORE_BYTES, SendingAliases } from '../codec/sending-aliases.ts'
import { type Rate, ReplayRate } from './sending/replay-rate.ts'
import type { IsOther, LanePair } from './sending/lane-pair.ts'
import type { PeerLimits } from './peer-limits.ts'
import { logSetAside, MAX_ENDS, type Trouble } from './sending/trouble.ts'
import { Turns } from './sending/turns.ts'
import { Unanswered } from './sending/unanswered.ts'
import { Window } from './sending/window.ts'
import { type Lane, computePacketId } from './lanes.ts'
import type { Outbox } from '../codec/outbox.ts'
import { DUP, publishFlags, RETAIN, type Qos } from '../codec/packet.ts'
import type { QueueEntry, StoredMessage } from '../durability.ts'
import { countDrop } from '../gap.ts'
import { toExpirySec, computeLeftMs, readMessageMs } from '../expiry.ts'
import type { SparkplugForwarding } from '../sparkplug/forwarding.ts'
import { createViolation, REASON } from '../codec/reason.ts'

type InFlight = {
  readonly lane: Sending
  readonly seq: number
  readonly sentMs: number
  awaits: 'puback' | 'pubrec' | 'release' | 'pubcomp'
}
type Sent = InFlight | { readonly sentMs: number }
type Sending = Lane & {
  /** Everything up to this has been sent on this connection or needs no sending. */
  cursor: number
  /** What has waited when the connection began, or the host came that it waits for. */
  backlogSeq: number
  /** Packet ids. */
  readonly inFlight: Set<number>
  isReading: boolean
  /** The next packet id is in flight still, or what is next waits for a host. */
  isBlocked: boolean
  readonly gap: GapRecord
}

const READ_AT_ONCE = 64
const MAX_UNSENT_BYTES = 256 * 1024
/** Of a backlog beside live traffic, which waits behind these, and the part of the window that it leaves to that. */
const MAX_UNSENT_BACKLOG_BYTES = 16 * 1024
const LEFT_TO_LIVE = 1 / 4
const NO_IDS: readonly number[] = []

type Parts = {
  readonly lanes: readonly Lane[]
  readonly peer: PeerLimits
  /** Of what has waited when the connection begins. */
  readonly rate: Rate
  readonly outbox: Outbox
  /** Of the SUBSCRIBE or UNSUBSCRIBE that is not answered yet. */
  askedId(): number | undefined
  readonly trouble: Trouble
  readonly clock: Clock
  readonly counters: BridgeCounters
  readonly log: Log
  /** Where a gap is told, and whose it is. */
  readonly gapTopic: string
  readonly gapNames: Readonly<Record<string, string>>
  /** Where a route carries Sparkplug. */
  readonly sparkplug: SparkplugForwarding | undefined
  onSent(): void
  /** Out of the way of the others, durably. */
  setAside(message: StoredMessage): Promise<void>
  /** What is retained here of the routes of these lanes is to be sent anew. */
  refreshRetained(pair: LanePair, isOther: IsOther): void
  /** The connection cannot go on. */
  fail(err: unknown): void
}

export class BridgeOutflow {
  readonly #p: Parts
  readonly #inflight = new Map<number, InFlight>()
  readonly #lanes: readonly Sending[]
  readonly #rate: ReplayRate
  readonly #window: Window
  readonly #aliases: SendingAliases
  #rateTimer: Timer | undefined
  readonly unanswered: Unanswered<Sent>
  readonly #turns = new Turns()
  #over = false
  #isAnswered = false

  constructor(p: Parts) {
    this.#p = p
    this.#window = new Window(p.clock, p.peer.receiveMaximum)
    this.#rate = new ReplayRate(p.clock, p.rate)
    this.#aliases = new SendingAliases(p.peer.aliases, 'at once')
    this.#lanes = p.lanes.map((lane) => ({
      ...lane,
      cursor: lane.queue.firstSeq - 1,
      backlogSeq: lane.queue.lastSeq,
      inFlight: new Set<number>(),
      isReading: false,
      isBlocked: false,
      gap: new GapRecord(p, lane),
    }))
    this.unanswered = new Unanswered({
      clock: p.clock,
      list: () => [...this.#inflight.values(), ...this.#lanes.flatMap(({ gap }) => gap.sent ?? [])],
      blame: (one) => this.#blame(one),
      fail: p.fail,
    })
  }

  /** Sends what may be sent now. Called when something was appended, acknowledged or written out. */
  pump(): void {
    const { outbox } = this.#p
    this.#refreshRetained()
    while (!this.#over && outbox.pendingBytes < MAX_UNSENT_BYTES) {
      const room = this.#mayFly - this.#tellGaps()
      const lane = room > 0 ? this.#next(room) : undefined
      if (!lane) break
      const upTo = lane.queue.lastSeq
      const most = this.#lanes.length === 1 ? READ_AT_ONCE : this.#turns.left
      const entries = lane.queue.read(lane.cursor, Math.min(this.#countRoom(lane, room), most))
      if (entries instanceof Promise) this.#readLater(lane, entries, upTo)
      else this.#send(lane, entries, upTo)
    }
    if (!this.#rateTimer && !this.#over && this.#lanes.some((lane) => this.#isHeldBack(lane)))
      this.#rateTimer = this.#p.clock.after(this.#rate.waitMs, () => {
        this.#rateTimer = undefined
        this.pump()
      })
  }
  #isReady(lane: Sending): boolean {
    return (
      !lane.isReading &&
      !lane.isBlocked &&
      lane.cursor < lane.queue.lastSeq &&
      lane.gap.isTold &&
      !this.#isHeldBack(lane) &&
      !this.#waitsForHost(lane)
    )
  }
  #waitsForHost({ sparkplug }: Sending): boolean {
    return sparkplug !== undefined && (this.#p.sparkplug?.isHeld(sparkplug) ?? false)
  }
  /** Nothing has gone to it before: what is there was stored. */
  hostOpened(hostId: string): void {
    for (const lane of this.#lanes) {
      if (lane.sparkplug?.hostId === hostId) lane.backlogSeq = lane.queue.lastSeq
      lane.isBlocked = false
    }
    this.pump()
  }
  /** What comes live is not. */
  #isHeldBack({ traffic, cursor, backlogSeq }: Sending): boolean {
    return traffic !== 'live' && cursor < backlogSeq && this.#rate.waitMs > 0
  }
  /** A backlog leaves some of the window to live traffic. @param room messages that may be sent still */
  #countRoom({ traffic, pair }: Sending, room: number): number {
    if (traffic !== 'backlog') return room
    if (this.#p.outbox.pendingBytes >= MAX_UNSENT_BACKLOG_BYTES) return 0
    return room - this.#countLeftToLive(pair)
  }
  #countLeftToLive(pair: LanePair | undefined): number {
    if (!pair) return 0
    const live = this.#lanes.find((lane) => lane.pair === pair && lane.traffic === 'live')
    return Math.max(0, Math.floor(this.#mayFly * LEFT_TO_LIVE) - (live?.inFlight.size ?? 0))
  }
  #refreshRetained(): void {
    for (const { traffic, pair } of this.#lanes) {
      const isOther = traffic === 'backlog' ? pair!.takeRefresh() : undefined
      if (isOther) this.#p.refreshRetained(pair!, isOther)
    }
  }
  /** As long as there is room. @returns how many packets wait for their answer */
  #tellGaps(): number {
    let unanswered = this.#inflight.size
    for (const { gap } of this.#lanes) if (gap.sent) unanswered++
    for (const lane of this.#lanes) {
      // Not for each message that a full queue gives up while nobody is there to take any.
      if (unanswered >= this.#mayFly || this.#waitsForHost(lane)) continue
      if (lane.gap.tell((id) => this.#isInUse(id)) === 'sent') unanswered++
    }
    return unanswered
  }
  /** The lane that sends next. Queues of an earlier plan go first. */
  #next(room: number): Sending | undefined {
    const [only] = this.#lanes
    if (this.#lanes.length === 1) return only && this.#isReady(only) ? only : undefined
    const isLeftOver = this.#lanes.some(({ isDraining, queue }) => isDraining && queue.depth > 0)
    const isNext = (lane: Sending): boolean =>
      lane.isDraining === isLeftOver && this.#isReady(lane) && this.#countRoom(lane, room) > 0
    return this.#turns.next(this.#lanes.filter(isNext))
  }
  #isInUse(packetId: number): boolean {
    return this.#inflight.has(packetId) || packetId === this.#p.askedId()
  }
  isInFlight(packetId: number): boolean {
    return this.#inflight.has(packetId) || this.#findGap(packetId) !== undefined
  }
  #findGap(packetId: number): GapRecord | undefined {
    return this.#lanes.find(({ gap }) => gap.isUsing(packetId))?.gap
  }
  /** A subscription was answered: its packet id is free again. */
  resume(): void {
    for (const lane of this.#lanes) lane.isBlocked = false
    this.pump()
  }
  /** @returns packet ids of QoS 2 messages whose delivery is not complete */
  stop(): readonly number[] {
    this.#over = true
    this.#rateTimer?.cancel()
    this.unanswered.stop()
    for (const { queue, mark } of this.#lanes) queue.endSending(mark.seq)
    return [...this.#inflight].flatMap(([packetId, { awaits }]) => (awaits === 'puback' ? [] : [packetId]))
  }
  /**
   * A broker that may not or cannot say why closes the connection over a message that it does not take: one that is too
   * large (3.1.1), or a topic that is not allowed. Sent again and again it would keep everything else from going.
   */
  noteClosedByPeer(): void {
    const { trouble } = this.#p
    const [first] = this.#inflight.values()
    if (this.#isAnswered || this.#over) return
    if (this.#lanes.some(({ gap }) => gap.sent)) trouble.gapEnds++
    else if (first) this.#blame(first)
    this.#over = true
  }
  #blame(one: Sent): void {
    if ('seq' in one) this.#p.trouble.blame({ queue: one.lane.queue, seq: one.seq })
  }
  get #mayFly(): number {
    return this.#p.trouble.isOneByOne ? 1 : this.#window.size
  }
  /** @throws MESH_MQTT_PROTOCOL for an answer that the message in flight cannot have, as those below */
  puback(packetId: number, reason: number): void {
    const gap = this.#findGap(packetId)
    if (!gap) this.#answered(packetId, 'puback', reason)
    else if (reason === REASON.quotaExceeded) this.#failFull()
    else {
      gap.takeAnswer(reason)
      this.#isAnswered = true
      this.pump()
    }
  }
  pubcomp(packetId: number): void {
    this.#answered(packetId, 'pubcomp', 0)
  }
  pubrec(packetId: number, reason: number): void {
    const known = this.#inflight.get(packetId)
    if (known?.awaits === 'puback' || this.#findGap(packetId)) throw this.#createWrongAnswer(known, 'PUBREC for QoS 1')
    if (!known) {
      if (reason < 0x80) this.#p.outbox.ack('pubrel', packetId, REASON.packetIdNotFound)
      return
    }
    if (known.awaits === 'release') return
    // Answered each time, the two would go on for ever.
    if (known.awaits === 'pubcomp') throw this.#createWrongAnswer(known, 'PUBREC again')
    if (reason >= 0x80) {
      this.#answered(packetId, 'pubrec', reason)
      return
    }
    known.awaits = 'release'
    const fail = (err: unknown): void => {
      if (!this.#over) this.#p.fail(err)
    }
    detach(
      'bridge',
      known.lane.queue.release(known.seq).then(() => {
        if (this.#over) return
        known.awaits = 'pubcomp'
        this.#p.outbox.ack('pubrel', packetId, 0)
      }, fail),
      fail,
    )
  }

  #readLater(lane: Sending, entries: Promise<readonly QueueEntry[]>, upTo: number): void {
    lane.isReading = true
    const fail = (err: unknown): void => {
      if (!this.#over) this.#p.fail(err)
    }
    detach(
      'bridge',
      entries.then((found) => {
        if (this.#over) return
        lane.isReading = false
        this.#send(lane, found, upTo)
        this.pump()
      }, fail),
      fail,
    )
  }

  #send(lane: Sending, entries: readonly QueueEntry[], upTo: number): void {
    if (entries.length === 0) lane.cursor = Math.max(lane.cursor, upTo)
    for (const entry of entries) {
      const packetId = computePacketId(lane, entry.seq)
      if (this.#isHeldBack(lane)) return
      if (lane.isDraining && this.#p.sparkplug?.holds(entry.message.topic)) {
        lane.isBlocked = true
        return
      }
      // Its predecessor of so many entries ago still waits; an id may not be used twice at a time [MQTT-2.2.1-4].
      if (this.#isInUse(packetId) || lane.gap.isUsing(packetId)) {
        lane.isBlocked = true
        return
      }
      lane.cursor = entry.seq
      this.#turns.sent(lane)
      this.#sendOne(lane, entry, packetId)
    }
  }

  #sendOne(lane: Sending, { seq, message, released }: QueueEntry, packetId: number): void {
    const { outbox, peer, trouble, clock, counters } = this.#p
    const { mark, queue } = lane
    const isRepetition = seq <= mark.seq
    if (!isRepetition) mark.seq = seq
    const isFirstTime = seq > mark.highestSeq
    if (isFirstTime) mark.highestSeq = seq
    if (trouble.isTooMuch({ queue, seq })) {
      trouble.clear()
      if (message.qos === 2) outbox.ack('pubrel', packetId, 0)
      // Whoever has said PUBREC has the message.
      if (released) queue.done(seq)
      else this.#setAside(lane, { seq, message }, { ends: MAX_ENDS })
      return
    }
    if (released) {
      this.#release(lane, seq, packetId)
      return
    }
    const left = computeLeftMs(message, readMessageMs(clock))
    // What was begun is completed, expired or not [MQTT-4.3.3-7], [MQTT-4.4.0-1].
    if (left <= 0 && seq > mark.begunSeq) {
      counters.dropped.expired.value++
      countDrop(queue, 'expired')
      // The peer may have had it, and waits for PUBREL: without it, it would take a later message of the same id for a
      // repetition [MQTT-4.3.3-10].
      if (isRepetition && message.qos === 2) this.#release(lane, seq, packetId)
      else queue.done(seq)
      return
    }
    const expirySec = toExpirySec(Math.max(0, left))
    const qos = Math.min(message.qos, peer.maxQos) as Qos
    const isStored = seq <= lane.backlogSeq
    const departure = { lane: lane.sparkplug, isStored }
    const departing = this.#p.sparkplug?.depart(message, departure) ?? message
    const bytes = outbox.publishBytes(departing, qos, expirySec, NO_IDS)
    if (isStored) this.#rate.noteSent(bytes)
    if (bytes > peer.maxPacketBytes) {
      this.#setAside(lane, { seq, message }, { bytes, maxPacketBytes: peer.maxPacketBytes })
      return
    }
    const retains = message.retain && peer.retainAvailable && this.#isNewest(lane, { seq, message })
    if (retains && lane.pair && lane.pair.backlog.depth > 0) lane.pair.noteRetained(message.topic, message.payload)
    const others = (isRepetition && qos > 0 ? DUP : 0) | (retains ? RETAIN : 0)
    const outgoing = bytes + MAX_MORE_BYTES > peer.maxPacketBytes ? departing : this.#aliases.shorten(departing)
    mark.begunSeq = Math.max(mark.begunSeq, seq)
    outbox.publish(outgoing, publishFlags(qos, others), qos > 0 ? packetId : 0, expirySec, NO_IDS)
    counters.sent.value++
    if (isFirstTime) this.#p.sparkplug?.sent(message, departure)
    this.#p.onSent()
    if (qos === 0) {
      queue.done(seq)
      return
    }
    this.#fly(packetId, { lane, seq, awaits: qos === 1 ? 'puback' : 'pubrec' })
    const kept = lane.traffic === 'backlog' ? this.#countLeftToLive(lane.pair) : 0
    this.#window.noteSent(packetId, this.#inflight.size + kept)
  }
  /** Whether no newer one of the same topic went before. */
  #isNewest({ traffic, pair, backlogSeq }: Sending, { seq, message }: Pick<QueueEntry, 'seq' | 'message'>): boolean {
    if (traffic === 'backlog') return !pair!.isOutdated(message.topic, seq)
    if (traffic === 'live') pair!.sentLive(message.topic, seq > backlogSeq ? 'now' : 'earlier')
    return true
  }

  #release(lane: Sending, seq: number, packetId: number): void {
    this.#fly(packetId, { lane, seq, awaits: 'pubcomp' })
    this.#p.outbox.ack('pubrel', packetId, 0)
  }
  #fly(packetId: number, { lane, ...message }: Omit<InFlight, 'sentMs'>): void {
    this.#inflight.set(packetId, { lane, ...message, sentMs: this.#p.clock.monotonicMs() })
    lane.inFlight.add(packetId)
  }
  #answered(packetId: number, awaits: InFlight['awaits'], reason: number): void {
    const known = this.#inflight.get(packetId)
    // Over already, or of nothing that was sent: there is nothing that it could harm.
    if (!known) return
    if (known.awaits !== awaits)
      throw this.#createWrongAnswer(known, `${awaits.toUpperCase()} for a message that waits for another answer`)
    this.#isAnswered = true
    this.unanswered.noteAnswered(known)
    this.#p.trouble.clear()
    if (reason === REASON.quotaExceeded) {
      this.#failFull()
      return
    }
    this.#inflight.delete(packetId)
    known.lane.inFlight.delete(packetId)
    this.#window.noteAcknowledged(packetId)
    known.lane.isBlocked = false
    if (reason >= 0x80) this.#giveUp(known, 'refused', { reason })
    else known.lane.queue.done(known.seq)
    this.pump()
  }

  /** The peer has no room now; what it refuses for this reason is offered again after the back-off. */
  #failFull(): void {
    this.#p.fail(new MeshError('MESH_MQTT_UPSTREAM_REFUSED', 'the upstream broker is full (reason code 0x97)'))
  }
  /** Sent again over the next connection; a broker that answers one message wrongly each time does not take it. */
  #createWrongAnswer(known: InFlight | undefined, what: string): MeshError {
    if (known) this.#blame(known)
    return createViolation(REASON.protocolError, `the upstream broker sent ${what} (MQTT 5.0 §4.3)`)
  }

  #setAside(
    { queue }: Sending,
    { seq, message }: Pick<QueueEntry, 'seq' | 'message'>,
    fields: Readonly<Record<string, number>>,
  ): void {
    const { counters, log, setAside } = this.#p
    counters.setAside.value++
    logSetAside(log, message, fields)
    const fail = (err: unknown): void => {
      if (!this.#over) this.#p.fail(err)
    }
    detach(
      'bridge',
      setAside(message).then(() => queue.done(seq), fail),
      fail,
    )
  }
  #giveUp({ lane, seq }: InFlight, why: 'refused', fields: Readonly<Record<string, number>>): void {
    this.#p.counters.dropped[why].value++
    countDrop(lane.queue, why)
    this.#p.log.warn(
      { evt: 'mqtt.bridge.refused', code: 'MESH_MQTT_UPSTREAM_REFUSED', why, seq, ...fields },
      'message is given up: the upstream broker does not take it',
    )
    lane.queue.done(seq)
  }
}
