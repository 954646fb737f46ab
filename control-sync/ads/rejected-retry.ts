/**
 * Resources that were refused are asked for anew until they decode or are gone: istiod sends a refused one again only
 * when it changes, so a mistake that was mended elsewhere (another revision, another server behind the same name) would
 * stay unnoticed until the next stream.
 */
import type { Clock, Random, Timer } from '../../core/os/clock.ts'
import type { ResourceKind } from '../../model/snapshot.ts'

export type RejectedRetryOptions = {
  readonly clock: Clock
  readonly random: Random
  /** First wait, doubled up to `refusedRetryMaxMs`, half of it by chance; 0: never asked for again. */
  readonly refusedRetryMs: number
  readonly refusedRetryMaxMs: number
}
type Waiting = { names: readonly string[]; attempt: number; timer: Timer | undefined }

export class RejectedRetry implements Disposable {
  readonly #o: RejectedRetryOptions
  readonly #ask: (kind: ResourceKind, names: readonly string[]) => void
  readonly #kinds = new Map<ResourceKind, Waiting>()

  constructor(options: RejectedRetryOptions, ask: (kind: ResourceKind, names: readonly string[]) => void) {
    this.#o = options
    this.#ask = ask
  }

  /** @param all that is refused now */
  update(all: readonly { readonly kind: ResourceKind; readonly name: string }[]): void {
    if (this.#o.refusedRetryMs === 0) return
    const byKind = Map.groupBy(all, (r) => r.kind)
    for (const [kind, waiting] of this.#kinds)
      if (!byKind.has(kind)) {
        waiting.timer?.cancel()
        this.#kinds.delete(kind)
      }
    for (const [kind, refused] of byKind)
      this.#updateKind(
        kind,
        refused.map((r) => r.name),
      )
  }

  /** No stream to ask on; the next one brings everything anyway. */
  pause(): void {
    for (const waiting of this.#kinds.values()) {
      waiting.timer?.cancel()
      waiting.timer = undefined
    }
  }
  [Symbol.dispose](): void {
    this.pause()
  }

  #updateKind(kind: ResourceKind, names: readonly string[]): void {
    const waiting: Waiting = this.#kinds.get(kind) ?? { names: [], attempt: 0, timer: undefined }
    this.#kinds.set(kind, waiting)
    if (names.some((n) => !waiting.names.includes(n))) {
      waiting.attempt = 0
      waiting.timer?.cancel()
      waiting.timer = undefined
    }
    waiting.names = names
    if (!waiting.timer) this.#wait(kind, waiting)
  }

  #wait(kind: ResourceKind, waiting: Waiting): void {
    const { clock, random, refusedRetryMs, refusedRetryMaxMs } = this.#o
    const fullMs = Math.min(refusedRetryMaxMs, refusedRetryMs * 2 ** waiting.attempt)
    waiting.timer = clock.after(fullMs / 2 + (random.float() * fullMs) / 2, () => {
      waiting.attempt++
      // The answer may never come: what was removed meanwhile is answered with silence.
      this.#wait(kind, waiting)
      this.#ask(kind, waiting.names)
    })
  }
}
