/**
 * The streams of one relay connection: opens and finds them, and decides whose frame goes next. Pure but for the port
 * that it writes to; what is thrown ends the connection.
 */
import { doNothing, guard, type Part } from '../defects/guard.ts'
import { MeshError } from '../errors.ts'
import { decodeFrames, encodeFrame, FRAME, readVarint, type Frame } from './frames.ts'
import { findKind, KINDS, type Kind } from './kinds.ts'
import { RelayStream } from './stream.ts'

/** One WebSocket, as far as it is needed here. `done`: the message has left this process. */
export type RelayPort = {
  send(message: Uint8Array, done: () => void): void
  /** What was given to `send` and has not left. */
  readonly bufferedBytes: number
}
export type MuxOptions = {
  readonly side: 'agent' | 'hub'
  /** Where defects are reported. */
  readonly part: Part
  readonly port: RelayPort
  /** Of what comes, by kind. */
  readonly maxMessageBytes: (kind: Kind) => number
  /** Streams that the other side may have open. */
  readonly maxStreams: number
  /** The other side has opened one. @param head what stands behind the kind. Throws: the stream is reset with it */
  readonly onStream: (stream: RelayStream, head: Uint8Array) => void
  /**
   * Of what has come and is not taken (halves of messages, messages for readers that pause), so many bytes more are held
   * here, or fewer. Throws: the connection ends with it
   */
  readonly held?: (change: number) => void
}

/** More is not given to the WebSocket before some of it has left: a frame of higher priority has to wait for it. */
const PORT_BYTES = 64 * 1024
/** Frames of one turn go out in messages of about this size: each costs 30 bytes of WebSocket and TLS. */
const GATHER_BYTES = 16 * 1024
/** Of so many frames one is that of whoever waits longest: a stream that never ends must not keep others from going. */
const FAIR_EVERY = 8
/** Credit, resets and openings that wait to leave. */
const MAX_CONTROL_FRAMES = 1_024
const UNKNOWN_KIND = 'this side does not know streams of that kind; the versions of agent and hub differ'

export class Mux {
  readonly #o: MuxOptions
  readonly #streams = new Map<number, RelayStream>()
  /** Streams that may have something to send, the one that waits longest first. */
  readonly #ready = new Set<RelayStream>()
  readonly #control: Frame[] = []
  #nextId: number
  #highestOfOther = 0
  #isScheduled = false
  #sinceFair = 0
  #reason: MeshError | undefined

  constructor(options: MuxOptions) {
    this.#o = options
    this.#nextId = options.side === 'agent' ? 1 : 2
  }

  get openStreams(): number {
    return this.#streams.size
  }

