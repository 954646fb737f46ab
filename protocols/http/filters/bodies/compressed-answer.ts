/** An answer on its way through a compressor, with the client's back-pressure and trailers behind it. */
import type { MeshError } from '../../../../core/errors.ts'
import { UNKNOWN_LENGTH } from '../../codec/framing.ts'
import type { Downstream, ResponseHead } from '../../message.ts'
import type { HttpRuntime } from '../../runtime.ts'
import type { AnswerCompression } from './body-filter.ts'
import { decideAnswer } from './compression.ts'
import { Engine, type EngineSink } from './engine.ts'
import { Through } from './through.ts'

/** The exchange, as filters of bodies see it. */
export interface BodyOwner {
  readonly source: string
  readonly record: { sentBytes: number }
  /** The endpoint may send more. */
  resumeAnswer(): void
  /** What was said before it has all been passed on. */
  answerMade(): void
  abort(error: MeshError): void
}

export class CompressedAnswer extends Through implements EngineSink {
  readonly #rt: HttpRuntime
  readonly #owner: BodyOwner
  readonly #how: AnswerCompression
  #engine: Engine | undefined
  /** The client takes nothing now. */
  #isStopped = false
  #trailers: readonly string[] | undefined
  #isEnding = false

  constructor(inner: Downstream, how: AnswerCompression, owner: BodyOwner, rt: HttpRuntime) {
    super(inner)
    this.#how = how
    this.#owner = owner
    this.#rt = rt
  }

  override get isEnding(): boolean {
    return this.#isEnding || super.isEnding
  }

  override sendHead(head: ResponseHead, end: boolean): void {
    const library = decideAnswer(this.#how, head, end)
    if (!library) {
      super.sendHead(head, end)
      return
    }
    this.#rt.metrics.compressed.answer.value++
    const { waiting } = this.#rt
    const hold = waiting.hold({ client: this.#owner.source, giveUp: (error) => this.#owner.abort(error) })
    this.#engine = new Engine(library, this, hold)
    super.sendHead({ ...head, contentLength: UNKNOWN_LENGTH }, end)
  }

  override sendData(chunk: Buffer): void {
    if (!this.#engine) super.sendData(chunk)
    else {
      // What the client gets counts, once it is made.
      this.#owner.record.sentBytes -= chunk.length
      this.#engine.write(chunk)
    }
  }
  override sendEnd(trailers: readonly string[] | undefined): void {
    if (!this.#engine) {
      super.sendEnd(trailers)
      return
    }
    this.#trailers = trailers
    this.#isEnding = true
    this.#engine.finish()
  }
  override flush(): boolean {
    if (!this.#engine) return super.flush()
    if (!this.#isEnding) this.#engine.flush()
    this.#sendOn()
    return !this.#isStopped && !this.#engine.isFull
  }
  #sendOn(): void {
    if (super.flush()) return
    this.#isStopped = true
    this.#engine?.pause()
  }

  override drained(): boolean {
    if (!super.drained()) return false
    this.#isStopped = false
    this.#engine?.resume()
    return !this.#engine?.isFull
  }
  override finished(error: MeshError | undefined): void {
    this.#engine?.end()
    super.finished(error)
  }

  /* From the engine. */

  onOutput(chunk: Buffer): void {
    this.#owner.record.sentBytes += chunk.length
    super.sendData(chunk)
    this.#sendOn()
  }
  onOutputEnd(): void {
    this.#isEnding = false
    super.sendEnd(this.#trailers)
    super.flush()
    this.#owner.answerMade()
  }
  onTaken(): void {
    if (!this.#isStopped) this.#owner.resumeAnswer()
  }
  onBroken(error: MeshError): void {
    this.#owner.abort(error)
  }
}
