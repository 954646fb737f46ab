/** One stream of the relay: messages in order both ways, each side sending as much as the other has room for. */
import { CATALOGUE, MeshError, type ErrorCode } from '../errors.ts'
import { toPrintable } from '../printable.ts'
import { encodeVarint, FRAME, MAX_PAYLOAD_BYTES, type Frame } from './frames.ts'
import { GatheredMessage } from './gathered-message.ts'
import { PRIORITY, type Kind } from './kinds.ts'

/** Bytes that a side may have under way to a reader that has not taken them. */
export const WINDOW_BYTES = 256 * 1024
/** What waits to be sent above this makes `send` ask for a pause. */
const HIGH_WATER_BYTES = 256 * 1024
/** What a message that waits takes beside its bytes. */
const MESSAGE_COST_BYTES = 256
const NO_BYTES = new Uint8Array(0)

/** Called by the stream; never after `onEnd` or `onReset` of the same side. */
export type StreamEvents = {
  readonly onMessage: (message: Uint8Array) => void
  /** The other side sends no more. */
  readonly onEnd?: () => void
  /** It is over both ways, by the other side or with the connection. */
  readonly onReset?: (reason: MeshError) => void
  /** After `send` has answered false: there is room again. */
  readonly onDrain?: () => void
}
/** What a stream needs of its connection. */
export type StreamOwner = {
  /** Frames that go out whatever waits. */
  control(frame: Frame): void
  /** The stream has something to send. */
  wake(): void
  closed(stream: RelayStream): void
  /** Of what has come, so many bytes more are held here, or fewer. Throws when it is too much for the connection. */
  held(change: number): void
  /** Does it when this turn's work is done. */
  later(work: () => void): void
}

export class RelayStream {
  readonly id: number
  readonly kind: Kind
  readonly priority: number
  readonly #owner: StreamOwner
  readonly #maxMessageBytes: number
  #events: StreamEvents | undefined
  // Sending.
  readonly #outbox: Uint8Array[] = []
  #outboxBytes = 0
  /** Of the first message of the outbox, so many bytes have gone. */
  #sentOfFirst = 0
  #credit = WINDOW_BYTES
  #isFull = false
  #own: 'open' | 'ending' | 'ended' = 'open'
  // Receiving.
  readonly #message = new GatheredMessage()
  /** As it stands in the owner's sum. */
  #heldBytes = 0
  /** Bytes that have come and that the other side has no credit for again. */
  #taken = 0
  readonly #inbox: Uint8Array[] = []
  #isPaused = false
  #other: 'open' | 'ended' = 'open'
  #isEndTold = false
  #isOver = false

  constructor(p: {
    readonly id: number
    readonly kind: Kind
    readonly owner: StreamOwner
    readonly maxMessageBytes: number
  }) {
    this.id = p.id
    this.kind = p.kind
    this.priority = PRIORITY[p.kind]
    this.#owner = p.owner
    this.#maxMessageBytes = p.maxMessageBytes
  }

  get isOver(): boolean {
    return this.#isOver
  }
  listen(events: StreamEvents): this {
    this.#events = events
    return this
  }

