/**
 * For what this machine does not have yet: an address that comes with DHCP, a port that somebody else still holds.
 * Tried again with growing pauses, and for ever.
 */
import type { Clock, Timer } from './clock.ts'
import { toMeshError, type MeshError } from '../errors.ts'
import { detach, type Part } from '../defects/guard.ts'

const FIRST_PAUSE_MS = 2_000
const LONGEST_PAUSE_MS = 60_000

/** Before the next try, after so many that have failed. */
export function pauseMs(failures: number): number {
  return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.max(0, failures - 1))
}

type Options = {
  readonly clock: Clock
  readonly part: Part
  readonly attempt: () => Promise<void>
  readonly failed: (error: MeshError, retryInMs: number) => void
}

export class UntilItWorks implements AsyncDisposable {
  readonly #o: Options
  #failures = 0
  #timer: Timer | undefined
  #error: MeshError | undefined
  #trying: Promise<void> | undefined
  #over = false

  /** @param options.failed called after each try that was in vain */
  constructor(options: Options) {
    this.#o = options
  }

  /** Why it does not work yet. */
  get error(): MeshError | undefined {
    return this.#error
  }

  /**
   * Tries at once, the first time or because something has changed. Resolves when that has worked or not. Never
   * rejects.
   */
  try(): Promise<void> {
    this.#timer?.cancel()
    if (this.#over) return Promise.resolve()
    return (this.#trying ??= this.#attempt().finally(() => {
      this.#trying = undefined
    }))
  }
  /** Resolves when nothing is under way any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true
    this.#timer?.cancel()
    await this.#trying
  }

  async #attempt(): Promise<void> {
    const { clock, part, attempt, failed } = this.#o
    try {
      await attempt()
      this.#error = undefined
      this.#over = true
    } catch (thrown) {
      this.#error = toMeshError(thrown)
      if (this.#over) return
      const ms = pauseMs(++this.#failures)
      failed(this.#error, ms)
      this.#timer = clock.after(ms, () => {
        detach(part, this.try())
      })
    }
  }
}
