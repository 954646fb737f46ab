/**
 * The stream of a CONNECT as a byte stream (RFC 9113 §8.5): END_STREAM ends one side, and what breaks off is a reset.
 * Its writes are done when their bytes are on the connection, so that writableLength is what waits.
 */
import { Duplex } from 'node:stream'
import { MeshError } from '../../../core/errors.ts'
import { ErrorCode } from '../codec/h2-frames.ts'
import type { Http2Stream, StreamOwner } from '../h2/stream/stream.ts'

type Done = (error?: Error | null) => void

export class TunnelStream extends Duplex implements StreamOwner {
  readonly #stream: Http2Stream
  readonly #onReset: () => void
  /** The write at hand, or the end. */
  #done: Done | undefined

  /**
   * @param stream paused; it is this object's from now on
   * @param ended the client's side was over with its head
   * @param onReset the stream was reset, or its connection is over
   */
  constructor(stream: Http2Stream, ended: boolean, onReset: () => void) {
    super({ allowHalfOpen: true })
    this.#stream = stream
    this.#onReset = onReset
    stream.owner = this
    if (ended) this.push(null)
  }

  override _read(): void {
    this.#stream.resume()
  }
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#stream.sendData(chunk)
    this.#whenSent(done)
  }
  override _writev(chunks: { readonly chunk: Buffer }[], done: Done): void {
    for (const { chunk } of chunks) this.#stream.sendData(chunk)
    this.#whenSent(done)
  }
  override _final(done: Done): void {
    this.#stream.sendEnd()
    this.#whenSent(done)
  }
  override _destroy(error: Error | null, done: Done): void {
    // What ended in order is closed by now, or closes when its last frames have left.
    if (!(this.writableFinished && this.readableEnded)) this.#stream.reset(ErrorCode.CONNECT_ERROR)
    done(error)
  }

  #whenSent(done: Done): void {
    if (this.#stream.hasOutgoing) this.#done = done
    else done()
  }
  #sent(error?: Error): void {
    const done = this.#done
    this.#done = undefined
    done?.(error)
  }

  /* StreamOwner. */

  onInformational(): void {
    /* only of answers */
  }
  onHead(): void {
    /* only of answers */
  }
  onData(chunk: Buffer): void {
    if (!this.push(chunk)) this.#stream.pause()
  }
  onEnd(): void {
    this.push(null)
  }
  onPause(): void {
    /* `push` has told */
  }
  onWritten(): void {
    if (!this.#stream.hasOutgoing) this.#sent()
  }
  onStreamClose(code: number): void {
    if (this.#stream.localEnded && this.#stream.remoteEnded) {
      this.#sent()
      return
    }
    const error = new MeshError('MESH_CLIENT_GONE', `the client gave the stream up (error code ${code})`)
    this.#onReset()
    this.#done = undefined
    this.destroy(error)
  }
}
