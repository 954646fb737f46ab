/** Keys of issuers that listeners in force name (remote_jwks): fetched as long as one does. */
import type { MeshError } from '../../core/errors.ts'
import type { KeySource } from '../../core/jwt/key-source.ts'
import { isRemote, type RemoteJwks } from '../../model/http/jwt.ts'
import type { Listener } from '../../model/listener.ts'
import type { Arrival } from './arrivals.ts'
import type { FetchedKeys } from './fetched-keys.ts'
import type { KeySet, KeySets } from './key-sets.ts'

/** More issuers than any mesh has; those behind have no keys, and their tokens are refused. */
export const MAX_REMOTE_SETS = 128
/** The longest pause after fetches that failed, where none is asked for that is longer. */
const MAX_PAUSE_MS = 300_000

export type FetchRemote = (remote: RemoteJwks, arrival: Arrival) => Promise<string>

export class RemoteKeys implements Disposable {
  readonly #sets: KeySets
  readonly #fetch: FetchRemote
  /** By what they are. */
  readonly #open = new Map<string, { readonly keys: FetchedKeys; readonly set: KeySet }>()
  /** Connections go on by the configuration that they came with. */
  readonly #found = new WeakMap<RemoteJwks, FetchedKeys>()

  constructor(sets: KeySets, fetch: FetchRemote) {
    this.#sets = sets
    this.#fetch = fetch
  }
  [Symbol.dispose](): void {
    for (const { keys } of this.#open.values()) keys[Symbol.dispose]()
    this.#open.clear()
  }

  find(of: RemoteJwks): KeySource | undefined {
    return this.#found.get(of)
  }
  problems(): readonly MeshError[] {
    return [...this.#open.values()].flatMap(({ keys }) => keys.problems())
  }

  /** @param listeners in force from now on */
  apply(listeners: Iterable<Listener>): void {
    const wanted = new Map<string, RemoteJwks[]>()
    for (const remote of listRemoteKeys(listeners)) {
      const what = JSON.stringify(remote)
      const same = wanted.get(what)
      if (same) same.push(remote)
      else if (wanted.size < MAX_REMOTE_SETS) wanted.set(what, [remote])
    }
    const gone = [...this.#open].filter(([what]) => !wanted.has(what))
    for (const [what, { keys }] of gone) {
      keys[Symbol.dispose]()
      this.#open.delete(what)
    }
    for (const [what, all] of wanted) for (const remote of all) this.#found.set(remote, this.#openOnce(what, remote))
    const kept = new Set([...this.#open.values()].map(({ set }) => nameOf(set)))
    for (const [, { set }] of gone) if (!kept.has(nameOf(set))) this.#sets.forget(set)
  }

  #openOnce(what: string, remote: RemoteJwks): FetchedKeys {
    const known = this.#open.get(what)
    if (known) return known.keys
    const { scheme, authority, path, cluster, refreshMs, failedRefetchMs: baseMs } = remote
    const set: KeySet = {
      url: `${scheme}://${authority}${path}`,
      way: cluster,
      times: { refreshMs, retry: { baseMs, capMs: Math.max(baseMs, MAX_PAUSE_MS) } },
      fetch: (arrival) => this.#fetch(remote, arrival),
    }
    const keys = this.#sets.open(set)
    this.#open.set(what, { keys, set })
    return keys
  }
}

const nameOf = ({ url, way }: KeySet): string => `${way} ${url}`

function* listRemoteKeys(listeners: Iterable<Listener>): Iterable<RemoteJwks> {
  for (const { filterChains, defaultFilterChain } of listeners)
    for (const chain of defaultFilterChain ? [...filterChains, defaultFilterChain] : filterChains) {
      if (chain.codec.kind !== 'http') continue
      for (const filter of chain.codec.http.filters)
        if (filter.kind === 'jwt') for (const { jwks } of filter.jwt.providers) if (isRemote(jwks)) yield jwks
    }
}
