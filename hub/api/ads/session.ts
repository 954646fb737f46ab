/**
 * The server's side of one delta ADS stream as a pure state machine (xDS protocol, "Incremental xDS"): a request or a
 * new set of resources goes in, responses come out. No I/O, no clock.
 *
 * Where istiod and the protocol's text differ, the text is followed: names that do not exist are answered as removed
 * (Envoy need not wait for its timeout), versions that the client lists are believed (an unchanged reconnect moves no
 * resources), and a change of subscription counts also when it comes with an old nonce.
 */
import { computeContent } from '../../../proto/relay/digest.ts'
import { checkNames, checkType, MAX_UNACKED, NAME_COST_BYTES } from './limits.ts'
import {
  CLUSTER,
  ENDPOINT,
  sortForPush,
  isByName,
  selectType,
  type ByName,
  type HubResource,
  type ResourceSet,
} from '../../source/resources.ts'

export type DeltaRequest = {
  readonly typeUrl: string
  readonly subscribe: readonly string[]
  readonly unsubscribe: readonly string[]
  /** initial_resource_versions: name → version that the client has. */
  readonly known: Readonly<Record<string, string>>
  /** response_nonce; '' without one. */
  readonly nonce: string
  /** Message of error_detail; undefined without one. */
  readonly error: string | undefined
}
export type DeltaResponse = {
  readonly typeUrl: string
  readonly nonce: string
  readonly systemVersion: string
  readonly resources: readonly HubResource[]
  readonly removed: readonly string[]
  /** Versions that the client had of `resources`, by name. */
  readonly had: ReadonlyMap<string, string>
}
/** What the request said about earlier responses. */
export type Outcome = 'none' | 'ack' | 'nack' | 'stale'
export type Answer<R> = { readonly responses: readonly R[]; readonly outcome: Outcome }

const WILDCARD = '*'
const NOTHING_HAD: ReadonlyMap<string, string> = new Map()
/** gRPC clients take 4 MiB unless told otherwise; larger answers go out in several responses. */
const MAX_RESPONSE_BYTES = 2 * 1024 * 1024

/** Its tables are most of what an idle device takes here (docs/performance.md). */
type Watch = {
  wildcard: boolean
  readonly explicit: Set<string>
  /** Name → version that the client has; undefined: it was told that there is none. */
  readonly has: Map<string, string | undefined>
  readonly unacked: Set<string>
  /** Of the names in `explicit`, and of the names and versions that the client listed. */
  bytes: number
}

export class DeltaSession {
  readonly #watches = new Map<string, Watch>()
  #nonces = 0

