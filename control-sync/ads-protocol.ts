/**
 * The client's side of one delta ADS stream as a pure state machine: what to send next, given what came. No I/O, no clock, no decoding.
 * A new stream is a new instance; what is known from before goes into `open` (xDS protocol, "Incremental xDS"; istiod's habits in comments).
 */
import type { ResourceKind } from '../agent/model/snapshot.ts'

export type AdsRequest = {
  readonly kind: ResourceKind
  /** The first request of a stream carries the node. */
  readonly withNode: boolean
  readonly subscribe: readonly string[]
  readonly unsubscribe: readonly string[]
  /** Name → version of what we have; only in the first request of a kind. */
  readonly known: Readonly<Record<string, string>>
  /** Of the response that is answered; '' = a request of our own accord. */
  readonly nonce: string
  /** NACK: what was wrong, for the control plane's log. */
  readonly error: string | undefined
}
export type AdsResponse = {
  readonly kind: ResourceKind
  readonly nonce: string
  readonly systemVersion: string
  readonly resources: readonly { readonly name: string; readonly version: string; readonly value: Uint8Array }[]
  readonly removed: readonly string[]
}

/** Wildcard kinds are asked for whole; the others by name, and never with an empty list (istiod would take that for a wildcard). */
export const WILDCARD: readonly ResourceKind[] = ['cluster', 'listener', 'nameTable']
export const BY_NAME: readonly ResourceKind[] = ['endpoint', 'route']
/** Envoy's order: what is referred to comes before what refers to it. */
const ORDER: readonly ResourceKind[] = ['cluster', 'endpoint', 'listener', 'route', 'nameTable']

/** istiod refuses messages above 4 MiB; a name with its version is some 60 bytes. */
const MAX_KNOWN_NAMES = 40_000
/** Quoted in the control plane's log; more helps nobody. */
const MAX_ERROR_CHARS = 2_000

export class AdsProtocol {
  readonly #subscribed = new Map<ResourceKind, Set<string>>()
  /** Wildcard kinds that a response came for. */
  readonly #answered = new Set<ResourceKind>()
  /** Subscribed names that no response has mentioned yet. */
  readonly #missing = new Map<ResourceKind, Set<string>>()
  #opened = false

  /** Every kind that is needed to serve was answered, and every name that was asked for (a name that does not exist is answered as removed or empty). */
  get complete(): boolean {
    return this.#answered.has('cluster') && this.#answered.has('listener') && [...this.#missing.values()].every((names) => names.size === 0)
  }

  /**
   * The requests that begin the stream, in order.
   * @param known name → version of the stored resources, by kind: the answer then lists what is gone as removed
   * @param wanted names to ask for, for kinds that are asked for by name
   */
  open(known: (kind: ResourceKind) => Readonly<Record<string, string>>, wanted: (kind: ResourceKind) => ReadonlySet<string>): AdsRequest[] {
    const requests: AdsRequest[] = []
    for (const kind of ORDER) {
      const have = known(kind)
      const names = WILDCARD.includes(kind) ? new Set<string>() : wanted(kind)
      if (!WILDCARD.includes(kind) && names.size === 0) continue
      this.#subscribed.set(kind, new Set(names))
      this.#missing.set(kind, new Set(names))
      requests.push({
        kind, withNode: !this.#opened, subscribe: [...names], unsubscribe: [], nonce: '', error: undefined,
        known: Object.keys(have).length > MAX_KNOWN_NAMES ? {} : have,
      })
      this.#opened = true
    }
    return requests
  }

  /** Answers a response: ack, or nack when there are problems. Subscriptions never change in the same message (istiod logs a mismatch). */
  answer({ kind, nonce, resources, removed }: AdsResponse, problems: readonly string[]): AdsRequest {
    this.#answered.add(kind)
    const missing = this.#missing.get(kind)
    for (const { name } of resources) missing?.delete(name)
    for (const name of removed) missing?.delete(name)
    const error = problems.length === 0 ? undefined : problems.join('; ').slice(0, MAX_ERROR_CHARS)
    return { kind, withNode: false, subscribe: [], unsubscribe: [], known: {}, nonce, error }
  }

  /**
   * Whether a resource of a response is one that we asked for and still want. What was unsubscribed may still be on its way (istiod answers
   * the names of a stream's first request before it reads the second); kept, nobody would ever take it away again.
   */
  takes(kind: ResourceKind, name: string): boolean { return WILDCARD.includes(kind) || this.#subscribed.get(kind)?.has(name) === true }

  /** The request that brings the subscription of a by-name kind to these names; undefined when it is there already. */
  want(kind: ResourceKind, names: ReadonlySet<string>): AdsRequest | undefined {
    const has = this.#subscribed.get(kind) ?? new Set<string>()
    const subscribe = [...names].filter((n) => !has.has(n))
    const unsubscribe = [...has].filter((n) => !names.has(n))
    if (subscribe.length === 0 && unsubscribe.length === 0) return undefined
    // A first request without names would be a wildcard.
    if (subscribe.length === 0 && !this.#subscribed.has(kind)) return undefined
    this.#subscribed.set(kind, new Set(names))
    const missing = this.#missing.get(kind) ?? new Set()
    this.#missing.set(kind, new Set([...subscribe, ...missing]).intersection(names))
    return { kind, withNode: false, subscribe, unsubscribe, known: {}, nonce: '', error: undefined }
  }
}
