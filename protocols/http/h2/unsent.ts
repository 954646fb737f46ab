/** What the socket of a connection has not taken counts against the memory budget: no stream has it any more. */
import type { Duplex } from 'node:stream'
import { guard, doNothing } from '../../../core/defects/guard.ts'
import type { Hold, Holder, Waiting } from '../../waiting.ts'
import type { Http2Session } from './session.ts'

/** Less is not counted: nearly all of it leaves in the same turn. */
const COUNTED_BYTES = 16 * 1024
const NOTHING = Buffer.alloc(0)

export class UnsentHold {
  readonly #socket: Duplex
  readonly #waiting: Waiting
  readonly #holder: Holder
  #hold: Hold | undefined
  #watches = false

  constructor(socket: Duplex, waiting: Waiting, holder: Holder) {
    this.#socket = socket
    this.#waiting = waiting
    this.#holder = holder
  }

  /** Frames have been made. */
  made({ unsentBytes }: Http2Session): void {
    if (this.#watches || unsentBytes < COUNTED_BYTES) return
    this.#watches = true
    // The socket gets them when the turn ends.
    setImmediate(this.#count)
  }
  end(): void {
    this.#hold?.set(0)
  }

  readonly #count = guard('http2', doNothing, (): void => {
    const socket = this.#socket
    this.#watches = !socket.destroyed && !socket.writableEnded && socket.writableLength >= COUNTED_BYTES
    if (!this.#watches) {
      this.#hold?.set(0)
      return
    }
    ;(this.#hold ??= this.#waiting.hold(this.#holder)).set(socket.writableLength)
    // Nothing is written when what is before it has been.
    socket.write(NOTHING, this.#count)
  })
}
