/**
 * First connections after the boot of the machine. When the power comes back, ten thousand devices boot in one moment:
 * each of their connections waits for a while of its own. Whoever starts the process on a machine that has run for
 * longer (a person, an update) waits for nothing.
 */
import type { Clock, Random } from '../os/clock.ts'

/** A service that starts with the machine starts within this time. */
export const BOOT_MS = 120_000

export type BootSpreadOptions = {
  /** The longest wait; 0 = none. */
  readonly spreadMs: number
  /** Of the machine, when the process began. Undefined: not known. */
  readonly uptimeMs?: number | undefined
  readonly clock: Clock
  readonly random: Random
}

export class BootSpread {
  readonly #o: BootSpreadOptions
  readonly #startedMs: number

  constructor(options: BootSpreadOptions) {
    this.#o = options
    this.#startedMs = options.clock.monotonicMs()
  }

  /** @returns how long one connection waits, each another time; 0 long after the boot */
  drawWaitMs(): number {
    const { spreadMs, uptimeMs, clock, random } = this.#o
    if (uptimeMs === undefined || uptimeMs > BOOT_MS) return 0
    return Math.max(0, random.float() * spreadMs - (clock.monotonicMs() - this.#startedMs))
  }
}
