/**
 * A stream whose request was refused, while its answer waits for the client: it counts against the memory budget as
 * those that are served do.
 */
import { doNothing } from '../../../core/defects/guard.ts'
import { ErrorCode } from '../codec/h2-frames.ts'
import type { Http2Stream, StreamOwner } from '../h2/stream/stream.ts'
import type { Hold, Holder } from '../../waiting.ts'
import { STREAM_BYTES, type ServerConnection } from './h2-exchange.ts'

export class RefusedStream implements StreamOwner, Holder {
  readonly client: string
  readonly #stream: Http2Stream
  readonly #hold: Hold

  constructor({ rt, client }: ServerConnection, stream: Http2Stream) {
    this.client = client.directIp
    this.#stream = stream
    this.#hold = rt.waiting.hold(this)
    this.#hold.set(STREAM_BYTES)
  }

  giveUp(): void {
    this.#stream.reset(ErrorCode.INTERNAL_ERROR)
  }
  onStreamClose(): void {
    this.#hold.set(0)
  }

  /* The rest of the request is not wanted. */
  readonly onInformational = doNothing
  readonly onHead = doNothing
  readonly onData = doNothing
  readonly onEnd = doNothing
  readonly onPause = doNothing
  readonly onWritten = doNothing
}