  /** Over, if the connection is: `onReset` comes at once then. */
  open(kind: Kind, head: Uint8Array = new Uint8Array(0)): RelayStream {
    const stream = this.#make(this.#nextId, kind)
    this.#nextId += 2
    this.#enqueue({ type: FRAME.open, stream: stream.id, payload: Buffer.concat([Buffer.of(KINDS[kind]), head]) })
    const reason = this.#reason
    if (reason) queueMicrotask(guard(this.#o.part, doNothing, () => stream.abort(reason)))
    return stream
  }

  /** One message of the WebSocket. Throws MESH_CONTROL_PROTOCOL. */
  receive(message: Uint8Array): void {
    for (const frame of decodeFrames(message)) {
      if (this.#reason) return
      const stream = this.#streams.get(frame.stream)
      if (frame.type === FRAME.open) this.#accept(frame)
      else if (!stream) this.#checkEnded(frame)
      else if (frame.type === FRAME.credit) stream.addCredit(readVarint(frame.payload, 0).value)
      else stream.receive(frame)
      if (this.#control.length > MAX_CONTROL_FRAMES)
        throw new MeshError('MESH_CONTROL_PROTOCOL', "the relay's other side asks and does not read the answers")
    }
  }

  /** The connection is over, and every stream with it. */
  end(reason: MeshError): void {
    if (this.#reason) return
    this.#reason = reason
    this.#control.length = 0
    this.#ready.clear()
    for (const stream of this.#streams.values()) stream.abort(reason)
  }

  #accept({ stream: id, payload }: Frame): void {
    const isOfOther = id % 2 === (this.#o.side === 'agent' ? 0 : 1)
    if (!isOfOther || id <= this.#highestOfOther || payload.length === 0)
      throw new MeshError('MESH_CONTROL_PROTOCOL', `the relay's other side opened a stream with the id ${id}`)
    this.#highestOfOther = id
    const kind = findKind(payload[0]!)
    if (kind === undefined || this.#streams.size >= this.#o.maxStreams) {
      const [code, what] =
        kind === undefined
          ? ['MESH_CONTROL_UNIMPLEMENTED', UNKNOWN_KIND]
          : ['MESH_CONTROL_SLOW_DOWN', `${this.#o.maxStreams} streams are open already`]
      this.#enqueue({ type: FRAME.reset, stream: id, payload: Buffer.from(`${code}\n${what}`) })
      return
    }
    const stream = this.#make(id, kind)
    try {
      this.#o.onStream(stream, payload.subarray(1))
    } catch (thrown) {
      if (!(thrown instanceof MeshError)) throw thrown
      stream.reset(thrown)
    }
  }

  /** This side may have reset it while frames were under way. */
  #checkEnded({ stream: id }: Frame): void {
    const isOwn = id % 2 === this.#nextId % 2
    if (isOwn ? id >= this.#nextId : id > this.#highestOfOther)
      throw new MeshError('MESH_CONTROL_PROTOCOL', `the relay's other side wrote to stream ${id}, which was never open`)
  }

  #make(id: number, kind: Kind): RelayStream {
    const stream = new RelayStream({
      id,
      kind,
      maxMessageBytes: this.#o.maxMessageBytes(kind),
      owner: {
        later: (work) => queueMicrotask(guard(this.#o.part, (reason) => this.end(reason), work)),
        control: (frame) => this.#enqueue(frame),
        wake: () => {
          this.#ready.add(stream)
          this.#schedule()
        },
        held: (change) => this.#o.held?.(change),
        closed: () => {
          this.#streams.delete(id)
          this.#ready.delete(stream)
        },
      },
    })
    this.#streams.set(id, stream)
    return stream
  }

  #enqueue(frame: Frame): void {
    if (this.#reason) return
    this.#control.push(frame)
    this.#schedule()
  }

  /** At the end of the turn of the event loop, so that what belongs together leaves together. */
  #schedule(): void {
    if (this.#isScheduled || this.#reason) return
    this.#isScheduled = true
    setImmediate(
      guard(
        this.#o.part,
        (reason) => this.end(reason),
        () => {
          this.#isScheduled = false
          this.#pump()
        },
      ),
    )
  }

  #pump(): void {
    const { port } = this.#o
    while (!this.#reason && port.bufferedBytes < PORT_BYTES) {
      const message = this.#gather()
      if (message.length === 0) return
      port.send(message, () => {
        if (this.#control.length > 0 || this.#ready.size > 0) this.#schedule()
      })
    }
  }

  #gather(): Uint8Array {
    const frames: Uint8Array[] = []
    let bytes = 0
    while (bytes < GATHER_BYTES) {
      const frame = this.#control.shift() ?? this.#nextFrame()
      if (!frame) break
      const encoded = encodeFrame(frame)
      bytes += encoded.length
      frames.push(encoded)
    }
    return frames.length === 1 ? frames[0]! : Buffer.concat(frames)
  }

  /** Of the highest priority, mostly; streams of one priority take turns. */
  #nextFrame(): Frame | undefined {
    const waiting = [...this.#ready]
    this.#sinceFair = (this.#sinceFair + 1) % FAIR_EVERY
    if (this.#sinceFair > 0) waiting.sort((a, b) => a.priority - b.priority)
    for (const stream of waiting) {
      this.#ready.delete(stream)
      const frame = stream.next()
      if (!frame) continue
      if (!stream.isOver) this.#ready.add(stream)
      return frame
    }
    return undefined
  }
}
