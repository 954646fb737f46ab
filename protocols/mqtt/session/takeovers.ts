/**
 * Client ids that are taken over again and again: two devices with one name throw each other out for ever, and both
 * think that their link is bad. One that comes back once over a connection that nobody has closed yet is everyday life.
 */
import type { Clock } from '../../../core/os/clock.ts'

/** So often within so long, one after the other. */
const MANY = 3
const WITHIN_MS = 60_000
/** How long a clone is reported after the last takeover. */
const TOLD_MS = 300_000
const MAX_IDS = 100

type Seen = { times: number; lastMs: number }
export type Clone = { readonly clientId: string; readonly times: number }

export class Takeovers {
  readonly #clock: Clock
  /** The one that was seen last is last. */
  readonly #seen = new Map<string, Seen>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  note(clientId: string): void {
    const nowMs = this.#clock.monotonicMs()
    const known = this.#seen.get(clientId)
    this.#seen.delete(clientId)
    this.#seen.set(clientId, { times: known && nowMs - known.lastMs <= WITHIN_MS ? known.times + 1 : 1, lastMs: nowMs })
    if (this.#seen.size > MAX_IDS) this.#seen.delete(this.#seen.keys().next().value!)
  }
  /** Ids that more than one device has, as it seems. */
  listClones(): Clone[] {
    const nowMs = this.#clock.monotonicMs()
    return [...this.#seen].flatMap(([clientId, { times, lastMs }]) =>
      times >= MANY && nowMs - lastMs <= TOLD_MS ? [{ clientId, times }] : [],
    )
  }
}
