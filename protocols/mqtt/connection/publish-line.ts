/** Messages of one client that are not answered yet, in order, with what they hold in memory, and PINGREQs among them. */
import type { MemoryBudget } from '../../../core/runtime/memory-budget.ts'
import type { Qos } from '../codec/packet.ts'
import type { StoredMessage } from '../durability.ts'
import { Fifo } from '../fifo.ts'
import type { Commit } from '../publication.ts'
import { measureMessageBytes, SHARED_BYTES } from '../shared-message.ts'
import type { Place } from '../topics/retained.ts'
import type { Plan } from '../topics/subscriptions.ts'

export type InLine = {
  /** Counts the line, which gives it. */
  number: number
  /** What it holds in memory. */
  readonly bytes: number
  readonly message: StoredMessage | undefined
  plan: Plan | undefined
  commit: Commit | undefined
  readonly qos: Qos
  readonly packetId: number
  /** Among the retained messages; undefined = is not retained. */
  readonly place: Place | undefined
  /** `over`: dropped, nothing to be answered. */
  state: 'waiting' | 'taken' | 'refused' | 'over'
  reason: number
  /** In place of an acknowledgement. */
  readonly onAnswered: (() => void) | undefined
}
/** Of what is only answered. */
export const NO_MESSAGE = {
  number: 0,
  bytes: 0,
  message: undefined,
  plan: undefined,
  commit: undefined,
  place: undefined,
} as const

/**
 * A client of 3.1.1 has no Receive Maximum; this many messages or bytes may be on their way to the disk before it is
 * not read from.
 */
const MAX_MESSAGES = 1_000
const MAX_BYTES = 1024 * 1024

export class PublishLine {
  readonly #budget: MemoryBudget
  readonly #line = new Fifo<InLine>()
  #lastNumber = 0
  bytes = 0

  constructor(budget: MemoryBudget) {
    this.#budget = budget
  }

  get size(): number {
    return this.#line.size
  }
  first(): InLine | undefined {
    return this.#line.first()
  }
  push(one: InLine): void {
    one.number = ++this.#lastNumber
    this.#line.push(one)
    this.bytes += one.bytes
    this.#budget.take(one.bytes)
  }
  shift(): InLine | undefined {
    const one = this.#line.shift()
    if (!one) return undefined
    this.bytes -= one.bytes
    this.#budget.give(one.bytes)
    return one
  }

  /** @param share of what may be in it */
  isLong(share: number): boolean {
    return (
      this.size >= MAX_MESSAGES * share || this.bytes >= MAX_BYTES * share || (this.size > 0 && this.#budget.isTight)
    )
  }
}

/** The disk gets small payloads once per queue and large ones once. */
export function measureLineBytes(message: StoredMessage, { queues }: Plan): number {
  const bytes = measureMessageBytes(message)
  return bytes >= SHARED_BYTES ? bytes : bytes * Math.max(1, queues.length)
}
