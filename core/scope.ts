import type { Clock } from './os/clock.ts'

/** One lifetime. `draining`: start nothing new. `aborted`: stop now. Owned things close in reverse order. */
export class Scope implements AsyncDisposable {
  readonly #soft = new AbortController()
  readonly #hard = new AbortController()
  readonly #owned = new AsyncDisposableStack()
  get draining(): AbortSignal {
    return this.#soft.signal
  }
  get aborted(): AbortSignal {
    return this.#hard.signal
  }
  own<T extends AsyncDisposable | Disposable>(thing: T): T {
    return this.#owned.use(thing)
  }
  /** Runs `close` when the scope closes, in reverse order with everything owned. */
  onClose(close: () => void | Promise<void>): void {
    this.#owned.defer(close)
  }

  /** Tells everyone to start nothing new; closes nothing. */
  beginDrain(): void {
    this.#soft.abort()
  }

  /** Waits for `idle`, at most `graceMs`; then aborts what is left and closes what is owned. */
  async drain(idle: Promise<void>, graceMs: number, clock: Clock): Promise<'drained' | 'forced'> {
    await using closing = new AsyncDisposableStack()
    closing.use(this) // also when idle rejects
    this.#soft.abort()
    const done = new AbortController()
    // Not AbortSignal.timeout: its timer does not keep the process alive, and tests could not step it.
    const late = clock.sleep(graceMs, AbortSignal.any([done.signal, this.aborted])).then(
      () => 'forced' as const,
      () => 'drained' as const,
    )
    try {
      return await Promise.race([idle.then(() => 'drained' as const), late])
    } finally {
      done.abort()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#soft.abort()
    this.#hard.abort()
    await this.#owned.disposeAsync()
  }
}
