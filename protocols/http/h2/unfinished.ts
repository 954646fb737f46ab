/**
 * What was read, for the garbage watch; and a frame whose rest does not come counts against the memory budget: each
 * connection may have one.
 */
import type { Hold, Holder, Waiting } from '../../waiting.ts'

/** Less is not counted: the next read brings the rest of a frame that was cut in two. */
const COUNTED_BYTES = 1024

export class UnfinishedHold {
  readonly #waiting: Waiting
  readonly #holder: Holder
  #hold: Hold | undefined

  constructor(waiting: Waiting, holder: Holder) {
    this.#waiting = waiting
    this.#holder = holder
  }

  /** As OnRead. */
  read(receivedBytes: number, unfinishedBytes: number): void {
    this.#waiting.received(receivedBytes)
    if (unfinishedBytes >= COUNTED_BYTES) (this.#hold ??= this.#waiting.hold(this.#holder)).set(unfinishedBytes)
    else this.#hold?.set(0)
  }
  end(): void {
    this.#hold?.set(0)
  }
}
