/**
 * Delays refusals to a source that guesses passwords. Each refusal of the last minute doubles the delay, and only a few
 * may wait at once; attempts beyond that are not checked. Only refusals are delayed, so other clients behind the same
 * address (NAT, a gateway) are served as usual.
 */
import type { Clock } from '../../../core/os/clock.ts'
import { MeshError } from '../../../core/errors.ts'
import { type Lease, takeLease, Tally } from '../../../core/lease.ts'

const FIRST_DELAY_MS = 250
/** Without a refusal for so long, a source begins anew. */
const FORGET_MS = 60_000
/** Of one source. */
const MAX_HELD = 8
/** Sources that are remembered; a further one replaces the one refused longest ago. */
const MAX_SOURCES = 4_096

type Source = { refusals: number; lastMs: number; readonly held: Tally }

export class Guesses {
  readonly #clock: Clock
  /** 0 = refusals are not held back. */
  maxDelayMs: number
  /** Who was refused last stands last. */
  readonly #sources = new Map<string, Source>()

  constructor(clock: Clock, maxDelayMs: number) {
    this.#clock = clock
    this.maxDelayMs = maxDelayMs
  }

  get sources(): number {
    return this.#sources.size
  }

  /** @throws MESH_LISTENER_FULL when the source has as many refusals to wait for as it may */
  mayTry(source: string): void {
    if ((this.#sources.get(source)?.held.now ?? 0) < MAX_HELD) return
    throw new MeshError(
      'MESH_LISTENER_FULL',
      `${MAX_HELD} clients of its source wait for the refusal of their password or token, and this one was not looked at`,
    )
  }

  /** Resolves when the refusal may be told. Never rejects. */
  async delayRefusal(source: string, signal: AbortSignal): Promise<void> {
    if (this.maxDelayMs === 0) return
    const one = this.#note(source)
    const delayMs = Math.min(this.maxDelayMs, FIRST_DELAY_MS * 2 ** (one.refusals - 1))
    using _: Lease = takeLease(one.held)
    try {
      await this.#clock.sleep(delayMs, signal)
    } catch {
      // The client is gone and waits no more; its guess counts all the same.
    }
  }

  #note(name: string): Source {
    const now = this.#clock.monotonicMs()
    const known = this.#sources.get(name)
    const one = known ?? { refusals: 0, lastMs: now, held: new Tally() }
    if (now - one.lastMs > FORGET_MS) one.refusals = 0
    // 2^30 quarters of a second are more than any bound.
    one.refusals = Math.min(30, one.refusals + 1)
    one.lastMs = now
    this.#sources.delete(name)
    this.#sources.set(name, one)
    if (this.#sources.size > MAX_SOURCES) this.#sources.delete(this.#sources.keys().next().value!)
    return one
  }
}
