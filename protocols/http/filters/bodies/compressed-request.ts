/** A request's body on its way through a compressor: the client waits while it, or the endpoint, has enough. */
import type { MeshError } from '../../../../core/errors.ts'
import type { CompressionLibrary } from '../../../../model/http/bodies.ts'
import type { Downstream } from '../../message.ts'
import type { HttpRuntime } from '../../runtime.ts'
import type { BodySink } from './body-filter.ts'
import type { BodyOwner } from './compressed-answer.ts'
import { Engine, type EngineSink } from './engine.ts'
import { Through } from './through.ts'

export class CompressedRequest extends Through implements BodySink, EngineSink {
  readonly #next: BodySink
  readonly #owner: Pick<BodyOwner, 'abort'>
  readonly #engine: Engine
  #trailers: readonly string[] | undefined
  /** The endpoint takes nothing now. */
  #isStopped = false

  constructor(
    inner: Downstream,
    library: CompressionLibrary,
    next: BodySink,
    owner: Pick<BodyOwner, 'abort' | 'source'>,
    rt: HttpRuntime,
  ) {
    super(inner)
    this.#next = next
    this.#owner = owner
    rt.metrics.compressed.request.value++
    const hold = rt.waiting.hold({ client: owner.source, giveUp: (error) => owner.abort(error) })
    this.#engine = new Engine(library, this, hold)
  }

  data(chunk: Buffer): void {
    if (!this.#engine.write(chunk)) super.pauseRequest()
    this.#engine.flush()
  }
  end(trailers: readonly string[] | undefined): void {
    this.#trailers = trailers
    this.#engine.finish()
  }

  override pauseRequest(): void {
    this.#isStopped = true
    this.#engine.pause()
    super.pauseRequest()
  }
  override resumeRequest(): void {
    this.#isStopped = false
    this.#engine.resume()
    if (!this.#engine.isFull) super.resumeRequest()
  }
  override finished(error: MeshError | undefined): void {
    this.#engine.end()
    super.finished(error)
  }

  /* From the engine. */

  onOutput(chunk: Buffer): void {
    this.#next.data(chunk)
  }
  onOutputEnd(): void {
    this.#next.end(this.#trailers)
  }
  onTaken(): void {
    if (!this.#isStopped) super.resumeRequest()
  }
  onBroken(error: MeshError): void {
    this.#owner.abort(error)
  }
}
