/** What a client has sent ahead of the exchange at hand. It is read when that is over. */
import { READ_AHEAD_BYTES, type Hold, type Holder, type Waiting } from '../../waiting.ts'

/** Less than this is not counted against the memory budget. */
const COUNTED_BYTES = 4 * 1024

export class SentAhead {
  readonly #waiting: Waiting
  readonly #holder: Holder
  #bytes: Buffer | undefined
  #hold: Hold | undefined

  constructor(waiting: Waiting, holder: Holder) {
    this.#waiting = waiting
    this.#holder = holder
  }

  get isEmpty(): boolean {
    return this.#bytes === undefined
  }
  add(chunk: Buffer): void {
    this.#bytes = this.#bytes ? Buffer.concat([this.#bytes, chunk]) : chunk
    if (this.#bytes.length >= COUNTED_BYTES)
      (this.#hold ??= this.#waiting.hold(this.#holder)).set(this.#bytes.length + READ_AHEAD_BYTES)
  }
  take(): Buffer | undefined {
    const bytes = this.#bytes
    this.#bytes = undefined
    this.#hold?.set(0)
    return bytes
  }
}
