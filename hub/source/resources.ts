/** Resources as the hub hands them on: opaque bytes with a name, a type and a version that is a hash of the content. */
import { createHash } from 'node:crypto'
import { TYPE_URLS } from '../../model/snapshot.ts'

export type HubResource = {
  readonly name: string
  readonly typeUrl: string
  /** Of the bytes: equal content has an equal version, also after a restart of the hub. */
  readonly version: string
  readonly value: Uint8Array
  /** Of a cluster with EDS: name of its ClusterLoadAssignment. Envoy waits for that again when the cluster changes. */
  readonly endpoints?: string
}
export type ByName = ReadonlyMap<string, HubResource>
/** All that one node may be sent. */
export type ResourceSet = {
  readonly version: string
  /** Of the configuration that it was made from: it is told with every response. Its version where there is none. */
  readonly revision: string
  readonly types: ReadonlyMap<string, ByName>
  /**
   * `later`: a resource may be missing by mistake (its file cannot be read), so nobody is told that anything is gone.
   */
  readonly removals: 'now' | 'later'
}

/** What a node says of itself, and the namespace of its certificate. */
export type NodeFacts = {
  readonly id: string
  readonly metadata?: Readonly<Record<string, unknown>> | undefined
  readonly locality?: { readonly region: string; readonly zone: string; readonly subZone: string } | undefined
  readonly namespace: string
}

/** Where the hub's resources come from. */
export interface Source {
  /**
   * The node's resources, from now on. `onChange` is called after each change, not for the set at hand.
   * Disposing ends it.
   */
  watch(node: string, onChange: (next: ResourceSet) => void, facts?: NodeFacts): Watched
}
/** `ready`: resolves once what the node has of its own is among `current`; undefined when it is. */
export interface Watched extends Disposable {
  current(): ResourceSet
  readonly ready: Promise<void> | undefined
}

export const { cluster: CLUSTER, endpoint: ENDPOINT, listener: LISTENER, route: ROUTE } = TYPE_URLS
const SECRET = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret'

/**
 * What is referred to comes before what refers to it (xDS protocol, "Eventual consistency considerations"); the rest
 * follows.
 */
const ORDER: readonly string[] = [CLUSTER, ENDPOINT, LISTENER, ROUTE]
/** Types that are asked for by name only: no names means nothing, not everything (istio pkg/xds IsWildcardTypeURL). */
const BY_NAME = new Set<string>([ENDPOINT, ROUTE, SECRET, TYPE_URLS.extension])

export const isByName = (typeUrl: string): boolean => BY_NAME.has(typeUrl)
export function sortForPush(typeUrls: Iterable<string>): string[] {
  const rank = (typeUrl: string): number => {
    const at = ORDER.indexOf(typeUrl)
    return at < 0 ? ORDER.length : at
  }
  return [...typeUrls].sort((a, b) => rank(a) - rank(b))
}

/** 64 bits of SHA-256: enough to tell versions of one resource apart, short in every request that lists them. */
export const hashContent = (...parts: readonly (string | Uint8Array)[]): string => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('hex').slice(0, 16)
}

export function makeResourceSet(
  resources: Iterable<HubResource>,
  removals: ResourceSet['removals'] = 'now',
  revision?: string,
): ResourceSet {
  const types = new Map<string, Map<string, HubResource>>()
  for (const resource of resources) {
    const named = types.get(resource.typeUrl) ?? new Map<string, HubResource>()
    types.set(resource.typeUrl, named.set(resource.name, resource))
  }
  return setOfTypes(types, { removals, revision })
}

/** The same set with `own` laid over it; types that `own` has nothing of are the same maps. */
export function overlay(
  { types: shared, revision }: ResourceSet,
  own: ResourceSet,
  removals: ResourceSet['removals'],
): ResourceSet {
  const types = new Map(shared)
  for (const [typeUrl, named] of own.types) types.set(typeUrl, new Map([...ofTypes(shared, typeUrl), ...named]))
  return setOfTypes(types, { removals, revision })
}

function setOfTypes(
  types: ResourceSet['types'],
  { removals, revision }: Pick<ResourceSet, 'removals'> & { readonly revision: string | undefined },
): ResourceSet {
  const parts = [...types].sort(([a], [b]) => (a < b ? -1 : 1)).map(([typeUrl, named]) => typeUrl + versionOfMap(named))
  const version = hashContent(...parts)
  return { version, types, removals, revision: revision ?? version }
}

/** Many nodes share most of what they are sent. */
const versions = new WeakMap<ByName, string>()
function versionOfMap(named: ByName): string {
  const version = versions.get(named) ?? hashVersion(named.values())
  versions.set(named, version)
  return version
}

/** One version for several resources, whatever their order. */
export const hashVersion = (resources: Iterable<HubResource>): string =>
  hashContent(
    [...resources]
      .map((r) => `${r.name}\n${r.version}\n`)
      .sort()
      .join(''),
  )

const NONE: ByName = new Map()
export const selectType = (set: ResourceSet, typeUrl: string): ByName => ofTypes(set.types, typeUrl)
function ofTypes(types: ResourceSet['types'], typeUrl: string): ByName {
  return types.get(typeUrl) ?? NONE
}
