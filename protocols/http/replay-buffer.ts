/** The request body as far as it may have to be sent (again): kept whole up to a limit, then only what was not passed on yet. */
export class ReplayBuffer {
  readonly #maxBytes: number
  #chunks: Buffer[] | undefined
  #bytes = 0
  /** Whole body so far is in memory. */
  replayable = true
  ended = false
  /** For the caller: the limit was counted for this request. */
  counted = false
  trailers: readonly string[] | undefined

  constructor(maxBytes: number) { this.#maxBytes = maxBytes }

  get chunks(): readonly Buffer[] { return this.#chunks ?? NONE }
  get full(): boolean { return this.#bytes >= this.#maxBytes }

  /** @returns false once the body is longer than the limit: it cannot be repeated after it was passed on */
  add(chunk: Buffer): boolean {
    this.#bytes += chunk.length
    if (this.#chunks) this.#chunks.push(chunk)
    else this.#chunks = [chunk]
    return this.#bytes <= this.#maxBytes
  }

  /** What is here was given to a connection. */
  passed(): void {
    if (this.replayable && this.#bytes <= this.#maxBytes) return
    this.replayable = false
    this.#chunks = undefined
  }

  end(trailers: readonly string[] | undefined): void {
    this.ended = true
    this.trailers = trailers
  }

  /** No further try will come. */
  drop(): void {
    this.#chunks = undefined
    this.replayable = false
    this.counted = true
    this.#bytes = this.#maxBytes + 1
  }
}

const NONE: readonly Buffer[] = []
