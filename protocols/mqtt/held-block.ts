/**
 * Memory that small messages share while they wait: one of its own costs five times as much to make as a part of a
 * block to fill. A block stays as long as one of its messages waits, so it counts as a whole against the memory
 * budget; it was filled by bytes that came, so what is held by one that waits for long is never more than what came.
 */
import type { MemoryBudget } from '../../core/runtime/memory-budget.ts'

export const BLOCK_BYTES = 4 * 1024
/** Of larger ones too few fit into a block. */
const MAX_PART_BYTES = BLOCK_BYTES / 4

export class HeldBlock {
  readonly budget: MemoryBudget
  readonly #bytes = Buffer.allocUnsafeSlow(BLOCK_BYTES)
  #at = 0
  #messages = 0

  constructor(budget: MemoryBudget) {
    this.budget = budget
  }

  hasRoom(bytes: number): boolean {
    return this.#at + bytes <= BLOCK_BYTES
  }
  /** The caller has asked for room. */
  copy(bytes: Uint8Array): Uint8Array {
    const from = this.#at
    this.#at = from + bytes.length
    this.#bytes.set(bytes, from)
    return this.#bytes.subarray(from, this.#at)
  }

  /** A message with bytes in it begins to wait. */
  enter(): void {
    if (this.#messages++ === 0) this.budget.take(BLOCK_BYTES)
  }
  leave(): void {
    if (--this.#messages === 0) this.budget.give(BLOCK_BYTES)
  }
}

let current: HeldBlock | undefined
/** @returns one that has room, or undefined: such a message has memory of its own */
export function findHeldBlock(budget: MemoryBudget, bytes: number): HeldBlock | undefined {
  if (bytes === 0 || bytes > MAX_PART_BYTES) return undefined
  if (current?.budget !== budget || !current.hasRoom(bytes)) current = new HeldBlock(budget)
  return current
}
