import type { Clock, Timer } from '../../core/os/clock.ts'

/** A clock that moves only when told to. Starts at 2023-11-14T22:13:20Z on the wall and 0 on the monotonic scale. */
export class SimClock implements Clock {
  #now = 0
  #wallOffset: number
  readonly #timers = new Set<{ at: number; fire: () => void }>()
  constructor(wallStartMs = 1_700_000_000_000) {
    this.#wallOffset = wallStartMs
  }

  wallMs(): number {
    return this.#wallOffset + this.#now
  }
  monotonicMs(): number {
    return this.#now
  }
  threadCpuMs(): number {
    return this.monotonicMs()
  }
  /** Jumps of the wall clock alone: NTP, DST, a battery that died. */
  setWallMs(ms: number): void {
    this.#wallOffset = ms - this.#now
  }
  get pendingTimers(): number {
    return this.#timers.size
  }

  after(ms: number, fire: () => void): Timer {
    const timer = { at: this.#now + ms, fire }
    this.#timers.add(timer)
    return {
      cancel: () => {
        this.#timers.delete(timer)
      },
      refresh: () => {
        timer.at = this.#now + ms
        this.#timers.add(timer)
      },
    }
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        timer.cancel()
        reject(signal?.reason)
      }
      const timer = this.after(ms, () => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      })
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  /** Moves time forward, firing timers in order and letting promises and streams settle after each. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms
    await settle()
    for (;;) {
      const next = [...this.#timers].filter((t) => t.at <= until).sort((a, b) => a.at - b.at)[0]
      if (!next) break
      this.#timers.delete(next)
      this.#now = Math.max(this.#now, next.at)
      next.fire()
      await settle()
    }
    this.#now = until
    await settle()
  }
}

/** Lets promises, streams and immediates that are due now run. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 4; i++)
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
}
