/**
 * The request body as far as it may have to be sent (again): kept whole up to a limit, then only what was not passed on
 * yet.
 */
import type { MeshError } from '../../../core/errors.ts'
import type { BodySink } from '../filters/bodies/body-filter.ts'
import type { Hold, Holder, Waiting } from '../../waiting.ts'
import { HoldingBlock } from '../holding-block.ts'

/** Less is not counted against the memory budget. */
const COUNTED_BYTES = 4 * 1024
/** Parts below it that wait are put together: what comes byte by byte would take hundreds of bytes for each. */
const SMALL_BYTES = 1024

export class ReplayBuffer implements Holder {
  #maxBytes: number
  readonly #waiting: Waiting
  readonly #owner: { readonly source: string; abort(error: MeshError): void }
  #chunks: Buffer[] | undefined
  #block: HoldingBlock | undefined
  #bytes = 0
  #hold: Hold | undefined
  /** An endpoint has all of it: what is here is a copy. */
  #isCopy = false
  /** Whole body so far is in memory. */
  replayable = true
  ended = false
  /** A filter has waited for the whole body. */
  isGathered = false
  trailers: readonly string[] | undefined

  constructor(maxBytes: number, waiting: Waiting, owner: { readonly source: string; abort(error: MeshError): void }) {
    this.#maxBytes = maxBytes
    this.#waiting = waiting
    this.#owner = owner
  }

  get chunks(): readonly Buffer[] {
    return this.#chunks ?? NONE
  }
  /** Of what has come. */
  get bytes(): number {
    return this.#bytes
  }
  /** A filter wants more of the body than a try may be repeated with. */
  raise(maxBytes: number): void {
    this.#maxBytes = Math.max(this.#maxBytes, maxBytes)
  }
  get full(): boolean {
    return this.#bytes >= this.#maxBytes
  }
  get what(): 'stream' | 'replay-copy' {
    return this.#isCopy ? 'replay-copy' : 'stream'
  }
  get client(): string {
    return this.#owner.source
  }

  /** @returns true when this chunk makes the body longer than the limit: it cannot be sent again once passed on */
  add(chunk: Buffer): boolean {
    const before = this.#bytes
    this.#bytes += chunk.length
    this.#isCopy = false
    if (!this.#chunks) this.#chunks = [chunk]
    else if (chunk.length < SMALL_BYTES) (this.#block ??= new HoldingBlock()).add(this.#chunks, chunk)
    else this.#chunks.push(chunk)
    if (this.#bytes > COUNTED_BYTES && this.replayable) (this.#hold ??= this.#waiting.hold(this)).set(this.#bytes)
    return before <= this.#maxBytes && this.#bytes > this.#maxBytes
  }

  /** All that has come is a filter's now; what it makes of it comes as if it were the body. */
  moveTo(sink: BodySink): void {
    const { chunks, ended, trailers } = this
    this.#chunks = undefined
    this.#block = undefined
    this.#bytes = 0
    this.#hold?.set(0)
    this.ended = false
    this.trailers = undefined
    for (const chunk of chunks) sink.data(chunk)
    if (ended) sink.end(trailers)
  }

  /** The buffered bytes were given to a connection. */
  passed(): void {
    this.#isCopy = true
    if (this.replayable && this.#bytes <= this.#maxBytes) return
    this.#forget()
  }

  /** The endpoint that had them is not asked any more: for whoever is next they are the body. */
  takeBack(): void {
    this.#isCopy = false
  }

  end(trailers: readonly string[] | undefined): void {
    this.ended = true
    this.trailers = trailers
  }

  /** The request that goes on has none of it. */
  clear(): void {
    this.#chunks = undefined
    this.#block = undefined
    this.#bytes = 0
    this.trailers = undefined
    this.#hold?.set(0)
  }

  /** No further try will come. */
  drop(): void {
    this.#forget()
    this.#bytes = this.#maxBytes + 1
  }

  /** A copy that is needed only if the try fails is nothing that anybody misses now. */
  giveUp(error: MeshError): void {
    if (this.#isCopy) this.#forget()
    else this.#owner.abort(error)
  }

  #forget(): void {
    this.#chunks = undefined
    this.#block = undefined
    this.replayable = false
    this.#hold?.set(0)
  }
}

const NONE: readonly Buffer[] = []
