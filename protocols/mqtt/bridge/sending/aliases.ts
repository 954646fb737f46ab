/**
 * Topic Aliases towards an upstream broker (MQTT 5.0 §3.3.2.3.4), for one connection. The first topics have them until
 * its end: those of a site are few and stay, and an alias that moves from topic to topic costs more than it saves.
 */
import type { Outgoing } from '../../codec/outbox.ts'

const MAX_ALIASES = 1_024
/** Property and value; a topic that is no longer is not worth one. */
const ALIAS_BYTES = 3
/** What a message may become longer by: that, and a longer Property Length. */
export const MAX_MORE_BYTES = ALIAS_BYTES + 3

export class SendingAliases {
  readonly #max: number
  readonly #aliases = new Map<string, number>()

  /** @param max Topic Alias Maximum of its CONNACK; 0: it takes none */
  constructor(max: number) {
    this.#max = Math.min(max, MAX_ALIASES)
  }
  /** The message as it goes; at most MAX_MORE_BYTES longer. */
  shorten(message: Outgoing): Outgoing {
    const { topic, payload, properties } = message
    const known = this.#aliases.get(topic)
    if (known !== undefined) return { topic: '', payload, properties: withAlias(known, properties) }
    if (this.#aliases.size >= this.#max || topic.length <= ALIAS_BYTES) return message
    const alias = this.#aliases.size + 1
    this.#aliases.set(topic, alias)
    return { topic, payload, properties: withAlias(alias, properties) }
  }
}

function withAlias(alias: number, properties: Uint8Array): Uint8Array {
  const all = new Uint8Array(ALIAS_BYTES + properties.length)
  all.set([0x23, alias >> 8, alias & 0xff])
  all.set(properties, ALIAS_BYTES)
  return all
}
