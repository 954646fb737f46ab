/**
 * A message that waits in memory for several receivers is there once. `compactOnce` lets go of the chunk that it came in for all of them together;
 * `Waiting` counts its bytes against the memory budget once, however many hold it.
 */
import type { MemoryBudget } from '../../agent/core/memory-budget.ts'
import type { StoredMessage } from './durability.ts'
import { Fifo } from './fifo.ts'
import type { Delivery } from './link.ts'
import { owned } from './codec/parser.ts'

/** What each receiver adds: the place in its line and what is said of it there. */
export const PLACE_BYTES = 128

/** A message of this size goes to the disk as one segment that all of its queues share; of a smaller one each writes a copy of its own. */
export const SHARED_BYTES = 8 * 1024

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

/** Receivers of one message are asked one after the other, so the last one is enough. */
let lastGiven: WeakRef<StoredMessage> | undefined
let lastMade: WeakRef<StoredMessage> | undefined
function compactOnce(message: StoredMessage): StoredMessage {
  const known = lastGiven?.deref() === message ? lastMade?.deref() : undefined
  if (known) return known
  const made = compact(message)
  if (made !== message) { lastGiven = new WeakRef(message); lastMade = new WeakRef(made) }
  return made
}

/** How many lines each message stands in. Those of all receivers together, of every broker of the process. */
const holders = new Map<StoredMessage, number>()

/** The line of one receiver. Bounded by whoever pushes; `bytes` are as if it held all by itself. */
export class Waiting {
  readonly #budget: MemoryBudget
  readonly #line = new Fifo<Delivery>()
  bytes = 0

  constructor(budget: MemoryBudget) { this.#budget = budget }

  get size(): number { return this.#line.size }

  push({ message, qos, retain, ids }: Delivery): void {
    const kept = compactOnce(message)
    const size = sizeOf(kept)
    const before = holders.get(kept) ?? 0
    holders.set(kept, before + 1)
    this.#budget.take(before === 0 ? size + PLACE_BYTES : PLACE_BYTES)
    this.bytes += size
    this.#line.push({ message: kept, qos, retain, ids })
  }
  shift(): Delivery | undefined {
    const next = this.#line.shift()
    if (!next) return undefined
    const { message } = next
    const size = sizeOf(message)
    const left = holders.get(message)! - 1
    if (left === 0) holders.delete(message)
    else holders.set(message, left)
    this.#budget.give(left === 0 ? size + PLACE_BYTES : PLACE_BYTES)
    this.bytes -= size
    return next
  }
  /** @returns how many there were */
  clear(): number {
    const { size } = this
    while (this.size > 0) this.shift()
    return size
  }
}
