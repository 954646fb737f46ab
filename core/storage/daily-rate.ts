/** How much a counter grows in a day, by what it showed in the last day, or since the start. */
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

type Sample = { readonly atMs: number; readonly total: number }
export type PerDay = { readonly bytes: number; readonly overSec: number }

export class DailyRate {
  /** Oldest first, an hour apart or more; the first is a day old, or the beginning. */
  readonly #samples: Sample[]

  /** @param nowMs monotonic */
  constructor(nowMs: number) {
    this.#samples = [{ atMs: nowMs, total: 0 }]
  }
  /** Whenever it has grown. */
  note(total: number, nowMs: number): void {
    if (nowMs - this.#samples.at(-1)!.atMs < HOUR_MS) return
    this.#samples.push({ atMs: nowMs, total })
    while (this.#samples.length > 1 && nowMs - this.#samples[1]!.atMs >= DAY_MS) this.#samples.shift()
  }
  /** @returns undefined before any time has passed */
  read(total: number, nowMs: number): PerDay | undefined {
    this.note(total, nowMs)
    const { atMs, total: before } = this.#samples[0]!
    const overMs = nowMs - atMs
    if (overMs <= 0) return undefined
    return { bytes: Math.round(((total - before) / overMs) * DAY_MS), overSec: Math.round(overMs / 1_000) }
  }
}
