/**
 * QoS 1 and 2 towards one client (MQTT 5.0 §4.3, §4.4): at most Receive Maximum messages unacknowledged, in order,
 * PUBREL after PUBREC. A session that is kept takes from its durable queue; one that ends with its connection from
 * memory.
 */
import { toMeshError } from '../../../core/errors.ts'
import { detach, doNothing } from '../../../core/defects/guard.ts'
import { createViolation, REASON } from '../codec/reason.ts'
import type { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import { DUP, publishFlags, RETAIN, type Qos } from '../codec/packet.ts'
import type { Counters } from '../counters.ts'
import type { DurableQueue, QueueEntry } from '../durability.ts'
import type { Link } from '../connection/link.ts'
import { type Awaits, AwaitedIds } from './awaited-ids.ts'
import { InflightBytes } from './inflight-bytes.ts'
import { type By, readMark } from '../topics/marks.ts'
import {
  compact,
  hold,
  releaseHold,
  measureMessageBytes,
  Waiting,
  type Delivery,
  type HeldMessage,
  type SharedMessage,
} from '../shared-message.ts'
import type { View } from '../topics/view.ts'

export interface Flow {
  /** Messages that were sent and are not acknowledged. */
  readonly inflight: number
  /** Those in memory that were not sent. */
  readonly waiting: number
  /** Sends what may be sent now. */
  pump(): void
  /** @throws MESH_MQTT_PROTOCOL for an answer that the message in flight cannot have, as those below */
  puback(packetId: number): void
  pubrec(packetId: number, reason: number): void
  pubcomp(packetId: number): void
}

const awaited = (qos: Qos): Awaits => (qos === 2 ? 'pubrec' : 'puback')

/** [MQTT-4.3.3-4]; an id that we do not know is answered all the same, or the client would wait for ever (§3.6.2.1). */
function pubrelUnknown(link: Link, packetId: number): void {
  link.outbox.ack('pubrel', packetId, REASON.packetIdNotFound)
}

/**
 * Of what is not in flight, an answer changes nothing. One that a message in flight cannot have would leave it there, and
 * nothing else would free its place.
 *
 * @throws MESH_MQTT_PROTOCOL
 */
function checkAnswer(awaits: Awaits | undefined, said: string): void {
  if (awaits !== undefined)
    throw createViolation(REASON.protocolError, `${said} for a message that waits for another answer (MQTT 5.0 §4.3)`)
}

/** Half of the packet ids. */
const MAX_IN_FLIGHT = 32_767

export class MemoryFlow implements Flow {
  readonly #link: Link
  readonly #counters: Counters
  readonly #inflight = new AwaitedIds()
  readonly #waiting: Waiting
  readonly #inflightBytes: InflightBytes | undefined
  readonly #budget: MemoryBudget
  /** Of QoS 1 in flight what came by a shared subscription: it is another member's when the session ends. */
  #shared: Map<number, SharedMessage & { readonly message: HeldMessage }> | undefined
  #sharedBytes = 0

  constructor(link: Link, counters: Counters, budget: MemoryBudget) {
    this.#link = link
    this.#counters = counters
    this.#budget = budget
    this.#waiting = new Waiting(budget, link.clock)
    this.#inflightBytes = InflightBytes.create(link.limits)
  }

  get waitingBytes(): number {
    return this.#waiting.bytes + this.#sharedBytes
  }
  /** The session ends. @returns what others of its shared subscriptions get now */
  end(): readonly SharedMessage[] {
    const left: SharedMessage[] = [...(this.#shared?.values() ?? [])]
    for (const packetId of this.#shared?.keys() ?? []) this.#forgetShared(packetId)
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift())
      if (next.shared !== undefined && next.qos === 1) left.push({ message: next.message, shared: next.shared })
    return left
  }
  get waiting(): number {
    return this.#waiting.size
  }
  get inflight(): number {
    return this.#inflight.size
  }

  offer(delivery: Delivery): void {
    if (this.#waiting.size === 0 && this.#hasRoom()) {
      this.#send(delivery)
      return
    }
    const { limits } = this.#link
    if (
      this.#waiting.size >= limits.maxQueuedMessages ||
      this.#waiting.bytes + measureMessageBytes(delivery.message) > limits.maxQueuedBytes
    ) {
      this.#counters.dropped['queue-full'].value++
      return
    }
    this.#waiting.push(delivery)
  }

  pump(): void {
    while (this.#waiting.size > 0 && this.#hasRoom()) {
      const next = this.#waiting.shift()!
      if (this.#link.mayHave(next.message)) this.#send(next)
    }
  }
  puback(packetId: number): void {
    this.#over(packetId, 'puback')
  }
  pubcomp(packetId: number): void {
    this.#over(packetId, 'pubcomp')
  }
  pubrec(packetId: number, reason: number): void {
    const awaits = this.#inflight.get(packetId)
    if (awaits === 'pubrec' && reason >= 0x80) {
      this.#over(packetId, 'pubrec')
      return
    }
    if (awaits === 'puback') checkAnswer(awaits, 'PUBREC')
    if (awaits === undefined) {
      if (reason < 0x80) pubrelUnknown(this.#link, packetId)
      return
    }
    this.#inflight.set(packetId, 'pubcomp')
    this.#link.outbox.ack('pubrel', packetId, 0)
  }

  #hasRoom(): boolean {
    return (
      this.#inflight.size < Math.min(this.#link.receiveMaximum, MAX_IN_FLIGHT) &&
      this.#sharedBytes <= this.#link.limits.maxQueuedBytes &&
      !this.#link.congested &&
      !this.#inflightBytes?.isFull
    )
  }
  #over(packetId: number, awaits: Awaits): void {
    if (!this.#inflight.release(packetId, awaits)) {
      checkAnswer(this.#inflight.get(packetId), awaits.toUpperCase())
      return
    }
    this.#inflightBytes?.remove(packetId)
    if (this.#shared) this.#forgetShared(packetId)
    this.pump()
  }
  #send({ message, qos, retain, ids, shared }: Delivery): void {
    const awaits = awaited(qos)
    const packetId = this.#inflight.claim(awaits)
    const flags = publishFlags(qos, retain ? RETAIN : 0)
    if (!this.#link.send(message, flags, packetId, ids)) {
      this.#inflight.release(packetId, awaits)
      return
    }
    this.#inflightBytes?.add(packetId, message)
    if (shared === undefined || qos !== 1) return
    const held = compact(message)
    hold(held, this.#budget)
    this.#sharedBytes += measureMessageBytes(held)
    this.#shared ??= new Map()
    this.#shared.set(packetId, { message: held, shared })
  }
  #forgetShared(packetId: number): void {
    const known = this.#shared?.get(packetId)
    if (!known) return
    this.#shared!.delete(packetId)
    this.#sharedBytes -= measureMessageBytes(known.message)
    releaseHold(known.message, this.#budget)
  }
}

const READ_AT_ONCE = 64
type FindView = (topic: string, by: By) => View | undefined

export class DurableFlow implements Flow {
  readonly #queue: DurableQueue
  readonly #findView: FindView
  #link: Link | undefined
  /** On this connection. */
  #inflightBytes: InflightBytes | undefined
  readonly #inflight = new AwaitedIds()
  /** Everything up to this has been sent on this connection, or needs no sending. */
  #cursor = 0
  /**
   * Highest that was sent, or may have been before a crash: up to here a repetition carries DUP [MQTT-3.3.1-1].
   */
  #sentSeq: number
  /** Highest that this process has sent: its delivery has begun. */
  #begunSeq = 0
  #reading = false
  /** Counts connections, so that an answer for an earlier one is recognised. */
  #epoch = 0

  constructor(p: { queue: DurableQueue; findView: FindView }) {
    this.#queue = p.queue
    this.#findView = p.findView
    this.#sentSeq = p.queue.sentSeq
    p.queue.onAppended = () => this.pump()
  }

  readonly waiting = 0
  get inflight(): number {
    return this.#inflight.size
  }

  /** What comes now would overtake. */
  get isBehind(): boolean {
    return this.#reading || this.#cursor < this.#queue.lastSeq || this.#queue.pendingMessages > 0
  }

  /** Before a connection: a crash must not hide that something was sent. Never rejects. */
  async prepare(): Promise<void> {
    try {
      await this.#queue.startSending()
    } catch {
      /* `attach` asks again */
    }
  }
  /** A new connection: all that is not done is sent again, in order, with its old packet id [MQTT-4.4.0-1]. */
  attach(link: Link): void {
    this.#link = link
    this.#epoch++
    this.#reading = false
    this.#inflight.clear()
    this.#inflightBytes = InflightBytes.create(link.limits)
    this.#cursor = this.#queue.firstSeq - 1
    const late = this.#queue.startSending()
    if (late) {
      // It was not prepared, or that has failed: what is there is not waited for, and counts as sent before.
      this.#sentSeq = this.#queue.lastSeq
      detach('mqtt', late.catch(doNothing))
    }
    this.pump()
  }
  detach(): void {
    this.#queue.endSending(this.#sentSeq)
    this.#link = undefined
    this.#epoch++
    this.#inflight.clear()
  }

  pump(): void {
    while (this.#link && !this.#reading && !this.#link.congested) {
      const room = Math.min(this.#link.receiveMaximum - this.#inflight.size, READ_AT_ONCE)
      const upTo = this.#queue.lastSeq
      if (room <= 0 || this.#cursor >= upTo || this.#inflightBytes?.isFull) return
      const entries = this.#queue.read(this.#cursor, room)
      if (entries instanceof Promise) {
        this.#readLater(entries, upTo, this.#link)
        return
      }
      if (this.#take(entries, upTo, this.#link) === 'blocked') return
    }
  }
  #readLater(entries: Promise<readonly QueueEntry[]>, upTo: number, link: Link): void {
    const epoch = this.#epoch
    this.#reading = true
    const close = (err: unknown): void => {
      if (epoch === this.#epoch) link.close(toMeshError(err))
    }
    detach(
      'mqtt',
      entries.then((all) => {
        if (epoch !== this.#epoch) return
        this.#reading = false
        if (this.#take(all, upTo, link) === 'going') this.pump()
      }, close),
      close,
    )
  }

  #take(entries: readonly QueueEntry[], upTo: number, link: Link): 'going' | 'blocked' {
    if (entries.length === 0) this.#cursor = Math.max(this.#cursor, upTo)
    for (const entry of entries) {
      const packetId = ((entry.seq - 1) % 65_535) + 1
      // One that is 65,535 older is still unacknowledged; its id may not be used twice [MQTT-2.2.1-4].
      if (this.#inflight.has(packetId) || this.#inflightBytes?.isFull) return 'blocked'
      this.#cursor = entry.seq
      this.#sendOne(entry, packetId, link)
    }
    return 'going'
  }

  #sendOne({ seq, message, released }: QueueEntry, packetId: number, link: Link): void {
    const dup = seq <= this.#sentSeq
    if (!dup) this.#sentSeq = seq
    if (released) {
      this.#inflight.add(packetId, seq, 'pubcomp')
      link.outbox.ack('pubrel', packetId, 0)
      return
    }
    // QoS 0 is not sent again [MQTT-4.3.1-1].
    const copy = readMark(message)
    const view = dup && message.qos === 0 ? undefined : this.#findView(message.topic, copy?.by ?? 'alone')
    if (!view) {
      this.#queue.done(seq)
      return
    }
    const retain = copy?.isRetained || (message.retain && view.retainAsPublished)
    const qos = Math.min(message.qos, view.qos) as Qos
    const flags = publishFlags(qos, (dup && qos > 0 ? DUP : 0) | (retain ? RETAIN : 0))
    const ids = copy?.ids ?? view.ids
    // [MQTT-4.4.0-1]: what was begun is completed, expired or not.
    if (seq <= this.#begunSeq) link.isBegun = true
    const sent = link.send(copy?.message ?? message, flags, qos > 0 ? packetId : 0, ids)
    link.isBegun = false
    this.#begunSeq = Math.max(this.#begunSeq, seq)
    if (sent && qos > 0) {
      this.#inflight.add(packetId, seq, awaited(qos))
      this.#inflightBytes?.add(packetId, message)
    } else this.#queue.done(seq)
  }

  puback(packetId: number): void {
    this.#over(packetId, 'puback')
  }
  pubcomp(packetId: number): void {
    this.#over(packetId, 'pubcomp')
  }
  pubrec(packetId: number, reason: number): void {
    const link = this.#link
    const awaits = this.#inflight.get(packetId)
    if (!link) return
    if (awaits === 'puback') checkAnswer(awaits, 'PUBREC')
    if (awaits === undefined) {
      // What the client has refused is over for it, too (§3.5.2.1).
      if (reason < 0x80) pubrelUnknown(link, packetId)
      return
    }
    if (awaits === 'release') return
    if (awaits === 'pubcomp') {
      link.outbox.ack('pubrel', packetId, 0)
      return
    }
    if (reason >= 0x80) {
      this.#over(packetId, 'pubrec')
      return
    }
    this.#inflight.set(packetId, 'release')
    const epoch = this.#epoch
    const close = (err: unknown): void => {
      if (epoch === this.#epoch) link.close(toMeshError(err))
    }
    detach(
      'mqtt',
      this.#queue.release(this.#inflight.seqOf(packetId)).then(() => {
        if (epoch !== this.#epoch) return
        this.#inflight.set(packetId, 'pubcomp')
        link.outbox.ack('pubrel', packetId, 0)
      }, close),
      close,
    )
  }

  #over(packetId: number, awaits: Awaits): void {
    const known = this.#inflight.get(packetId)
    if (known !== awaits) {
      checkAnswer(known, awaits.toUpperCase())
      return
    }
    const seq = this.#inflight.seqOf(packetId)
    this.#inflight.release(packetId, awaits)
    this.#inflightBytes?.remove(packetId)
    this.#queue.done(seq)
    this.pump()
  }
}
