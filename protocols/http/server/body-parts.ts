/**
 * A request's body on its way to its exchange. Small parts that came in one read go on together: a write for each would
 * cost a hundred times what its sender spends, and each that waits would be an object of its own.
 */
import { HoldingBlock } from '../holding-block.ts'

/** Less goes on when the read is over, together with what came beside it. */
const SMALL_BYTES = 1024

export class BodyParts {
  readonly #pass: (bytes: Buffer) => void
  #first: Buffer | undefined
  /** Behind the first: of six thousand chunks of a byte in one read each would live to its end. */
  #others: Buffer[] = []
  #block: HoldingBlock | undefined

  constructor(pass: (bytes: Buffer) => void) {
    this.#pass = pass
  }

  add(chunk: Buffer): void {
    if (chunk.length >= SMALL_BYTES) {
      this.pass()
      this.#pass(chunk)
    } else if (this.#first === undefined) this.#first = chunk
    else (this.#block ??= new HoldingBlock()).add(this.#others, chunk)
  }
  /** The read is over, or the body. */
  pass(): void {
    const first = this.#first
    if (first === undefined) return
    const others = this.#others
    this.#first = undefined
    if (others.length > 0) {
      this.#others = []
      this.#block = undefined
    }
    this.#pass(others.length === 0 ? first : Buffer.concat([first, ...others]))
  }
}
