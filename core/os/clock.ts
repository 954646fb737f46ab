/** Time and chance, passed in everywhere; only agent/main.ts and hub/main.ts hand out the real ones. */
import { guard, doNothing } from '../defects/guard.ts'

export interface Clock {
  /** Milliseconds since the Unix epoch; may jump. For certificate dates and log stamps only. */
  wallMs(): number
  /** Milliseconds from an arbitrary origin; never goes back. For every timeout and duration. */
  monotonicMs(): number
  /** What this thread has worked; a microsecond each time. For shares of work: others may have the core meanwhile. */
  threadCpuMs(): number
  /** Resolves after `ms`. Rejects with the signal's reason when aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Calls `fire` once after `ms` unless cancelled. Cheaper than `sleep`; for hot paths. */
  after(ms: number, fire: () => void): Timer
}

export interface Timer {
  cancel(): void
  /** Starts the delay anew. */
  refresh(): void
}

export interface Random {
  /** Uniform in [0, 1). */
  float(): number
}

/** Full jitter: uniform in [0, min(capMs, baseMs · 2^attempt)); attempt counts from 0. */
export function computeBackoffMs(attempt: number, p: { baseMs: number; capMs: number }, random: Random): number {
  return random.float() * Math.min(p.capMs, p.baseMs * 2 ** attempt)
}

/** `fraction` of `ms`, moved by at most ± `spread` (both 0..1). For renewals, so that a fleet does not come at once. */
export function jitterMs(ms: number, p: { fraction: number; spread: number }, random: Random): number {
  return ms * (p.fraction + (random.float() * 2 - 1) * p.spread)
}

/** Node caps a timer at 2^31-1 ms and fires a longer one at once; longer waits go in steps. */
const MAX_TIMER_MS = 2 ** 31 - 1

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  // As performance.now(), without the modules behind `performance`: two milliseconds of a start.
  monotonicMs() {
    const [s, ns] = process.hrtime()
    return s * 1e3 + ns / 1e6
  },
  threadCpuMs() {
    const { user, system } = process.threadCpuUsage()
    return (user + system) / 1e3
  },
  async sleep(ms, signal) {
    signal?.throwIfAborted()
    for (let left = ms; left > 0; left -= MAX_TIMER_MS) await sleepOnce(Math.min(left, MAX_TIMER_MS), signal)
  },
  after(ms, fire) {
    // What it belongs to hears nothing of a defect in it: whoever must not be left waiting guards `fire` itself.
    return new SystemTimer(setTimeout(guard('timer', doNothing, fire), Math.min(ms, MAX_TIMER_MS)))
  },
}
class SystemTimer implements Timer {
  readonly #handle: NodeJS.Timeout

  constructor(handle: NodeJS.Timeout) {
    this.#handle = handle
  }
  cancel(): void {
    clearTimeout(this.#handle)
  }
  refresh(): void {
    this.#handle.refresh()
  }
}

export const systemRandom: Random = { float: () => Math.random() }

function sleepOnce(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = guard('timer', reject, () => {
      clearTimeout(handle)
      reject(signal?.reason)
    })
    const handle = setTimeout(
      guard('timer', reject, () => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      }),
      ms,
    )
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}
