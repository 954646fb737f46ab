/**
 * The streams that something was told about since the last pause: each hears once that the bytes at hand are all told.
 */
import { tellPause, type Http2Stream } from './stream.ts'

export class Touched {
  #streams: Http2Stream[] = []

  add(stream: Http2Stream): void {
    if (stream.isTouched) return
    stream.isTouched = true
    this.#streams.push(stream)
  }
  pause(): void {
    const streams = this.#streams
    if (streams.length === 0) return
    this.#streams = []
    for (const stream of streams) {
      stream.isTouched = false
      if (!stream.isClosed) tellPause(stream)
    }
  }
}