  /** What all names and versions take that the client has said and that are kept. */
  get subscribedBytes(): number {
    let bytes = 0
    for (const watch of this.#watches.values()) bytes += watch.bytes
    return bytes
  }

  /** Hash of all that the client has been sent, as it computes it of what is in force (proto/relay/digest.ts). */
  computeContent(): string {
    return computeContent([...this.#watches].map(([typeUrl, { has }]) => [typeUrl, listHeld(has)] as const))
  }

  /** Throws MESH_CONTROL_PROTOCOL when the request goes beyond limits.ts. */
  request(r: DeltaRequest, set: ResourceSet): Answer<DeltaResponse> {
    checkType(r.typeUrl, this.#watches)
    const before = this.#watches.get(r.typeUrl)
    const watch = before ?? { wildcard: false, explicit: new Set(), has: new Map(), unacked: new Set(), bytes: 0 }
    this.#watches.set(r.typeUrl, watch)
    const outcome = acknowledged(watch.unacked, r.nonce, r.error)
    const forced = subscribe(watch, shareTexts(r, selectType(set, r.typeUrl)), before ? 'later' : 'first')
    const changed = r.subscribe.length > 0 || r.unsubscribe.length > 0
    const responses = before && !changed ? [] : this.#responses(r.typeUrl, set, 'all', forced)
    // The first request is always answered: the client waits for it before it goes on.
    return { outcome, responses: before || responses.length ? responses : [this.#response(r.typeUrl, set, {})] }
  }

  /**
   * What the client must be told after the resources have changed: first what is new, in push order, then what is gone,
   * in reverse.
   */
  push(set: ResourceSet): DeltaResponse[] {
    const order = sortForPush(this.#watches.keys())
    let changedClusters: readonly HubResource[] = []
    const updates = order.flatMap((typeUrl) => {
      const forced = typeUrl === ENDPOINT ? this.#endpointsOf(changedClusters) : new Set<string>()
      const responses = this.#responses(typeUrl, set, 'updates', forced)
      if (typeUrl === CLUSTER) changedClusters = responses.flatMap((r) => r.resources)
      return responses
    })
    return [...updates, ...order.toReversed().flatMap((typeUrl) => this.#responses(typeUrl, set, 'all', new Set()))]
  }

  /** Envoy warms a changed cluster until its endpoints come again, changed or not. */
  #endpointsOf(clusters: readonly HubResource[]): Set<string> {
    const asked = this.#watches.get(ENDPOINT)?.explicit
    return new Set(clusters.flatMap((c) => (c.endpoints !== undefined && asked?.has(c.endpoints) ? [c.endpoints] : [])))
  }

  /** @param forced names to send although the client has them */
  #responses(typeUrl: string, set: ResourceSet, what: 'updates' | 'all', forced: ReadonlySet<string>): DeltaResponse[] {
    const watch = this.#watches.get(typeUrl)!
    const present = selectType(set, typeUrl)
    const covered = watch.wildcard ? present.keys() : watch.explicit
    const resources: HubResource[] = []
    const had = new Map<string, string>()
    for (const name of covered) {
      const resource = present.get(name)
      if (!resource || (watch.has.get(name) === resource.version && !forced.has(name))) continue
      resources.push(resource)
      const before = watch.has.get(name)
      if (before !== undefined) had.set(name, before)
      watch.has.set(name, resource.version)
    }
    const removed =
      what === 'all' && set.removals === 'now' ? this.#removed(watch, (name) => present.has(name), forced) : []
    const chunks = chunked(resources)
    if (removed.length && !chunks.length) chunks.push([])
    return chunks.map((chunk, i) =>
      this.#response(typeUrl, set, { resources: chunk, removed: i === chunks.length - 1 ? removed : [], had }),
    )
  }

  #removed(watch: Watch, present: (name: string) => boolean, forced: ReadonlySet<string>): string[] {
    const removed = new Set<string>()
    for (const [name, version] of watch.has) {
      if (present(name) || version === undefined) continue
      removed.add(name)
      watch.has.delete(name)
    }
    for (const name of watch.explicit) {
      if (present(name)) continue
      if (!watch.has.has(name) || forced.has(name)) removed.add(name)
      watch.has.set(name, undefined)
    }
    return [...removed]
  }

  #response(
    typeUrl: string,
    set: ResourceSet,
    { resources = [], removed = [], had = NOTHING_HAD }: Partial<Pick<DeltaResponse, 'resources' | 'removed' | 'had'>>,
  ): DeltaResponse {
    const nonce = String(++this.#nonces)
    const { unacked } = this.#watches.get(typeUrl)!
    unacked.add(nonce)
    for (const oldest of unacked) {
      if (unacked.size <= MAX_UNACKED) break
      unacked.delete(oldest)
    }
    return { typeUrl, nonce, systemVersion: set.revision, resources, removed, had }
  }
}

/** What thousands of devices say in the same words is kept once: the words of the resources. */
function shareTexts(r: DeltaRequest, present: ByName): DeltaRequest {
  const own = (name: string): string => present.get(name)?.name ?? name
  const known = Object.entries(r.known).map(([name, version]) => {
    const resource = present.get(name)
    return [own(name), resource?.version === version ? resource.version : version] as const
  })
  return { ...r, subscribe: r.subscribe.map(own), known: Object.fromEntries(known) }
}

/** @returns the names that must be sent even if the client has them: it asked for them again */
function subscribe(watch: Watch, r: DeltaRequest, which: 'first' | 'later'): Set<string> {
  const known = Object.entries(r.known)
  const again = new Set<string>()
  if (which === 'first') {
    checkNames(
      watch.explicit,
      known.map(([name]) => name),
    )
    for (const [name, version] of known) {
      watch.has.set(name, version)
      watch.bytes += NAME_COST_BYTES + name.length + version.length
      if (isByName(r.typeUrl)) watch.explicit.add(name) // as istiod: what a client has, it watches
    }
    if (r.subscribe.length === 0 && !isByName(r.typeUrl)) watch.wildcard = true // the older way to say '*'
  }
  checkNames(watch.explicit, r.subscribe)
  for (const name of r.subscribe) {
    if (name === WILDCARD) {
      watch.wildcard = true
      continue
    }
    if (which === 'later') again.add(name)
    if (!watch.explicit.has(name)) watch.bytes += NAME_COST_BYTES + name.length
    watch.explicit.add(name)
  }
  for (const name of r.unsubscribe) {
    if (name === WILDCARD) watch.wildcard = false
    else if (watch.explicit.delete(name)) {
      watch.bytes -= NAME_COST_BYTES + name.length
      if (watch.wildcard) again.add(name) // still covered: the client asks what it is now
    }
    if (!watch.wildcard) watch.has.delete(name)
  }
  if (!watch.wildcard && r.unsubscribe.includes(WILDCARD))
    for (const name of watch.has.keys()) if (!watch.explicit.has(name)) watch.has.delete(name)
  return again
}

function* listHeld(has: Watch['has']): Iterable<readonly [string, string]> {
  for (const [name, version] of has) if (version !== undefined) yield [name, version]
}

function acknowledged(unacked: Set<string>, nonce: string, error: string | undefined): Outcome {
  if (nonce === '') return 'none'
  if (!unacked.delete(nonce)) return 'stale'
  return error === undefined ? 'ack' : 'nack'
}

function chunked(resources: readonly HubResource[]): HubResource[][] {
  const chunks: HubResource[][] = []
  let bytes = MAX_RESPONSE_BYTES
  for (const resource of resources) {
    bytes += resource.value.length + resource.name.length + 100
    if (bytes > MAX_RESPONSE_BYTES) {
      chunks.push([])
      bytes = resource.value.length
    }
    chunks.at(-1)!.push(resource)
  }
  return chunks
}
