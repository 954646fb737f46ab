/**
 * Frees memory when the memory budget is used up, in this order: connections that have sent only a part of their
 * CONNECT, the oldest first; QoS 0 messages that wait for slow receivers, the longest line first; then the connections
 * that hold the most memory. Acknowledged messages are safe: they are in the spool. The exception is a session that
 * ends with its connection.
 */
import { MeshError } from '../../core/errors.ts'
import type { MemoryBudget } from '../../core/runtime/memory-budget.ts'

/**
 * Bytes towards one socket beyond which nothing more is given to it. With many connections less, but not less than a
 * stream takes before it tells of its end ('drain').
 */
const MAX_SOCKET_BYTES = 256 * 1024
const MIN_SOCKET_BYTES = 64 * 1024
/** Of the budget, for what sockets have not taken. */
const SOCKETS_SHARE = 1 / 4

/** One connection as the budget sees it. */
export interface Holder {
  readonly isAwaitingConnect: boolean
  /** Counts again: bytes that were counted may have left the socket since. */
  recount(): void
  /** QoS 0 that waits, as if no other receiver had it. */
  readonly waitingBytes: number
  readonly heldBytes: number
  /** @returns how many messages were dropped */
  dropWaiting(): number
  /** At once, without the time that a last word may take otherwise. */
  cutOff(err: MeshError): void
}

export class Memory {
  readonly budget: MemoryBudget
  readonly #open = new Set<Holder>()
  socketBytes = MAX_SOCKET_BYTES

  constructor(budget: MemoryBudget) {
    this.budget = budget
  }

  add(holder: Holder): void {
    this.#open.add(holder)
    this.#share()
  }
  remove(holder: Holder): void {
    this.#open.delete(holder)
    this.#share()
  }

  shed(isEnough: () => boolean): void {
    for (const holder of this.#open) holder.recount()
    this.#cutOff(
      [...this.#open].filter((one) => one.isAwaitingConnect && one.heldBytes > 0),
      'unfinished-connect',
      isEnough,
    )
    for (const slow of mostFirst(this.#open, (one) => one.waitingBytes)) {
      if (isEnough()) return
      this.budget.countGivenUp('message', slow.dropWaiting())
    }
    this.#cutOff(
      mostFirst(this.#open, (one) => one.heldBytes),
      'connection',
      isEnough,
    )
  }

  #cutOff(holders: readonly Holder[], what: 'unfinished-connect' | 'connection', isEnough: () => boolean): void {
    for (const holder of holders) {
      if (isEnough()) return
      this.budget.countGivenUp(what)
      holder.cutOff(
        new MeshError(
          'MESH_MQTT_QUOTA',
          'the memory budget is used up, and this connection held the most of it (limits.maxQueuedMemoryBytes)',
        ),
      )
    }
  }
  #share(): void {
    const share = (this.budget.maxBytes * SOCKETS_SHARE) / Math.max(1, this.#open.size)
    this.socketBytes = Math.min(Math.max(share, MIN_SOCKET_BYTES), MAX_SOCKET_BYTES)
  }
}

function mostFirst(all: Iterable<Holder>, bytesOf: (one: Holder) => number): Holder[] {
  return [...all]
    .map((one) => ({ one, bytes: bytesOf(one) }))
    .filter(({ bytes }) => bytes > 0)
    .sort((a, b) => b.bytes - a.bytes)
    .map(({ one }) => one)
}
