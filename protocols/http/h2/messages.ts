/** Header blocks of an HTTP/2 connection to requests, answers and trailers, told to whoever owns the stream. */
import { guard } from '../../../core/defects/guard.ts'
import type { MeshError } from '../../../core/errors.ts'
import { ErrorCode, Http2ConnectionError } from '../codec/h2-frames.ts'
import { findResponseProblem } from '../codec/h2-message-rules.ts'
import { HpackDecoder, HpackError, RepeatedFieldsError, type FieldList } from '../codec/hpack/decoder.ts'
import type { SessionOptions, SessionOwner } from './events.ts'
import { checkRequest, checkResponse, checkTrailers } from './stream/check-message.ts'
import { tellHead, tellInformational, type Http2Stream } from './stream/stream.ts'
import type { StreamTable } from './stream/table.ts'
import type { Touched } from './stream/touched.ts'

const HEADER_TABLE_BYTES = 4096
/** 1xx before one final answer. */
const MAX_INFORMATIONAL = 32

/** What messages need of their session. */
export interface MessageSession {
  /** The peer opens a stream. @returns undefined: it is not worked on */
  openedByPeer(streamId: number): Http2Stream | undefined
  /** The peer's side of the stream is over. */
  remoteEnd(stream: Http2Stream, trailers?: FieldList): void
  /** The peer broke the stream. */
  streamError(stream: Http2Stream, code: number, problem: string): void
}

export class Messages {
  readonly #isServer: boolean
  readonly #extendedConnect: boolean
  readonly #owner: SessionOwner
  readonly #session: MessageSession
  readonly #streams: StreamTable
  readonly #touched: Touched
  readonly #decoder: HpackDecoder

  constructor(
    { role, extendedConnect, maxHeaderListBytes, maxHeaderCount }: SessionOptions,
    owner: SessionOwner,
    session: MessageSession,
    streams: StreamTable,
    touched: Touched,
  ) {
    this.#isServer = role === 'server'
    this.#extendedConnect = extendedConnect
    this.#owner = owner
    this.#session = session
    this.#streams = streams
    this.#touched = touched
    this.#decoder = new HpackDecoder({
      maxTableBytes: HEADER_TABLE_BYTES,
      maxListBytes: maxHeaderListBytes,
      maxFields: maxHeaderCount,
    })
  }

  /** @param block whole @param end nothing follows on the stream @param dependsOn as FrameSink.onHeaders */
  read(streamId: number, block: Buffer, end: boolean, dependsOn: number | undefined): void {
    // Before anything else: the decoder's state is that of the whole connection.
    const list = this.#decode(block)
    if (this.#isServer && (streamId & 1) === 0)
      throw new Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a client's stream has an odd number")
    const isNew = this.#isServer && streamId > this.#streams.ids.lastPeerId
    const stream = isNew ? this.#session.openedByPeer(streamId) : this.#streams.known(streamId)
    if (stream === undefined) return
    if (dependsOn === streamId)
      this.#session.streamError(stream, ErrorCode.PROTOCOL_ERROR, 'a stream that depends on itself')
    else if (isNew) this.#request(stream, list, end)
    else if (stream.remoteEnded)
      this.#session.streamError(stream, ErrorCode.STREAM_CLOSED, 'HEADERS after the end of the stream')
    else if (stream.hasHead) this.#trailers(stream, list, end)
    else this.#response(stream, list, end)
  }

  #decode(block: Buffer): FieldList {
    try {
      return this.#decoder.decode(block, 0, block.length)
    } catch (thrown) {
      if (thrown instanceof RepeatedFieldsError) {
        this.#owner.onCostlyFrame('repeated fields')
        throw new Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, thrown.message)
      }
      if (thrown instanceof HpackError) throw new Http2ConnectionError(ErrorCode.COMPRESSION_ERROR, thrown.message)
      throw thrown
    }
  }

  #request(stream: Http2Stream, list: FieldList, end: boolean): void {
    const { fields, oversized, problem } = list
    const malformed =
      problem ?? checkRequest(stream, fields, { end, oversized, extendedConnect: this.#extendedConnect })
    if (end) stream.remoteEnded = true
    if (malformed === undefined) this.#tellStream(stream, list, end)
    else this.#malformed(stream, fields, malformed)
  }
  readonly #tellStream = guard('http2', endOf, (stream: Http2Stream, head: FieldList, end: boolean) => {
    this.#owner.onStream(stream, head, end)
  })
  #malformed(stream: Http2Stream, fields: string[], problem: string): void {
    this.#owner.onCostlyFrame('resets')
    this.#tellMalformed(stream, fields, problem)
    stream.resetWhenSent(ErrorCode.PROTOCOL_ERROR)
  }
  readonly #tellMalformed = guard('http2', endOf, (stream: Http2Stream, fields: string[], problem: string) => {
    this.#owner.onMalformed(stream, fields, problem)
  })

  #response(stream: Http2Stream, list: FieldList, end: boolean): void {
    const { fields, oversized, problem } = list
    const malformed = problem ?? findResponseProblem(fields)
    if (malformed !== undefined) {
      this.#session.streamError(stream, ErrorCode.PROTOCOL_ERROR, malformed)
      return
    }
    const status = Number(fields[1])
    if (status < 200) {
      const isWrong = end || oversized || status === 101
      this.#informational(stream, fields, isWrong)
      return
    }
    const wrong = checkResponse(stream, fields, status, end)
    if (wrong !== undefined) {
      this.#session.streamError(stream, ErrorCode.PROTOCOL_ERROR, wrong)
      return
    }
    this.#touched.add(stream)
    tellHead(stream, list, end)
    if (end) this.#session.remoteEnd(stream)
  }
  #informational(stream: Http2Stream, fields: string[], isWrong: boolean): void {
    if (isWrong || ++stream.informationalCount > MAX_INFORMATIONAL)
      this.#session.streamError(stream, ErrorCode.PROTOCOL_ERROR, '1xx where none may come')
    else tellInformational(stream, fields)
  }

  #trailers(stream: Http2Stream, list: FieldList, end: boolean): void {
    const malformed = list.problem ?? checkTrailers(stream, list.fields, end)
    if (malformed !== undefined) {
      this.#session.streamError(stream, ErrorCode.PROTOCOL_ERROR, malformed)
      return
    }
    this.#touched.add(stream)
    this.#session.remoteEnd(stream, list)
  }
}

/** What the owner of the session throws about a stream ends that stream. */
function endOf(_error: MeshError, stream: Http2Stream): void {
  stream.reset(ErrorCode.INTERNAL_ERROR)
}
