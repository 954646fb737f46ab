/** A message that comes in parts, in one buffer: parts of one byte take no more room than the message that they make. */
export class GatheredMessage {
  #buffer: Buffer | undefined
  #length = 0

  get length(): number {
    return this.#length
  }
  /** Of its own: parts are views of what came with other frames. */
  add(part: Uint8Array): void {
    const wanted = this.#length + part.length
    if (!this.#buffer || this.#buffer.length < wanted) {
      const larger = Buffer.allocUnsafeSlow(Math.max(wanted, 2 * this.#length))
      if (this.#buffer) this.#buffer.copy(larger, 0, 0, this.#length)
      this.#buffer = larger
    }
    this.#buffer.set(part, this.#length)
    this.#length = wanted
  }
  /** The whole; the next one begins. */
  take(): Uint8Array {
    const whole = this.#buffer?.subarray(0, this.#length) ?? new Uint8Array(0)
    this.#buffer = undefined
    this.#length = 0
    return whole
  }
}
