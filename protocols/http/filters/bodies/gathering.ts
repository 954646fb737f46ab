/** The buffer filter: a request goes on when all of its body is there, or is refused for its size. */
import type { Downstream, RequestHead } from '../../message.ts'
import type { ReplayBuffer } from '../../exchange/replay-buffer.ts'

/** The exchange, as whoever waits for its body sees it. */
export interface GatherOwner {
  readonly request: RequestHead
  readonly body: ReplayBuffer
  readonly down: Downstream
}

export class Gathering {
  readonly #owner: GatherOwner
  readonly #maxBytes: number
  readonly #done: (isTooLarge: boolean) => void
  #isOver = false

  constructor(owner: GatherOwner, maxBytes: number, done: (isTooLarge: boolean) => void) {
    this.#owner = owner
    this.#maxBytes = maxBytes
    this.#done = done
  }

  start(): void {
    const { request, body, down } = this.#owner
    // One byte more shows that it is too large.
    body.raise(this.#maxBytes + 1)
    if (request.expectContinue && request.bodyLength <= this.#maxBytes) down.sendContinue()
    this.bodyGrew()
  }
  /** More of it has come, or its end. */
  bodyGrew(): void {
    if (this.#isOver) return
    const { request, body } = this.#owner
    const isTooLarge = Math.max(body.bytes, request.bodyLength) > this.#maxBytes
    if (!isTooLarge && !body.ended) return
    this.#isOver = true
    body.isGathered = !isTooLarge
    this.#done(isTooLarge)
  }
  cancel(): void {
    this.#isOver = true
  }
}
