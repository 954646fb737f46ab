/**
 * Flow control of one HTTP/2 connection (RFC 9113 §5.2, §6.9): how much the peer may still send, and how much may still
 * be sent to it.
 */
import { createFlowControlError, MAX_WINDOW_BYTES } from '../codec/h2-frames.ts'
import type { FrameOutput } from './frame-output.ts'
import type { Sender } from './sender.ts'
import { ReceiveWindow } from './stream/receive-window.ts'
import type { Http2Stream } from './stream/stream.ts'
import type { StreamTable } from './stream/table.ts'

export class FlowControl {
  readonly #output: FrameOutput
  readonly #sender: Sender
  readonly #streams: StreamTable
  readonly #window: ReceiveWindow

  constructor(output: FrameOutput, sender: Sender, streams: StreamTable, connectionWindowBytes: number) {
    this.#output = output
    this.#sender = sender
    this.#streams = streams
    this.#window = new ReceiveWindow(connectionWindowBytes)
  }

  /** DATA has come. Throws when it is more than the window of the connection. */
  receive(bytes: number): void {
    if (!this.#window.receive(bytes)) throw createFlowControlError('more DATA than the window of the connection')
  }
  /** DATA was read or dropped: the peer may send as much again. */
  credit(bytes: number): void {
    const given = this.#window.take(bytes)
    if (given > 0) this.#output.windowUpdate(0, given)
  }

  /** WINDOW_UPDATE of the connection. Throws when the window becomes larger than a window may be (§6.9.1). */
  widenConnection(bytes: number): void {
    this.#sender.windowBytes += bytes
    if (this.#sender.windowBytes > MAX_WINDOW_BYTES) throw createFlowControlError('a window above the largest')
    this.#sender.resume()
  }
  /** WINDOW_UPDATE of a stream. @returns false when the window becomes larger than a window may be */
  widenStream(stream: Http2Stream, bytes: number): boolean {
    stream.sendWindowBytes += bytes
    if (stream.sendWindowBytes > MAX_WINDOW_BYTES) return false
    if (stream.hasOutgoing) this.#sender.add(stream)
    return true
  }
  /** The peer's SETTINGS_INITIAL_WINDOW_SIZE has changed by so much, which counts for all streams (§6.9.2). */
  moveStreams(byBytes: number): void {
    if (byBytes === 0) return
    for (const stream of this.#streams.all)
      if (!this.widenStream(stream, byBytes)) throw createFlowControlError('a window above the largest')
  }
}
