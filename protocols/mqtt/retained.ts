/** Retained messages (MQTT 5.0 §3.3.1.3): the last one of each topic, durable, found by filter, bounded in number and bytes. */
import { compact, sizeOf } from './shared-message.ts'
import type { Clock } from '../../agent/core/clock.ts'
import type { MqttPolicy } from '../../agent/model/mqtt-policy.ts'
import type { Durability, StoredMessage } from './durability.ts'
import { leftMs } from './expiry.ts'
import { TopicTree } from './topic-tree.ts'

export class Retained {
  readonly #durability: Durability
  readonly #clock: Clock
  readonly #tree = new TopicTree<StoredMessage>()
  #count = 0
  #bytes = 0

  constructor(p: { durability: Durability; clock: Clock }) {
    this.#durability = p.durability
    this.#clock = p.clock
    for (const [topic, message] of p.durability.retained) this.#put(topic, message)
  }

  get size(): number { return this.#count }

  /** Whether it fits the limits once it has replaced what the topic holds. */
  hasRoomFor(message: StoredMessage, limits: MqttPolicy['limits']): boolean {
    if (message.payload.length === 0) return true
    const old = this.#tree.get(message.topic)
    return this.#count + (old ? 0 : 1) <= limits.maxRetainedMessages && this.#bytes - (old ? sizeOf(old) : 0) + sizeOf(message) <= limits.maxRetainedBytes
  }

  /** Empty payload deletes. Seen by subscribers once it is durable. */
  async save(message: StoredMessage): Promise<void> {
    const kept = message.payload.length === 0 ? undefined : compact(message)
    await this.#durability.saveRetained(message.topic, kept)
    this.#put(message.topic, kept)
  }

  /** Those that the filter matches and that have not expired; expired ones that are met are deleted. */
  find(filter: string): readonly StoredMessage[] {
    const now = this.#clock.wallMs()
    const found: StoredMessage[] = []
    const expired: StoredMessage[] = []
    this.#tree.ofFilter(filter, (message) => { (leftMs(message, now) <= 0 ? expired : found).push(message) })
    for (const { topic } of expired) {
      this.#put(topic, undefined)
      // A failure leaves it in the store; it is expired there too.
      this.#durability.saveRetained(topic, undefined).catch(() => undefined)
    }
    return found
  }

  #put(topic: string, message: StoredMessage | undefined): void {
    const old = this.#tree.get(topic)
    if (old) { this.#count--; this.#bytes -= sizeOf(old) }
    if (message) {
      this.#count++
      this.#bytes += sizeOf(message)
      this.#tree.set(topic, message)
    } else if (old) this.#tree.delete(topic)
  }
}

/**
 * A retained message that goes to a new subscriber through its queue carries RETAIN, a live one only with Retain As Published; the queue keeps no
 * such difference. So the copy is marked in front of its properties with an identifier that MQTT does not have.
 */
const MARK = 0x00

export function retainedCopy(message: StoredMessage): StoredMessage {
  return { ...message, retain: true, properties: Buffer.concat([Uint8Array.of(MARK), message.properties]) }
}
/** The message without the mark; undefined when it is a live one. */
export function asRetained(message: StoredMessage): StoredMessage | undefined {
  return message.properties[0] === MARK ? { ...message, properties: message.properties.subarray(1) } : undefined
}
