/**
 * Keys of an issuer that are fetched over HTTPS: at the start, every hour, and when a token names one that is not
 * there. They are kept on disk, so that a device that boots without a link takes tokens as before.
 */
import { createHash } from 'node:crypto'
import path from 'node:path'
import { computeBackoffMs, type Clock, jitterMs, type Random, type Timer } from '../../core/os/clock.ts'
import { detach } from '../../core/defects/guard.ts'
import { MeshError } from '../../core/errors.ts'
import { type Jwks, MAX_JWKS_BYTES, parseJwks } from '../../core/jwt/jwks.ts'
import type { KeySource } from '../../core/jwt/key-source.ts'
import type { Log } from '../../core/log.ts'
import type { Disk } from '../../core/os/disk.ts'
import type { Context } from '../context.ts'
import { type FetchOptions, readOverHttps } from './fetch-text.ts'

export type FetchedKeysOptions = {
  readonly url: string
  /** The document of now. */
  readonly fetch: () => Promise<string>
  /** What was fetched last; `read` and `write` throw what the system says. */
  readonly store: { readonly read: () => string | undefined; readonly write: (text: string) => void }
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

const REFRESH_MS = 3_600_000
const RETRY = { baseMs: 5_000, capMs: 300_000 }
/** Whoever sends tokens of keys that nobody has makes us ask no more often. */
const MIN_LOOK_MS = 30_000

export class FetchedKeys implements KeySource {
  readonly #o: FetchedKeysOptions
  #keys: Jwks | undefined
  #text: string | undefined
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
    this.#isOver = true
    this.#timer?.cancel()
  }

  current(): Jwks {
    if (this.#keys) return this.#keys
    throw this.#error ?? this.#unavailable('they were not fetched yet')
  }
  lookAgain(): Promise<boolean> {
    const isRecent = this.#o.clock.monotonicMs() - this.#lastMs < MIN_LOOK_MS
    return this.#fetching ?? (isRecent ? Promise.resolve(false) : this.#look())
  }
  /** Those of before are as good as any while there is no link. */
  problems(): readonly MeshError[] {
    return this.#keys || !this.#error ? [] : [this.#error]
  }

  /** Never rejects. @returns whether there are other keys now */
  #look(): Promise<boolean> {
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = undefined
    })
    return this.#fetching
  }
  async #fetch(): Promise<boolean> {
    const { clock, random, log, url, fetch } = this.#o
    this.#timer?.cancel()
    this.#lastMs = clock.monotonicMs()
    let changed = false
    try {
      changed = this.#use(await fetch())
      this.#failures = 0
      this.#error = undefined
    } catch (cause) {
      this.#failures++
      this.#error = this.#unavailable(cause instanceof Error ? cause.message : String(cause), cause)
      log.info({ evt: 'jwks.fetch', url, err: this.#error, has: this.#keys !== undefined }, 'keys were not fetched')
    }
    if (this.#isOver) return false
    const pauseMs =
      this.#failures === 0
        ? jitterMs(REFRESH_MS, { fraction: 1, spread: 0.1 }, random)
        : RETRY.baseMs + computeBackoffMs(this.#failures, RETRY, random)
    this.#timer = clock.after(pauseMs, () => detach('network', this.#look()))
    return changed
  }

  #use(text: string): boolean {
    if (text === this.#text) return false
    this.#keys = parseJwks(text)
    this.#text = text
    const { log, url, store } = this.#o
    log.info({ evt: 'jwks.fetch', url, keys: this.#keys.keys.length, unused: this.#keys.unused }, 'keys were fetched')
    try {
      store.write(text)
    } catch (cause) {
      log.warn(
        { evt: 'jwks.store', url, err: this.#unavailable('they could not be stored', cause) },
        'keys serve until the next start only',
      )
    }
    return true
  }
  #readStored(): void {
    const { store, log, url } = this.#o
    try {
      const text = store.read()
      if (text === undefined) return
      this.#keys = parseJwks(text)
      this.#text = text
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

const FETCH_TIMEOUT_MS = 10_000

/** @param o.folder where what was fetched is kept, by the hash of its address */
export function openFetchedKeys(
  url: string,
  o: Pick<Context, 'network' | 'clock' | 'random' | 'log' | 'files'> & {
    readonly disk: Disk
    readonly folder: string
    readonly findProxy?: FetchOptions['findProxy']
  },
): FetchedKeys {
  const { network, clock, files, disk, folder, findProxy } = o
  const file = path.join(folder, `jwks-${createHash('sha256').update(url).digest('hex').slice(0, 16)}.json`)
  return new FetchedKeys({
    ...o,
    url,
    fetch: () =>
      readOverHttps(new URL(url), {
        network,
        clock,
        files,
        findProxy,
        maxBytes: MAX_JWKS_BYTES,
        timeoutMs: FETCH_TIMEOUT_MS,
      }),
    store: {
      read: () => disk.read(file)?.toString('utf8'),
      write: (text) => disk.replace(file, text, 0o600),
    },
  })
}
