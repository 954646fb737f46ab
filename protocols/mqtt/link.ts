/** The write side of one connected client: what its CONNECT allows, how full its socket is, and the QoS 0 messages that wait for room in it. */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../agent/core/clock.ts'
import type { MqttPolicy } from '../../agent/model/mqtt-policy.ts'
import type { MeshError } from '../../agent/core/errors.ts'
import { Outbox, type Flusher } from './codec/outbox.ts'
import { NO_IDS, type Qos, type Version } from './codec/packet.ts'
import { owned } from './codec/parser.ts'
import type { Counters } from './counters.ts'
import type { StoredMessage } from './durability.ts'
import { expirySecOf, leftMs } from './expiry.ts'
import { Fifo } from './fifo.ts'

/** Above this nothing more is given to the socket, and a client that does not read is not read from either. */
export const MAX_SOCKET_BYTES = 256 * 1024

export type Delivery = { readonly message: StoredMessage; readonly qos: Qos; readonly retain: boolean; readonly ids: readonly number[] }
export type LinkOptions = {
  readonly stream: Duplex
  readonly flusher: Flusher
  readonly clock: Clock
  readonly counters: Counters
  readonly version: Version
  /** In-flight QoS 1 and 2 messages that the client takes (MQTT 5.0 §3.1.2.11.3). */
  readonly receiveMaximum: number
  /** Larger packets are not sent to it [MQTT-3.1.2-24]. */
  readonly maxPacketBytes: number
  readonly limits: MqttPolicy['limits']
  readonly onBytes: (bytes: number) => void
  /** Ends the connection with DISCONNECT, as somebody else demands it. */
  readonly close: (err: MeshError) => void
}

export class Link {
  readonly version: Version
  readonly receiveMaximum: number
  readonly limits: MqttPolicy['limits']
  readonly outbox: Outbox
  readonly close: (err: MeshError) => void
  /** Undefined while nothing that waits here can be forbidden. */
  mayReceive: ((topic: string) => boolean) | undefined
  readonly #clock: Clock
  readonly #counters: Counters
  readonly #maxPacketBytes: number
  readonly #waiting = new Fifo<Delivery>()
  #waitingBytes = 0

  constructor(p: LinkOptions) {
    this.version = p.version
    this.receiveMaximum = p.receiveMaximum
    this.limits = p.limits
    this.close = p.close
    this.#clock = p.clock
    this.#counters = p.counters
    this.#maxPacketBytes = p.maxPacketBytes
    this.outbox = new Outbox({ stream: p.stream, flusher: p.flusher, version: p.version, onBytes: p.onBytes })
  }

  get congested(): boolean { return this.outbox.pendingBytes > MAX_SOCKET_BYTES }

  /** QoS 0: now, or when the socket has room again; dropped and counted when too much waits already. */
  deliverAtMostOnce(message: StoredMessage, retain: boolean, ids: readonly number[]): void {
    if (this.#waiting.size === 0 && !this.congested) {
      this.send(message, 0, retain, false, 0, ids)
      return
    }
    const bytes = sizeOf(message)
    if (this.#waiting.size >= this.limits.maxQueuedMessages || this.#waitingBytes + bytes > this.limits.maxQueuedBytes) {
      this.#counters.dropped['slow-reader'].value++
      return
    }
    this.#waitingBytes += bytes
    this.#waiting.push({ message: compact(message), qos: 0, retain, ids })
  }

  /** The socket has room again. */
  drained(): void {
    while (this.#waiting.size > 0 && !this.congested) {
      const { message, retain, ids } = this.#waiting.shift()!
      this.#waitingBytes -= sizeOf(message)
      if (this.mayHave(message)) this.send(message, 0, retain, false, 0, ids)
    }
  }

  /** Asked of what has waited: the rules may have changed meanwhile. */
  mayHave({ topic }: StoredMessage): boolean {
    if (!this.mayReceive || this.mayReceive(topic)) return true
    this.#counters.dropped['not-authorized'].value++
    return false
  }

  /** @returns false when the message has expired or is too large for this client: then it counts as delivered [MQTT-3.1.2-25], [MQTT-3.3.2-5] */
  send(message: StoredMessage, qos: Qos, retain: boolean, dup: boolean, packetId: number, ids: readonly number[]): boolean {
    let expirySec: number | undefined
    if (message.expiresAtMs !== undefined) {
      const left = leftMs(message, this.#clock.wallMs())
      if (left <= 0) { this.#counters.dropped.expired.value++; return false }
      if (this.version === 5) expirySec = expirySecOf(left)
    }
    const known = this.version === 5 ? ids : NO_IDS
    // The exact length only where it could matter.
    const atMost = 64 + message.topic.length * 3 + message.payload.length + message.properties.length + known.length * 5
    if (atMost > this.#maxPacketBytes && this.outbox.publishBytes(message, qos, expirySec, known) > this.#maxPacketBytes) {
      this.#counters.dropped['too-large'].value++
      return false
    }
    this.outbox.publish(message, qos, (dup ? 8 : 0) | (retain ? 1 : 0), packetId, expirySec, known)
    this.#counters.sent[qos].value++
    return true
  }
}

/** What a message costs while it waits: its bytes and the objects around them. */
export function sizeOf({ topic, payload, properties }: StoredMessage): number {
  return 128 + topic.length + payload.length + properties.length
}

/** Without a hold on the chunk that it came in. */
export function compact(message: StoredMessage): StoredMessage {
  const payload = owned(message.payload)
  const properties = owned(message.properties)
  return payload === message.payload && properties === message.properties ? message : { ...message, payload, properties }
}
