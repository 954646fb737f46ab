/**
 * Topic Aliases towards a peer (MQTT 5.0 §3.3.2.3.4), for one connection. The first topics have them until its end: most
 * peers get few topics again and again, and an alias that moves from topic to topic costs more than it saves.
 */
import type { Outgoing } from './outbox.ts'

const MAX_ALIASES = 1_024
/** Property and value; a topic that is no longer is not worth one. */
const ALIAS_BYTES = 3
/** What a message may become longer by: that, and a longer Property Length. */
export const MAX_MORE_BYTES = ALIAS_BYTES + 3
/** A longer one is sent as it is: it would be kept in memory for each connection. */
const MAX_TOPIC_CHARS = 1_024

export class SendingAliases {
  readonly #max: number
  readonly #when: 'at once' | 'when repeated'
  readonly #aliases = new Map<string, number>()
  /** Sent once; forgotten together when there are many, so that a topic that comes again soon is known. */
  #seen = new Set<string>()
  #seenChars = 0
  #aliasChars = 0

  /**
   * @param max Topic Alias Maximum that the peer announced; 0: it takes none
   * @param when `when repeated`: not to a topic that comes only once
   */
  constructor(max: number, when: 'at once' | 'when repeated') {
    this.#max = Math.min(max, MAX_ALIASES)
    this.#when = when
  }
  /** Of topics that are remembered. */
  get heldBytes(): number {
    return this.#aliasChars + this.#seenChars
  }
  /** The message as it goes; at most MAX_MORE_BYTES longer. */
  shorten(message: Outgoing): Outgoing {
    const { topic, payload, properties } = message
    const known = this.#aliases.get(topic)
    if (known !== undefined) return { topic: '', payload, properties: withAlias(known, properties) }
    if (this.#aliases.size >= this.#max || topic.length <= ALIAS_BYTES || topic.length > MAX_TOPIC_CHARS) return message
    if (this.#when === 'when repeated' && !this.#isRepeated(topic)) return message
    const alias = this.#aliases.size + 1
    this.#aliases.set(topic, alias)
    this.#aliasChars += topic.length
    if (this.#aliases.size === this.#max) this.#forget()
    return { topic, payload, properties: withAlias(alias, properties) }
  }

  #isRepeated(topic: string): boolean {
    if (this.#seen.has(topic)) return true
    if (this.#seen.size >= 2 * this.#max) this.#forget()
    this.#seen.add(topic)
    this.#seenChars += topic.length
    return false
  }
  #forget(): void {
    this.#seen = new Set()
    this.#seenChars = 0
  }
}

function withAlias(alias: number, properties: Uint8Array): Uint8Array {
  const all = new Uint8Array(ALIAS_BYTES + properties.length)
  all.set([0x23, alias >> 8, alias & 0xff])
  all.set(properties, ALIAS_BYTES)
  return all
}
