/**
 * The write side of one connected client: what its CONNECT allows, how full its socket is, and the QoS 0 messages that
 * wait for room in it.
 */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../../core/os/clock.ts'
import type { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import { MeshError } from '../../../core/errors.ts'
import type { Flusher } from '../codec/flusher.ts'
import { Outbox, type OutboxOwner, type Outgoing } from '../codec/outbox.ts'
import { MAX_MORE_BYTES, SendingAliases } from '../codec/sending-aliases.ts'
import { NO_IDS, type Packet, type Qos, RETAIN, type Version } from '../codec/packet.ts'
import type { Counters } from '../counters.ts'
import type { StoredMessage } from '../durability.ts'
import { toExpirySec, computeLeftMs, readMessageMs } from '../expiry.ts'
import type { Memory } from '../memory.ts'
import { measureMessageBytes, Waiting } from '../shared-message.ts'
import { stripPrefix } from '../topics/topic-prefix.ts'

/** Ends the connection with DISCONNECT; for causes outside the connection. */
type Closable = { close(err: MeshError): void }
export type LinkOptions = {
  readonly stream: Duplex
  readonly flusher: Flusher
  readonly clock: Clock
  readonly counters: Counters
  readonly memory: Memory
  readonly version: Version
  /** Whether the client is a bridge by its CONNECT, as mosquitto's bridges say it. */
  readonly isBridge: boolean
  /** MQTT 3.1, which knows no answer that says no. */
  readonly is31: boolean
  /** Whether denied messages are acknowledged, too, because the client's version has no other answer. */
  readonly acknowledgesDenied: boolean
  /** What its listener offers. */
  readonly listener: MqttPolicy['listener']
  /** In-flight QoS 1 and 2 messages that the client takes (MQTT 5.0 §3.1.2.11.3). */
  readonly receiveMaximum: number
  /** Larger packets are not sent to it [MQTT-3.1.2-24]. */
  readonly maxPacketBytes: number
  /** Topic Alias Maximum of its CONNECT. */
  readonly topicAliasMaximum: number
  readonly limits: MqttPolicy['limits']
  readonly conn: { sentBytes: number }
  readonly client: Closable
}

export class Link implements OutboxOwner {
  readonly version: Version
  readonly isBridge: boolean
  readonly is31: boolean
  readonly acknowledgesDenied: boolean
  readonly listener: MqttPolicy['listener']
  readonly receiveMaximum: number
  readonly limits: MqttPolicy['limits']
  readonly outbox: Outbox
  /** Undefined while nothing that waits here can be forbidden. */
  mayReceive: ((topic: string) => boolean) | undefined
  /** Whether the next message was sent before; it expires no more then [MQTT-4.4.0-1]. */
  isBegun = false
  /** It takes no packet of the size of our CONNACK, so nothing may be said at all [MQTT-3.14.0-1]. */
  isUnanswered = false
  readonly clock: Clock
  readonly #counters: Counters
  readonly #maxPacketBytes: number
  readonly #memory: Memory
  readonly #conn: { sentBytes: number }
  readonly #client: Closable
  /** Made when the first has to wait. */
  #waiting: Waiting | undefined
  /** Undefined: the client takes none. */
  readonly #aliases: SendingAliases | undefined
  /** Of theirs, against the memory budget. */
  #aliasBytes = 0
  #isOver = false

  constructor(p: LinkOptions) {
    this.version = p.version
    this.isBridge = p.isBridge
    this.is31 = p.is31
    this.acknowledgesDenied = p.acknowledgesDenied
    this.listener = p.listener
    this.receiveMaximum = p.receiveMaximum
    this.limits = p.limits
    this.clock = p.clock
    this.#counters = p.counters
    this.#maxPacketBytes = p.maxPacketBytes
    this.#memory = p.memory
    this.#conn = p.conn
    this.#client = p.client
    const aliases = Math.min(p.topicAliasMaximum, p.limits.maxTopicAliases)
    this.#aliases = aliases > 0 ? new SendingAliases(aliases, 'when repeated') : undefined
    this.outbox = new Outbox({
      sent: p.counters.controlsSent,
      budget: p.memory.budget,
      stream: p.stream,
      flusher: p.flusher,
      version: p.version,
      owner: this,
      maxPacketBytes: p.maxPacketBytes,
    })
  }

  close(err: MeshError): void {
    this.#client.close(err)
  }

  noteBytes(bytes: number): void {
    this.#conn.sentBytes += bytes
    this.#counters.bytesSent.all.value += bytes
  }
  /** Without it the client would wait for ever; a last word that it does not take is left out. */
  noteTooLarge(type: Packet['type']): void {
    if (type === 'disconnect') return
    if (type === 'connack') this.isUnanswered = true
    this.close(
      new MeshError(
        'MESH_MQTT_PACKET_TOO_LARGE',
        `the client takes no packet above ${this.#maxPacketBytes} bytes, and its ${type.toUpperCase()} is larger [MQTT-3.1.2-24]`,
      ),
    )
  }

  /**
   * Whether messages wait here and not in the socket. Waiting messages are shared with other receivers; bytes in a
   * socket are not.
   */
  get congested(): boolean {
    return this.outbox.pendingBytes > this.#memory.socketBytes
  }
  /** Whether the client leaves so many answers unread that it is not read from either. */
  get isDeaf(): boolean {
    return this.outbox.pendingBytes > this.#memory.socketBytes * 2
  }
  get budget(): MemoryBudget {
    return this.#memory.budget
  }
  /** Topics that are remembered for their aliases. */
  get aliasBytes(): number {
    return this.#aliasBytes
  }
  /** QoS 0 that waits for the socket. */
  get waitingBytes(): number {
    return this.#waiting?.bytes ?? 0
  }

  /** QoS 0: now, or when the socket has room again; dropped and counted when too much waits already. */
  deliverAtMostOnce(message: StoredMessage, retain: boolean, ids: readonly number[]): void {
    if (!this.#waiting?.size && !this.congested) {
      this.send(message, retain ? RETAIN : 0, 0, ids)
      return
    }
    // Its own will, for one, is published while the session still has this link.
    if (this.#isOver) return
    const waiting = (this.#waiting ??= new Waiting(this.#memory.budget))
    if (
      waiting.size >= this.limits.maxQueuedMessages ||
      waiting.bytes + measureMessageBytes(message) > this.limits.maxQueuedBytes
    ) {
      this.#counters.dropped['slow-reader'].value++
      return
    }
    waiting.push({ message, qos: 0, retain, ids })
  }
  /** Gives up what waits. @returns how many messages that were */
  dropWaiting(): number {
    const dropped = this.#waiting?.clear() ?? 0
    this.#counters.dropped.memory.value += dropped
    return dropped
  }
  /** The connection is over. */
  end(): void {
    this.#isOver = true
    this.#waiting?.clear()
    this.#memory.budget.give(this.#aliasBytes)
    this.#aliasBytes = 0
  }

  /** The socket has room again. */
  drained(): void {
    const waiting = this.#waiting
    while (waiting && waiting.size > 0 && !this.congested) {
      const { message, retain, ids } = waiting.shift()!
      if (this.mayHave(message)) this.send(message, retain ? RETAIN : 0, 0, ids)
    }
  }

  /** Asked of what has waited: the rules may have changed meanwhile. */
  mayHave({ topic }: StoredMessage): boolean {
    if (!this.mayReceive || this.mayReceive(topic)) return true
    this.#counters.dropped['not-authorized'].value++
    return false
  }

  /**
   * @param flags those of the fixed header (publishFlags)
   * @returns false when the message has expired or is too large for this client: then it counts as delivered
   * [MQTT-3.1.2-25], [MQTT-3.3.2-5]
   */
  send(original: StoredMessage, flags: number, packetId: number, ids: readonly number[]): boolean {
    const { topicPrefix } = this.listener
    const message = topicPrefix === undefined ? original : stripPrefix(original, topicPrefix)
    if (!message) {
      this.#counters.dropped['not-authorized'].value++
      return false
    }
    const qos = ((flags >> 1) & 3) as Qos
    let expirySec: number | undefined
    if (message.expiresAtMs !== undefined) {
      const left = computeLeftMs(message, readMessageMs(this.clock))
      if (left <= 0 && !this.isBegun) {
        this.#counters.dropped.expired.value++
        return false
      }
      if (this.version === 5) expirySec = toExpirySec(Math.max(0, left))
    }
    const known = this.version === 5 ? ids : NO_IDS
    // The exact length only where it could matter.
    const atMost = 64 + message.topic.length * 3 + message.payload.length + message.properties.length + known.length * 5
    if (
      atMost > this.#maxPacketBytes &&
      this.outbox.publishBytes(message, qos, expirySec, known) > this.#maxPacketBytes
    ) {
      this.#counters.dropped['too-large'].value++
      return false
    }
    const outgoing = this.#aliases && atMost + MAX_MORE_BYTES <= this.#maxPacketBytes ? this.#shorten(message) : message
    this.outbox.publish(outgoing, flags, packetId, expirySec, known)
    this.#counters.sent[qos].value++
    this.#counters.bytesSent.payload.value += message.payload.length
    return true
  }

  #shorten(message: StoredMessage): Outgoing {
    const outgoing = this.#aliases!.shorten(message)
    const bytes = this.#isOver ? 0 : this.#aliases!.heldBytes
    if (bytes !== this.#aliasBytes) this.#memory.budget.take(bytes - this.#aliasBytes)
    this.#aliasBytes = bytes
    return outgoing
  }
}
