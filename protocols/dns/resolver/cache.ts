/**
 * Answers of upstream resolvers by question: bounded, the longest unused goes first. Past their time they stay for when
 * nobody answers (RFC 8767).
 */
import type { Answer } from '../codec/answer.ts'

export type Entry = {
  readonly answer: Answer
  /** Monotonic milliseconds. */
  readonly storedMs: number
  readonly freshUntilMs: number
  readonly staleUntilMs: number
  /** Until then nobody is asked again: the last try failed (RFC 8767 §5, failure recheck timer). */
  restUntilMs: number
}
export type CacheLimits = { readonly maxEntries: number; readonly maxBytes: number }

/** Key, objects and arrays around an answer, roughly. */
const ENTRY_BYTES = 600

export class Cache {
  readonly #limits: CacheLimits
  readonly #entries = new Map<string, Entry>()
  #bytes = 0

  constructor(limits: CacheLimits) {
    this.#limits = limits
  }
  get size(): number {
    return this.#entries.size
  }
  get bytes(): number {
    return this.#bytes
  }
  /** The longest unused first. */
  entries(): Iterable<[string, Entry]> {
    return this.#entries
  }

  /** Undefined when there is none that could be used at `nowMs`, be it as a stale one. */
  get(key: string, nowMs: number): Entry | undefined {
    const entry = this.#entries.get(key)
    if (!entry) return undefined
    this.#drop(key, entry)
    if (nowMs >= Math.max(entry.freshUntilMs, entry.staleUntilMs)) return undefined
    this.#add(key, entry) // at the end: last used
    return entry
  }

  set(key: string, entry: Entry): void {
    const before = this.#entries.get(key)
    if (before) this.#drop(key, before)
    this.#add(key, entry)
    for (const [oldest, of] of this.#entries) {
      if (this.#entries.size <= this.#limits.maxEntries && this.#bytes <= this.#limits.maxBytes) break
      this.#drop(oldest, of)
    }
  }

  #add(key: string, entry: Entry): void {
    this.#entries.set(key, entry)
    this.#bytes += sizeOf(key, entry)
  }
  #drop(key: string, entry: Entry): void {
    this.#entries.delete(key)
    this.#bytes -= sizeOf(key, entry)
  }
}

function sizeOf(key: string, { answer: { records } }: Entry): number {
  return ENTRY_BYTES + key.length + records.body.length + 16 * records.ends.length
}
