/**
 * What goes up, on one connection: the durable queue is sent in order within the peer's Receive Maximum, and an entry
 * is done only when the peer has said so. The packet id follows from the sequence number, so a repetition after a
 * reconnect or a restart carries the old one [MQTT-4.4.0-1].
 */
import type { Clock } from '../../../core/os/clock.ts'
import { MeshError } from '../../../core/errors.ts'
import { detached } from '../../../core/defects/guard.ts'
import type { Log } from '../../../core/log.ts'
import type { BridgeCounters } from './counters.ts'
import type { Outbox } from '../codec/outbox.ts'
import { DUP, publishFlags, RETAIN, type Qos } from '../codec/packet.ts'
import type { DurableQueue, QueueEntry, StoredMessage } from '../durability.ts'
import { expirySecOf, leftMs, messageNowMs } from '../expiry.ts'
import { REASON } from '../codec/reason.ts'

/** What the peer's CONNACK allows. */
export type PeerLimits = {
  readonly receiveMaximum: number
  readonly maxPacketBytes: number
  readonly maxQos: Qos
  readonly retainAvailable: boolean
}
/** Kept across connections: up to here a message has been sent at least once, so sending it is a repetition. */
export type SentMark = {
  seq: number
  /** Connections in a row that the peer has closed while this was the first without an answer, and gave none. */
  stuck: { readonly seq: number; readonly closes: number } | undefined
}
/** From then on messages go one by one, so that it is known which one the peer does not take. */
const ONE_BY_ONE_CLOSES = 2
/** And then the message is set aside. */
const MAX_CLOSES = 5
type InFlight = { readonly seq: number; awaits: 'puback' | 'pubrec' | 'release' | 'pubcomp' }

const READ_AT_ONCE = 64
const MAX_UNSENT_BYTES = 256 * 1024
const NO_IDS: readonly number[] = []

type Parts = {
  readonly queue: DurableQueue
  readonly peer: PeerLimits
  readonly outbox: Outbox
  readonly mark: SentMark
  readonly clock: Clock
  readonly counters: BridgeCounters
  readonly log: Log
  onSent(): void
  /** Out of the way of the others, durably. */
  setAside(message: StoredMessage): Promise<void>
  /** The connection cannot go on. */
  fail(err: unknown): void
}

export class BridgeOutflow {
  readonly #p: Parts
  readonly #inflight = new Map<number, InFlight>()
  /** Everything up to this has been sent on this connection or needs no sending. */
  #cursor: number
  #reading = false
  #over = false
  #isAnswered = false

  constructor(p: Parts) {
    this.#p = p
    this.#cursor = p.queue.firstSeq - 1
  }

