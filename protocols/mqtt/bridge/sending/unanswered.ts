/**
 * Looks for messages that the peer never answers: one that is unanswered for long, while something that was sent after
 * it is answered, is sent again over another connection. Nothing else would free its place.
 */
import type { Clock, Timer } from '../../../../core/os/clock.ts'
import { MeshError } from '../../../../core/errors.ts'

const UNANSWERED_MS = 300_000
const LOOK_MS = 60_000

type Parts<T extends { readonly sentMs: number }> = {
  readonly clock: Clock
  /** What waits for its answer. */
  list(): Iterable<T>
  /** The peer has answered a later message, and this one not. */
  blame(message: T): void
  /** The connection cannot go on. */
  fail(err: MeshError): void
}

export class Unanswered<T extends { readonly sentMs: number }> {
  readonly #p: Parts<T>
  #timer: Timer
  /** When the latest message was sent that is answered, and the latest PINGREQ. */
  #answeredMs = -1
  #aliveMs = -1

  constructor(p: Parts<T>) {
    this.#p = p
    this.#timer = this.#wait()
  }
  noteAnswered({ sentMs }: { readonly sentMs: number }): void {
    if (sentMs > this.#answeredMs) this.#answeredMs = sentMs
  }
  /** The peer has answered PINGREQ: whatever was sent before it has been read. */
  noteAlive(askedMs: number): void {
    this.#aliveMs = askedMs
  }
  stop(): void {
    this.#timer.cancel()
  }

  #wait(): Timer {
    return this.#p.clock.after(LOOK_MS, () => this.#look())
  }
  #look(): void {
    const { clock, list, blame, fail } = this.#p
    const sinceMs = clock.monotonicMs() - UNANSWERED_MS
    for (const one of list()) {
      if (one.sentMs > sinceMs || one.sentMs >= Math.max(this.#answeredMs, this.#aliveMs)) continue
      // A broker that answers nothing at all may have no room now, which is no fault of the message.
      if (one.sentMs < this.#answeredMs) blame(one)
      fail(new MeshError('MESH_UPSTREAM_TIMEOUT', `a message is not answered for ${UNANSWERED_MS} ms`))
      return
    }
    this.#timer = this.#wait()
  }
}
