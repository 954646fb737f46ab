/**
 * Moving averages of rates per minute over 1, 5 and 15 minutes, computed as mosquitto's `$SYS/broker/load` and Unix's
 * load average are.
 */
const MINUTES = [1, 5, 15] as const
export type Averages = readonly (readonly [minutes: 1 | 5 | 15, perMinute: number])[]

export class Load {
  readonly #averages = [0, 0, 0]
  #last: number

  constructor(count: number) {
    this.#last = count
  }

  /** @param count all there were so far; `seconds` since the last time */
  update(count: number, seconds: number): void {
    const perMinute = ((count - this.#last) * 60) / seconds
    this.#last = count
    for (const [i, minutes] of MINUTES.entries()) {
      const kept = Math.exp(-seconds / (60 * minutes))
      this.#averages[i] = perMinute + kept * (this.#averages[i]! - perMinute)
    }
  }
  get averages(): Averages {
    return MINUTES.map((minutes, i) => [minutes, this.#averages[i]!] as const)
  }
}