  /** Sends what may be sent now. Called when something was appended, acknowledged or written out. */
  pump(): void {
    const { queue, peer, outbox } = this.#p
    while (!this.#over && !this.#reading && outbox.pendingBytes < MAX_UNSENT_BYTES) {
      const room = Math.min(this.#window(peer.receiveMaximum) - this.#inflight.size, READ_AT_ONCE)
      const upTo = queue.lastSeq
      if (room <= 0 || this.#cursor >= upTo) return
      const entries = queue.read(this.#cursor, room)
      if (entries instanceof Promise) {
        this.#readLater(entries, upTo)
        return
      }
      if (this.#send(entries, upTo) === 'blocked') return
    }
  }
  /** @returns packet ids of QoS 2 messages whose delivery is not complete */
  stop(): readonly number[] {
    this.#over = true
    return [...this.#inflight].flatMap(([packetId, { awaits }]) => (awaits === 'puback' ? [] : [packetId]))
  }
  /**
   * A broker that may not or cannot say why closes the connection over a message that it does not take: one that is too
   * large (3.1.1), or a topic that is not allowed. Sent again and again it would keep everything else from going.
   */
  closedByPeer(): void {
    const { mark } = this.#p
    const [first] = this.#inflight.values()
    if (this.#isAnswered || !first) return
    mark.stuck = { seq: first.seq, closes: (mark.stuck?.seq === first.seq ? mark.stuck.closes : 0) + 1 }
  }

  #window(most: number): number {
    const { stuck } = this.#p.mark
    return stuck && stuck.closes >= ONE_BY_ONE_CLOSES ? 1 : most
  }

  puback(packetId: number, reason: number): void {
    this.#answered(packetId, 'puback', reason)
  }
  pubcomp(packetId: number): void {
    this.#answered(packetId, 'pubcomp', 0)
  }
  pubrec(packetId: number, reason: number): void {
    const known = this.#inflight.get(packetId)
    if (!known || known.awaits === 'puback') {
      if (reason < 0x80) this.#p.outbox.ack('pubrel', packetId, REASON.packetIdNotFound)
      return
    }
    if (known.awaits === 'release') return
    if (known.awaits === 'pubcomp') {
      this.#p.outbox.ack('pubrel', packetId, 0)
      return
    }
    if (reason >= 0x80) {
      this.#answered(packetId, 'pubrec', reason)
      return
    }
    known.awaits = 'release'
    const fail = (err: unknown): void => {
      if (!this.#over) this.#p.fail(err)
    }
    detached(
      'bridge',
      this.#p.queue.release(known.seq).then(() => {
        if (this.#over) return
        known.awaits = 'pubcomp'
        this.#p.outbox.ack('pubrel', packetId, 0)
      }, fail),
      fail,
    )
  }

  #readLater(entries: Promise<readonly QueueEntry[]>, upTo: number): void {
    this.#reading = true
    const fail = (err: unknown): void => {
      if (!this.#over) this.#p.fail(err)
    }
    detached(
      'bridge',
      entries.then((found) => {
        if (this.#over) return
        this.#reading = false
        if (this.#send(found, upTo) === 'going') this.pump()
      }, fail),
      fail,
    )
  }

  #send(entries: readonly QueueEntry[], upTo: number): 'going' | 'blocked' {
    if (entries.length === 0) this.#cursor = Math.max(this.#cursor, upTo)
    for (const entry of entries) {
      const packetId = ((entry.seq - 1) % 65_535) + 1
      // Its predecessor of 65,535 entries ago still waits; an id may not be used twice at a time [MQTT-2.2.1-4].
      if (this.#inflight.has(packetId)) return 'blocked'
      this.#cursor = entry.seq
      this.#sendOne(entry, packetId)
    }
    return 'going'
  }

  #sendOne({ seq, message, released }: QueueEntry, packetId: number): void {
    const { outbox, peer, mark, clock, counters, queue } = this.#p
    const isRepetition = seq <= mark.seq
    if (!isRepetition) mark.seq = seq
    if (released) {
      this.#inflight.set(packetId, { seq, awaits: 'pubcomp' })
      outbox.ack('pubrel', packetId, 0)
      return
    }
    if (mark.stuck?.seq === seq && mark.stuck.closes >= MAX_CLOSES) {
      mark.stuck = undefined
      this.#setAside(seq, message, { closes: MAX_CLOSES })
      return
    }
    const left = leftMs(message, messageNowMs(clock))
    if (left <= 0) {
      counters.dropped.expired.value++
      queue.done(seq)
      return
    }
    const expirySec = expirySecOf(left)
    const qos = Math.min(message.qos, peer.maxQos) as Qos
    const bytes = outbox.publishBytes(message, qos, expirySec, NO_IDS)
    if (bytes > peer.maxPacketBytes) {
      this.#setAside(seq, message, { bytes, maxPacketBytes: peer.maxPacketBytes })
      return
    }
    const others = (isRepetition && qos > 0 ? DUP : 0) | (message.retain && peer.retainAvailable ? RETAIN : 0)
    outbox.publish(message, publishFlags(qos, others), qos > 0 ? packetId : 0, expirySec, NO_IDS)
    counters.sent.value++
    this.#p.onSent()
    if (qos === 0) queue.done(seq)
    else this.#inflight.set(packetId, { seq, awaits: qos === 1 ? 'puback' : 'pubrec' })
  }

  #answered(packetId: number, awaits: InFlight['awaits'], reason: number): void {
    const known = this.#inflight.get(packetId)
    if (known?.awaits !== awaits) return
    this.#isAnswered = true
    this.#p.mark.stuck = undefined
    // The peer has no room now; what it refuses for this reason is offered again after the back-off.
    if (reason === REASON.quotaExceeded) {
      this.#p.fail(new MeshError('MESH_MQTT_UPSTREAM_REFUSED', 'the upstream broker is full (reason code 0x97)'))
      return
    }
    this.#inflight.delete(packetId)
    if (reason >= 0x80) this.#giveUp(known.seq, 'refused', { reason })
    else this.#p.queue.done(known.seq)
    this.pump()
  }

  #setAside(seq: number, message: StoredMessage, fields: Readonly<Record<string, number>>): void {
    const { counters, log, queue, setAside } = this.#p
    counters.setAside.value++
    log.error(
      {
        evt: 'mqtt.bridge.set-aside',
        code: 'MESH_MQTT_UPSTREAM_REFUSED',
        topic: message.topic,
        payloadBytes: message.payload.length,
        ...fields,
      },
      'a message is set aside: the upstream broker does not take it',
    )
    const fail = (err: unknown): void => {
      if (!this.#over) this.#p.fail(err)
    }
    detached(
      'bridge',
      setAside(message).then(() => queue.done(seq), fail),
      fail,
    )
  }
  #giveUp(seq: number, why: 'refused', fields: Readonly<Record<string, number>>): void {
    this.#p.counters.dropped[why].value++
    this.#p.log.warn(
      { evt: 'mqtt.bridge.refused', code: 'MESH_MQTT_UPSTREAM_REFUSED', why, seq, ...fields },
      'message is given up: the upstream broker does not take it',
    )
    this.#p.queue.done(seq)
  }
}
