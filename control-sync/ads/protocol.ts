/**
 * The client's side of one ADS stream as a pure state machine: what to send next, given what came. No I/O, no clock, no
 * decoding. A new stream is a new instance; what is known from before goes into `open` (xDS protocol, "Incremental
 * xDS"; istiod's habits in comments). Words and rules are those of delta xDS; control-sync/ads/sotw.ts says the same in
 * those of the state of the world.
 */
import type { ResourceKind } from '../../model/snapshot.ts'

export type AdsRequest = {
  readonly kind: ResourceKind
  /** The first request of a stream carries the node. */
  readonly withNode: boolean
  readonly subscribe: readonly string[]
  readonly unsubscribe: readonly string[]
  /** What we have, by name; only in the first request of a kind. */
  readonly known: Known
  /** Of the response that is answered; '' = a request of our own accord. */
  readonly nonce: string
  /** NACK: what was wrong, for the control plane's log. */
  readonly error: string | undefined
}
export type Known = ReadonlyMap<string, { readonly version: string }>
export type AdsResponse = {
  readonly kind: ResourceKind
  readonly nonce: string
  readonly systemVersion: string
  readonly resources: readonly { readonly name: string; readonly version: string; readonly value: Uint8Array }[]
  readonly removed: readonly string[]
  /** The message, where the values are views of it. */
  readonly bytes?: Buffer | undefined
}

/**
 * Kinds that are subscribed to by wildcard. The others are named, and never with an empty list, which istiod would take
 * for a wildcard.
 */
const WILDCARD: readonly ResourceKind[] = ['cluster', 'listener', 'nameTable', 'proxyConfig']
export const BY_NAME = ['endpoint', 'route', 'secret', 'extension'] as const satisfies readonly ResourceKind[]
/** Envoy's order: what is referred to comes before what refers to it. */
const ORDER: readonly ResourceKind[] = [
  'cluster',
  'endpoint',
  'listener',
  'route',
  'secret',
  'extension',
  'nameTable',
  'proxyConfig',
]

export function isByName(kind: ResourceKind): kind is (typeof BY_NAME)[number] {
  return !WILDCARD.includes(kind)
}
/**
 * Explicitly asked for, istiod sends everything again (a name alone, of a kind that is asked for whole, it takes for
 * known).
 */
export const ALL = '*'

/** istiod refuses messages above 4 MiB; a name with its version is some 60 bytes. */
const MAX_KNOWN_NAMES = 40_000
/** Quoted in the control plane's log; more helps nobody. */
const MAX_ERROR_CHARS = 2_000

const NOTHING = {
  withNode: false,
  subscribe: [],
  unsubscribe: [],
  known: new Map(),
  nonce: '',
  error: undefined,
} satisfies Omit<AdsRequest, 'kind'>

export class AdsProtocol {
  readonly #without: ReadonlySet<ResourceKind>
  readonly #subscribed = new Map<ResourceKind, ReadonlySet<string>>()
  /** Kinds that a response came for. */
  readonly #answered = new Set<ResourceKind>()
  /** Subscribed names that no response has mentioned yet. */
  readonly #missing = new Map<ResourceKind, Set<string>>()
  #opened = false

  /** @param without kinds that this server is known not to serve */
  constructor(without: ReadonlySet<ResourceKind> = new Set()) {
    this.#without = without
  }

  /**
   * Every kind that is needed to serve was answered, and every name that was asked for (a name that does not exist is
   * answered as removed or empty).
   */
  get complete(): boolean {
    return (
      this.#answered.has('cluster') &&
      this.#answered.has('listener') &&
      [...this.#missing.values()].every((names) => names.size === 0)
    )
  }

  /**
   * The requests that begin the stream, in order.
   * @param known the stored resources of a kind, by name: the answer then lists what is gone as removed
   * @param wanted names to ask for, for kinds that are asked for by name
   */
  open(known: (kind: ResourceKind) => Known, wanted: (kind: ResourceKind) => ReadonlySet<string>): AdsRequest[] {
    return ORDER.flatMap((kind) => {
      const names = isByName(kind) ? wanted(kind) : new Set<string>()
      if (this.#without.has(kind) || (isByName(kind) && names.size === 0)) return []
      const have = isByName(kind) ? only(known(kind), names) : known(kind)
      return [{ ...this.#first(kind, names), known: have.size > MAX_KNOWN_NAMES ? NOTHING.known : have }]
    })
  }

  /**
   * Answers a response: ack, or nack when there are problems. Subscriptions never change in the same message (istiod
   * logs a mismatch).
   */
  answer({ kind, nonce, resources, removed }: AdsResponse, problems: readonly string[]): AdsRequest {
    this.#answered.add(kind)
    const missing = this.#missing.get(kind)
    for (const { name } of resources) missing?.delete(name)
    for (const name of removed) missing?.delete(name)
    const error = problems.length === 0 ? undefined : problems.join('; ').slice(0, MAX_ERROR_CHARS)
    return { ...NOTHING, kind, nonce, error }
  }

  /**
   * Whether a resource of a response is one that we asked for and still want. What was unsubscribed may still be on its
   * way (istiod answers the names of a stream's first request before it reads the second); kept, nobody would ever take
   * it away again.
   */
  takes(kind: ResourceKind, name: string): boolean {
    return !isByName(kind) || this.#subscribed.get(kind)?.has(name) === true
  }

  /**
   * The request that brings the subscription of a by-name kind to these names; undefined when it is there already.
   * @param names kept: nobody changes them any more
   */
  want(kind: ResourceKind, names: ReadonlySet<string>): AdsRequest | undefined {
    const has = this.#subscribed.get(kind)
    if (!has) return names.size === 0 || this.#without.has(kind) ? undefined : this.#first(kind, names)
    if (has === names) return undefined
    const subscribe = [...names].filter((n) => !has.has(n))
    const unsubscribe = [...has].filter((n) => !names.has(n))
    this.#subscribed.set(kind, names)
    if (subscribe.length === 0 && unsubscribe.length === 0) return undefined
    this.#missing.set(kind, new Set([...subscribe, ...(this.#missing.get(kind) ?? [])]).intersection(names))
    return { ...NOTHING, kind, subscribe, unsubscribe }
  }

  /**
   * Requests that make the control plane send these again. A name that is subscribed is not sent for another
   * subscription (istiod), so it is given up first, in a message of its own (in one, istiod would take the subscription
   * for known and then drop it).
   */
  again(kind: ResourceKind, names: readonly string[]): AdsRequest[] {
    if (!isByName(kind)) return this.#subscribed.has(kind) ? [{ ...NOTHING, kind, subscribe: [ALL] }] : []
    const held = names.filter((n) => this.#subscribed.get(kind)?.has(n))
    return held.length === 0
      ? []
      : [
          { ...NOTHING, kind, unsubscribe: held },
          { ...NOTHING, kind, subscribe: held },
        ]
  }

  #first(kind: ResourceKind, names: ReadonlySet<string>): AdsRequest {
    const withNode = !this.#opened
    this.#opened = true
    this.#subscribed.set(kind, names)
    this.#missing.set(kind, new Set(names))
    return { ...NOTHING, kind, withNode, subscribe: [...names] }
  }
}

function only(known: Known, names: ReadonlySet<string>): Known {
  const some = new Map<string, { readonly version: string }>()
  known.forEach((value, name) => {
    if (names.has(name)) some.set(name, value)
  })
  return some
}
