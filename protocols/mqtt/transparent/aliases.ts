/**
 * Topic Aliases of one direction (MQTT 5.0 §3.3.2.3.4). They pass as they are, and policies ask about the topic behind
 * them. An alias whose first PUBLISH was not passed is not known to the other side: its next one goes with the topic.
 */
import type { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import { encode } from '../codec/encode.ts'
import type { Publish } from '../codec/packet.ts'
import { TopicAliases } from '../connection/topic-aliases.ts'

export class PassingAliases {
  readonly #topics: TopicAliases
  /** At most as many as there are aliases. */
  readonly #unknown = new Set<number>()

  /** @param max Topic Alias Maximum of the receiver, as the sender was told it */
  constructor(max: number, budget: MemoryBudget) {
    this.#topics = new TopicAliases(max, budget)
  }

  get heldBytes(): number {
    return this.#topics.bytes
  }
  /** @throws MESH_MQTT_PROTOCOL */
  resolveTopic(packet: Publish): string {
    return this.#topics.resolveTopic(packet)
  }
  /** The PUBLISH is not passed. */
  keepBack({ topic, topicAlias }: Publish): void {
    if (topicAlias > 0 && topic !== '') this.#unknown.add(topicAlias)
  }
  /** @returns what is passed for the PUBLISH */
  pass(packet: Publish, topic: string, bytes: Uint8Array): Uint8Array {
    if (packet.topicAlias === 0) return bytes
    const wasUnknown = this.#unknown.delete(packet.topicAlias)
    return wasUnknown && packet.topic === '' ? encode({ ...packet, topic }, 5) : bytes
  }
  end(): void {
    this.#topics.end()
    this.#unknown.clear()
  }
}
