/**
 * State-of-the-world ADS in the words of delta ADS, for servers that speak no other: one instance per stream, pure. A
 * request of this flavour lists all names of its kind each time; a response lists all clusters or listeners that there
 * are, or some of the others.
 */
import type { ResourceKind } from '../../model/snapshot.ts'
import { isByName, type AdsRequest, type AdsResponse } from './protocol.ts'
import { readNextField, readText } from '../wire/fields.ts'

export type SotwRequest = {
  readonly kind: ResourceKind
  readonly withNode: boolean
  readonly names: readonly string[]
  /** Of the last response that was taken, '' before. */
  readonly version: string
  readonly nonce: string
  readonly error: string | undefined
}
export type SotwResponse = {
  readonly kind: ResourceKind
  readonly nonce: string
  readonly version: string
  readonly values: readonly Uint8Array[]
}

type Watch = {
  readonly names: Set<string>
  /** Of kinds that are asked for whole: what the server is known to have had. */
  has: Set<string>
  /** Of the last response that was taken as a whole. */
  version: string
  /** Of the last response that was answered. */
  nonce: string
  /** Nonce → version of what came and is not answered yet. */
  readonly open: Map<string, string>
}

export class SotwStream {
  readonly #watches = new Map<ResourceKind, Watch>()

  request(r: AdsRequest): SotwRequest {
    const watch = this.#watch(r.kind)
    for (const name of r.known.keys()) watch.has.add(name)
    if (!isByName(r.kind)) return this.#whole(watch, r)
    for (const name of r.subscribe) watch.names.add(name)
    for (const name of r.unsubscribe) watch.names.delete(name)
    this.#note(watch, r)
    return {
      kind: r.kind,
      withNode: r.withNode,
      names: [...watch.names],
      version: watch.version,
      nonce: watch.nonce,
      error: r.error,
    }
  }

  response({ kind, nonce, version, values }: SotwResponse): AdsResponse {
    const watch = this.#watch(kind)
    watch.open.set(nonce, version)
    // Name tables have no names, and there may be several.
    const resources = values.map((value, i) => ({
      name: kind === 'nameTable' && i > 0 ? String(i) : (nameIn(kind, value) ?? `(resource ${i} without a name)`),
      version,
      value,
    }))
    if (isByName(kind)) return { kind, nonce, systemVersion: version, resources, removed: [] }
    const has = new Set(resources.map((r) => r.name))
    const removed = [...watch.has.difference(has)]
    watch.has = has
    return { kind, nonce, systemVersion: version, resources, removed }
  }

  /** Requested again without a push: sent like a first request, so that everything comes. */
  #whole(watch: Watch, r: AdsRequest): SotwRequest {
    const anew = r.nonce === ''
    if (!anew) this.#note(watch, r)
    return {
      kind: r.kind,
      withNode: r.withNode,
      names: [],
      version: anew ? '' : watch.version,
      nonce: anew ? '' : watch.nonce,
      error: r.error,
    }
  }

  /** A refused response leaves the version where it was (xDS protocol, "ACK and NACK semantics"). */
  #note(watch: Watch, { nonce, error }: AdsRequest): void {
    if (nonce === '') return
    watch.nonce = nonce
    if (error === undefined) watch.version = watch.open.get(nonce) ?? watch.version
    watch.open.delete(nonce)
  }

  #watch(kind: ResourceKind): Watch {
    const known = this.#watches.get(kind)
    if (known) return known
    const made: Watch = { names: new Set(), has: new Set(), version: '', nonce: '', open: new Map() }
    this.#watches.set(kind, made)
    return made
  }
}

/** Field 1 of each kind that has a name: `name`, `cluster_name`. Undefined for bytes that are no such resource. */
function nameIn(kind: ResourceKind, value: Uint8Array): string | undefined {
  if (kind === 'nameTable' || kind === 'proxyConfig') return ''
  const cursor = { at: 0, from: 0, to: 0 }
  let name: string | undefined
  while (cursor.at < value.length) {
    const no = readNextField(value, cursor, value.length)
    if (no === 0) return undefined
    if (no === 1 && cursor.to >= 0) name = readText(value, cursor)
  }
  return name
}
