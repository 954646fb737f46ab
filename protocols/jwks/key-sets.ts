/** All keys of issuers that this agent fetches, for tokens of MQTT users and of requests. */
import type { Log } from '../../core/log.ts'
import { MAX_JWKS_BYTES } from '../../core/jwt/jwks.ts'
import type { Metrics } from '../../core/metrics.ts'
import type { MemoryBudget } from '../../core/runtime/memory-budget.ts'
import { doNothing } from '../../core/defects/guard.ts'
import type { Clock, Random } from '../../core/os/clock.ts'
import type { Disk } from '../../core/os/disk.ts'
import type { NamedFiles } from '../../core/os/named-files.ts'
import type { Network } from '../../core/os/network.ts'
import { Arrivals, type Arrival } from './arrivals.ts'
import { type FetchOptions, readOverHttps } from './fetch-text.ts'
import { FetchedKeys, type FetchTimes, type KeysStatus } from './fetched-keys.ts'
import { createKeyStore } from './key-store.ts'

export type KeySetsOptions = {
  readonly clock: Clock
  readonly random: Random
  readonly network: Network
  readonly log: Log
  readonly metrics: Metrics
  readonly files: NamedFiles | undefined
  readonly findProxy?: FetchOptions['findProxy']
  /** What is kept of keys counts, and is never given up; what is on its way may be. */
  readonly budget?: MemoryBudget | undefined
  readonly disk: Disk
  /** Where what was fetched is kept. */
  readonly folder: string
}
export type KeySet = {
  readonly url: string
  /** Tells it from others of the same address; left out: there are none. */
  readonly way?: string
  readonly times: FetchTimes
  readonly fetch: (arrival: Arrival) => Promise<string>
}

const HOURLY: FetchTimes = { refreshMs: 3_600_000, retry: { baseMs: 5_000, capMs: 300_000 } }
const FETCH_TIMEOUT_MS = 10_000

export class KeySets {
  readonly #o: KeySetsOptions
  readonly #open = new Set<FetchedKeys>()
  readonly #arrivals: Arrivals
  #heldBytes = 0
  readonly #fetches: Readonly<Record<'fetched' | 'failed', { value: number }>>

  constructor(options: KeySetsOptions) {
    this.#o = options
    this.#arrivals = new Arrivals(options.budget)
    options.budget?.onOver(doNothing, () => this.#heldBytes)
    this.#fetches = options.metrics
      .counter('mesh_jwks_fetches_total', 'Times that keys of an issuer of tokens were fetched, or could not be.', [
        'result',
      ])
      .cells(['fetched', 'failed'])
  }

  /** Over HTTPS from this machine itself, by its authorities. */
  openDirect(url: string): FetchedKeys {
    const bounds = { maxBytes: MAX_JWKS_BYTES, timeoutMs: FETCH_TIMEOUT_MS }
    const { network, clock, files, findProxy } = this.#o
    const fetch = (arrival: Arrival): Promise<string> =>
      readOverHttps(new URL(url), { network, clock, files, findProxy, arrival, ...bounds })
    return this.open({ url, times: HOURLY, fetch })
  }

  /** Open until it is disposed of. */
  open({ url, way, times, fetch }: KeySet): FetchedKeys {
    const { disk, folder, clock, random, log } = this.#o
    const opened: FetchedKeys = new FetchedKeys({
      url,
      fetch: () => this.#arrivals.follow(fetch),
      times,
      clock,
      random,
      log,
      store: createKeyStore(disk, folder, way === undefined ? url : `${way} ${url}`),
      onFetched: (ok) => this.#fetches[ok ? 'fetched' : 'failed'].value++,
      onHeld: (bytes) => {
        this.#heldBytes += bytes
        if (bytes > 0) this.#o.budget?.take(bytes)
        else this.#o.budget?.give(-bytes)
      },
      onEnd: () => this.#open.delete(opened),
    })
    this.#open.add(opened)
    return opened
  }

  /** What is kept of one that nobody names any more goes. */
  forget({ url, way }: Pick<KeySet, 'url' | 'way'>): void {
    const { disk, folder, log } = this.#o
    try {
      createKeyStore(disk, folder, way === undefined ? url : `${way} ${url}`).remove()
    } catch (err) {
      log.warn({ evt: 'jwks.store', url, err }, 'stored keys that nobody needs could not be removed')
    }
  }

  status(): readonly KeysStatus[] {
    return [...this.#open].map((one) => one.status)
  }
}