  /** @returns false: more waits than should; `onDrain` follows */
  send(message: Uint8Array): boolean {
    if (this.#isOver || this.#own !== 'open') return true
    this.#outbox.push(message)
    this.#outboxBytes += message.length
    this.#owner.wake()
    this.#isFull ||= this.#outboxBytes > HIGH_WATER_BYTES
    return !this.#isFull
  }
  /** After what has been sent. */
  end(): void {
    if (this.#isOver || this.#own !== 'open') return
    this.#own = 'ending'
    this.#owner.wake()
  }
  reset(reason: MeshError): void {
    if (this.#isOver) return
    const text = Buffer.from(`${reason.code}\n${reason.message}`).subarray(0, MAX_REASON_BYTES)
    this.#owner.control({ type: FRAME.reset, stream: this.id, payload: text })
    this.#close()
  }
  /** What has come waits, and the other side has room for no more than the window. */
  pause(): void {
    this.#isPaused = true
  }
  resume(): void {
    this.#isPaused = false
    while (!this.#isPaused && !this.#isOver && this.#inbox.length > 0) {
      const message = this.#inbox.shift()!
      this.#hold(-message.length - MESSAGE_COST_BYTES)
      this.#events?.onMessage(message)
    }
    if (this.#isPaused || this.#isOver) return
    this.#giveCredit()
    if (this.#other === 'ended') this.#tellEnd()
  }

  /** The next frame that may go out; undefined: nothing, or no room at the other side. */
  next(): Frame | undefined {
    const first = this.#outbox[0]
    if (first === undefined) {
      if (this.#own !== 'ending') return undefined
      this.#own = 'ended'
      this.#closeWhenDone()
      return { type: FRAME.end, stream: this.id, payload: NO_BYTES }
    }
    const size = Math.min(first.length - this.#sentOfFirst, MAX_PAYLOAD_BYTES, this.#credit)
    if (size === 0 && first.length > 0) return undefined
    const payload = first.subarray(this.#sentOfFirst, this.#sentOfFirst + size)
    this.#credit -= size
    this.#outboxBytes -= size
    this.#sentOfFirst += size
    const isLast = this.#sentOfFirst === first.length
    if (isLast) {
      this.#outbox.shift()
      this.#sentOfFirst = 0
    }
    if (this.#isFull && this.#outboxBytes <= HIGH_WATER_BYTES / 2) {
      this.#isFull = false
      this.#owner.later(() => {
        if (!this.#isOver) this.#events?.onDrain?.()
      })
    }
    return { type: isLast ? FRAME.last : FRAME.part, stream: this.id, payload }
  }

  /** Throws MESH_CONTROL_PROTOCOL: the connection cannot go on. */
  receive({ type, payload }: Frame): void {
    if (this.#isOver) return
    switch (type) {
      case FRAME.part:
      case FRAME.last:
        this.#receivePart(payload, type === FRAME.last)
        break
      case FRAME.end:
        if (this.#other === 'ended') throw violation(`stream ${this.id} ended twice`)
        this.#other = 'ended'
        // Whoever has paused it may not listen yet.
        if (!this.#isPaused) this.#tellEnd()
        break
      case FRAME.reset:
        this.abort(readReason(payload))
        break
      case FRAME.open:
      case FRAME.credit:
        throw violation(`a frame of type ${type} came for stream ${this.id}`)
    }
  }
  addCredit(bytes: number): void {
    this.#credit += bytes
    if (this.#credit > MAX_CREDIT_BYTES) throw violation(`stream ${this.id} has credit for ${this.#credit} bytes`)
    this.#owner.wake()
  }
  /** Over both ways, and nobody needs to be told but this side. */
  abort(reason: MeshError): void {
    if (this.#isOver) return
    this.#close()
    this.#events?.onReset?.(reason)
  }

  #receivePart(payload: Uint8Array, isLast: boolean): void {
    if (this.#other === 'ended') throw violation(`a message came on stream ${this.id}, which had ended`)
    // It would need no credit, and there could be any number of them.
    if (payload.length === 0 && !isLast) throw violation(`a part of a message on stream ${this.id} is empty`)
    this.#taken += payload.length
    if (this.#taken > WINDOW_BYTES) throw violation(`stream ${this.id} sent more than it had credit for`)
    if (this.#message.length + payload.length > this.#maxMessageBytes) {
      const reason = new MeshError('MESH_CONTROL_PROTOCOL', `a message has more than ${this.#maxMessageBytes} bytes`)
      this.reset(reason)
      this.#events?.onReset?.(reason)
      return
    }
    if (isLast) this.#receiveLast(payload)
    else {
      this.#hold(payload.length)
      this.#message.add(payload)
    }
    this.#giveCredit()
  }

  #receiveLast(payload: Uint8Array): void {
    this.#hold(-this.#message.length)
    // What comes in one piece is not copied unless it has to wait.
    const isWhole = this.#message.length === 0 && !this.#isPaused
    if (!isWhole) this.#message.add(payload)
    const message = isWhole ? payload : this.#message.take()
    if (!this.#isPaused) {
      this.#events?.onMessage(message)
      return
    }
    this.#hold(message.length + MESSAGE_COST_BYTES)
    this.#inbox.push(message)
  }
  #hold(change: number): void {
    this.#heldBytes += change
    this.#owner.held(change)
  }

  #giveCredit(): void {
    if (this.#isPaused || this.#isOver || this.#other === 'ended' || this.#taken < WINDOW_BYTES / 2) return
    this.#owner.control({ type: FRAME.credit, stream: this.id, payload: encodeVarint(this.#taken) })
    this.#taken = 0
  }
  #tellEnd(): void {
    if (this.#isEndTold) return
    this.#isEndTold = true
    this.#events?.onEnd?.()
    this.#closeWhenDone()
  }

  #closeWhenDone(): void {
    if (this.#own === 'ended' && this.#isEndTold && !this.#isOver) this.#close()
  }
  #close(): void {
    this.#isOver = true
    this.#outbox.length = 0
    this.#inbox.length = 0
    this.#message.take()
    this.#hold(-this.#heldBytes)
    this.#owner.closed(this)
  }
}

const MAX_REASON_BYTES = 1_024
const MAX_CREDIT_BYTES = 16 * 1024 * 1024

function readReason(payload: Uint8Array): MeshError {
  const [code = '', ...words] = Buffer.from(payload).toString('utf8').split('\n')
  const known = Object.hasOwn(CATALOGUE, code) ? (code as ErrorCode) : 'MESH_CONTROL_PROTOCOL'
  return new MeshError(known, toPrintable(words.join(' ')))
}
function violation(what: string): MeshError {
  return new MeshError('MESH_CONTROL_PROTOCOL', `the relay's other side broke its rules: ${what}`)
}
