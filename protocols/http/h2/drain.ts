/**
 * The first of the two steps in which a server ends a connection without losing requests that are on their way (RFC
 * 9113 §6.8): GOAWAY with the highest id asks the client to open no more streams, and its answer to the PING behind it
 * shows that it has read that.
 */
import type { Clock, Timer } from '../../../core/os/clock.ts'
import { ErrorCode, MAX_STREAM_ID } from '../codec/h2-frames.ts'
import type { FrameOutput } from './frame-output.ts'

/** By then a client that does not answer has had time to read. */
const MAX_ROUND_TRIP_MS = 2000
const PAYLOAD = Buffer.from('drain...', 'latin1')

export class Drain {
  readonly #timer: Timer

  /** @param last guarded: time for the last GOAWAY */
  constructor(output: FrameOutput, clock: Clock, last: () => void) {
    output.goaway(MAX_STREAM_ID, ErrorCode.NO_ERROR)
    output.ping(PAYLOAD)
    this.#timer = clock.after(MAX_ROUND_TRIP_MS, last)
  }

  isAnswer(payload: Buffer): boolean {
    return payload.equals(PAYLOAD)
  }
  over(): void {
    this.#timer.cancel()
  }
}
