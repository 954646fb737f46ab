/**
 * Bytes that wait longer than a turn of the event loop. What comes from a socket is a part of a chunk of 64 KiB: small
 * parts that wait are copied, one behind the other, or each would keep its chunk in memory, and an object of its own.
 */
import { isMostOfItsMemory } from '../../core/runtime/own-memory.ts'

/** Less is put together also where it has memory of its own, as what comes from a socket byte by byte has. */
const MIN_PART_BYTES = 1024
const MIN_BLOCK_BYTES = 256
const MAX_BLOCK_BYTES = 16 * 1024

export class HoldingBlock {
  #block = Buffer.alloc(0)
  #usedBytes = 0

  /** Adds `chunk` behind the others in `list`; what is in there is not written to. */
  add(list: unknown[], chunk: Buffer): void {
    // An empty one carries the end of a stream.
    if (chunk.length === 0 || (chunk.length >= MIN_PART_BYTES && isMostOfItsMemory(chunk))) {
      list.push(chunk)
      return
    }
    for (let at = 0; at < chunk.length;) {
      if (this.#usedBytes === this.#block.length) this.#renew(chunk.length - at)
      const from = this.#usedBytes
      const bytes = chunk.copy(this.#block, from, at)
      at += bytes
      this.#usedBytes += bytes
      const last = list.at(-1)
      if (Buffer.isBuffer(last) && last.buffer === this.#block.buffer && last.byteOffset + last.length === from) {
        list[list.length - 1] = this.#block.subarray(last.byteOffset, this.#usedBytes)
      } else list.push(this.#block.subarray(from, this.#usedBytes))
    }
  }
  #renew(bytes: number): void {
    const size = Math.min(MAX_BLOCK_BYTES, Math.max(MIN_BLOCK_BYTES, 2 * this.#block.length, bytes))
    this.#block = Buffer.allocUnsafeSlow(size)
    this.#usedBytes = 0
  }
}
