/**
 * When the next configuration stream is opened. A control plane that ends takes all its streams with it, and whoever
 * finds it away tries again: without a spread of both, a fleet comes back within the second in which it is there again.
 */
import type { Random } from '../../core/os/clock.ts'
import type { ErrorCode, MeshError } from '../../core/errors.ts'
import { AFTER_GOOD_STREAM_MS, Failures, isAway, retryWaitMs } from './errors.ts'
import { GOOD_STREAM_MS } from './transport.ts'

/** After its first answer: the link carries, and what cut it was no answer to what we sent. */
const MIN_STABLE_MS = 1_000
/** Of a stream that the other side, or what stands in between, has ended without a complaint. */
const ENDINGS: ReadonlySet<string> = new Set<ErrorCode>(['MESH_CONTROL_UNREACHABLE', 'MESH_DRAINING'])

/** A stream that has ended; monotonic milliseconds. */
export type EndedStream = {
  readonly reason: MeshError
  readonly openedMs: number
  readonly answeredMs: number | undefined
  readonly nowMs: number
}

export class Returning {
  readonly #random: Random
  readonly #withinMs: number | undefined
  readonly #failures = new Failures()
  /**
   * The last stream had its life: many may have lost the same thing. A device that has just started, or whose link
   * comes and goes, is alone with that.
   */
  #isOneOfMany = false

  /** @param withinMs AdsTransport.returnWithinMs */
  constructor(withinMs: number | undefined, random: Random) {
    this.#withinMs = withinMs
    this.#random = random
  }

  /** @returns `isNormal`: the stream has had its life, as with an age limit (istiod: 30 min) or a restart */
  next({ reason, openedMs, answeredMs, nowMs }: EndedStream): { readonly waitMs: number; readonly isNormal: boolean } {
    const wasCut = answeredMs !== undefined && ENDINGS.has(reason.code)
    const isNormal = wasCut && nowMs - openedMs > GOOD_STREAM_MS
    if (answeredMs !== undefined) this.#isOneOfMany = isNormal
    // On a link that comes and goes by the second the waits begin anew with each stream that stood. Envoy's and
    // gRPC's (A57) do after any answer; what breaks while everything is sent, again and again, is opened more and
    // more seldom here, because each try costs all of it.
    if (isNormal || (wasCut && nowMs - answeredMs > MIN_STABLE_MS)) this.#failures.forget()
    if (isNormal) return { isNormal, waitMs: this.#random.float() * (this.#withinMs ?? AFTER_GOOD_STREAM_MS) }
    const waitMs = this.#waitMs(reason)
    this.#failures.add(reason)
    return { isNormal, waitMs }
  }
  /** Somebody wants a stream now. */
  forget(): void {
    this.#failures.forget()
  }

  /** Around the time within which all come back, so that each of its seconds has as many tries as any other. */
  #waitMs(reason: MeshError): number {
    if (this.#withinMs !== undefined && this.#isOneOfMany && isAway(reason))
      return this.#withinMs * (0.5 + this.#random.float())
    return retryWaitMs(reason, this.#failures.of(reason), this.#random)
  }
}
