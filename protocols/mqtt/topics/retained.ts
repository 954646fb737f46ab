/**
 * Retained messages (MQTT 5.0 §3.3.1.3): the last one of each topic, durable, found by filter, bounded in number and
 * bytes.
 */
import type { Qos } from '../codec/packet.ts'
import { HeldMessage, MESSAGE_BYTES } from '../shared-message.ts'
import type { Clock } from '../../../core/os/clock.ts'
import type { MqttPolicy } from '../../../model/mqtt-policy.ts'
import type { Durability, StoredMessage } from '../durability.ts'
import { estimateLevelBytes } from './filter-cost.ts'
import { computeLeftMs, readMessageMs } from '../expiry.ts'
import { type Change, RetainedChanges } from './retained-changes.ts'
import { TopicTree } from './topic-tree.ts'

type Limits = Pick<MqttPolicy['limits'], 'maxRetainedMessages' | 'maxRetainedBytes'>
/** A topic's messages that are on their way to the disk: how many, and the largest. */
type Reserved = { places: number; bytes: number }

/**
 * Room that a message has among the retained ones, from before it is written until it is there or is given up. Giving
 * it back twice is giving it back once.
 */
export class Place implements Change, Disposable {
  readonly topic: string
  number = 0
  readonly #changes: RetainedChanges
  /** Undefined: it takes no room, or has given it back. */
  #of: Retained | undefined

  /** Taken in the same turn in which the message's receivers are chosen. */
  constructor(changes: RetainedChanges, topic: string, of: Retained | undefined) {
    this.#changes = changes
    this.topic = topic
    this.#of = of
    changes.begin(this)
  }
  /** The message waits for room; others must not wait for it. */
  suspend(): void {
    this.#changes.end(this, 'given-up')
  }
  /** It is tried again: its receivers are chosen anew. */
  resume(): void {
    this.#changes.begin(this)
  }
  [Symbol.dispose](): void {
    this.#changes.end(this, 'given-up')
    this.#of?.release(this.topic)
    this.#of = undefined
  }
}

/** Payloads and properties up to this are kept as text of a byte a character: memory of their own takes 450 more. */
const MAX_TEXT_BYTES = 512

export class RetainedMessage {
  readonly topic: string
  /** Number of the change that brought it (RetainedChanges); 0 = it was there at the start. */
  readonly change: number
  readonly qos: Qos
  readonly expiresAtMs: number | undefined
  readonly expirySec: number | undefined
  /** Properties, and the payload behind them. Larger ones are shared by all who wait for them. */
  readonly #body: string | HeldMessage
  readonly #propertyBytes: number

  constructor(message: StoredMessage, change: number) {
    const { payload, properties } = message
    this.topic = message.topic
    this.change = change
    this.qos = message.qos
    this.expiresAtMs = message.expiresAtMs
    this.expirySec = message.expirySec
    this.#propertyBytes = properties.length
    this.#body =
      payload.length + properties.length > MAX_TEXT_BYTES
        ? new HeldMessage(message)
        : latin1(properties) + latin1(payload)
  }

