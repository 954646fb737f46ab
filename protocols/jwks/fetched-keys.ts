/**
 * Keys of an issuer that are fetched over HTTP: at the start, again and again, and when a token names one that is not
 * there. They are kept on disk, so that a device that boots without a link takes tokens as before.
 */
import { hash } from 'node:crypto'
import { computeBackoffMs, type Clock, jitterMs, type Random, type Timer } from '../../core/os/clock.ts'
import { detach } from '../../core/defects/guard.ts'
import { MeshError } from '../../core/errors.ts'
import { type Jwks, parseJwks } from '../../core/jwt/jwks.ts'
import type { KeySource } from '../../core/jwt/key-source.ts'
import type { Log } from '../../core/log.ts'
import type { KeyStore } from './key-store.ts'

export type FetchedKeysOptions = {
  readonly url: string
  /** The document of now. */
  readonly fetch: () => Promise<string>
  readonly store: KeyStore
  readonly times: FetchTimes
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly onFetched: (ok: boolean) => void
  /** What it keeps in memory has become so much more. */
  readonly onHeld?: (bytes: number) => void
  readonly onEnd: () => void
}
export type FetchTimes = {
  readonly refreshMs: number
  /** After a fetch that failed. */
  readonly retry: { readonly baseMs: number; readonly capMs: number }
}
export type KeysStatus = {
  readonly url: string
  /** How many there are. */
  readonly keys: number
  /** By the wall clock; undefined: never, or before that was noted. */
  readonly fetchedMs: number | undefined
  readonly error: string | undefined
}

/** Whoever sends tokens of keys that nobody has makes us ask no more often, */
const MIN_LOOK_MS = 30_000
/** or where there are no keys at all. */
const MIN_LOOK_WITHOUT_MS = 1_000
/** On disk their age is noted no more often where they are the same: flash wears. */
const NOTED_EACH_MS = 3_600_000

export class FetchedKeys implements KeySource {
  readonly #o: FetchedKeysOptions
  #keys: Jwks | undefined
  /** Of the document that they are from; itself it is on disk. */
  #digest: string | undefined
  /** As long as the document was: names and keys are most of it. */
  #heldBytes = 0
  #fetchedMs: number | undefined
  #notedMs = -Infinity
  #error: MeshError | undefined
  #failures = 0
  #timer: Timer | undefined
  #fetching: Promise<boolean> | undefined
  #lastMs = -Infinity
  #isOver = false

  constructor(options: FetchedKeysOptions) {
    this.#o = options
    this.#readStored()
    detach('network', this.#look())
  }
  [Symbol.dispose](): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#timer?.cancel()
    this.#hold(0)
    this.#o.onEnd()
  }

  current(): Jwks {
    if (this.#keys) return this.#keys
    throw this.#error ?? this.#unavailable('they were not fetched yet')
  }
  lookAgain(): Promise<boolean> {
    const sinceMs = this.#o.clock.monotonicMs() - this.#lastMs
    const isRecent = this.#isOver || sinceMs < (this.#keys ? MIN_LOOK_MS : MIN_LOOK_WITHOUT_MS)
    return this.#fetching ?? (isRecent ? Promise.resolve(false) : this.#look())
  }
  /** Those of before are as good as any while there is no link. */
  problems(): readonly MeshError[] {
    return this.#keys || !this.#error ? [] : [this.#error]
  }
  get status(): KeysStatus {
    return {
      url: this.#o.url,
      keys: this.#keys?.keys.length ?? 0,
      fetchedMs: this.#fetchedMs,
      error: this.#error?.message,
    }
  }

  /** Never rejects. @returns whether there are other keys now */
  #look(): Promise<boolean> {
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }
  async #fetch(): Promise<boolean> {
    const { clock, log, url, fetch, onFetched } = this.#o
    this.#timer?.cancel()
    this.#lastMs = clock.monotonicMs()
    let changed = false
    try {
      const text = await fetch()
      if (this.#isOver) return false
      changed = this.#use(text)
      this.#failures = 0
      this.#error = undefined
    } catch (cause) {
      if (this.#isOver) return false
      this.#failures++
      this.#error = this.#unavailable(cause instanceof Error ? cause.message : String(cause), cause)
      log.info({ evt: 'jwks.fetch', url, err: this.#error, has: this.#keys !== undefined }, 'keys were not fetched')
    }
    onFetched(this.#failures === 0)
    this.#timer = clock.after(this.#computePauseMs(), () => detach('network', this.#look()))
    return changed
  }
  #computePauseMs(): number {
    const { random, times } = this.#o
    return this.#failures === 0
      ? jitterMs(times.refreshMs, { fraction: 1, spread: 0.1 }, random)
      : times.retry.baseMs + computeBackoffMs(this.#failures, times.retry, random)
  }

  #use(text: string): boolean {
    const digest = digestOf(text)
    const changed = digest !== this.#digest
    if (changed) {
      const { keys, unused } = this.#keep(text, digest)
      this.#o.log.info({ evt: 'jwks.fetch', url: this.#o.url, keys: keys.length, unused }, 'keys were fetched')
    }
    this.#fetchedMs = this.#o.clock.wallMs()
    if (changed || Math.abs(this.#fetchedMs - this.#notedMs) >= NOTED_EACH_MS) this.#store(text, this.#fetchedMs)
    return changed
  }
  #keep(text: string, digest: string): Jwks {
    this.#keys = parseJwks(text)
    this.#digest = digest
    this.#hold(text.length)
    return this.#keys
  }
  #hold(bytes: number): void {
    this.#o.onHeld?.(bytes - this.#heldBytes)
    this.#heldBytes = bytes
  }
  #store(text: string, fetchedMs: number): void {
    const { log, url, store } = this.#o
    try {
      store.write({ text, fetchedMs })
      this.#notedMs = fetchedMs
    } catch (cause) {
      log.warn(
        { evt: 'jwks.store', url, err: this.#unavailable('they could not be stored', cause) },
        'keys serve until the next start only',
      )
    }
  }
  #readStored(): void {
    const { store, log, url } = this.#o
    try {
      const stored = store.read()
      if (!stored) return
      this.#keep(stored.text, digestOf(stored.text))
      this.#fetchedMs = stored.fetchedMs
      this.#notedMs = stored.fetchedMs ?? -Infinity
    } catch (cause) {
      log.warn(
        { evt: 'jwks.store', url, err: this.#unavailable('what is stored of them cannot be used', cause) },
        'stored keys cannot be used',
      )
    }
  }
  #unavailable(why: string, cause?: unknown): MeshError {
    return new MeshError('MESH_JWKS_UNAVAILABLE', `the keys of ${this.#o.url}: ${why}`, { cause })
  }
}

const digestOf = (text: string): string => hash('sha256', text)
