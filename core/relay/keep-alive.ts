/**
 * How long a connection may be silent: a way through NAT forgets a silent connection after a time that nobody tells, and
 * each PINGREQ costs bytes. What was survived grows until something is lost. Of one broker, over its connections.
 */
const GROWTH = 1.5
/** A way that has lost a connection once is not tried at that length again. */
const SAFE = 0.8

export class KeepAlive {
  #goodMs = 0
  #badMs = Infinity

  /** The next silence. @param maxMs the same as `minMs`: nothing is learnt */
  computeSilenceMs({ minMs, maxMs }: { readonly minMs: number; readonly maxMs: number }): number {
    const wantedMs = this.#goodMs === 0 ? minMs : this.#goodMs * GROWTH
    const safeMs = Math.max(this.#goodMs, this.#badMs * SAFE)
    return Math.max(minMs, Math.min(maxMs, wantedMs, safeMs))
  }
  noteSurvived(ms: number): void {
    this.#goodMs = Math.max(this.#goodMs, ms)
  }
  noteLost(ms: number): void {
    this.#badMs = Math.min(this.#badMs, ms)
    this.#goodMs = Math.min(this.#goodMs, this.#badMs * SAFE)
  }
}
