/** Topic Aliases that a client has set (MQTT 5.0 §3.3.2.3.4); they end with the connection. */
import type { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import type { Publish } from '../codec/packet.ts'
import { REASON, createViolation } from '../codec/reason.ts'
import { addPrefixToTopic } from '../topics/topic-prefix.ts'

export class TopicAliases {
  readonly #max: number
  readonly #budget: MemoryBudget
  readonly #prefix: string | undefined
  #topics: Map<number, string> | undefined
  /** Against the memory budget. */
  bytes = 0

  /**
   * @param max Topic Alias Maximum that CONNACK announced
   * @param prefix of all topics (topics/topic-prefix.ts)
   */
  constructor(max: number, budget: MemoryBudget, prefix?: string) {
    this.#max = max
    this.#budget = budget
    this.#prefix = prefix
  }

  /**
   * Sets the alias where there is one.
   * @throws MESH_MQTT_PROTOCOL
   */
  resolveTopic(p: Pick<Publish, 'topic' | 'topicAlias'>): string {
    const topic = this.#resolve(p)
    return this.#prefix === undefined ? topic : addPrefixToTopic(topic, this.#prefix)
  }
  #resolve({ topic, topicAlias }: Pick<Publish, 'topic' | 'topicAlias'>): string {
    if (topicAlias === 0) return topic
    if (topicAlias > this.#max)
      throw createViolation(
        REASON.topicAliasInvalid,
        `[MQTT-3.3.2-9] Topic Alias ${topicAlias} is above the announced maximum`,
      )
    if (topic !== '') {
      this.#set(topicAlias, topic)
      return topic
    }
    const known = this.#topics?.get(topicAlias)
    if (known === undefined)
      throw createViolation(REASON.protocolError, `Topic Alias ${topicAlias} was never set (MQTT 5.0 §3.3.2.3.4)`)
    return known
  }
  end(): void {
    this.#budget.give(this.bytes)
    this.bytes = 0
    this.#topics = undefined
  }

  #set(alias: number, topic: string): void {
    this.#topics ??= new Map()
    const more = topic.length - (this.#topics.get(alias)?.length ?? 0)
    this.#topics.set(alias, topic)
    this.bytes += more
    this.#budget.take(more)
  }
}
