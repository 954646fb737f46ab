/**
 * A message that waits in memory for several receivers exists once. `compactOnce` copies it out of the chunk that it
 * arrived in, once for all of them. `Waiting` counts its bytes against the memory budget once, however many receivers
 * hold it.
 */
import type { Clock } from '../../core/os/clock.ts'
import type { MemoryBudget } from '../../core/runtime/memory-budget.ts'
import type { StoredMessage } from './durability.ts'
import { Fifo } from './fifo.ts'
import { findHeldBlock, type HeldBlock } from './held-block.ts'
import { toOwnMemory } from './codec/parser.ts'
import type { Qos } from './codec/packet.ts'

export type Delivery = {
  readonly message: StoredMessage
  readonly qos: Qos
  readonly retain: boolean
  readonly ids: readonly number[]
  /** The shared subscription that it comes by. */
  readonly shared?: string | undefined
}
/** What a member of a shared subscription has not acknowledged. */
export type SharedMessage = { readonly message: StoredMessage; readonly shared: string }

/** What each receiver adds: the place in its line and what is said of it there. */
export const PLACE_BYTES = 128

/**
 * A message of this size goes to the disk as one segment that all of its queues share; of a smaller one each writes a
 * copy of its own.
 */
export const SHARED_BYTES = 8 * 1024

/** The objects around a message's bytes. */
export const MESSAGE_BYTES = 128

/** What a message costs while it waits: its bytes and the objects around them. */
export function measureMessageBytes({ topic, payload, properties }: StoredMessage): number {
  return MESSAGE_BYTES + topic.length + payload.length + properties.length
}

/**
 * One that waits: it has let go of the chunk that it came in, and knows in how many lines it stands, of all receivers
 * together.
 */
export class HeldMessage implements StoredMessage {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly properties: Uint8Array
  readonly expiresAtMs: number | undefined
  readonly expirySec: number | undefined
  holders = 0
  /** Has its bytes; undefined: they are its own. */
  readonly block: HeldBlock | undefined

  /** @param block with room for its bytes */
  constructor({ topic, payload, qos, retain, properties, expiresAtMs, expirySec }: StoredMessage, block?: HeldBlock) {
    this.topic = topic
    this.payload = block ? block.copy(payload) : toOwnMemory(payload)
    this.qos = qos
    this.retain = retain
    this.properties = block && properties.length > 0 ? block.copy(properties) : toOwnMemory(properties)
    this.expiresAtMs = expiresAtMs
    this.expirySec = expirySec
    this.block = block
  }
}

/** Without a hold on the chunk that it came in. */
export function compact(message: StoredMessage): HeldMessage {
  return message instanceof HeldMessage ? message : new HeldMessage(message)
}

/** It stands in one place more. */
export function hold(message: HeldMessage, budget: MemoryBudget): void {
  const isFirst = message.holders++ === 0
  budget.take(isFirst ? measureOwnBytes(message) + PLACE_BYTES : PLACE_BYTES)
  if (isFirst) message.block?.enter()
}
export function releaseHold(message: HeldMessage, budget: MemoryBudget): void {
  const isLast = --message.holders === 0
  budget.give(isLast ? measureOwnBytes(message) + PLACE_BYTES : PLACE_BYTES)
  if (isLast) message.block?.leave()
}
/** Without what its block counts. */
function measureOwnBytes(message: HeldMessage): number {
  return message.block ? MESSAGE_BYTES + message.topic.length : measureMessageBytes(message)
}

/** Receivers of one message are asked one after the other, so the last one is enough. */
let lastGiven: StoredMessage | undefined
let lastMade: HeldMessage | undefined
function compactOnce(message: StoredMessage, budget: MemoryBudget): HeldMessage {
  if (lastGiven === message) return lastMade!
  lastGiven = message
  if (message instanceof HeldMessage) return (lastMade = message)
  const block = findHeldBlock(budget, message.payload.length + message.properties.length)
  return (lastMade = new HeldMessage(message, block))
}
let lastIsDelayed = false
/**
 * The last of its receivers was asked.
 *
 * @returns its bytes when its publisher is faster than a receiver that reads, and memory is short; otherwise 0
 */
export function forgetLast(): number {
  const bytes = lastIsDelayed ? measureMessageBytes(lastMade!) : 0
  lastGiven = lastMade = undefined
  lastIsDelayed = false
  return bytes
}

/** Of the memory budget: a line with less is short, whatever else fills the memory. */
const LONG_SHARE = 1 / 256
/** Of a receiver that takes less than so much of it in this time no publisher waits. */
const LEAST_LEFT_SHARE = 1 / 256
const LOOK_MS = 2_000

type Place = Delivery & { readonly message: HeldMessage }

/** The line of one receiver. Bounded by whoever pushes; `bytes` are as if it held all by itself. */
export class Waiting {
  readonly #budget: MemoryBudget
  readonly #clock: Clock | undefined
  readonly #line = new Fifo<Place>()
  bytes = 0
  #lookedMs: number | undefined
  /** Since then. */
  #leftBytes = 0
  #isMoving = true

  /** @param clock left out: no publisher waits for its receiver, as with QoS 0, which is dropped instead */
  constructor(budget: MemoryBudget, clock?: Clock) {
    this.#budget = budget
    this.#clock = clock
  }

  get size(): number {
    return this.#line.size
  }

  push({ message, qos, retain, ids, shared }: Delivery): void {
    const kept = compactOnce(message, this.#budget)
    hold(kept, this.#budget)
    this.bytes += measureMessageBytes(kept)
    this.#line.push({ message: kept, qos, retain, ids, shared })
    if (this.#clock && this.#budget.isTight && this.bytes >= this.#budget.maxBytes * LONG_SHARE)
      lastIsDelayed ||= this.#isReadFrom(this.#clock.monotonicMs())
  }
  /** Whether its receiver reads. */
  #isReadFrom(nowMs: number): boolean {
    if (this.#lookedMs === undefined || nowMs - this.#lookedMs >= LOOK_MS) {
      this.#isMoving = this.#lookedMs === undefined || this.#leftBytes >= this.#budget.maxBytes * LEAST_LEFT_SHARE
      this.#leftBytes = 0
      this.#lookedMs = nowMs
    }
    return this.#isMoving
  }
  shift(): Delivery | undefined {
    const next = this.#line.shift()
    if (!next) return undefined
    const { message } = next
    releaseHold(message, this.#budget)
    const bytes = measureMessageBytes(message)
    this.bytes -= bytes
    this.#leftBytes += bytes
    return next
  }
  /** @returns how many there were */
  clear(): number {
    const { size } = this
    while (this.size > 0) this.shift()
    return size
  }
}
