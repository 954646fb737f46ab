/**
 * The server's side of one state-of-the-world ADS stream as a pure state machine, by istiod's rules (istio pkg/xds
 * ShouldRespond): every response carries all resources of its type that the client asked for.
 */
import { checkNames, checkType, NAME_COST_BYTES } from './limits.ts'
import type { Answer } from './session.ts'
import {
  CLUSTER,
  ENDPOINT,
  sortForPush,
  isByName,
  selectType,
  hashVersion,
  type HubResource,
  type ResourceSet,
} from '../../source/resources.ts'

export type SotwRequest = {
  readonly typeUrl: string
  readonly names: readonly string[]
  readonly nonce: string
  readonly error: string | undefined
}
export type SotwResponse = {
  readonly typeUrl: string
  readonly nonce: string
  readonly version: string
  readonly resources: readonly HubResource[]
}

type Watch = {
  wildcard: boolean
  names: ReadonlySet<string>
  readonly nameBytes: number
  nonce: string
  version: string
}

export class SotwSession {
  readonly #watches = new Map<string, Watch>()
  #nonces = 0

  /** What all names take that are watched. */
  get subscribedBytes(): number {
    let bytes = 0
    for (const { nameBytes } of this.#watches.values()) bytes += nameBytes
    return bytes
  }

  /** Throws MESH_CONTROL_PROTOCOL when the request goes beyond limits.ts. */
  request(r: SotwRequest, set: ResourceSet): Answer<SotwResponse> {
    checkType(r.typeUrl, this.#watches)
    checkNames(new Set(), r.names)
    const before = this.#watches.get(r.typeUrl)
    const names = new Set(r.names)
    const wildcard = names.delete('*') || (r.names.length === 0 && !isByName(r.typeUrl))
    if (before && r.nonce !== '' && r.nonce !== before.nonce) return { outcome: 'stale', responses: [] }
    const outcome = !before || r.nonce === '' ? 'none' : r.error === undefined ? 'ack' : 'nack'
    if (!wildcard && names.size === 0) {
      // the end of the subscription
      this.#watches.delete(r.typeUrl)
      return { outcome, responses: [] }
    }
    const added = !before || r.nonce === '' || (wildcard && !before.wildcard) || names.difference(before.names).size > 0
    const watch = {
      wildcard,
      names,
      nameBytes: r.names.reduce((sum, name) => sum + NAME_COST_BYTES + name.length, 0),
      nonce: before?.nonce ?? '',
      version: before?.version ?? '',
    }
    this.#watches.set(r.typeUrl, watch)
    if (!added && names.size < before.names.size && hashVersion(covered(before, r.typeUrl, set)) === before.version)
      watch.version = hashVersion(covered(watch, r.typeUrl, set))
    return { outcome, responses: added ? [this.#response(r.typeUrl, watch, set)] : [] }
  }

  /** What the client must be told after the resources have changed, in push order. */
  push(set: ResourceSet): SotwResponse[] {
    let clusters: 'same' | 'changed' = 'same'
    return sortForPush(this.#watches.keys()).flatMap((typeUrl) => {
      const watch = this.#watches.get(typeUrl)!
      // Envoy warms a changed cluster until its endpoints come again (istiod sends them after every CDS response too).
      const due =
        hashVersion(covered(watch, typeUrl, set)) !== watch.version || (typeUrl === ENDPOINT && clusters === 'changed')
      if (!due) return []
      if (typeUrl === CLUSTER) clusters = 'changed'
      return [this.#response(typeUrl, watch, set)]
    })
  }

  #response(typeUrl: string, watch: Watch, set: ResourceSet): SotwResponse {
    const resources = covered(watch, typeUrl, set)
    watch.nonce = String(++this.#nonces)
    watch.version = hashVersion(resources)
    return { typeUrl, nonce: watch.nonce, version: watch.version, resources }
  }
}

function covered(watch: Watch, typeUrl: string, set: ResourceSet): HubResource[] {
  const present = selectType(set, typeUrl)
  return watch.wildcard ? [...present.values()] : [...watch.names].flatMap((name) => present.get(name) ?? [])
}
