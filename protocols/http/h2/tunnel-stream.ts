/**
 * The stream of a CONNECT as a byte stream, either side (RFC 9113 §8.5): END_STREAM ends one side, and what breaks off
 * is a reset. Its writes are done when their bytes are on the connection, so that writableLength is what waits.
 */
import { Duplex } from 'node:stream'
import type { MeshError } from '../../../core/errors.ts'
import { ErrorCode } from '../codec/h2-frames.ts'
import type { Http2Stream, StreamOwner } from './stream/stream.ts'

type Done = (error?: Error | null) => void

export type TunnelOptions = {
  /** The peer's side was over with its head. */
  readonly isEnded?: boolean
  /** What it is to its reader that the peer has broken it off. @param code of RST_STREAM */
  readonly describeReset: (code: number) => MeshError
  /** The stream was reset, or its connection is over. */
  readonly onReset?: () => void
  /** Some of what waits has left. */
  readonly onWritten?: () => void
  /** It is not read from now; as much may still come as the window permits. */
  readonly onPaused?: (isPaused: boolean) => void
  /** Before anything is read or written, once. */
  readonly onUse?: () => void
  /** Once, last. */
  readonly onClosed?: () => void
}

export class TunnelStream extends Duplex implements StreamOwner {
  readonly #stream: Http2Stream
  readonly #o: TunnelOptions
  /** The write at hand, or the end. */
  #done: Done | undefined
  #isUsed = false
  /** Somebody else has the HTTP/2 stream. */
  #isReleased = false

  /** @param stream paused; it is this object's from now on */
  constructor(stream: Http2Stream, o: TunnelOptions) {
    super({ allowHalfOpen: true })
    this.#stream = stream
    this.#o = o
    stream.owner = this
    if (o.isEnded) this.push(null)
  }

  /** Nobody has used it: the HTTP/2 stream is the caller's again, and this object ends without a word. */
  release(): void {
    this.#isReleased = true
    this.destroy()
  }

  override _read(): void {
    this.#use()
    this.#o.onPaused?.(false)
    this.#stream.resume()
  }
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#use()
    this.#stream.sendData(chunk)
    this.#whenSent(done)
  }
  override _writev(chunks: { readonly chunk: Buffer }[], done: Done): void {
    this.#use()
    for (const { chunk } of chunks) this.#stream.sendData(chunk)
    this.#whenSent(done)
  }
  override _final(done: Done): void {
    this.#use()
    this.#stream.sendEnd()
    this.#whenSent(done)
  }
  override _destroy(error: Error | null, done: Done): void {
    // What ended in order is closed by now, or closes when its last frames have left.
    if (!this.#isReleased && !(this.writableFinished && this.readableEnded)) this.#stream.reset(ErrorCode.CONNECT_ERROR)
    done(error)
  }

  #use(): void {
    if (this.#isUsed) return
    this.#isUsed = true
    this.#o.onUse?.()
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
    if (this.push(chunk)) return
    this.#stream.pause()
    this.#o.onPaused?.(true)
  }
  onEnd(): void {
    this.push(null)
  }
  onPause(): void {
    /* `push` has told */
  }
  onWritten(): void {
    this.#o.onWritten?.()
    if (!this.#stream.hasOutgoing) this.#sent()
  }
  onStreamClose(code: number): void {
    this.#close(code)
    this.#o.onPaused?.(false)
    this.#o.onClosed?.()
  }
  #close(code: number): void {
    if (this.#stream.localEnded && this.#stream.remoteEnded) {
      this.#sent()
      return
    }
    this.#o.onReset?.()
    this.#done = undefined
    this.destroy(this.#o.describeReset(code))
  }
}
