/** A bucket that fills evenly, as Envoy's do: what came since the last look is worked out when somebody takes. */
import type { TokenBucket as Settings } from '../../../../model/http/rate-limit.ts'

/** Sums of fractions come short of whole tokens by this much. */
const ROUNDING = 1e-9

export class TokenBucket {
  readonly maxTokens: number
  readonly tokensPerMs: number
  #tokens: number
  /** Monotonic milliseconds. */
  #atMs: number

  constructor({ maxTokens, tokensPerFill, fillMs }: Settings, nowMs: number) {
    this.maxTokens = maxTokens
    this.tokensPerMs = tokensPerFill / fillMs
    this.#tokens = maxTokens
    this.#atMs = nowMs
  }

  /** All of them or none. @returns whether there were as many */
  take(nowMs: number, tokens = 1): boolean {
    this.#fill(nowMs)
    if (this.#tokens < tokens - ROUNDING) return false
    this.#tokens = Math.max(0, this.#tokens - tokens)
    return true
  }
  release(nowMs: number, tokens: number): void {
    this.#fill(nowMs)
    this.#tokens = Math.min(this.maxTokens, this.#tokens + tokens)
  }
  /** Whole tokens. */
  left(nowMs: number): number {
    this.#fill(nowMs)
    return Math.floor(this.#tokens + ROUNDING)
  }
  /** Until there is one. */
  waitMs(nowMs: number): number {
    this.#fill(nowMs)
    return this.#tokens >= 1 - ROUNDING ? 0 : Math.ceil((1 - this.#tokens) / this.tokensPerMs - ROUNDING)
  }

  #fill(nowMs: number): void {
    const added = Math.max(0, nowMs - this.#atMs) * this.tokensPerMs
    this.#tokens = Math.min(this.maxTokens, this.#tokens + added)
    this.#atMs = nowMs
  }
}
