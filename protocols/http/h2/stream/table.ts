/** The streams of a session that are at hand, and what is known of those that are not. */
import { ErrorCode, Http2ConnectionError } from '../../codec/h2-frames.ts'
import { LinkedList } from '../../../../core/runtime/linked-list.ts'
import { StreamsById } from './by-id.ts'
import { StreamIds } from './ids.ts'
import type { Http2Stream } from './stream.ts'

export class StreamTable {
  readonly ids: StreamIds
  /** A stream is here until its owner has been told everything. */
  readonly #byId = new StreamsById()
  /** A client's, whose heads have not left. */
  readonly #unnumbered = new LinkedList<Http2Stream>()
  /** Streams with an id of which one side at least is open. */
  openCount = 0

  constructor(isServer: boolean) {
    this.ids = new StreamIds(isServer)
  }

  /** Streams whose owners are still told something. */
  get count(): number {
    return this.#byId.size + this.#unnumbered.size
  }
  /** Those that are here now. */
  get numbered(): readonly Http2Stream[] {
    return this.#byId.list()
  }
  get unnumbered(): readonly Http2Stream[] {
    return [...this.#unnumbered]
  }
  get unnumberedCount(): number {
    return this.#unnumbered.size
  }
  get all(): readonly Http2Stream[] {
    return [...this.numbered, ...this.unnumbered]
  }
  get(id: number): Http2Stream | undefined {
    return this.#byId.get(id)
  }

  /** A client's, before its head leaves. */
  addUnnumbered(stream: Http2Stream): void {
    stream.unnumbered = this.#unnumbered.add(stream)
  }
  /** The head of a client's stream leaves: ids go up in that order (RFC 9113 §5.1.1). */
  number(stream: Http2Stream): void {
    stream.id = this.ids.nextId
    this.ids.nextId += 2
    this.#deleteUnnumbered(stream)
    this.add(stream)
  }
  /** With its id. */
  add(stream: Http2Stream): void {
    this.#byId.add(stream)
    this.openCount++
  }
  #deleteUnnumbered(stream: Http2Stream): void {
    this.#unnumbered.delete(stream.unnumbered)
    stream.unnumbered = undefined
  }
  localEnd(stream: Http2Stream): void {
    stream.localEnded = true
    if (stream.remoteEnded) this.openCount--
  }
  /** The peer's side; the stream itself is told by its owner. */
  remoteEnd(stream: Http2Stream): void {
    if (stream.localEnded) this.openCount--
  }
  delete(stream: Http2Stream): void {
    if (stream.id === 0) this.#deleteUnnumbered(stream)
    else if (this.#byId.delete(stream.id) && !(stream.localEnded && stream.remoteEnded)) this.openCount--
  }

  /**
   * Undefined: frames that were on their way when the stream was reset, or to one that is not worked on. Throws for
   * what may never come.
   */
  known(id: number): Http2Stream | undefined {
    const stream = this.#byId.get(id)
    if (stream !== undefined) return stream
    const fate = this.ids.fateOf(id)
    if (fate === 'closed') throw new Http2ConnectionError(ErrorCode.STREAM_CLOSED, 'a frame of a stream that is closed')
    if (fate !== 'ignored')
      throw new Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, 'a frame of a stream that was never opened')
    return undefined
  }
}