  /** With its levels in the tree, which cost more than they say where there are many. */
  get bytes(): number {
    return typeof this.#body === 'string' ? keptBytes(this.topic, this.#body.length) : keptBytesOf(this.#body)
  }
  toMessage(): StoredMessage {
    if (typeof this.#body !== 'string') return this.#body
    const { topic, qos, expiresAtMs, expirySec } = this
    const bytes = Buffer.from(this.#body, 'latin1')
    const [properties, payload] = [bytes.subarray(0, this.#propertyBytes), bytes.subarray(this.#propertyBytes)]
    return { topic, payload, qos, retain: true, properties, expiresAtMs, expirySec }
  }
}

function latin1({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('latin1')
}

const USUAL_LEVELS = 8
const NOTHING: readonly RetainedMessage[] = []

export class Retained {
  readonly #durability: Durability
  readonly #clock: Clock
  readonly #tree = new TopicTree<RetainedMessage>()
  readonly #changes = new RetainedChanges()
  readonly #reserved = new Map<string, Reserved>()
  /** With what is reserved: many messages may be on their way at once. */
  readonly #maxBytes: number
  readonly #isMemoryFull: () => boolean
  #topics = 0
  #bytes = 0
  #stored = 0

  /** @param p.maxBytes in memory, whatever a listener's limits say */
  constructor(p: { durability: Durability; clock: Clock; maxBytes?: number; isMemoryFull?: () => boolean }) {
    this.#maxBytes = p.maxBytes ?? Infinity
    this.#isMemoryFull = p.isMemoryFull ?? (() => false)
    this.#durability = p.durability
    this.#clock = p.clock
    for (const [topic, message] of p.durability.retained) {
      const kept = new RetainedMessage(message, 0)
      this.#tree.set(topic, kept)
      this.#bytes += kept.bytes
    }
    this.#stored = this.#topics = this.#tree.size
    p.durability.forgetRetained()
  }

  get size(): number {
    return this.#stored
  }
  /** Nothing is there, and nothing is on its way. */
  get isEmpty(): boolean {
    return this.#stored === 0 && this.#changes.isEmpty
  }

  /** @returns undefined when a limit does not allow it once it has replaced what the topic holds */
  reserve(message: StoredMessage, limits: Limits): Place | undefined {
    const { topic, payload } = message
    if (payload.length === 0) return new Place(this.#changes, topic, undefined)
    const bytes = keptBytesOf(message)
    const more = Math.max(0, bytes - this.#bytesOf(topic))
    const isNew = !this.#isThere(topic)
    if (
      (isNew && this.#topics >= limits.maxRetainedMessages) ||
      (more > 0 && (this.#bytes + more > Math.min(limits.maxRetainedBytes, this.#maxBytes) || this.#isMemoryFull()))
    )
      return undefined
    this.#bytes += more
    if (isNew) this.#topics++
    const of = this.#reserved.get(topic)
    if (of) {
      of.places++
      of.bytes = Math.max(of.bytes, bytes)
    } else this.#reserved.set(topic, { places: 1, bytes })
    return new Place(this.#changes, topic, this)
  }
  /** Of a place that `reserve` gave; it says so once. */
  release(topic: string): void {
    const of = this.#reserved.get(topic)!
    if (of.places-- > 1) return
    const before = this.#bytesOf(topic)
    this.#reserved.delete(topic)
    this.#bytes += this.#bytesOf(topic) - before
    if (!this.#isThere(topic)) this.#topics--
  }

  /**
   * Empty payload deletes. Seen by subscribers once it is durable.
   * @returns the store's own promise, which a whole transaction has in common
   */
  save(message: StoredMessage, place: Place): Promise<void> {
    const { topic } = message
    const isGone = message.payload.length === 0
    const kept = isGone ? undefined : new RetainedMessage(message, place.number)
    return this.#durability.saveRetained(topic, isGone ? undefined : message, () => {
      this.#put(topic, kept)
      this.#changes.end(place, 'saved')
      place[Symbol.dispose]()
    })
  }

  /** For a subscription that begins now: what changes from here on comes to it live. */
  get lastChange(): number {
    return this.#changes.last
  }
  /**
   * Gives a subscription the values of its topics, except those that came to it live.
   * @param since lastChange when the subscription began
   * @returns resolves once what was on its way is decided; undefined when nothing was
   */
  deliver(filter: string, since: number, give: (message: StoredMessage) => void): Promise<void> | undefined {
    for (const message of this.find(filter))
      if (message.change <= since && !this.#changes.isPending(message.topic)) give(message.toMessage())
    const decided: Promise<void>[] = []
    for (const topic of this.#changes.listTopics(filter)) {
      const { promise, resolve } = Promise.withResolvers<void>()
      decided.push(promise)
      this.#changes.wait(topic, since, (isLive) => {
        const message = isLive ? undefined : this.#current(topic)
        if (message && message.change <= since) give(message.toMessage())
        resolve()
      })
    }
    return decided.length === 0 ? undefined : Promise.all(decided).then(() => undefined)
  }
  #current(topic: string): RetainedMessage | undefined {
    const message = this.#tree.get(topic)
    return message && computeLeftMs(message, readMessageMs(this.#clock)) > 0 ? message : undefined
  }

  /** Those that the filter matches and that have not expired; expired ones that are met are deleted. */
  find(filter: string): readonly RetainedMessage[] {
    if (this.#stored === 0) return NOTHING
    const now = readMessageMs(this.#clock)
    const found: RetainedMessage[] = []
    const expired: RetainedMessage[] = []
    this.#tree.visitTopics(filter, (message) => {
      ;(computeLeftMs(message, now) <= 0 ? expired : found).push(message)
    })
    for (const { topic } of expired) {
      // The store would delete what is on its way to replace it.
      if (this.#changes.isPending(topic)) continue
      this.#put(topic, undefined)
      // A failure leaves it in the store; it is expired there too.
      this.#durability.saveRetained(topic, undefined).catch(() => undefined)
    }
    return found
  }

  /** Of those that the filter matches, expired or not. */
  visitTopics(filter: string, see: (topic: string) => void): void {
    this.#tree.visitTopics(filter, ({ topic }) => see(topic))
  }
  get(topic: string): StoredMessage | undefined {
    return this.#tree.get(topic)?.toMessage()
  }
  get bytes(): number {
    return this.#bytes
  }

  #put(topic: string, message: RetainedMessage | undefined): void {
    const old = this.#tree.get(topic)
    const reserved = this.#reserved.get(topic)?.bytes
    this.#bytes += Math.max(message?.bytes ?? 0, reserved ?? 0) - Math.max(old?.bytes ?? 0, reserved ?? 0)
    this.#stored += Number(message !== undefined) - Number(old !== undefined)
    if (reserved === undefined) this.#topics += Number(message !== undefined) - Number(old !== undefined)
    if (message) this.#tree.set(topic, message)
    else if (old) this.#tree.delete(topic)
  }

  #isThere(topic: string): boolean {
    return this.#tree.get(topic) !== undefined || this.#reserved.has(topic)
  }
  #bytesOf(topic: string): number {
    const now = this.#tree.get(topic)
    return Math.max(now?.bytes ?? 0, this.#reserved.get(topic)?.bytes ?? 0)
  }
}

function keptBytes(topic: string, bodyBytes: number): number {
  return MESSAGE_BYTES + topic.length + bodyBytes + estimateLevelBytes(topic, USUAL_LEVELS)
}
function keptBytesOf({ topic, payload, properties }: StoredMessage): number {
  return keptBytes(topic, payload.length + properties.length)
}
